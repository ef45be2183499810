//! Recovering what is whole of a damaged journal into a new directory.
//!
//! The new journal keeps the id and every sequence of the old one, so that the positions of sinks and snapshots are good in
//! it. For frames that are lost stands one frame, a gap (see `frame`), which recovery, readers and sinks pass by.
//!
//! Frames that are whole are copied as they are. Behind a torn end too, where recovery cuts: whether they were acknowledged
//! is not known when what proves it may be lost.

use std::path::Path;
use std::sync::Arc;

use super::copy::copy_file;
use super::error::Error;
use super::frame::{self, APPENDER_OF_GAP, Frame, Place};
use super::inspect::{Event, Files, Finding, Walk};
use super::segment::Segment;
use super::storage::{Directory, Storage};
use super::{JournalId, inspect, recovery, snapshot};
use crate::units::TimestampMs;

/// A file in a directory into which a journal is being salvaged; a journal beside it may be a part of one.
const UNFINISHED_NAME: &str = "unfinished";

/// Refuses what may be a part of a journal.
pub(super) fn refuse_unfinished(storage: &dyn Storage) -> Result<(), Error> {
    let names = storage.list().map_err(Error::io("list the journal's files"))?;
    if names.iter().any(|name| name == UNFINISHED_NAME) { Err(Error::Unfinished) } else { Ok(()) }
}

/// Bytes that are written at a time.
const WRITE_BYTES: usize = 1 << 20;

/// What [`salvage`] brought over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salvaged {
    /// The journal's id.
    pub journal: JournalId,
    /// Whether the id is a new one, since no segment told the old. The positions of sinks and snapshots are of another
    /// journal then.
    pub is_new_id: bool,
    /// Segments written.
    pub segments: u64,
    /// Frames that were whole.
    pub frames: u64,
    /// Fixes in them.
    pub fixes: u64,
    /// Snapshots that are whole and were copied.
    pub snapshots: u64,
    /// Snapshots that are not, and were not.
    pub unusable_snapshots: u64,
    /// Places that were damaged.
    pub damages: u64,
    /// Frames that are lost, which gaps stand for.
    pub lost_frames: u64,
    /// Bytes of a torn end that were left behind.
    pub torn_bytes: u64,
    /// The last sequence.
    pub last: u64,
}

impl Salvaged {
    /// About how many fixes are lost, if the frames that are lost held as many as those that are whole. No more than that
    /// can be said of them; the duplicates and refusals that they counted are lost as well.
    pub fn lost_fixes_estimated(&self) -> u64 {
        let fixes = u128::from(self.fixes) * u128::from(self.lost_frames);
        u64::try_from(fixes / u128::from(self.frames.max(1))).unwrap_or(u64::MAX)
    }
}

/// Writes what is whole of a journal into `to`, which is made and has to be empty, and tells each damage as it is found.
/// Nothing is changed where the journal is, and nobody may write it meanwhile.
///
/// A journal that lost its end does not know how far it went. `through` says it: a gap stands for what is lost up to that
/// sequence, so that a sink that had come so far goes on.
///
/// # Errors
/// [`Error::InUse`], [`Error::NotEmpty`], a version that this program does not read, or what the system refused. `to` holds
/// a part of the journal then, and opens as [`Error::Unfinished`].
pub fn salvage(
    files: &Files,
    to: &Path,
    through: Option<u64>,
    tell: &mut dyn FnMut(&Finding),
) -> Result<Salvaged, Error> {
    let _held = files.hold()?;
    let is_empty = std::fs::read_dir(to).map_or(true, |mut entries| entries.next().is_none());
    if !is_empty {
        return Err(Error::NotEmpty { directory: to.display().to_string() });
    }
    let mut walk = Walk::salvaging(files)?;
    let (directory, _lock) = Directory::take(to)?;
    let storage: Arc<dyn Storage> = Arc::new(directory);
    let mark = || storage.create(UNFINISHED_NAME)?.sync().and_then(|()| storage.sync_names());
    mark().map_err(Error::io(format!("write {UNFINISHED_NAME}")))?;
    let journal = walk.journal().map_or_else(recovery::new_id, Ok)?;
    let mut salvaged = Salvaged {
        journal,
        is_new_id: walk.journal().is_none(),
        segments: 0,
        frames: 0,
        fixes: 0,
        snapshots: 0,
        unusable_snapshots: 0,
        damages: 0,
        lost_frames: 0,
        torn_bytes: 0,
        last: 0,
    };
    let mut copy = Copy::new(Arc::clone(&storage), journal, walk.begins_with());
    while let Some(event) = walk.next()? {
        match event {
            Event::Segment { first, .. } => copy.begin(first)?,
            Event::Frame => {
                let frame = walk.frame();
                copy.frame(&frame, walk.frame_bytes())?;
                salvaged.frames += u64::from(!frame.is_gap());
                salvaged.fixes += u64::from(frame.fixes);
            }
            Event::Damage(finding) => {
                tell(&finding);
                salvaged.damages += 1;
            }
            Event::End(end) => salvaged.torn_bytes = end.torn_bytes,
        }
    }
    let is_usable = |snapshot: &&inspect::Snapshot| snapshot.unusable.is_none();
    let snapshots: Vec<u64> = walk.snapshots().iter().filter(is_usable).map(|snapshot| snapshot.sequence).collect();
    // A snapshot was made of frames that were durable.
    let told = through.max(snapshots.last().copied()).unwrap_or_default();
    copy.skip_to(told.saturating_add(1))?;
    copy.finish()?;
    for sequence in &snapshots {
        copy_file(files.storage.as_ref(), storage.as_ref(), &snapshot::name(*sequence), None, &mut |_| Ok(()))?;
    }
    let unmark =
        || storage.sync_names().and_then(|()| storage.remove(UNFINISHED_NAME)).and_then(|()| storage.sync_names());
    unmark().map_err(Error::io(format!("remove {UNFINISHED_NAME}")))?;
    salvaged.snapshots = snapshots.len() as u64;
    salvaged.unusable_snapshots = (walk.snapshots().len() - snapshots.len()) as u64;
    Ok(Salvaged { segments: copy.segments, lost_frames: copy.lost_frames, last: copy.next - 1, ..salvaged })
}

