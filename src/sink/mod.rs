//! Where journalled fixes go on to: each sink tails the journal on a thread of its own, from the position that it holds.
//!
//! There is no other hand-over. A sink that is slow or away leaves its fixes in the journal, so that it costs disk and
//! neither memory nor anyone's time, and it stores its position together with the rows, so that nothing is skipped or
//! doubled over any crash.

mod backoff;
mod batch;
mod driver;
mod embedded;
mod status;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use self::batch::{Batch, DriverBatch, OwnedChange};
pub use self::driver::{SinkHandle, start};
pub use self::embedded::Embedded;
pub use self::status::{SinkState, SinkStatus};
use crate::journal::JournalPosition;

/// Keeps what it is given, with the position that it reaches to.
///
/// Called from one thread, never concurrently; calls may block, and should time out where a server could hold them up
/// for ever. A sink over an async client brings a runtime of its own and blocks on it. Whether an error is
/// [`Error::Retry`] or [`Error::Stop`] decides what happens next, each call says what; a sink that can mend an error by
/// itself (split the batch, set a row aside) does so and returns `Ok`.
pub trait Sink: Send + 'static {
    /// Its name in metrics, logs and `readyz`.
    fn name(&self) -> &'static str;

    /// The directory below `data_dir` with what it holds, for whoever has to see to it.
    fn place(&self) -> &'static str;

    /// Whether it wants to know of [changes](crate::journal::Change). A batch of such a sink ends with the frame of a change, and
    /// is written without waiting for more.
    fn takes_changes(&self) -> bool {
        false
    }

    /// Whether it wants any fixes now. While it does not, frames with fixes are passed by unread.
    fn wants_fixes(&self) -> bool {
        true
    }

    /// Whether it wants the fixes of this tenant.
    fn wants_fixes_of(&self, _tenant: &str) -> bool {
        true
    }

    /// The position it holds, asked once before the first batch.
    ///
    /// `Some`: batches begin behind it, or, if the journal has no such position, the sink stops. `None`: it holds
    /// nothing, and batches begin with the journal. `Retry`: asked again after a pause. `Stop`: the sink stops.
    fn resume(&mut self) -> Result<Option<JournalPosition>, Error>;

    /// Stores the fixes of `batch`, which may be none, and `upto`, both or neither.
    ///
    /// `Ok`: readers of the sink see both from now on, and the next batch begins behind `upto`. `Retry`: the same batch
    /// comes again after a pause, and what is behind it waits in the journal; this sink may have stored it
    /// nonetheless, if its answer was lost, and has to notice then. `Stop`: the sink stops.
    fn write(&mut self, batch: &Batch, upto: JournalPosition) -> Result<(), Error>;

    /// Makes what was written outlive a crash of the sink's machine: the journal may drop its segments up to there.
    ///
    /// `Ok`: so it is for all that was written. `Retry`: called again after a pause, with nothing written in between.
    /// `Stop`: the sink stops. Nothing to do for sinks whose writes are that safe already.
    fn sync(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// Why a sink could not do as asked, and so what happens next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It may work later with nothing done but waiting. The engine goes on, the sink is "retrying".
    #[error("{0}")]
    Retry(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It will not work until somebody sees to it. The engine goes on, the sink is "stopped" until the next start.
    #[error("{0}")]
    Stop(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// How a sink is fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Fixes in a batch when it is written without waiting for more. A batch ends with a frame of the journal, so it may
    /// be larger by one frame. Bounds the sink's memory, at some 150 bytes a fix and as much for each driver.
    pub batch_fixes_max: usize,
    /// Age of the oldest fix in a batch, in milliseconds, when it is written however small. Fixes that a driver sends
    /// within it become one write; until it is over they are held in memory (and answered from there).
    pub batch_age_ms_max: u64,
    /// Longest that written fixes go without a sync, in milliseconds. Until then the journal keeps them too.
    pub sync_interval_ms: u64,
    /// Longest pause between two attempts, in milliseconds; the first pause is 100 ms and each doubles.
    pub retry_ms_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { batch_fixes_max: 50_000, batch_age_ms_max: 1_000, sync_interval_ms: 10_000, retry_ms_max: 30_000 }
    }
}
