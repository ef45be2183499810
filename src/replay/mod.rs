//! Recorded traces into an engine of this process, or to a broker.
//!
//! A recording's rows go in file order. A row without a time is refused as `no_time`, one that cannot be read as
//! `malformed`. In an engine of this process a row counts as received at its own time, so that the rules which compare
//! with the clock have nothing to say.

mod csv;
mod drivers;
mod error;
mod gpx;
mod inlet;
mod input;
mod mqtt;
mod offline;
mod pace;
mod progress;
mod rec;
mod rejected;
mod source;
mod summary;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

pub use error::Error;
pub use inlet::Inlet;
pub use mqtt::{BrokerUrl, Mqtt};
pub use offline::{Offline, Submission, Submit};
pub use pace::Speed;
pub use rejected::judge_again;
pub use source::Row;
pub use summary::{Delivery, Summary};

use crate::ids::TenantId;
use drivers::Drivers;
use pace::Pace;
use progress::Progress;
use source::Source;

/// What to replay, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The recordings, replayed one after the other.
    pub files: Vec<PathBuf>,
    /// Whose drivers they are.
    pub tenant: TenantId,
    /// The driver of all rows, instead of what the recordings say.
    pub driver: Option<String>,
    /// How fast.
    pub speed: Speed,
    /// Whether to show progress, if standard error is a terminal.
    pub shows_progress: bool,
}

/// Where rows go.
pub trait Target {
    /// Takes one row and the text that it was read from. Blocks while too many are on their way.
    fn send(&mut self, row: Row, raw: &[u8]) -> Result<(), Error>;

    /// The next row is some time off: sends on whatever was kept to make larger batches.
    fn flush(&mut self);

    /// Waits until it is known what became of every row, and adds that to the summary.
    fn finish(&mut self, summary: &mut Summary) -> Result<(), Error>;
}

/// Replays all files of a plan. Blocks until every row is durable, or acknowledged by the broker.
///
/// A file that cannot be read ends the replay, but not before the rows up to there are safe: the summary counts them. Of
/// a replay that the target ended the summary has only what was read.
pub fn run(plan: &Plan, target: &mut dyn Target) -> (Summary, Result<(), Error>) {
    let mut replay = Replay::new(plan);
    let mut result = plan.files.iter().try_for_each(|file| replay.file(file, target));
    replay.progress.finish();
    let mut summary = Summary { rows: replay.rows, skipped: replay.skipped, ..Summary::default() };
    if result.as_ref().err().is_none_or(Error::is_of_file) {
        // A target that fails now is the graver fault: it leaves open what became of the rows.
        result = target.finish(&mut summary).and(result);
    }
    summary.seconds = replay.start.elapsed().as_secs_f64();
    (summary, result)
}

struct Replay<'a> {
    plan: &'a Plan,
    drivers: Drivers,
    progress: Progress,
    start: Instant,
    rows: u64,
    skipped: u64,
    /// Bytes of the files that are done with.
    bytes_done: u64,
}

impl<'a> Replay<'a> {
    fn new(plan: &'a Plan) -> Self {
        // A file that is not there is found out when its turn comes.
        let bytes = plan.files.iter().filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum();
        Self {
            plan,
            drivers: Drivers::new(plan.tenant.clone()),
            progress: Progress::new(bytes, plan.shows_progress),
            start: Instant::now(),
            rows: 0,
            skipped: 0,
            bytes_done: 0,
        }
    }

    fn file(&mut self, file: &Path, target: &mut dyn Target) -> Result<(), Error> {
        let mut source = Source::open(file, self.plan.driver.as_deref(), &mut self.drivers)?;
        let mut pace = Pace::new(self.plan.speed);
        let is_paced = self.plan.speed != Speed::Max;
        let file_start = Instant::now();
        loop {
            let next = source.next_row(&mut self.drivers);
            // Also where the file cannot be read on.
            self.skipped += source.take_skipped();
            let Some(row) = next? else { break };
            let time = row.element.ok().and_then(|report| report.time);
            if let Some(wait) = time.and_then(|time| pace.due(time)).map(|due| due.saturating_sub(file_start.elapsed()))
                && !wait.is_zero()
            {
                target.flush();
                #[expect(clippy::disallowed_methods, reason = "the pace of the recording is what is waited for")]
                thread::sleep(wait);
            }
            target.send(row, source.raw())?;
            self.rows += 1;
            if Progress::is_due(self.rows, is_paced) {
                self.progress.show(self.bytes_done + source.bytes_read(), self.rows, self.start.elapsed());
            }
        }
        self.bytes_done += source.bytes_read();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