/// The journal that is being written.
struct Copy {
    storage: Arc<dyn Storage>,
    journal: JournalId,
    segment: Option<Segment>,
    /// Frames that are not in the segment yet.
    bytes: Vec<u8>,
    /// The sequence that comes next.
    next: u64,
    /// The highest that a frame so far knew to be durable; lower than any sequence to come.
    durable: u64,
    received_at: TimestampMs,
    segments: u64,
    lost_frames: u64,
}

impl Copy {
    fn new(storage: Arc<dyn Storage>, journal: JournalId, begins_with: u64) -> Self {
        Self {
            storage,
            journal,
            segment: None,
            bytes: Vec::new(),
            next: begins_with,
            durable: 0,
            received_at: TimestampMs::default(),
            segments: 0,
            lost_frames: 0,
        }
    }

    /// Begins a segment, behind a gap for what should have come before it.
    fn begin(&mut self, first: u64) -> Result<(), Error> {
        self.skip_to(first)?;
        self.create(first)
    }

    fn create(&mut self, first: u64) -> Result<(), Error> {
        self.finish()?;
        let created = Segment::create(&self.storage, self.journal, first);
        self.segment = Some(created.map_err(Error::io("create a segment"))?);
        self.segments += 1;
        Ok(())
    }

    /// Adds a frame, behind a gap for what should have come before it.
    fn frame(&mut self, frame: &Frame<'_>, bytes: &[u8]) -> Result<(), Error> {
        self.skip_to(frame.first_sequence())?;
        self.bytes.extend_from_slice(bytes);
        self.next = frame.sequence + 1;
        self.durable = self.durable.max(frame.durable);
        self.received_at = frame.received_at;
        if self.bytes.len() >= WRITE_BYTES { self.write() } else { Ok(()) }
    }

    /// Sees that `sequence` comes next.
    fn skip_to(&mut self, sequence: u64) -> Result<(), Error> {
        if sequence <= self.next {
            return Ok(());
        }
        if self.segment.is_none() {
            self.create(self.next)?;
        }
        let place = Place { sequence: sequence - 1, durable: self.durable, appender: APPENDER_OF_GAP };
        self.bytes.extend_from_slice(&frame::gap(self.next, place, self.received_at));
        self.lost_frames += sequence - self.next;
        self.next = sequence;
        Ok(())
    }

    fn write(&mut self) -> Result<(), Error> {
        if let Some(segment) = &mut self.segment {
            segment.write(&self.bytes).map_err(Error::io(format!("write {}", segment.name())))?;
            self.bytes.clear();
        }
        Ok(())
    }

    /// Makes the present segment durable, without anything behind its frames.
    fn finish(&mut self) -> Result<(), Error> {
        self.write()?;
        match self.segment.take() {
            Some(segment) => {
                let finished = segment.trim().and_then(|()| segment.sync());
                finished.map_err(Error::io(format!("make {} durable", segment.name())))
            }
            None => Ok(()),
        }
    }
}
