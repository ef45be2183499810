//! When a snapshot is worth taking, and up to where nobody needs the journal any more. Pure.

use crate::journal::SegmentInfo;

/// Growth of the journal that is worth a snapshot, if segments are as long: what recovery reads at most for one, some 4
/// million fixes or a fraction of a second. With shorter segments, one of them: before it is full nothing could be cut.
const GROWTH_BYTES: u64 = 64 << 20;

/// A snapshot is taken after so many times its length was journalled: a quarter at most of what the journal writes by itself
/// comes on top. Reading so much takes recovery about as long as loading the snapshot.
const GROWTH_FACTOR: u64 = 4;

/// A place in the journal, to tell how much came behind it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    /// First frame of the segment that was the newest.
    first: u64,
    /// The length that it had.
    bytes: u64,
    /// What was behind the last snapshot at the time.
    before: u64,
}

impl Mark {
    /// At the present end of the journal, with so many bytes of it behind the last snapshot.
    pub(super) fn at_end(segments: &[SegmentInfo], before: u64) -> Self {
        segments.last().map_or(Self { before, ..Self::default() }, |newest| Self {
            first: newest.first,
            bytes: newest.bytes,
            before,
        })
    }

    /// Bytes of the journal behind the last snapshot, to what is zeroed ahead of the newest frame.
    pub(super) fn grown(&self, segments: &[SegmentInfo]) -> u64 {
        let since: u64 =
            segments.iter().filter(|segment| segment.first >= self.first).map(|segment| segment.bytes).sum();
        self.before + since.saturating_sub(self.bytes)
    }
}

/// Whether the journal grew enough since a snapshot of this length.
pub(super) fn is_due(grown_bytes: u64, snapshot_bytes: u64, segment_bytes: u64) -> bool {
    grown_bytes >= GROWTH_BYTES.min(segment_bytes).max(GROWTH_FACTOR * snapshot_bytes)
}

/// The frame up to which nobody needs the journal any more: all who follow it have `passed` it for good, and a snapshot
/// stands for it. That is the older of the `snapshots`, for the newest may turn out not to read; while the budget is short
/// the newest has to do, or a journal that is full would stay full.
pub(super) fn unneeded(snapshots: &[u64], passed: u64, is_pressed: bool) -> u64 {
    let stands_for = match snapshots {
        [.., newest] if is_pressed => *newest,
        [.., older, _newest] => *older,
        _ => 0,
    };
    stands_for.min(passed)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn segment(first: u64, bytes: u64) -> SegmentInfo {
        SegmentInfo { first, bytes, written_at: SystemTime::UNIX_EPOCH }
    }

    #[test]
    fn only_what_nobody_needs_may_go() {
        type Case = (&'static str, &'static [u64], u64, bool, u64);
        let cases: &[Case] = &[
            ("no snapshot", &[], 400, true, 0),
            ("a single one may not read", &[350], 400, false, 0),
            ("and has to do", &[350], 400, true, 350),
            ("the older one counts", &[150, 350], 400, false, 150),
            ("the newest has to do", &[150, 350], 400, true, 350),
            ("a sink that is behind", &[350, 400], 90, false, 90),
            ("and is waited for", &[350, 400], 90, true, 90),
            ("no sink", &[310, 400], u64::MAX, false, 310),
        ];
        for (name, snapshots, passed, is_pressed, expected) in cases {
            assert_eq!(unneeded(snapshots, *passed, *is_pressed), *expected, "{name}");
        }
    }

    #[test]
    fn growth_is_told_over_new_segments_and_cuts() {
        assert_eq!(Mark::at_end(&[], 7).grown(&[]), 7);
        let mark = Mark::at_end(&[segment(1, 500), segment(101, 40)], 7);
        assert_eq!(mark.grown(&[segment(1, 500), segment(101, 90)]), 57);
        assert_eq!(mark.grown(&[segment(101, 300), segment(201, 300), segment(301, 1)]), 568);
        assert_eq!(mark.grown(&[segment(101, 30)]), 7, "trimmed at a close");
    }

    #[test]
    fn a_snapshot_is_due_by_growth() {
        let mib = 1 << 20;
        let cases = [
            ("too little", 63 * mib, 0, 256 * mib, false),
            ("enough", 64 * mib, 0, 256 * mib, true),
            ("short segments", 2 * mib, 0, 2 * mib, true),
            ("a large snapshot", 255 * mib, 64 * mib, 256 * mib, false),
            ("four times as much", 256 * mib, 64 * mib, 256 * mib, true),
        ];
        for (name, grown, snapshot, segment, expected) in cases {
            assert_eq!(is_due(grown, snapshot, segment), expected, "{name}");
        }
    }
}
