//! Bounded fan-out of what just happened: accepted fixes, in the order of their drivers, to whoever listens now.
//!
//! A listener that falls behind loses the oldest batches and is told how many; nobody waits for it.

use std::sync::Arc;

use tokio::sync::broadcast;

use crate::fix::Fix;
use crate::ids::DriverKey;

/// A fix that moved a driver's "now".
#[derive(Clone, Debug)]
pub struct LiveFix {
    /// Whose.
    pub driver: Arc<DriverKey>,
    /// The fix, durable already.
    pub fix: Fix,
}

/// Batches that a listener may be behind before it loses the oldest.
const BATCHES_BEHIND_MAX: usize = 4_096;

/// The sending end; clones feed the same listeners.
#[derive(Clone, Debug)]
pub struct Feed(broadcast::Sender<Arc<[LiveFix]>>);

impl Default for Feed {
    fn default() -> Self {
        Self(broadcast::Sender::new(BATCHES_BEHIND_MAX))
    }
}

impl Feed {
    /// Whether anybody listens, so that nothing is built for nobody.
    pub fn is_wanted(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Hands a batch to every listener. Never blocks.
    pub fn publish(&self, batch: Vec<LiveFix>) {
        // An error says that the last listener left meanwhile, which is no fault.
        drop(self.0.send(batch.into()));
    }

    /// A listener from now on.
    pub fn listen(&self) -> broadcast::Receiver<Arc<[LiveFix]>> {
        self.0.subscribe()
    }
}
