//! What every step of the router's thread needs beside the namespace that it is about.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hashbrown::HashMap;

use super::Config;
use super::away::AwayCounts;
use super::latest::Latest;
use super::link::{LinkId, Post};
use super::lookups::Lookups;
use super::message::{Ms, SERVER};
use super::session::{Address, Bounds};
use super::shared::Shared;
use super::timers::Timers;

/// See the module.
pub(super) struct Turn {
    pub(super) config: Config,
    pub(super) shared: Arc<Shared>,
    /// What new subscriptions are offered beside the retained messages.
    pub(super) latest: Option<Arc<dyn Latest>>,
    pub(super) post: Post,
    pub(super) timers: Timers,
    /// Whose link it is, for as long as its client is attached.
    pub(super) links: HashMap<LinkId, Address, foldhash::fast::RandomState>,
    /// Sessions for which retained messages or latest fixes are to be looked up, each once.
    pub(super) lookups: Lookups,
    pub(super) now: Ms,
    /// Memory for what is held for all sessions, waiting or in flight.
    pub(super) queue_bytes: usize,
    /// Memory for the retained messages of all namespaces.
    pub(super) retained_bytes: usize,
    /// In which namespaces sessions are away.
    pub(super) away: AwayCounts,
    /// Namespaces, among which that is shared out.
    pub(super) namespaces: usize,
    /// Whether anything changed that is saved.
    pub(super) is_unsaved: bool,
    number_last: u64,
}

impl Turn {
    pub(super) fn new(config: Config, shared: Arc<Shared>, latest: Option<Arc<dyn Latest>>, now: Ms) -> Self {
        Self {
            config,
            shared,
            latest,
            post: Post::default(),
            timers: Timers::default(),
            links: HashMap::default(),
            lookups: Lookups::default(),
            now,
            queue_bytes: 0,
            retained_bytes: 0,
            away: AwayCounts::default(),
            namespaces: 0,
            is_unsaved: false,
            number_last: SERVER,
        }
    }

    /// A number that nothing had, and greater than any before.
    pub(super) fn number(&mut self) -> u64 {
        self.number_last += 1;
        self.number_last
    }

    /// What may wait for a session whose client takes the next message at once.
    pub(super) fn queue_bounds_at_once(&self) -> Bounds {
        Bounds { messages_max: self.config.queue_messages_max, bytes_max: self.config.queue_bytes_max }
    }

    /// What may wait for another session, for which so much is held already.
    pub(super) fn queue_bounds(&self, bytes: usize) -> Bounds {
        let Bounds { messages_max, bytes_max } = self.queue_bounds_at_once();
        Bounds { messages_max, bytes_max: bytes_max.min(self.share().max(bytes)) }
    }

    /// What a session may hold whose client is to take a message at once: that is in flight then, until it is answered.
    pub(super) fn bytes_at_once_max(&self) -> usize {
        self.config.queue_bytes_max.min(self.share())
    }

    /// A session's even share of the memory for all once that is used up, and all of it until then.
    fn share(&self) -> usize {
        let total_max = self.config.total_queue_bytes_max;
        if self.queue_bytes < total_max { total_max } else { total_max / self.shared.sessions.len().max(1) }
    }

    /// Most memory for the retained messages of a namespace that has so much of them already.
    pub(super) fn retained_bytes_max(&self, bytes: usize) -> usize {
        let (bytes_max, total_max) = (self.config.retained_bytes_max, self.config.total_retained_bytes_max);
        if self.retained_bytes < total_max {
            return bytes_max;
        }
        let share = total_max / self.namespaces.max(1);
        bytes_max.min(share.max(bytes))
    }

    /// Counts messages that a session lost because its client was too far behind.
    pub(super) fn lost(&self, count: usize) {
        if count > 0 {
            self.shared.messages_dropped.fetch_add(count as u64, Ordering::Relaxed);
        }
    }
}
