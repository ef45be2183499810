//! What became of received fixes, counted: the books that have to balance, and how a count is written.

use crate::fix::{Reason, Verdict};

/// Verdicts counted, for one tenant over some time. `received = stored + duplicate + Σ rejected`, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Fixes stored, late ones too.
    pub stored: u64,
    /// Those of the stored that were older than their driver's newest.
    pub late: u64,
    /// Fixes whose driver and time had been stored before.
    pub duplicate: u64,
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
            Verdict::Rejected(reason) => self.rejected[reason as usize] += 1,
        }
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.stored += other.stored;
        self.late += other.late;
        self.duplicate += other.duplicate;
        for (mine, theirs) in self.rejected.iter_mut().zip(other.rejected) {
            *mine += theirs;
        }
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
