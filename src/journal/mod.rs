//! The journal: one log of frames that carry decisions, durable before anything is acknowledged.
//!
//! | file | holds |
//! |---|---|
//! | `{first sequence, 20 digits}.journal` | a segment: header and frames, see `segment`, `frame` and `record` |
//! | `next` | a segment that is being made and not part of the journal yet |
//! | `{sequence, 20 digits}.snapshot` | what all frames up to that one came to, see `snapshot` |
//! | `next.snapshot.unfinished` | a snapshot that is being made, or was when the engine ended |
//! | `lock` | nothing; locked by the process that writes |
//!
//! Shards encode their turns ([`TurnEncoder`]) and hand them to one writer thread ([`Appender`]), which gives each its
//! sequence, writes all that wait with one write and one sync, moves the [`Watermark`] and then calls the appenders
//! back. A [`Reader`] follows up to the watermark. A frame holds what was decided, so that whoever reads it applies and
//! never judges again.
//!
//! [`inspect`] looks into a journal from outside, while it is written too, and [`salvage()`] recovers what is whole of a
//! damaged one: one frame stands for all that were lost between two that were not.
//!
//! What holds: sequences have no gaps but those that a frame stands for; everything up to the watermark is on the disk; a
//! frame's `durable` is below its own sequence and never falls; frames that were synced together share one `durable` and
//! one segment; after a failed write or sync the watermark stands still for good.
//!
//! With [`SyncWhen::Interval`] the appenders are called back once their frames are written, which may be some time before
//! the watermark reaches them.

mod budget;
mod change;
mod config;
mod copy;
mod error;
mod frame;
pub mod inspect;
mod reader;
mod record;
mod recovery;
mod retention;
mod room;
mod salvage;
mod scan;
mod segment;
mod snapshot;
mod storage;
mod tally;
#[cfg(test)]
pub(crate) mod tests;
mod unopened;
mod watermark;
mod writer;

pub use budget::{Assessment, State};
pub use change::{CHANGE_BODY_BYTES_MAX, Change, ChangeKind};
pub use config::{Config, OnFull, SyncWhen};
pub use copy::Extent;
pub use error::{Damage, Error, Malformed, Stopped};
pub use frame::{APPENDER_OF_GAP, APPENDER_OF_SEAL, FRAME_BYTES_MAX, Frame};
pub use reader::Reader;
pub use record::{Record, Records, TURN_COUNTERS_MAX, Turn, TurnEncoder};
pub use retention::{InvalidRetention, Retention};
pub use room::Room;
pub use salvage::{Salvaged, salvage};
pub use snapshot::{CHUNK_BYTES_MAX, SnapshotWriter, Unusable};
pub use storage::{Space, Storage, StorageFile};
pub use tally::Tally;
pub use unopened::{Resume, Unopened};
pub use watermark::Watermark;

use std::fmt;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::SystemTime;

use room::Brake;
use storage::Lock;
use writer::{Batch, Failure, Message, Writer};

/// Turns that an appender may have handed over and not heard of; with no more, [`Appender::append`] does not block.
pub const TURNS_IN_FLIGHT_MAX: usize = 64;

/// Appenders in a journal's life: one a shard, and one for changes.
pub const APPENDERS_MAX: u16 = 65;

/// What is tried when it is measured.
const LOOK_AT_ROOM: &str = "look at the room on its disk";

/// Names one journal: random, made with its directory.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct JournalId(pub [u8; 16]);

impl fmt::Display for JournalId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for JournalId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Everything in a journal up to and including one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JournalPosition {
    /// Which journal.
    pub journal: JournalId,
    /// The frame; 0 is before the first.
    pub sequence: u64,
}

impl fmt::Display for JournalPosition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of {}", self.sequence, self.journal)
    }
}

/// What [`open`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Segments that were read.
    pub segments: u64,
    /// Frames that were applied.
    pub frames: u64,
    /// Fixes in them.
    pub fixes: u64,
    /// Last sequence, 0 in a new journal.
    pub last: u64,
    /// Bytes of a torn end that were cut off. None of them had been acknowledged.
    pub cut_bytes: u64,
}

/// A file of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Sequence of its first frame.
    pub first: u64,
    /// Its length, with what is zeroed ahead of the newest frame.
    pub bytes: u64,
    /// When it was last written.
    pub written_at: SystemTime,
}

/// Called on the writer's thread with the sequences of one appender's frames that became durable, in order: synced, or with
/// [`SyncWhen::Interval`] written. All other appenders wait while it runs.
pub type OnDurable = Box<dyn Fn(&[u64]) + Send>;

/// Called with the error that stopped the writer.
pub type OnFailure = Box<dyn FnOnce(&str) + Send>;

