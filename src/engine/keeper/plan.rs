//! When a snapshot is worth taking, and which segments nobody needs any more. Pure.

use std::time::{Duration, SystemTime};

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

/// The frame up to which segments may go: the older of the `snapshots` stands for it, for the newest may turn out not to
/// read; every sink holds it safely (`synced`); and the segments up to there were written `retention` ago or earlier.
pub(super) fn cut_upto(
    segments: &[SegmentInfo],
    snapshots: &[u64],
    synced: &[u64],
    retention: Duration,
    now: SystemTime,
) -> u64 {
    let [older, _newest, ..] = snapshots else { return 0 };
    // One that was written in the future, as the clock has it, is not old.
    let is_old = |segment: &SegmentInfo| now.duration_since(segment.written_at).is_ok_and(|age| age >= retention);
    let old = segments.windows(2).take_while(|pair| is_old(&pair[0])).last().map_or(0, |pair| pair[1].first - 1);
    synced.iter().copied().fold(old.min(*older), u64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn segment(first: u64, bytes: u64, age_minutes: u64) -> SegmentInfo {
        SegmentInfo { first, bytes, written_at: now() - Duration::from_secs(60 * age_minutes) }
    }

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    #[test]
    fn only_what_nobody_needs_goes() {
        let segments = [segment(1, 9, 300), segment(101, 9, 200), segment(201, 9, 100), segment(301, 9, 0)];
        type Case = (&'static str, &'static [u64], &'static [u64], u64, u64);
        let cases: &[Case] = &[
            ("no snapshot", &[], &[400], 0, 0),
            ("a single one may not read", &[350], &[400], 0, 0),
            ("the older one counts", &[150, 350], &[400], 0, 150),
            ("a sink that is behind", &[350, 400], &[90], 0, 90),
            ("the last of the sinks", &[350, 400], &[280, 120, 400], 0, 120),
            ("a sink that has synced nothing yet", &[350, 400], &[0, 400], 0, 0),
            ("no sink", &[310, 400], &[], 0, 300),
            ("retention", &[310, 400], &[400], 150, 200),
            ("retention to the minute", &[310, 400], &[400], 200, 200),
            ("all is young", &[310, 400], &[400], 301, 0),
            ("the newest never goes by its age", &[900, 950], &[999], 0, 300),
        ];
        for (name, snapshots, synced, retention_minutes, expected) in cases {
            let retention = Duration::from_secs(60 * retention_minutes);
            assert_eq!(cut_upto(&segments, snapshots, synced, retention, now()), *expected, "{name}");
        }
        let stepped_back = now() - 24 * HOUR;
        assert_eq!(cut_upto(&segments, &[310, 400], &[], HOUR, stepped_back), 0, "the clock stepped back");
        let back_in_the_middle = [segment(1, 9, 30), segment(101, 9, 200), segment(201, 9, 0)];
        assert_eq!(cut_upto(&back_in_the_middle, &[210, 220], &[], HOUR, now()), 0, "none goes before an earlier one");
    }

    #[test]
    fn growth_is_told_over_new_segments_and_cuts() {
        assert_eq!(Mark::at_end(&[], 7).grown(&[]), 7);
        let mark = Mark::at_end(&[segment(1, 500, 0), segment(101, 40, 0)], 7);
        assert_eq!(mark.grown(&[segment(1, 500, 0), segment(101, 90, 0)]), 57);
        assert_eq!(mark.grown(&[segment(101, 300, 0), segment(201, 300, 0), segment(301, 1, 0)]), 568);
        assert_eq!(mark.grown(&[segment(101, 30, 0)]), 7, "trimmed at a close");
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
