//! A block: consecutive fixes of one driver in order of time, delta-coded.
//!
//! One byte for the form, the number of fixes, the milliseconds from the first to the last (both varints), then the run
//! as [`crate::packed`] writes it. The time of the first fix is also in the block's key.

use crate::fix::Fix;
use crate::packed::{Packer, Unpacker, put_varint, take_varint};
use crate::units::TimestampMs;

/// Fixes in a block when it is closed and the next one begun.
pub(super) const BLOCK_FIXES: usize = 64;

/// Fixes in a block when late ones split it.
pub(super) const BLOCK_FIXES_MAX: usize = 2 * BLOCK_FIXES;

const FORM: u8 = 1;

/// Bytes that are not a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Writes a block of fixes, which are in order of time and at least one.
pub(super) fn encode(fixes: &[Fix], out: &mut Vec<u8>) {
    debug_assert!(fixes.is_sorted_by(|earlier, later| earlier.time < later.time));
    let (Some(first), Some(last)) = (fixes.first(), fixes.last()) else { return };
    out.push(FORM);
    put_varint(out, fixes.len() as u64);
    put_varint(out, ms_from(first.time, last.time));
    let mut packer = Packer::default();
    for fix in fixes {
        packer.pack(fix, out);
    }
}

/// A block whose head was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a> {
    first: TimestampMs,
    span_ms: u64,
    fixes: u64,
    run: &'a [u8],
}

impl<'a> Block<'a> {
    /// Reads the head of a block whose key holds the time `first`.
    pub(super) fn read(first: TimestampMs, value: &'a [u8]) -> Result<Self, Malformed> {
        let Some((&FORM, mut run)) = value.split_first() else { return Err(Malformed) };
        let fixes = take_varint(&mut run).ok_or(Malformed)?;
        let span_ms = take_varint(&mut run).ok_or(Malformed)?;
        Ok(Self { first, span_ms, fixes, run })
    }

    /// How many fixes are in it.
    pub(super) fn len(&self) -> u64 {
        self.fixes
    }

    /// Whether every fix of the block is before `time`, told without decoding.
    pub(super) fn ends_before(&self, time: TimestampMs) -> bool {
        time > self.first && ms_from(self.first, time) > self.span_ms
    }

    /// Its fixes in order of time, decoded one by one.
    pub(super) fn fixes(&self) -> Fixes<'a> {
        Fixes { left: self.fixes, input: self.run, unpacker: Unpacker::default() }
    }
}

/// Iterator over the fixes of a block; ends after the first error.
pub(super) struct Fixes<'a> {
    left: u64,
    input: &'a [u8],
    unpacker: Unpacker,
}

impl Iterator for Fixes<'_> {
    type Item = Result<Fix, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        match self.unpacker.unpack(&mut self.input) {
            Some(fix) => Some(Ok(fix)),
            None => {
                self.left = 0;
                Some(Err(Malformed))
            }
        }
    }
}

/// Milliseconds from `earlier` to `later`, which may lie further apart than an `i64` can say.
fn ms_from(earlier: TimestampMs, later: TimestampMs) -> u64 {
    debug_assert!(earlier <= later);
    later.0.wrapping_sub(earlier.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::model::fix_at;

    fn block_of(times: &[i64]) -> Vec<u8> {
        let fixes: Vec<Fix> = times.iter().map(|time| fix_at(*time)).collect();
        let mut value = Vec::new();
        encode(&fixes, &mut value);
        value
    }

    #[test]
    fn a_block_reads_back_as_written() {
        for times in [&[5][..], &[-3, 0, 1, 7_000], &[i64::MIN, 0, i64::MAX]] {
            let value = block_of(times);
            let block = Block::read(TimestampMs(times[0]), &value).unwrap();
            let read: Vec<Fix> = block.fixes().map(Result::unwrap).collect();
            assert_eq!(read, times.iter().map(|time| fix_at(*time)).collect::<Vec<_>>());
            assert_eq!(block.len(), times.len() as u64);
        }
    }

    #[test]
    fn a_block_ends_with_its_last_fix() {
        let value = block_of(&[10, 20, 30]);
        let block = Block::read(TimestampMs(10), &value).unwrap();
        assert!(!block.ends_before(TimestampMs(30)) && block.ends_before(TimestampMs(31)));
    }

    #[test]
    fn cut_or_foreign_bytes_are_malformed() {
        let value = block_of(&[10, 20, 30]);
        assert!(Block::read(TimestampMs(10), &[]).is_err());
        assert!(Block::read(TimestampMs(10), &[FORM + 1, 0, 0]).is_err());
        for end in 1..value.len() {
            let read = Block::read(TimestampMs(10), &value[..end]);
            assert!(read.is_err() || read.unwrap().fixes().any(|fix| fix.is_err()), "{end}");
        }
    }
}
