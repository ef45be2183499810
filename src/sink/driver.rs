//! Feeds one sink from the journal: tail, gather, write, sync, and try again when that fails.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::{Batch, Config, Error, Sink, SinkState, SinkStatus};
use crate::journal::{self, Journal, JournalPosition, Reader};

/// Pause at the end of the journal before looking again. It reads many frames at once then, which wakes and costs far
/// less than a look after each sync of the journal; what it adds to a batch's age does not matter to anyone.
const TAIL_PAUSE: Duration = Duration::from_millis(20);

/// Why a sink stopped for good, in words for `readyz`.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{0}")]
    Sink(Box<dyn std::error::Error + Send + Sync>),
    /// Of another journal, or not in this one any more or yet.
    #[error(
        "{error}: stop the engine and move what this sink holds away (`{place}` in `data_dir`); it is written anew, as far as the journal reaches back"
    )]
    Position { error: journal::Error, place: &'static str },
    #[error("the journal cannot be read on: {0}")]
    Journal(#[from] journal::Error),
    #[error("frame {sequence} of the journal is malformed")]
    Malformed { sequence: u64 },
}

/// How a call of the sink ended when it did not succeed.
enum Ended {
    /// It was asked to stop meanwhile.
    Asked,
    /// It cannot go on.
    Fault(Fault),
}

impl<E: Into<Fault>> From<E> for Ended {
    fn from(fault: E) -> Self {
        Self::Fault(fault.into())
    }
}

/// Starts feeding `sink` on a thread of its own. It holds on to the journal until [`SinkHandle::stop`] returns.
///
/// The error is the operating system's, when it has no thread left. Whatever goes wrong with the sink itself is in its
/// status, and never ends the engine.
pub fn start(sink: impl Sink, config: Config, journal: Arc<Journal>) -> io::Result<SinkHandle> {
    let status = Arc::new(SinkStatus::new(sink.name(), journal.watermark()));
    let (asks, asked) = sync_channel(1);
    let driver = Driver {
        config,
        journal,
        status: Arc::clone(&status),
        asked,
        deadline: None,
        backoff: Backoff::default(),
        batch: Batch::default(),
        position: 0,
        gathered: 0,
        gathering_since: None,
        synced: 0,
        synced_at: None,
        sink,
    };
    let seen = Arc::clone(&status);
    let thread = thread::Builder::new().name(format!("sink {}", status.name())).spawn(move || {
        // A sink that is gone has to show: while it writes nothing, others keep what it should have.
        if panic::catch_unwind(AssertUnwindSafe(|| driver.run())).is_err() {
            tracing::error!(sink = seen.name(), "sink panicked");
            seen.set_state(SinkState::Stopped { error: "its thread panicked, see the log: restart".to_owned() });
        }
    })?;
    Ok(SinkHandle { status, asks, thread })
}

/// A running sink. Dropped without [`SinkHandle::stop`], the sink ends by itself, undrained.
#[derive(Debug)]
pub struct SinkHandle {
    status: Arc<SinkStatus>,
    asks: SyncSender<Instant>,
    thread: JoinHandle<()>,
}

impl SinkHandle {
    /// Its counters and state.
    pub fn status(&self) -> &Arc<SinkStatus> {
        &self.status
    }

    /// The highest journal sequence up to which readers of the sink see every fix.
    pub fn written(&self) -> Arc<AtomicU64> {
        self.status.written()
    }

    /// Writes and syncs what is durable in the journal, for as long as `within` and as nothing fails, then ends the
    /// thread. Blocks for that time and for the call of the sink that is under way. What was not written is the first to
    /// be at the next start. Returns the last sequence written.
    pub fn stop(self, within: Duration) -> u64 {
        if self.asks.send(Instant::now() + within).is_err() {
            tracing::debug!(sink = self.status.name(), "sink had ended by itself");
        }
        // A panic was caught and told where it happened.
        drop(self.thread.join());
        self.status.written().load(Ordering::Acquire)
    }
}

struct Driver<S> {
    config: Config,
    journal: Arc<Journal>,
    status: Arc<SinkStatus>,
    /// Carries the instant until which to drain, once.
    asked: Receiver<Instant>,
    /// That instant, once asked to stop.
    deadline: Option<Instant>,
    backoff: Backoff,
    batch: Batch,
    /// Last sequence written.
    position: u64,
    /// Last sequence in the batch, or `position`.
    gathered: u64,
    /// When the batch got its first frame.
    gathering_since: Option<Instant>,
    /// Last sequence synced.
    synced: u64,
    synced_at: Option<Instant>,
    sink: S,
}

impl<S: Sink> Driver<S> {
    fn run(mut self) {
        let name = self.status.name();
        match self.follow() {
            // What it met after that is of no account: it may have looked for what is no longer kept.
            _ if self.status.is_abandoned() => {
                tracing::error!(sink = name, frame = self.position, "sink given up");
            }
            Ok(()) | Err(Ended::Asked) => {
                tracing::info!(sink = name, frame = self.position, "sink ended");
                self.status.set_state(SinkState::Ended);
            }
            Err(Ended::Fault(fault)) => {
                let error = fault.to_string();
                tracing::error!(sink = name, frame = self.position, error, "sink stopped");
                self.status.set_state(SinkState::Stopped { error });
            }
        }
    }

    /// Feeds the sink until it is asked to stop and has all that is durable.
    fn follow(&mut self) -> Result<(), Ended> {
        let held = self.persist(S::resume)?;
        let mut reader = self.reader_behind(held)?;
        loop {
            // Under load it never comes to waiting, and still hears that it is to stop.
            if self.deadline.is_none() {
                self.wait(Duration::ZERO);
            }
            let is_at_end = self.gather(&mut reader)?;
            // First, or a sink that has fallen behind would hold all of the journal until it has caught up.
            if self.is_sync_due() {
                self.sync()?;
            } else if self.is_batch_due() {
                self.write()?;
            } else if is_at_end && self.deadline.is_some() {
                return Ok(());
            } else if is_at_end {
                let age_left = self.gathering_since.map(|since| self.batch_age_max().saturating_sub(since.elapsed()));
                self.wait(age_left.unwrap_or(TAIL_PAUSE).min(TAIL_PAUSE));
            }
            if self.status.is_abandoned() || self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(Ended::Asked);
            }
        }
    }

    fn reader_behind(&mut self, held: Option<JournalPosition>) -> Result<Reader, Ended> {
        let held = held.unwrap_or(JournalPosition { journal: self.journal.id(), sequence: 0 });
        let reader = self.journal.reader_from(held).map_err(|error| match error {
            journal::Error::Outside { .. } => Fault::Position { error, place: self.sink.place() },
            other => Fault::Journal(other),
        })?;
        self.position = held.sequence;
        self.gathered = held.sequence;
        self.status.resumed(held.sequence);
        tracing::info!(sink = self.status.name(), position = held.sequence, "sink resumes");
        Ok(reader)
    }

    /// Reads into the batch until it is full or the journal's durable end is reached, which it tells.
    fn gather(&mut self, reader: &mut Reader) -> Result<bool, Fault> {
        // Frames that the sink wants nothing of fill no batch, and it is to be heard all the same that this is to stop.
        while self.batch.fixes() < self.config.batch_fixes_max && self.batch.change().is_none() && !self.is_batch_old()
        {
            let Some(frame) = reader.next()? else { return Ok(true) };
            let sequence = frame.sequence;
            self.batch.gather(&frame, &self.sink).map_err(|_| Fault::Malformed { sequence })?;
            self.gathered = sequence;
            self.gathering_since.get_or_insert_with(Instant::now);
        }
        Ok(false)
    }

    fn batch_age_max(&self) -> Duration {
        Duration::from_millis(self.config.batch_age_ms_max)
    }

    fn is_batch_old(&self) -> bool {
        self.gathering_since.is_some_and(|since| since.elapsed() >= self.batch_age_max())
    }

    fn is_batch_due(&self) -> bool {
        self.gathering_since.is_some()
            && (self.deadline.is_some()
                || self.batch.fixes() >= self.config.batch_fixes_max
                || self.batch.change().is_some()
                || self.is_batch_old())
    }

    fn write(&mut self) -> Result<(), Ended> {
        let upto = JournalPosition { journal: self.journal.id(), sequence: self.gathered };
        let batch = std::mem::take(&mut self.batch);
        let written = self.persist(|sink| sink.write(&batch, upto));
        self.batch = batch;
        written?;
        self.status.wrote(upto.sequence, self.batch.fixes());
        self.position = upto.sequence;
        self.batch.clear();
        self.gathering_since = None;
        Ok(())
    }

    fn is_sync_due(&self) -> bool {
        let interval = Duration::from_millis(self.config.sync_interval_ms);
        self.synced < self.position
            && (self.deadline.is_some() || self.synced_at.is_none_or(|synced_at| synced_at.elapsed() >= interval))
    }

    fn sync(&mut self) -> Result<(), Ended> {
        self.persist(S::sync)?;
        self.synced = self.position;
        self.synced_at = Some(Instant::now());
        self.status.synced_to(self.synced);
        Ok(())
    }

    /// Calls the sink until it succeeds, is given up, or this was asked to stop: a sink that fails then is not waited
    /// for.
    fn persist<T>(&mut self, mut call: impl FnMut(&mut S) -> Result<T, Error>) -> Result<T, Ended> {
        loop {
            let error = match call(&mut self.sink) {
                Ok(value) => {
                    self.succeeded();
                    return Ok(value);
                }
                Err(Error::Stop(error)) => return Err(Fault::Sink(error).into()),
                Err(Error::Retry(error)) => error.to_string(),
            };
            let pause = self.backoff.pause(Duration::from_millis(self.config.retry_ms_max));
            let failures = self.backoff.failures();
            let name = self.status.name();
            // The first says that it began; more would only say how long the pauses are.
            if failures == 1 {
                tracing::warn!(sink = name, error, "sink fails, retrying");
            } else {
                tracing::debug!(sink = name, error, failures, "sink still fails");
            }
            self.status.failed(failures, error);
            if self.deadline.is_none() {
                self.wait(pause);
            }
            if self.deadline.is_some() || self.status.is_abandoned() {
                return Err(Ended::Asked);
            }
        }
    }

    fn succeeded(&mut self) {
        let failures = self.backoff.failures();
        if failures > 0 {
            tracing::info!(sink = self.status.name(), failures, "sink works again");
        }
        if failures > 0 || self.status.state() != SinkState::Healthy {
            self.status.set_state(SinkState::Healthy);
        }
        self.backoff.reset();
    }

    /// Waits, not longer than until asked to stop.
    fn wait(&mut self, pause: Duration) {
        match self.asked.recv_timeout(pause) {
            Ok(deadline) => self.deadline = Some(deadline),
            Err(RecvTimeoutError::Disconnected) => self.deadline = Some(Instant::now()),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}
