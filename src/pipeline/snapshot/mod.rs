//! Snapshots of the pipeline: what all frames so far came to, taken while the shards go on, so that recovery need not read
//! the journal from its beginning and the journal can be cut.
//!
//! # How one is taken
//! It stands for the journal's watermark at its beginning. Every shard is then asked, and begins once the turns have ended
//! that it had in flight when it was asked: all its frames up to that watermark are in its state by then. At the beginning
//! it tells its books, with the last frame that they count; then its drivers, a slice of at most some 50 µs between two
//! turns. Chunks go to whoever takes the snapshot over a bounded channel; while that is full the shard goes on with its
//! turns, so that a slow disk costs a shard nothing.
//!
//! # What holds
//! - A snapshot has everything of the frames that it stands for, and may have anything of the frames behind. Recovery
//!   applies those again, which changes nothing: a fix that is there already is not taken in twice, and the counts of a
//!   frame are passed over if its shard's books have them (appender and last frame; frames of earlier runs are all among
//!   those that it stands for).
//! - It gets its name only once all frames are durable of which anything is in it, and names the highest of them, so that a
//!   journal that lost its end is found out.
//! - What the store had when the snapshot began is left to the store, up to each driver's newest fix, and the floor of the
//!   driver rises to it. The snapshot names the frame up to which it may rely on the store. A store that came back without
//!   it (its machine crashed) has to catch up from the journal before the shards start; one that began anew behind it
//!   cannot, and what it lacks counts as forgotten.
//! - A shard that fails or stops in the middle leaves no snapshot.

mod capture;
mod content;
mod restore;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

pub(super) use self::capture::{Capture, Request, Source};
pub(super) use self::restore::Restored;
pub use self::restore::{SnapshotCheck, SnapshotReach};

use self::capture::Part;
use self::content::{CHUNK_BYTES, End, Head};
use super::shard::Message;
use crate::journal::{self, Journal, SnapshotWriter};

/// What a slice may cost, in looks at a fix: some tens of microseconds.
const SLICE_COST_MAX: usize = 4_000;

/// Chunks that wait for the disk, for each shard.
const CHUNKS_WAITING_MAX: usize = 2;

/// How often it is asked whether a snapshot is still wanted, while nothing comes.
const WANTED_LOOK: Duration = Duration::from_millis(20);

/// How much is captured at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) slice_cost_max: usize,
    /// Length at which a chunk is given on, at most [`CHUNK_BYTES`].
    pub(super) chunk_bytes: usize,
    pub(super) chunks_waiting_max: usize,
}

/// Takes snapshots of running shards.
#[derive(Clone, Debug)]
pub struct Snapshots {
    shards: Vec<SyncSender<Message>>,
    store: Option<StoreReach>,
    limits: Limits,
    /// Requests that shards have not done with.
    under_way: Arc<AtomicUsize>,
}

/// A request that a shard has not done with.
#[derive(Debug)]
struct UnderWay(Arc<AtomicUsize>);

impl UnderWay {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What of the journal is in the store.
#[derive(Clone, Debug)]
pub(super) struct StoreReach {
    /// The frame behind which it began.
    pub(super) began: u64,
    /// The frame up to which it had everything when recovery began.
    pub(super) applied: u64,
    /// The frame up to which it has everything now, once its sink runs.
    pub(super) written: Arc<AtomicU64>,
}

impl StoreReach {
    fn get(&self) -> u64 {
        self.written.load(Ordering::Acquire).max(self.applied)
    }
}

/// A snapshot that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotTaken {
    /// The frame it stands for.
    pub sequence: u64,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Why there is no snapshot. Nothing is lost with it, and it can be tried again.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A shard has not done with the one before, which was given up.
    #[error("the shards are not done with the one before")]
    Busy,
    /// The engine is ending, or a shard or the journal gave up.
    #[error("a shard gave up or is stopping")]
    Stopped,
    /// It was not wanted any more.
    #[error("it was given up")]
    GivenUp,
    /// The disk refused.
    #[error(transparent)]
    Journal(#[from] journal::Error),
}

impl Snapshots {
    pub(super) fn new(shards: Vec<SyncSender<Message>>, store: Option<StoreReach>) -> Self {
        let chunks_waiting_max = CHUNKS_WAITING_MAX * shards.len();
        let limits = Limits { slice_cost_max: SLICE_COST_MAX, chunk_bytes: CHUNK_BYTES, chunks_waiting_max };
        Self { shards, store, limits, under_way: Arc::default() }
    }

