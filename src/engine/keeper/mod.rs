//! Keeps the next start short and the journal small: takes a snapshot as the journal grows and one at a clean stop, and
//! cuts off the journal what nobody needs any more.
//!
//! Nothing that goes wrong here ends the engine: it is told once, counted, and tried again.

mod plan;
mod status;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use self::plan::Mark;
pub(super) use self::status::Status;
use super::budget::Budget;
use crate::clock::Clock;
use crate::journal::{self, Journal};
use crate::pipeline::{SnapshotError, SnapshotTaken, Snapshots};

/// How often the journal is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Pause before another attempt at a snapshot that failed: with the disk full, each takes room for a while.
const RETRY: Duration = Duration::from_secs(30);

/// Pause between snapshots while the budget is short.
const PRESSED: Duration = Duration::from_secs(10);

/// What a snapshot may take when the engine stops. It is left out if the one before took longer.
const STOP_SNAPSHOT_MAX: Duration = Duration::from_millis(1_500);

/// What a keeper is given.
pub(super) struct Parts {
    pub(super) journal: Arc<Journal>,
    pub(super) snapshots: Snapshots,
    /// Held by whoever copies the journal's files: none goes meanwhile, and no snapshot comes.
    pub(super) keeping: Arc<Mutex<()>>,
    /// What the journal may take, and who needs it.
    pub(super) budget: Budget,
    /// How the journal is cut.
    pub(super) config: journal::Config,
    /// The snapshot that recovery began with.
    pub(super) recovered: Option<SnapshotTaken>,
    /// Bytes of the journal that recovery read behind it.
    pub(super) recovered_bytes: u64,
}

/// A running keeper. Dropped without [`Keeper::stop`], it ends within a look, without a last snapshot.
pub(super) struct Keeper {
    inner: Arc<Inner>,
    asks: SyncSender<()>,
    thread: JoinHandle<()>,
}

struct Inner {
    journal: Arc<Journal>,
    budget: Mutex<Budget>,
    config: journal::Config,
    status: Arc<Status>,
    clock: Clock,
    /// Held while a snapshot is taken: one at a time.
    taking: Mutex<Taking>,
    /// Held while files come and go.
    keeping: Arc<Mutex<()>>,
    /// When the engine stops: what is not done by then is given up.
    stop_by: Mutex<Option<Instant>>,
    /// What was last told to be wrong.
    told: Mutex<Option<String>>,
}

/// Snapshots, and what the last one was.
struct Taking {
    snapshots: Snapshots,
    mark: Mark,
    sequence: u64,
    bytes: u64,
    /// The frame up to which it leaves fixes to the store.
    stored: u64,
    took: Duration,
    taken_at: Option<Instant>,
    failed_at: Option<Instant>,
}

impl Keeper {
    /// Starts its thread, which holds on to the journal until [`Keeper::stop`] returns.
    ///
    /// # Errors
    /// The journal's directory cannot be read, or the operating system has no thread left.
    pub(super) fn start(parts: Parts) -> io::Result<Self> {
        let Parts { journal, snapshots, keeping, budget, config, recovered, recovered_bytes } = parts;
        let recovered = recovered.unwrap_or(SnapshotTaken { sequence: 0, bytes: 0 });
        let status = Arc::new(Status::default());
        let segments = journal.segments().map_err(io::Error::other)?;
        status.saw(&segments);
        status.took(recovered, Duration::ZERO);
        let taking = Taking {
            snapshots,
            mark: Mark::at_end(&segments, recovered_bytes),
            sequence: recovered.sequence,
            bytes: recovered.bytes,
            stored: 0,
            took: Duration::ZERO,
            taken_at: None,
            failed_at: None,
        };
        let inner = Arc::new(Inner {
            journal,
            budget: Mutex::new(budget),
            config,
            status,
            clock: Clock::System,
            taking: Mutex::new(taking),
            keeping,
            stop_by: Mutex::default(),
            told: Mutex::default(),
        });
        let (asks, asked) = sync_channel(1);
        let runs = Arc::clone(&inner);
        let thread = thread::Builder::new().name("keeper".to_owned()).spawn(move || runs.run(&asked))?;
        Ok(Self { inner, asks, thread })
    }

    /// Its numbers.
    pub(super) fn status(&self) -> Arc<Status> {
        Arc::clone(&self.inner.status)
    }

    /// Takes a snapshot now, behind one that is under way and behind whoever copies files. Blocks until it is durable.
    ///
    /// # Errors
    /// There is none. It can be tried again.
    #[cfg(test)]
    pub(super) fn snapshot(&self) -> Result<SnapshotTaken, SnapshotError> {
        let mut taking = lock(&self.inner.taking);
        let _keeping = lock(&self.inner.keeping);
        self.inner.take(&mut taking, true)
    }

    /// Takes a last snapshot, so that the next start has next to nothing to read, if that takes no longer than
    /// [`STOP_SNAPSHOT_MAX`], and ends. Doors are closed and sinks have ended before, shards run.
    pub(super) fn stop(self) {
        *lock(&self.inner.stop_by) = Some(now() + STOP_SNAPSHOT_MAX);
        // One that is gone has panicked.
        let has_gone = self.asks.send(()).is_err();
        if self.thread.join().is_err() || has_gone {
            tracing::error!("the journal's keeper panicked, which is a fault of the program's");
        }
    }
}

