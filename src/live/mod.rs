//! Bounded fan-out of what just happened, to whoever listens now: accepted fixes, and what followed from them, each in the order
//! of their drivers.
//!
//! A listener that falls behind loses the oldest batches and is told how many; nobody waits for it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::broadcast;

use crate::fix::Fix;
use crate::ids::{DriverKey, FenceId, TenantId};

/// A fix that moved a driver's "now".
#[derive(Clone, Debug)]
pub struct LiveFix {
    /// Whose.
    pub driver: Arc<DriverKey>,
    /// The fix, durable already.
    pub fix: Fix,
}

/// A driver entered a geofence, left it or dwelt in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveEvent {
    /// Its place among all events, as the outbox has it.
    pub sequence: u64,
    /// Whose.
    pub tenant: TenantId,
    /// Which of its geofences.
    pub fence: FenceId,
    /// `enter`, `exit` or `dwell`.
    pub kind: &'static str,
    /// What is told: a JSON object of some 300 bytes.
    pub body: Bytes,
}

/// Batches of events that a listener may be behind: with those of [`EVENTS_AT_ONCE_MAX`], 26 MB.
const EVENT_BATCHES_BEHIND_MAX: usize = 256;

/// How often it is looked whether events were taken.
const EVENTS_LOOK: Duration = Duration::from_millis(2);

/// Events in a batch.
const EVENTS_AT_ONCE_MAX: usize = 256;

/// Batches that a listener may be behind before it loses the oldest. A batch is what one turn of a shard accepted, 8,192
/// fixes or so at most, and a fix takes under 100 bytes: 200 MB with a listener that stands still under the greatest load,
/// and some kilobytes at most times.
const BATCHES_BEHIND_MAX: usize = 256;

/// Tells whether a listener would do anything with a fix at this moment.
type Wants = Box<dyn Fn() -> bool + Send + Sync>;

/// A listener of events.
type EventsReceiver = broadcast::Receiver<Arc<[LiveEvent]>>;

/// The sending end; clones feed the same listeners.
#[derive(Clone)]
pub struct Feed {
    sender: broadcast::Sender<Arc<[LiveFix]>>,
    listeners: Arc<RwLock<Vec<Wants>>>,
    events: broadcast::Sender<Arc<[LiveEvent]>>,
    /// Hears of events before anybody listens.
    first: Arc<Mutex<Option<EventsReceiver>>>,
}

impl fmt::Debug for Feed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Feed")
    }
}

impl Default for Feed {
    fn default() -> Self {
        let (events, first) = broadcast::channel(EVENT_BATCHES_BEHIND_MAX);
        Self {
            sender: broadcast::Sender::new(BATCHES_BEHIND_MAX),
            listeners: Arc::default(),
            events,
            first: Arc::new(Mutex::new(Some(first))),
        }
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

    /// Hands events to every listener of events. Never blocks.
    pub fn publish_events(&self, events: &[LiveEvent]) {
        for events in events.chunks(EVENTS_AT_ONCE_MAX) {
            // As above.
            drop(self.events.send(events.into()));
        }
    }

    /// Waits until all who listen have taken the events that there are, not longer than this. Nobody may be there who
    /// ever will.
    pub fn wait_for_events(&self, within: Duration) {
        let began = Instant::now();
        while !self.events.is_empty() && began.elapsed() < within {
            thread::park_timeout(EVENTS_LOOK);
        }
    }

    /// A listener of events, of which the first hears of those too that came before: what a start finds in the journal is
    /// judged while the doors are still closed.
    pub fn listen_to_events(&self) -> broadcast::Receiver<Arc<[LiveEvent]>> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        first.unwrap_or_else(|| self.events.subscribe())
    }
}

// What the bound above is reckoned with.
const _: () = assert!(size_of::<LiveFix>() < 100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_listener_hears_of_events_from_the_beginning_and_others_from_then_on() {
        let events: Vec<LiveEvent> = (1..=EVENTS_AT_ONCE_MAX as u64 + 1)
            .map(|sequence| LiveEvent {
                sequence,
                tenant: TenantId::new("acme").unwrap(),
                fence: FenceId::new("gate").unwrap(),
                kind: "enter",
                body: Bytes::new(),
            })
            .collect();
        let feed = Feed::default();
        feed.publish_events(&events[..2]);
        let [mut first, mut second] = [feed.listen_to_events(), feed.listen_to_events()];
        feed.publish_events(&events);
        let heard = |listener: &mut EventsReceiver| {
            let batches = std::iter::from_fn(|| listener.try_recv().ok());
            batches.map(|batch| batch.iter().map(|event| event.sequence).collect()).collect::<Vec<Vec<_>>>()
        };
        let all: Vec<u64> = (1..=EVENTS_AT_ONCE_MAX as u64 + 1).collect();
        let (most, last) = all.split_at(EVENTS_AT_ONCE_MAX);
        assert_eq!(heard(&mut second), [most, last]);
        assert_eq!(heard(&mut first), [&[1, 2], most, last]);
    }
}