    /// The same with other limits, for tests.
    #[cfg(test)]
    pub(super) fn with(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The frame up to which the next one leaves fixes to the store; 0 if there is none.
    pub fn stored(&self) -> u64 {
        self.store.as_ref().map_or(0, StoreReach::get)
    }

    /// Takes a snapshot, one at a time, and gives it to the journal. Blocks for the shards and the disk, for as long as it
    /// `is_wanted`.
    ///
    /// # Errors
    /// There is none, and nothing is left of it.
    pub fn take(&self, journal: &Journal, is_wanted: &dyn Fn() -> bool) -> Result<SnapshotTaken, SnapshotError> {
        let mut taking = self.begin(journal)?;
        while !taking.is_whole() {
            if !is_wanted() {
                return Err(SnapshotError::GivenUp);
            }
            taking.go_on()?;
        }
        taking.finish(is_wanted)
    }

    /// Asks all shards.
    pub(super) fn begin<'a>(&'a self, journal: &'a Journal) -> Result<Taking<'a>, SnapshotError> {
        // Its message may still be in an inbox, where there is room for one.
        if self.under_way.load(Ordering::Acquire) > 0 {
            return Err(SnapshotError::Busy);
        }
        // In this order: what is left to the store is of frames that the snapshot stands for.
        let stored = self.stored();
        let sequence = journal.watermark().get();
        let mut file = journal.snapshot(sequence)?;
        let store_began = self.store.as_ref().map(|store| store.began);
        file.put(&content::head(Head { sequence, store_began }))?;
        let (sender, parts) = sync_channel(self.limits.chunks_waiting_max);
        for shard in &self.shards {
            let (parts, _under_way) = (sender.clone(), UnderWay::new(&self.under_way));
            let request = Request { sequence, stored, limits: self.limits, parts, _under_way };
            shard.send(Message::Snapshot(request)).map_err(|_| SnapshotError::Stopped)?;
        }
        Ok(Taking { snapshots: self, journal, file, parts, sequence, upto: sequence, shards_left: self.shards.len() })
    }
}

/// A snapshot that is being taken.
pub(super) struct Taking<'a> {
    snapshots: &'a Snapshots,
    journal: &'a Journal,
    file: SnapshotWriter,
    parts: Receiver<Part>,
    sequence: u64,
    /// The highest frame of which anything is in it.
    upto: u64,
    shards_left: usize,
}

impl Taking<'_> {
    /// Whether all shards have told everything.
    pub(super) fn is_whole(&self) -> bool {
        self.shards_left == 0
    }

    /// Writes what a shard tells next, if that comes soon.
    pub(super) fn go_on(&mut self) -> Result<(), SnapshotError> {
        match self.parts.recv_timeout(WANTED_LOOK) {
            Ok(Part::Chunk(chunk)) => self.file.put(&chunk)?,
            Ok(Part::End { upto }) => {
                self.upto = self.upto.max(upto);
                self.shards_left -= 1;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(SnapshotError::Stopped),
        }
        Ok(())
    }

    /// Sees that what is in it is durable, and gives it its name.
    pub(super) fn finish(mut self, is_wanted: &dyn Fn() -> bool) -> Result<SnapshotTaken, SnapshotError> {
        let watermark = self.journal.watermark();
        let mut durable = watermark.get();
        while durable < self.upto {
            if self.journal.failed().is_some() {
                return Err(SnapshotError::Stopped);
            }
            if !is_wanted() {
                return Err(SnapshotError::GivenUp);
            }
            durable = watermark.wait_past(durable, WANTED_LOOK);
        }
        // Whatever left a window while it was told, the store has.
        let stored = self.snapshots.stored();
        // The store follows what is durable, so that both are in the journal: a later start looks whether they still are.
        self.file.put(&content::end(End { upto: self.upto.max(stored), stored }))?;
        Ok(SnapshotTaken { sequence: self.sequence, bytes: self.file.finish()? })
    }
}
