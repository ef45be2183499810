//! The thread that stands between the door and rumqttd: it keeps the sessions, the retained messages and the publisher's link,
//! and starts the router anew when it failed.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use dashmap::{DashMap, DashSet};
use tokio::sync::mpsc;

use super::message::{Message, PublisherId, SERVER};
use super::retained::Retained;
use super::rumqttd::{Backend, Gone, RouterLink};
use super::session::{Arrival, Control, Session};
use super::{CloseReason, Config, Mount};

/// Commands that may wait for the hub.
pub(super) const COMMANDS_MAX: usize = 1_024;

/// Fixes that may wait for the hub.
pub(super) const FIXES_MAX: usize = 8_192;

/// Fixes that are handed to the router in one go.
const FIXES_AT_ONCE: usize = 256;

/// How often an idle router is looked after.
const TICK: Duration = Duration::from_millis(250);

/// Publishes after which the publisher's link is made anew: rumqttd counts every topic of a link and forgets none.
const PUBLISHES_PER_LINK: u32 = 100_000;

/// A client id in its namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClientName {
    pub(super) mount: Mount,
    pub(super) client_id: String,
}

/// What the door asks of the hub.
pub(super) enum Command {
    Attach(ClientName, Box<Arrival>),
    Forget(ClientName),
    #[cfg(test)]
    Kill,
}

/// A fix on its way to subscribers.
pub(super) type FixMessage = Message;

/// What door and hub both read.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) sessions: DashSet<ClientName>,
    pub(super) subscriptions: AtomicUsize,
    pub(super) by_mount: DashMap<Mount, usize>,
    pub(super) fixes_dropped: AtomicU64,
}

impl Shared {
    pub(super) fn subscribed(&self, mount: &Mount) {
        self.subscriptions.fetch_add(1, Ordering::Relaxed);
        *self.by_mount.entry(mount.clone()).or_insert(0) += 1;
    }

    pub(super) fn unsubscribed(&self, mount: &Mount, count: usize) {
        self.subscriptions.fetch_sub(count, Ordering::Relaxed);
        if let dashmap::Entry::Occupied(mut entry) = self.by_mount.entry(mount.clone()) {
            *entry.get_mut() = entry.get().saturating_sub(count);
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// The hub's state, on its own thread.
pub(super) struct Hub {
    pub(super) config: Config,
    pub(super) shared: Arc<Shared>,
    state: RefCell<State>,
}

struct State {
    backend: Backend,
    /// Raised whenever the router is started anew; links of an older one are dead.
    generation: u64,
    publisher: Option<RouterLink>,
    publishes: u32,
    retained: Retained,
    sessions: HashMap<ClientName, mpsc::UnboundedSender<Control>>,
    session_last: PublisherId,
    link_last: u64,
    free_link_ids: Vec<u64>,
    /// Filters that the router has a log for; it never forgets one.
    filters: HashSet<String>,
}

/// A session's link, and which router it is of.
pub(super) struct SessionLink {
    pub(super) link: RouterLink,
    pub(super) generation: u64,
    id: u64,
}

impl Hub {
    pub(super) fn new(config: Config, shared: Arc<Shared>, backend: Backend) -> Rc<Self> {
        let state = State {
            publisher: backend.connect("publisher").ok(),
            backend,
            generation: 0,
            publishes: 0,
            retained: Retained::new(config.retained_max, config.retained_bytes_max),
            sessions: HashMap::new(),
            session_last: SERVER,
            link_last: 0,
            free_link_ids: Vec::new(),
            filters: HashSet::new(),
        };
        Rc::new(Self { config, shared, state: RefCell::new(state) })
    }

    /// Serves the door until nobody holds its end any more.
    pub(super) async fn run(
        self: Rc<Self>,
        mut commands: mpsc::Receiver<Command>,
        mut fixes: mpsc::Receiver<FixMessage>,
    ) {
        let mut tick = tokio::time::interval(TICK);
        let mut batch = Vec::with_capacity(FIXES_AT_ONCE);
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => return,
                },
                // The sending end is the door's too, so it closes with the commands.
                count = fixes.recv_many(&mut batch, FIXES_AT_ONCE), if !fixes.is_closed() || !fixes.is_empty() => {
                    if self.publish_all(batch.drain(..)).is_err() {
                        self.shared.fixes_dropped.fetch_add(count as u64, Ordering::Relaxed);
                    }
                }
                _ = tick.tick() => self.look_after(),
            }
        }
    }

    fn command(self: &Rc<Self>, command: Command) {
        match command {
            Command::Attach(name, arrival) => self.attach(name, arrival),
            Command::Forget(name) => self.forget(&name),
            #[cfg(test)]
            Command::Kill => self.state.borrow_mut().backend.kill(),
        }
    }

