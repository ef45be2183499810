//! What is known of a sink while it runs, for metrics, `readyz` and whoever waits for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::journal::Watermark;

/// Whether a sink takes batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkState {
    /// It was not heard of yet.
    Starting,
    /// Its last call succeeded.
    Healthy,
    /// Its last call failed and is tried again.
    Retrying {
        /// Attempts that failed in a row.
        failures: u32,
        /// What the last one said.
        error: String,
    },
    /// It takes nothing more until the next start, and says why.
    Stopped {
        /// What is wrong and what can be done.
        error: String,
    },
    /// It was asked to stop, and did.
    Ended,
}

/// One sink's counters and state. All reads are cheap and none blocks the sink.
#[derive(Debug)]
pub struct SinkStatus {
    name: &'static str,
    durable: Arc<Watermark>,
    written: Arc<AtomicU64>,
    synced: AtomicU64,
    fixes: AtomicU64,
    batches: AtomicU64,
    failures: AtomicU64,
    state: Mutex<SinkState>,
    /// Why it was given up, once it was.
    abandoned: OnceLock<String>,
}

impl SinkStatus {
    /// Of a sink that has written nothing yet.
    pub fn new(name: &'static str, durable: Arc<Watermark>) -> Self {
        Self {
            name,
            durable,
            written: Arc::default(),
            synced: AtomicU64::new(0),
            fixes: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            state: Mutex::new(SinkState::Starting),
            abandoned: OnceLock::new(),
        }
    }

    /// The sink's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The highest journal sequence up to which readers of the sink see every fix.
    pub fn written(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.written)
    }

    /// The highest journal sequence up to which the sink holds every fix even if its machine crashes: the journal may
    /// drop segments up to here.
    pub fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    /// The frame behind which it needs the journal; `None` once it was given up.
    pub fn needs_behind(&self) -> Option<u64> {
        self.abandoned.get().is_none().then(|| self.synced())
    }

    /// Gives the sink up, for this reason: it shows as stopped from now on, needs nothing of the journal any more, and ends
    /// after the call that is under way. At the next start it stops by itself if the journal has gone on without it.
    pub fn abandon(&self, why: &str) {
        // Who was first has told why.
        drop(self.abandoned.set(why.to_owned()));
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.get().is_some()
    }

    /// Durable frames of the journal that the sink has not written.
    pub fn lag_frames(&self) -> u64 {
        self.durable.get().saturating_sub(self.written.load(Ordering::Acquire))
    }

    /// Fixes written since the start. What was journalled since, and what recovery found behind the sink's position,
    /// less this, is the lag in fixes.
    pub fn fixes_written(&self) -> u64 {
        self.fixes.load(Ordering::Relaxed)
    }

    /// Batches written since the start.
    pub fn batches_written(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    /// Calls that failed since the start.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Whether it takes batches.
    pub fn state(&self) -> SinkState {
        if let Some(error) = self.abandoned.get() {
            return SinkState::Stopped { error: error.clone() };
        }
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_state(&self, state: SinkState) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    pub(super) fn resumed(&self, sequence: u64) {
        self.written.store(sequence, Ordering::Release);
    }

    pub(super) fn wrote(&self, sequence: u64, fixes: usize) {
        self.fixes.fetch_add(fixes as u64, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.written.store(sequence, Ordering::Release);
    }

    pub(super) fn synced_to(&self, sequence: u64) {
        self.synced.store(sequence, Ordering::Release);
    }

    pub(super) fn failed(&self, failures: u32, error: String) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.set_state(SinkState::Retrying { failures, error });
    }
}
