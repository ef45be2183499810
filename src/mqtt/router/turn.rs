//! What every step of the router's thread needs beside the namespace that it is about.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hashbrown::HashMap;

use super::Config;
use super::latest::Latest;
use super::link::{LinkId, Post};
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
    /// Sessions for which retained messages are to be looked up, in the order of their turns, each once.
    pub(super) lookups: VecDeque<Address>,
    pub(super) now: Ms,
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
            lookups: VecDeque::new(),
            now,
            is_unsaved: false,
            number_last: SERVER,
        }
    }

    /// A number that no session had.
    pub(super) fn number(&mut self) -> u64 {
        self.number_last += 1;
        self.number_last
    }

    pub(super) fn queue_bounds(&self) -> Bounds {
        Bounds { messages_max: self.config.queue_messages_max, bytes_max: self.config.queue_bytes_max }
    }

    /// Counts messages that a session lost because its client was too far behind.
    pub(super) fn lost(&self, count: usize) {
        if count > 0 {
            self.shared.messages_dropped.fetch_add(count as u64, Ordering::Relaxed);
        }
    }
}