    /// Hands a client to the session of its name, or begins one.
    pub(super) fn attach(self: &Rc<Self>, name: ClientName, arrival: Box<Arrival>) {
        let mut state = self.state.borrow_mut();
        let arrival = match state.sessions.get(&name) {
            None => arrival,
            Some(session) => match session.send(Control::Attach(arrival)) {
                Err(mpsc::error::SendError(Control::Attach(arrival))) => arrival,
                _ => return,
            },
        };
        if state.sessions.len() >= self.config.sessions_max {
            drop(state);
            arrival.outbox.close(CloseReason::QuotaExceeded);
            return;
        }
        #[expect(clippy::disallowed_methods, reason = "at most one control for each attach, and those are bounded")]
        let (control, controls) = mpsc::unbounded_channel();
        state.session_last += 1;
        let session = Session::new(Rc::clone(self), name.clone(), state.session_last);
        state.sessions.insert(name.clone(), control);
        drop(state);
        self.shared.sessions.insert(name);
        tokio::task::spawn_local(session.run(controls, arrival));
    }

    fn forget(&self, name: &ClientName) {
        if let Some(session) = self.state.borrow().sessions.get(name) {
            // An error says that it ended by itself.
            drop(session.send(Control::Forget));
        }
    }

    /// Takes a session that ended off the lists, unless another has its name already.
    pub(super) fn ended(&self, name: &ClientName) {
        let mut state = self.state.borrow_mut();
        if state.sessions.get(name).is_some_and(mpsc::UnboundedSender::is_closed) {
            state.sessions.remove(name);
            self.shared.sessions.remove(name);
        }
    }

    /// Links a session that subscribes.
    pub(super) fn link(&self) -> Result<SessionLink, Gone> {
        let mut state = self.state.borrow_mut();
        let id = state.free_link_ids.pop().unwrap_or_else(|| {
            state.link_last += 1;
            state.link_last
        });
        let generation = state.generation;
        match state.backend.connect(&format!("session-{id}")) {
            Ok(link) => Ok(SessionLink { link, generation, id }),
            Err(Gone) => {
                state.free_link_ids.push(id);
                drop(state);
                self.link_broke();
                Err(Gone)
            }
        }
    }

    /// Ends a session's link.
    pub(super) fn unlink(&self, link: SessionLink) {
        let id = link.id;
        // Before the id is free: rumqttd hangs up on an older link of the same id.
        drop(link);
        self.state.borrow_mut().free_link_ids.push(id);
    }

    /// The router that this number stood for has ended.
    fn failed(&self, generation: u64) {
        let mut state = self.state.borrow_mut();
        if state.generation != generation {
            return;
        }
        tracing::error!(generation, "router ended, starting it anew and closing the connections linked to it");
        state.generation += 1;
        state.publisher = None;
        match Backend::start(&self.config) {
            Ok(backend) => state.backend = backend,
            // The dead one stays, and the next look finds it so.
            Err(error) => tracing::error!(%error, "no thread for a router"),
        }
        state.filters.clear();
        state.connect_publisher();
    }

    pub(super) fn generation(&self) -> u64 {
        self.state.borrow().generation
    }

    /// Publishes for a client: keeps or clears the retained message, and hands it to the router.
    pub(super) fn publish(&self, message: Message) -> Result<(), Gone> {
        if message.retain && !self.state.borrow_mut().retained.take(&message) {
            tracing::warn!("no room for another retained message, delivered and not kept");
        }
        self.publish_all(std::iter::once(message))
    }

    fn publish_all(&self, messages: impl ExactSizeIterator<Item = Message>) -> Result<(), Gone> {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        state.publishes = state.publishes.saturating_add(messages.len() as u32);
        if state.publishes >= PUBLISHES_PER_LINK {
            state.publisher = None;
        }
        if state.publisher.is_none() {
            state.connect_publisher();
        }
        state.publisher.as_mut().ok_or(Gone)?.publish(messages).inspect_err(|_| state.publisher = None)
    }

    /// The retained messages that a filter matches.
    pub(super) fn retained(&self, plain_filter: &str, limit: usize) -> Vec<Message> {
        self.state.borrow().retained.matching(plain_filter).take(limit).cloned().collect()
    }

    /// Whether the router may be given this filter.
    pub(super) fn admits(&self, plain_filter: &str) -> bool {
        let filters = &mut self.state.borrow_mut().filters;
        if filters.contains(plain_filter) {
            return true;
        }
        filters.len() < self.config.filters_max && filters.insert(plain_filter.to_owned())
    }

    /// A session's link broke: starts the router anew if it has ended. A router that is ending still takes events for a
    /// moment, so only an answer proves that it lives, and the publisher's link is made anew for it.
    pub(super) fn link_broke(&self) {
        let generation = self.generation();
        self.state.borrow_mut().publisher = None;
        let is_alive = self.state.borrow_mut().connect_publisher();
        if !is_alive {
            self.failed(generation);
        }
    }

    fn look_after(&self) {
        let mut state = self.state.borrow_mut();
        let generation = state.generation;
        let is_alive = match &mut state.publisher {
            Some(publisher) => publisher.nudge().is_ok(),
            None => state.connect_publisher(),
        };
        drop(state);
        if !is_alive {
            self.failed(generation);
        }
    }
}

impl State {
    fn connect_publisher(&mut self) -> bool {
        self.publisher = self.backend.connect("publisher").ok();
        self.publishes = 0;
        self.publisher.is_some()
    }
}
