//! The journal.

mod error;
mod frame;
mod record;
mod watermark;

pub use error::{Damage, Error, Malformed, Stopped};
pub use frame::{APPENDER_OF_SEAL, FRAME_BYTES_MAX, Frame};
pub use record::{Record, Records, Turn, TurnEncoder};
pub use watermark::Watermark;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

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

/// Size of the journal's files.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Length at which a segment is ended and the next begun.
    pub segment_bytes: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { segment_bytes: 256 << 20 }
    }
}

/// What [`open`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Frames that were applied.
    pub frames: u64,
    /// Fixes in them.
    pub fixes: u64,
    /// Segments that were read.
    pub segments: u64,
    /// Last sequence applied, 0 if none was.
    pub last: u64,
    /// Bytes of a torn end that were cut off; they had not been acknowledged.
    pub cut_bytes: u64,
}

/// Takes, recovers and starts the journal in `dir`, which is the journal's own and is made where missing.
pub fn open(
    dir: &Path,
    config: &Config,
    apply: &mut dyn FnMut(&Frame<'_>) -> Result<(), Malformed>,
) -> Result<(Journal, Recovered), Error> {
    unimplemented!("{dir:?} {config:?} {:?}", apply as *mut _)
}

/// A running journal: its writer's thread and the ways to it.
#[derive(Debug)]
pub struct Journal(JournalId);

/// Called on the writer's thread with the sequences of one appender's frames that became durable, in order.
pub type OnDurable = Box<dyn Fn(&[u64]) + Send>;

impl Journal {
    /// Its name.
    pub fn id(&self) -> JournalId {
        self.0
    }
    /// A new appender (at most 64 in a journal's life).
    pub fn appender(&self, on_durable: OnDurable) -> Appender {
        unimplemented!("{:p}", &on_durable)
    }
    /// How far it is durable.
    pub fn watermark(&self) -> Arc<Watermark> {
        unimplemented!()
    }
    /// Reads on behind `after`, up to the durable end.
    pub fn reader(&self, after: u64) -> Result<Reader, Error> {
        unimplemented!("{after}")
    }
    /// As reader, for a position that may be of another journal.
    pub fn reader_from(&self, position: JournalPosition) -> Result<Reader, Error> {
        unimplemented!("{position}")
    }
    /// Why it failed, if it did: nothing is acknowledged any more.
    pub fn failed(&self) -> Option<String> {
        unimplemented!()
    }
    /// Has `callback` called once, with the error, when the journal fails; at once if it has.
    pub fn on_failure(&self, callback: Box<dyn FnOnce(&str) + Send>) {
        unimplemented!("{:p}", &callback)
    }
    /// Writes and syncs what waits, then stops the writer.
    pub fn close(self) -> Result<(), Error> {
        unimplemented!()
    }
}

/// Where one shard hands its turns over.
#[derive(Debug)]
pub struct Appender(());

impl Appender {
    /// Queues a turn.
    pub fn append(&self, turn: Turn) -> Result<(), Stopped> {
        unimplemented!("{turn:?} {self:?}")
    }
}

/// Reads the journal from a position up to its durable end.
#[derive(Debug)]
pub struct Reader(());

impl Reader {
    /// The next frame, `None` at the durable end for now.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend its items")]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, Error> {
        unimplemented!()
    }
}
