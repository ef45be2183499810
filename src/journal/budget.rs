//! The disk budget as a matter of numbers: what the journal may take, and from when on it is braked or full.
//!
//! The limit is `journal.bytes_max`, or what the disk has room for where that is less. The last tenth of it is a brake:
//! what goes in gets ever less, so that the end comes as late as it can, and whoever drains the journal sets the pace. At
//! the end nothing more is taken in. Part of the disk is never taken, so that the end is reached before the disk is full:
//! a write that fails for want of space would fail the journal.

use super::frame::FRAME_BYTES_MAX;
use super::segment::ZEROED_AHEAD_BYTES;
use super::storage::Space;
use super::writer::BATCH_BYTES_MAX;

/// The brake is on in the last of so many equal parts of the limit.
const BRAKE_PART: u64 = 10;

/// For so long would last what is left, at the pace that the brake allows now.
const BRAKE_S: u64 = 60;

/// With so much left the journal is full: a batch, the turn that made it one, and the zeros ahead of it.
const FULL_BYTES: u64 = (BATCH_BYTES_MAX + FRAME_BYTES_MAX + ZEROED_AHEAD_BYTES) as u64;

/// Of a small budget, full is the last of so many equal parts instead: well inside the brake's.
const FULL_PART: u64 = 16;

/// Once full, it has to have so many times as much left before it is not.
const FULL_HYSTERESIS: u64 = 2;

/// Left free on the disk for whatever else is on it.
const RESERVE_BYTES: u64 = 256 << 20;

/// On a small disk, one of so many equal parts of it instead.
const RESERVE_PART: u64 = 50;

/// Segments that nobody needs are kept for `journal.retention` while no more than so many quarters of the limit are used:
/// they never put the brake on.
const RETAINED_QUARTERS: u64 = 3;

/// Whether the journal takes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As much as comes.
    Open,
    /// So much, and less with every byte.
    Braked {
        /// What may be written in a second.
        bytes_per_s: u64,
    },
    /// Nothing.
    Full,
}

/// How the journal stands to its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// What it takes on the disk, snapshots too, when last measured.
    pub bytes: u64,
    /// What it may take, when last measured.
    pub limit_bytes: u64,
    /// What is left of that now.
    pub left_bytes: u64,
    /// What follows.
    pub state: State,
}

impl Assessment {
    /// How much of the limit is used, 0 to 1.
    pub fn fill(&self) -> f64 {
        if self.limit_bytes == 0 { 1.0 } else { 1.0 - self.left_bytes as f64 / self.limit_bytes as f64 }
    }

    /// What has to go of that which nobody needs, however young it is.
    pub fn excess_bytes(&self) -> u64 {
        self.excess_bytes_with(0)
    }

    /// The same if so many bytes came on top.
    pub fn excess_bytes_with(&self, more_bytes: u64) -> u64 {
        (self.bytes + more_bytes).saturating_sub(self.limit_bytes / 4 * RETAINED_QUARTERS)
    }
}

/// What a journal may take that takes so much now, on a disk with this space.
pub(super) fn limit_bytes(bytes_max: u64, bytes: u64, space: Space) -> u64 {
    let reserve = RESERVE_BYTES.min(space.total_bytes / RESERVE_PART);
    bytes_max.min(bytes.saturating_add(space.free_bytes.saturating_sub(reserve)))
}