/// Takes the journal in `dir`, which holds no snapshots, recovers it from its first frame on and starts its writer:
/// [`Unopened`] in one call.
pub fn open(
    dir: &Path,
    config: &Config,
    apply: &mut dyn FnMut(&Frame<'_>) -> Result<(), Malformed>,
) -> Result<(Journal, Recovered), Error> {
    Unopened::take(dir)?.open(config, &Resume::default(), apply)
}

/// Whether there is a journal in `dir`.
///
/// # Errors
/// The directory is there and cannot be read.
pub fn exists(dir: &Path) -> Result<bool, Error> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.any(|entry| entry.is_ok_and(|entry| segment::is_name(&entry.file_name())))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(format!("look into {}", dir.display()))(error)),
    }
}

/// Bytes of the segments in `dir` that recovery behind this frame reads, as far as they can be seen without opening one.
pub fn bytes_behind(dir: &Path, sequence: u64) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let segment = |entry: std::fs::DirEntry| {
        let first = segment::first_of(entry.file_name().to_str()?)?;
        Some((first, entry.metadata().ok()?.len()))
    };
    let mut segments: Vec<_> = entries.filter_map(|entry| segment(entry.ok()?)).collect();
    segments.sort_unstable();
    let begin = segments.partition_point(|(first, _)| *first <= sequence.saturating_add(1)).saturating_sub(1);
    segments[begin..].iter().map(|(_, bytes)| bytes).sum()
}

fn start(
    unopened: Unopened,
    config: &Config,
    resume: &Resume,
    apply: recovery::Apply<'_>,
) -> Result<(Journal, Recovered), Error> {
    let Unopened { storage, lock } = unopened;
    salvage::refuse_unfinished(storage.as_ref())?;
    let recovery::Ready { journal, segment, received_at, is_sealed, recovered } =
        recovery::recover(&storage, resume, apply)?;
    let watermark = Arc::new(Watermark::at(recovered.last));
    let room = Arc::new(Room::new(config.bytes_max));
    room.measure(storage.as_ref()).map_err(Error::io(LOOK_AT_ROOM))?;
    let failure = Arc::new(Failure::default());
    let (sender, turns) = sync_channel(TURNS_IN_FLIGHT_MAX * usize::from(APPENDERS_MAX));
    let writer = Writer {
        storage: Arc::clone(&storage),
        journal,
        segment,
        segment_bytes: config.segment_bytes,
        unsynced_max: config.unsynced_max(),
        watermark: Arc::clone(&watermark),
        last: recovered.last,
        written: recovered.last,
        sync_due: None,
        room: Arc::clone(&room),
        brake: Brake::default(),
        received_at,
        is_sealed,
        batch: Batch::default(),
    };
    let failure_of_writer = Arc::clone(&failure);
    let thread = std::thread::Builder::new()
        .name("journal".to_owned())
        .spawn(move || writer.run(&turns, &failure_of_writer))
        .map_err(Error::io("start the writer's thread"))?;
    let appenders = Mutex::default();
    let journal = Journal {
        id: journal,
        storage,
        watermark,
        room,
        failure,
        sender,
        appenders,
        thread: Some(thread),
        _lock: lock,
    };
    Ok((journal, recovered))
}

/// A journal that is being written: its writer's thread, and the ways to it. Dropping it closes it.
#[derive(Debug)]
pub struct Journal {
    id: JournalId,
    storage: Arc<dyn Storage>,
    watermark: Arc<Watermark>,
    room: Arc<Room>,
    failure: Arc<Failure>,
    sender: SyncSender<Message>,
    /// How many appenders there are; held while one is announced, so that numbers and places agree.
    appenders: Mutex<u16>,
    thread: Option<JoinHandle<()>>,
    _lock: Option<Lock>,
}

impl Journal {
    /// Its name.
    pub fn id(&self) -> JournalId {
        self.id
    }

    /// A new appender, whose turns keep their order.
    ///
    /// # Panics
    /// Beyond [`APPENDERS_MAX`].
    pub fn appender(&self, on_durable: OnDurable) -> Appender {
        let mut appenders = self.appenders.lock().unwrap_or_else(PoisonError::into_inner);
        let id = *appenders;
        assert!(id < APPENDERS_MAX, "more than {APPENDERS_MAX} appenders");
        *appenders += 1;
        // A writer that has stopped says so when a turn is handed over.
        drop(self.sender.send(Message::Appender(on_durable)));
        Appender { id, sender: self.sender.clone(), room: Arc::clone(&self.room) }
    }

    /// The highest durable sequence, to ask for and to wait on.
    pub fn watermark(&self) -> Arc<Watermark> {
        Arc::clone(&self.watermark)
    }

    /// How much room it has, to ask for.
    pub fn room(&self) -> Arc<Room> {
        Arc::clone(&self.room)
    }

    /// Looks at what it takes and at what the disk still has, and tells how that stands to its budget. To be called every
    /// second or so, and after a cut: in between only what is handed over is counted. Blocks for the disk.
    pub fn assess(&self) -> Result<Assessment, Error> {
        self.room.measure(self.storage.as_ref()).map_err(Error::io(LOOK_AT_ROOM))?;
        Ok(self.room.assessment())
    }

    /// Takes the brake off for good: what was handed over becomes durable at once. For whoever is about to close it.
    pub fn release_brake(&self) {
        self.room.release();
    }