impl Inner {
    fn run(&self, asked: &Receiver<()>) {
        loop {
            match asked.recv_timeout(LOOK) {
                Err(RecvTimeoutError::Timeout) => self.tell(self.look()),
                Err(RecvTimeoutError::Disconnected) => break,
                Ok(()) => {
                    self.tell(self.last_look());
                    break;
                }
            }
        }
    }

    /// Looks after the budget, takes a snapshot if it is due, and cuts what may go.
    fn look(&self) -> Result<(), SnapshotError> {
        if self.journal.failed().is_some() {
            return Ok(());
        }
        let is_pressed = lock(&self.budget).look()?.excess_bytes() > 0;
        let segments = self.journal.segments()?;
        self.status.saw(&segments);
        let mut taking = lock(&self.taking);
        let _keeping = match self.keeping.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(()),
            Ok(keeping) => keeping,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        };
        let may_try = taking.failed_at.is_none_or(|failed_at| failed_at.elapsed() >= RETRY);
        let is_due = if is_pressed {
            // It has to help: take the place of segments that nobody else needs, or of a snapshot with fixes that the store
            // lacked at the time. Any other would only take more of the budget.
            let passed = lock(&self.budget).passed_by_all();
            let would_help = (passed > taking.sequence && self.has_moved(&taking))
                || (taking.snapshots.stored() > taking.stored && taking.bytes > 0);
            would_help && taking.taken_at.is_none_or(|taken_at| taken_at.elapsed() >= PRESSED)
        } else {
            plan::is_due(taking.mark.grown(&segments), taking.bytes, self.config.segment_bytes)
                && self.has_moved(&taking)
        };
        if is_due && may_try {
            self.take(&mut taking, is_pressed)?;
        }
        drop(taking);
        self.cut()
    }

    fn last_look(&self) -> Result<(), SnapshotError> {
        if self.journal.failed().is_some() {
            return Ok(());
        }
        let mut taking = lock(&self.taking);
        // A backup that is not done is given up, which may take longer than there is.
        let Ok(_keeping) = self.keeping.try_lock() else { return Ok(()) };
        if self.has_moved(&taking) && taking.took < STOP_SNAPSHOT_MAX {
            self.take(&mut taking, true)?;
        }
        drop(taking);
        self.cut()
    }

    /// Whether more came since the last snapshot than the frame that seals a journal at its end.
    fn has_moved(&self, taking: &Taking) -> bool {
        self.journal.watermark().get() > taking.sequence + 1
    }

    /// Takes a snapshot. One that may not go `over_budget` is given up when the journal's budget gets short meanwhile: with a
    /// store behind, it holds as much as the journal does.
    fn take(&self, taking: &mut Taking, over_budget: bool) -> Result<SnapshotTaken, SnapshotError> {
        let mark = Mark::at_end(&self.journal.segments()?, 0);
        let began = now();
        let has_room = || self.journal.assess().is_ok_and(|assessment| assessment.excess_bytes() == 0);
        let may_go_on = || lock(&self.stop_by).is_none_or(|stop_by| now() < stop_by) && (over_budget || has_room());
        let stored = taking.snapshots.stored();
        let taken = taking.snapshots.take(&self.journal, &may_go_on);
        let took = began.elapsed();
        match &taken {
            Ok(snapshot) => {
                let SnapshotTaken { sequence, bytes } = *snapshot;
                tracing::info!(frame = sequence, bytes, seconds = took.as_secs_f64(), "snapshot taken");
                self.status.took(*snapshot, took);
                let (snapshots, taken_at) = (taking.snapshots.clone(), Some(now()));
                *taking = Taking { snapshots, mark, sequence, bytes, stored, took, taken_at, failed_at: None };
            }
            Err(_) => {
                self.status.failed();
                taking.failed_at = Some(now());
            }
        }
        taken
    }

    /// Cuts what may go, while `keeping` is held.
    fn cut(&self) -> Result<(), SnapshotError> {
        let segments = self.journal.segments()?;
        let excess_bytes = self.journal.assess()?.excess_bytes();
        let passed = lock(&self.budget).passed_by_all();
        let unneeded = plan::unneeded(&self.journal.snapshots()?, passed, excess_bytes > 0);
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(self.clock.now().0.unsigned_abs());
        let upto = self.config.retention.cut_upto(&segments, unneeded, excess_bytes, now);
        let gone = self.journal.cut(upto)?;
        if gone > 0 {
            self.journal.assess()?;
            self.status.saw(&segments[gone..]);
            let first = segments.get(gone).map_or(0, |oldest| oldest.first);
            tracing::info!(segments = gone, first, "journal cut");
        }
        Ok(())
    }

    /// Tells what went wrong, unless it is the same as at the last look.
    fn tell(&self, looked: Result<(), SnapshotError>) {
        let error = looked.err().map(|error| error.to_string());
        let mut told = lock(&self.told);
        match &error {
            // In the pause behind a snapshot that failed none is tried, so that nothing fails either.
            None if lock(&self.taking).failed_at.is_some() => {}
            None => *told = None,
            Some(error) if told.as_ref() == Some(error) => tracing::debug!(error, "snapshot or cut still fails"),
            Some(error) => {
                tracing::warn!(error, "no snapshot, or the journal not cut: the journal grows until that works again");
                *told = Some(error.clone());
            }
        }
    }
}

fn now() -> Instant {
    Instant::now()
}

/// Locks; what panicked while it held the lock left nothing half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
