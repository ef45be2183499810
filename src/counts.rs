//! What became of received fixes, counted: the books that have to balance, and how a count is written.

use crate::fix::{Reason, Verdict};
use crate::packed::{VARINT_BYTES_MAX, put_varint, take_varint};

/// Counters before the refusals: stored, late, duplicate, conflict, repaired.
const LEADING: usize = 5;

/// How many counters there are.
const LEN: usize = LEADING + Reason::COUNT;

/// Most that [`Counts::pack`] appends.
pub const COUNTS_BYTES_MAX: usize = (1 + LEN) * VARINT_BYTES_MAX;

/// Verdicts counted, for one tenant over some time. `received = stored + duplicate + Σ rejected`, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Fixes stored, late ones too.
    pub stored: u64,
    /// Those of the stored that were older than their driver's newest.
    pub late: u64,
    /// Fixes whose driver and time had been stored before.
    pub duplicate: u64,
    /// Those of the duplicates that were at another position than the fix that is stored: the first wins.
    pub conflict: u64,
    /// Those of the stored whose time was repaired (a receiver 1,024 weeks behind).
    pub repaired: u64,
    /// Refusals, by [`Reason`] as index.
    pub rejected: [u64; Reason::COUNT],
}

impl Counts {
    /// Counts one verdict.
    pub fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Accepted => self.stored += 1,
            Verdict::Late => {
                self.stored += 1;
                self.late += 1;
            }
            Verdict::Duplicate => self.duplicate += 1,
            Verdict::Conflict => {
                self.duplicate += 1;
                self.conflict += 1;
            }
            Verdict::Rejected(reason) => self.rejected[reason as usize] += 1,
        }
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.stored += other.stored;
        self.late += other.late;
        self.duplicate += other.duplicate;
        self.conflict += other.conflict;
        self.repaired += other.repaired;
        for (mine, theirs) in self.rejected.iter_mut().zip(other.rejected) {
            *mine += theirs;
        }
    }

    /// Appends a mask (varint) and the value (varint) of every bit of it, from the lowest: stored, late, duplicate, conflict,
    /// repaired and then the refusals by [`Reason`].
    pub fn pack(&self, out: &mut Vec<u8>) {
        let mut values = [0; LEN];
        values[..LEADING].copy_from_slice(&[self.stored, self.late, self.duplicate, self.conflict, self.repaired]);
        values[LEADING..].copy_from_slice(&self.rejected);
        let mask = values.iter().rev().fold(0_u64, |mask, value| mask << 1 | u64::from(*value != 0));
        put_varint(out, mask);
        for value in values.into_iter().filter(|value| *value != 0) {
            put_varint(out, value);
        }
    }

    /// Takes what [`Counts::pack`] put off the front of `input`; `None` if it does not read.
    pub fn unpack(input: &mut &[u8]) -> Option<Self> {
        let mask = take_varint(input)?;
        if mask >> LEN != 0 {
            return None;
        }
        let mut values = [0; LEN];
        for (index, value) in values.iter_mut().enumerate() {
            if mask >> index & 1 == 1 {
                *value = take_varint(input)?;
            }
        }
        let [stored, late, duplicate, conflict, repaired, ..] = values;
        let mut counts = Self { stored, late, duplicate, conflict, repaired, ..Self::default() };
        counts.rejected.copy_from_slice(&values[LEADING..]);
        Some(counts)
    }

    /// All that was judged.
    pub fn received(&self) -> u64 {
        self.stored + self.duplicate + self.rejected.iter().sum::<u64>()
    }
}

/// A number with commas between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
