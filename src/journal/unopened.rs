//! A journal before its writer runs: its files, the right to write them, and what it has to reach when it opens.

use std::path::Path;
use std::sync::Arc;

use super::error::{Error, Malformed};
use super::frame::Frame;
use super::storage::{Directory, Lock, Storage};
use super::{Config, Journal, JournalPosition, Recovered, Unusable, segment, snapshot};

/// The files of a journal that nobody else may write.
#[derive(Debug)]
pub struct Unopened {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) lock: Option<Lock>,
}

/// Where recovery begins, and what it has to find.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    /// What a snapshot stands for: frames behind it are applied, those before it need not be there any more. `None`: the
    /// journal has to be there from its first frame on.
    pub snapshot: Option<JournalPosition>,
    /// How far others came who follow this journal. Each must be in it.
    pub followed: Vec<JournalPosition>,
}

impl Unopened {
    /// Makes the directory where missing and takes the right to write in it.
    pub fn take(dir: &Path) -> Result<Self, Error> {
        let (directory, lock) = Directory::take(dir)?;
        Ok(Self { storage: Arc::new(directory), lock: Some(lock) })
    }

    /// Of other than a directory: nobody else may use `storage`.
    pub fn on(storage: Arc<dyn Storage>) -> Self {
        Self { storage, lock: None }
    }

    /// The first frame that it still holds; `None` if there is no journal yet.
    pub fn first(&self) -> Result<Option<u64>, Error> {
        Ok(segment::list(self.storage.as_ref())?.first().copied())
    }

    /// The frames that snapshots stand for, newest first.
    pub fn snapshots(&self) -> Result<Vec<u64>, Error> {
        let mut sequences = snapshot::list(self.storage.as_ref())?;
        sequences.reverse();
        Ok(sequences)
    }

    /// Reads a snapshot chunk by chunk; gives the position that it stands for. What `take` was given before an error is to
    /// be thrown away: read it twice, at first to see whether it is whole.
    pub fn read_snapshot(
        &self,
        sequence: u64,
        take: &mut dyn FnMut(&[u8]) -> Result<(), Malformed>,
    ) -> Result<JournalPosition, Unusable> {
        snapshot::read(self.storage.as_ref(), sequence, take)
    }

    /// Recovers the journal and starts its writer.
    ///
    /// Every frame behind the snapshot goes through `apply` in order; an error from it says that the records do not read,
    /// and is reported as damage. When this returns, everything applied is durable. [`Error::Outside`], before anything
    /// is written behind the journal's end, if it does not reach what it has to. Blocks for as long as it takes to read.
    pub fn open(
        self,
        config: &Config,
        resume: &Resume,
        apply: &mut dyn FnMut(&Frame<'_>) -> Result<(), Malformed>,
    ) -> Result<(Journal, Recovered), Error> {
        super::start(self, config, resume, apply)
    }
}
