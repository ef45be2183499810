//! Bounded fan-out of what just happened: accepted fixes, in the order of their drivers, to whoever listens now.
//!
//! A listener that falls behind loses the oldest batches and is told how many; nobody waits for it.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

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

/// Batches that a listener may be behind before it loses the oldest. A batch is what one turn of a shard accepted, 8,192
/// fixes or so at most, and a fix takes under 100 bytes: 200 MB with a listener that stands still under the greatest load,
/// and some kilobytes at most times.
const BATCHES_BEHIND_MAX: usize = 256;

/// Tells whether a listener would do anything with a fix at this moment.
type Wants = Box<dyn Fn() -> bool + Send + Sync>;

/// The sending end; clones feed the same listeners.
#[derive(Clone)]
pub struct Feed {
    sender: broadcast::Sender<Arc<[LiveFix]>>,
    listeners: Arc<RwLock<Vec<Wants>>>,
}

impl fmt::Debug for Feed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Feed")
    }
}

impl Default for Feed {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(BATCHES_BEHIND_MAX), listeners: Arc::default() }
    }
}

impl Feed {
    /// Whether anybody would do anything with a fix now, so that nothing is built for nobody.
    pub fn is_wanted(&self) -> bool {
        self.listeners.read().unwrap_or_else(PoisonError::into_inner).iter().any(|wants| wants())
    }

    /// Hands a batch to every listener. Never blocks.
    pub fn publish(&self, batch: Vec<LiveFix>) {
        // An error says that the last listener left meanwhile, which is no fault.
        drop(self.sender.send(batch.into()));
    }

    /// A listener for as long as the feed lives. `wants` is asked before a batch is built; it must not block.
    pub fn listen(&self, wants: impl Fn() -> bool + Send + Sync + 'static) -> broadcast::Receiver<Arc<[LiveFix]>> {
        self.listeners.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(wants));
        self.sender.subscribe()
    }
}

// What the bound above is reckoned with.
const _: () = assert!(size_of::<LiveFix>() < 100);
