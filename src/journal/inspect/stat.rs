//! What a journal holds, in numbers.

use std::collections::BTreeMap;

use super::event::{End, Event};
use super::files::Files;
use super::walk::Walk;
use crate::codec::Codec;
use crate::counts::Counts;
use crate::journal::error::Error;
use crate::journal::{Frame, JournalId, Record, Tally, segment};
use crate::units::TimestampMs;

/// The numbers of one segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentStat {
    /// Its file name.
    pub name: String,
    /// Length of the file. In the newest, space for what comes is part of it.
    pub bytes: u64,
    /// Bytes of the whole frames in it.
    pub frame_bytes: u64,
    /// How many these are.
    pub frames: u64,
    /// Fixes in them.
    pub fixes: u64,
    /// Receive times of the first and of the last.
    pub received_at: Option<(TimestampMs, TimestampMs)>,
}

/// A snapshot's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotStat {
    /// Its file name.
    pub name: String,
    /// The last frame that it stands for.
    pub sequence: u64,
    /// Its length.
    pub bytes: u64,
}

/// The numbers of a journal. Of what is damaged nothing is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Which journal; `None` if no segment tells.
    pub journal: Option<JournalId>,
    /// Version of the format.
    pub format_version: u32,
    /// First sequence that it holds.
    pub first: u64,
    /// Last sequence; below `first` if there is no frame.
    pub last: u64,
    /// Its segments.
    pub segments: Vec<SegmentStat>,
    /// Snapshots beside them.
    pub snapshots: Vec<SnapshotStat>,
    /// Frames that stand for frames that were lost.
    pub gaps: u64,
    /// Changes of what tenants keep, such as geofences.
    pub changes: u64,
    /// What was decided, by tenant and codec. Stored and late are counted from the fixes themselves.
    pub tenants: BTreeMap<String, BTreeMap<Codec, Counts>>,
    /// Earliest and latest receive time of a frame.
    pub received_at: Option<(TimestampMs, TimestampMs)>,
    /// How the newest segment ends.
    pub end: End,
    /// Places that are damaged.
    pub damages: u64,
    /// Frames that are lost there.
    pub lost_frames: u64,
}

impl Stat {
    /// The sum of all segments, without a name.
    pub fn total(&self) -> SegmentStat {
        let mut total = SegmentStat { received_at: self.received_at, ..SegmentStat::default() };
        for segment in &self.segments {
            total.bytes += segment.bytes;
            total.frame_bytes += segment.frame_bytes;
            total.frames += segment.frames;
            total.fixes += segment.fixes;
        }
        total
    }

    /// The sum of all tenants.
    pub fn counts(&self) -> Counts {
        sum(self.tenants.values().flat_map(BTreeMap::values))
    }

    fn add(&mut self, frame: &Frame<'_>) {
        let Some(segment) = self.segments.last_mut() else { return };
        segment.frames += 1;
        segment.fixes += u64::from(frame.fixes);
        segment.frame_bytes += frame.len_bytes() as u64;
        if frame.is_gap() {
            // It was not received.
            self.gaps += 1;
            return;
        }
        let at = frame.received_at;
        segment.received_at = Some((segment.received_at.map_or(at, |(first, _)| first), at));
        let widened = |(first, last): (TimestampMs, TimestampMs)| (first.min(at), last.max(at));
        self.received_at = Some(self.received_at.map_or((at, at), widened));
        // A change has a frame without fixes.
        if frame.fixes == 0 {
            self.changes += frame.records().filter(|record| matches!(record, Ok(Record::Change(_)))).count() as u64;
        }
        // Frames that a walk gives do add up.
        for (tenant, codec, counts) in Tally::of(frame).unwrap_or_default() {
            match self.tenants.get_mut(tenant) {
                Some(codecs) => codecs.entry(codec).or_default().add(&counts),
                None => drop(self.tenants.insert(tenant.to_owned(), BTreeMap::from([(codec, counts)]))),
            }
        }
    }
}

/// All of these together.
pub fn sum<'a>(counts: impl IntoIterator<Item = &'a Counts>) -> Counts {
    let mut sum = Counts::default();
    counts.into_iter().for_each(|counts| sum.add(counts));
    sum
}

/// Reads the whole journal and counts. Holds an entry a segment, and one a tenant and codec.
///
/// # Errors
/// As [`super::verify`].
pub fn stat(files: &Files) -> Result<Stat, Error> {
    let mut walk = Walk::through(files)?;
    let mut stat = Stat {
        journal: walk.journal(),
        format_version: segment::VERSION,
        first: walk.begins_with(),
        ..Stat::default()
    };
    while let Some(event) = walk.next()? {
        match event {
            Event::Segment { first, bytes } => {
                stat.segments.push(SegmentStat { name: segment::name(first), bytes, ..SegmentStat::default() });
            }
            Event::Frame => stat.add(&walk.frame()),
            Event::Damage(finding) => {
                stat.damages += 1;
                stat.lost_frames += finding.lost.map_or(0, |lost| lost.frames());
            }
            Event::End(end) => stat.end = end,
        }
    }
    stat.last = stat.end.last;
    for snapshot in walk.snapshots() {
        let (name, sequence) = (snapshot.name(), snapshot.sequence);
        // One that is gone meanwhile was replaced by a newer one.
        if let Ok(bytes) = files.open(&name).and_then(|file| file.len_bytes()) {
            stat.snapshots.push(SnapshotStat { name, sequence, bytes });
        }
    }
    Ok(stat)
}