    /// A reader of the frames behind `after`; 0 is before the first. [`Error::Outside`] if that is not in the journal.
    pub fn reader(&self, after: u64) -> Result<Reader, Error> {
        Reader::open(&self.storage, &self.watermark, self.id, after)
    }

    /// A reader of the frames behind a position; [`Error::Outside`] if it is of another journal or not in this one.
    pub fn reader_from(&self, position: JournalPosition) -> Result<Reader, Error> {
        if position.journal == self.id {
            return self.reader(position.sequence);
        }
        let first = segment::list(self.storage.as_ref())?.first().copied().unwrap_or(1);
        Err(Error::Outside { position, journal: self.id, first, last: self.watermark.get() })
    }

    /// Begins a snapshot that will stand for all frames up to `sequence`. One at a time.
    pub fn snapshot(&self, sequence: u64) -> Result<SnapshotWriter, Error> {
        SnapshotWriter::create(&self.storage, JournalPosition { journal: self.id, sequence })
    }

    /// The frames that snapshots stand for, oldest first.
    pub fn snapshots(&self) -> Result<Vec<u64>, Error> {
        snapshot::list(self.storage.as_ref())
    }

    /// Takes a snapshot that was found not to read out of the count: nothing is cut for its sake.
    pub fn set_snapshot_aside(&self, sequence: u64) -> Result<(), Error> {
        snapshot::set_aside(self.storage.as_ref(), sequence)
    }

    /// Its segments, oldest first.
    pub fn segments(&self) -> Result<Vec<SegmentInfo>, Error> {
        let firsts = segment::list(self.storage.as_ref())?;
        let look = |first| {
            let file = self.storage.open(&segment::name(first))?;
            Ok(SegmentInfo { first, bytes: file.len_bytes()?, written_at: file.written_at()? })
        };
        firsts.into_iter().map(|first| look(first).map_err(Error::io("look at a segment"))).collect()
    }

    /// Takes the segments away, oldest first, whose frames are all `upto` or before it; never the newest. They are not
    /// needed if a durable snapshot stands for them, and everybody who follows has passed them for good. Gives how many
    /// went. Snapshots that the journal does not go on from any more go with them. Blocks for the disk.
    pub fn cut(&self, upto: u64) -> Result<usize, Error> {
        let firsts = segment::list(self.storage.as_ref())?;
        let outdated = firsts.windows(2).take_while(|pair| pair[1] - 1 <= upto).count();
        if outdated > 0 {
            // A snapshot whose own sync of its name failed is there and may be gone after a crash; its segments must not.
            self.storage.sync_names().map_err(Error::io("make the names of snapshots durable"))?;
        }
        for first in &firsts[..outdated] {
            // One after the other: after a crash a later one must not be gone while an earlier one is there.
            let remove = || {
                self.storage.remove(&segment::name(*first))?;
                self.storage.sync_names()
            };
            remove().map_err(Error::io("remove a segment"))?;
        }
        if outdated > 0 {
            let first = firsts[outdated];
            for useless in snapshot::list(self.storage.as_ref())?.into_iter().filter(|sequence| sequence + 1 < first) {
                let removed = self.storage.remove(&snapshot::name(useless));
                removed.map_err(Error::io("remove a snapshot that the journal does not go on from"))?;
            }
        }
        Ok(outdated)
    }

    /// Why it acknowledges nothing any more, if so.
    pub fn failed(&self) -> Option<String> {
        self.failure.get()
    }

    /// Has `callback` called with the error when the journal fails, on the writer's thread; at once if it has failed.
    pub fn on_failure(&self, callback: OnFailure) {
        self.failure.on_failure(callback);
    }

    /// Makes durable what was handed over so far, leaves a clean end and stops the writer. Blocks for the disk.
    pub fn close(mut self) -> Result<(), Error> {
        self.stop();
        self.failed().map_or(Ok(()), |error| Err(Error::Failed(error)))
    }

    fn stop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.room.release();
            // Neither a writer that has stopped already nor one that panicked is news: `failed` knows.
            drop(self.sender.send(Message::Close));
            drop(thread.join());
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The way of one shard's turns to the writer.
#[derive(Debug)]
pub struct Appender {
    id: u16,
    sender: SyncSender<Message>,
    room: Arc<Room>,
}

impl Appender {
    /// Whether the journal has no room left. Nothing keeps an appender from handing over one more turn, which is written; but
    /// it should wait.
    pub fn is_full(&self) -> bool {
        self.room.is_full()
    }

    /// Its number, which stands in its frames: from 0 on with each start.
    pub fn number(&self) -> u16 {
        self.id
    }

    /// Hands a turn over, to be made durable behind all that was handed over before. Does not block while there are at
    /// most [`TURNS_IN_FLIGHT_MAX`]. An error says that the turn will not be written; after an `Ok` only the callback
    /// says that it was.
    pub fn append(&self, turn: Turn) -> Result<(), Stopped> {
        self.room.take(turn.len_bytes());
        self.sender.send(Message::Turn { appender: self.id, turn }).map_err(|_| Stopped)
    }
}