/// Whether more is taken with so much left.
pub(super) fn state(limit_bytes: u64, left_bytes: u64, was_full: bool) -> State {
    let full_bytes = FULL_BYTES.min(limit_bytes / FULL_PART) * if was_full { FULL_HYSTERESIS } else { 1 };
    if left_bytes <= full_bytes {
        State::Full
    } else if left_bytes <= limit_bytes / BRAKE_PART {
        State::Braked { bytes_per_s: (left_bytes / BRAKE_S).max(1) }
    } else {
        State::Open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    #[test]
    fn the_limit_is_the_budgets_or_the_disks() {
        let cases = [
            // bytes_max, taken, free, whole disk: limit
            (64 * GIB, 0, 100 * GIB, 200 * GIB, 64 * GIB),
            (64 * GIB, 10 * GIB, 100 * GIB, 200 * GIB, 64 * GIB),
            (64 * GIB, 10 * GIB, 20 * GIB, 200 * GIB, 30 * GIB - 256 * MIB),
            (64 * GIB, 10 * GIB, 256 * MIB, 200 * GIB, 10 * GIB),
            (64 * GIB, 10 * GIB, 0, 200 * GIB, 10 * GIB),
            // On a disk of 100 MiB two of them are left.
            (64 * GIB, 10 * MIB, 50 * MIB, 100 * MIB, 58 * MIB),
            (16 * MIB, 40 * MIB, 50 * MIB, 100 * MIB, 16 * MIB),
            (64 * GIB, 0, 0, 0, 0),
            (u64::MAX, 5, u64::MAX, u64::MAX, u64::MAX - RESERVE_BYTES + 5),
        ];
        for (bytes_max, bytes, free_bytes, total_bytes, limit) in cases {
            let space = Space { free_bytes, total_bytes };
            assert_eq!(limit_bytes(bytes_max, bytes, space), limit, "{bytes_max} {bytes} {space:?}");
        }
    }

    #[test]
    fn the_last_tenth_brakes_ever_more_and_the_end_is_full() {
        let braked = |bytes_per_s| State::Braked { bytes_per_s };
        let cases = [
            // limit, left, was full: state
            (600 * GIB, 600 * GIB, false, State::Open),
            (600 * GIB, 60 * GIB + 1, false, State::Open),
            (600 * GIB, 60 * GIB, false, braked(GIB)),
            (600 * GIB, 6 * GIB, false, braked(GIB / 10)),
            (600 * GIB, FULL_BYTES + 1, false, braked(FULL_BYTES / 60)),
            (600 * GIB, FULL_BYTES, false, State::Full),
            (600 * GIB, 0, false, State::Full),
            (600 * GIB, FULL_BYTES + 1, true, State::Full),
            (600 * GIB, 2 * FULL_BYTES, true, State::Full),
            (600 * GIB, 2 * FULL_BYTES + 60, true, braked(FULL_BYTES / 30 + 1)),
            // The smallest budget: braked below 1.6 MiB, full at 1 MiB, and not full again with more than 2 MiB.
            (16 * MIB, 2 * MIB, false, State::Open),
            (16 * MIB, 3 * MIB / 2, false, braked(MIB / 40)),
            (16 * MIB, MIB, false, State::Full),
            (16 * MIB, 2 * MIB, true, State::Full),
            (16 * MIB, 2 * MIB + 1, true, State::Open),
            (0, 0, false, State::Full),
            (u64::MAX, u64::MAX, false, State::Open),
        ];
        for (limit, left, was_full, wanted) in cases {
            let found = state(limit, left, was_full);
            let is_near = matches!((found, wanted), (State::Braked { bytes_per_s: one }, State::Braked { bytes_per_s: other }) if one.abs_diff(other) <= 1);
            assert!(found == wanted || is_near, "{limit} {left} {was_full}: {found:?}, not {wanted:?}");
        }
    }

    #[test]
    fn the_pace_falls_with_what_is_left() {
        let mut left = 6 * GIB;
        let mut seconds = 0;
        while let State::Braked { bytes_per_s } = state(60 * GIB, left, false) {
            left -= bytes_per_s;
            seconds += 1;
        }
        // From a tenth to the end it is sixty seconds times the logarithm of how much smaller the end is.
        let expected = (60.0 * (6.0 * GIB as f64 / FULL_BYTES as f64).ln()) as i32;
        assert!((expected - 10..expected + 10).contains(&seconds), "{seconds}, not {expected}");
    }

    #[test]
    fn fill_and_excess_are_of_the_limit() {
        let assessment = |bytes, left_bytes| Assessment { bytes, limit_bytes: 400, left_bytes, state: State::Open };
        assert!((assessment(100, 300).fill() - 0.25).abs() < 1e-9);
        assert_eq!(assessment(300, 100).excess_bytes(), 0);
        assert_eq!(assessment(350, 50).excess_bytes(), 50);
        assert_eq!((assessment(250, 150).excess_bytes_with(50), assessment(250, 150).excess_bytes_with(51)), (0, 1));
        let nothing = Assessment { bytes: 9, limit_bytes: 0, left_bytes: 0, state: State::Full };
        assert!((nothing.fill() - 1.0).abs() < 1e-9);
    }
}
