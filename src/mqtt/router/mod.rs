//! The seam to a general MQTT router: what the front door asks of one, whichever stands behind it.
//!
//! A client gets a [`Link`] only when it needs one (a SUBSCRIBE, a will, a publish that is no telemetry, a session to be kept).
//! The door never waits for the router: everything towards it is a bounded try, everything from it arrives through the
//! client's [`Deliver`], called on the router's thread. Tenants are inside: each [`Mount`] has everything of its own.
//!
//! What the router promises the door, so that the door need not: delivered QoS is the lesser of publish and subscription;
//! the packet ids of deliveries are the router's, at most `receive_maximum` of them in flight; PUBLISHes of a client are
//! acknowledged in their order; QoS 2 is deduplicated in both directions; retained messages, wills with their delay, sessions
//! with their expiry and take-over by client id are the router's. What it expects of the door: packets that the codec
//! accepted, topic aliases resolved, the ACL applied, and no ingest topic (those never come here, but for
//! [`Router::publish_fix`]).
//!
//! # Behind it
//! One thread owns all state outright and takes commands from a bounded list; nothing is locked while a message is delivered. A
//! [`Mount`] has a namespace of its own ([`namespace`]) with its subscriptions (a tree by topic level, [`trie`]), sessions and
//! retained messages. What its clients are to be sent gathers by worker and is handed over in one go.
//!
//! # What is bounded, and what is lost
//! - A client that falls further behind than [`Config::queue_messages_max`] or [`Config::queue_bytes_max`] loses the oldest
//!   messages, those at QoS 0 first; they are counted. One that leaves its connection full for [`Config::stalled_s_max`] is cut.
//! - One owner has at most [`Config::sessions_per_owner_max`] sessions in a namespace, a tenant
//!   [`Config::sessions_per_tenant_max`]; each makes room for a further one with its own that is away for the longest. With
//!   [`Config::sessions_max`] of all, the tenant that has the most away makes it.
//! - Queues of all sessions, and retained messages of all tenants, have a bound together; beyond it each has an even share.
//! - Retained messages ([`scan`]) and latest fixes are looked up for subscriptions a few at a time, in turns of tenants and of their
//!   sessions ([`lookups`]), as their clients take them.
//! - Messages at QoS 0 are not kept for a client that is away.
//! - Sessions and retained messages outlive the process ([`saved`]): all of it at a clean stop, and after a crash what they
//!   were at the last save.
//! - If the router panics, its sessions end: their connections are closed with [`CloseReason::Unavailable`], and retained
//!   messages go on. Telemetry does not come by here.

mod away;
mod deliver;
mod inbound;
mod inbox;
mod latest;
mod link;
mod lookups;
mod message;
mod mount;
mod namespace;
pub(super) mod owner;
mod retained;
mod routing;
mod saved;
mod scan;
mod session;
mod share;
mod shared;
mod subscribers;
mod subscribing;
#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "expiry and delays take their time; what a test collects is bounded by it"
)]
mod tests;
mod thread;
mod timers;
mod trie;
mod turn;
pub(super) mod will;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use deliver::{CloseReason, Deliver, Flow, FromRouter};
pub use latest::{Latest, Offer, Offers};
pub use link::Link;
pub(super) use message::publish_bytes;
pub use mount::Mount;

use inbox::{Command, Inbox, InboxEnd};
use link::{LinkId, Outbox, Window};
use message::{Message, Ms};
use namespace::Arrival;
use saved::Saver;
use session::Client;
use shared::{ClientName, Shared};
use thread::Start;

use crate::clock::Clock;
use crate::ids::TenantId;
use crate::mqtt::codec::{ClientPacket, Version, Will};

/// How long a stopping router may take to save what it has.
const STOP_MAX: Duration = Duration::from_secs(3);

/// Bounds of the router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Most sessions, connected and kept, that have a link; beyond it [`Router::attach`] answers through the outbox
    /// with [`CloseReason::QuotaExceeded`]. One takes about 1 kB: 736 bytes with its entries, its name
    /// three times and the slack of tables, beside its subscriptions and what waits for it. One more ends the one that is away
    /// for the longest in the tenant that has the most away; if none is away anywhere it is refused.
    pub sessions_max: usize,
    /// Most of them of one tenant; with fewer than [`Config::sessions_max`] none takes the room of all. One more ends the
    /// tenant's own that is away for the longest; if none is away it is refused in the same way. In open mode there are no
    /// tenants.
    pub sessions_per_tenant_max: usize,
    /// Most of them that one owner has in a namespace: a device, or the subject of tokens. One more ends the one whose client is
    /// away for the longest; if none is away it is refused in the same way. In open mode nobody owns a session.
    pub sessions_per_owner_max: usize,
    /// Most subscriptions of one session; a SUBSCRIBE beyond gets 0x97 (3.1.1: 0x80).
    pub subscriptions_max: usize,
    /// Longest time that a session is kept for a client that is away, seconds.
    pub session_expiry_s_max: u32,
    /// How long a connection may leave [`Flow::Pause`] standing before it is cut, seconds.
    pub stalled_s_max: u32,
    /// Most messages that wait for one session, its client connected or not. Who falls further behind loses the oldest, those
    /// at QoS 0 first.
    pub queue_messages_max: usize,
    /// Most memory for them, bytes, and for those that were sent and not acknowledged, which take half of it at the most; beyond
    /// it there may be one packet more. A message that several sessions have counts for each.
    pub queue_bytes_max: usize,
    /// Most memory for those of all sessions, bytes. Once it is used up, a session may still take as much as an even share of
    /// it, so that it is twice as much at the worst, and one that has more takes the next only in place of its oldest. What a
    /// client takes at once needs none, unless it has half of its share unacknowledged.
    pub total_queue_bytes_max: usize,
    /// Most retained messages of a tenant; further topics are not retained.
    pub retained_max: usize,
    /// Most memory for them, bytes.
    pub retained_bytes_max: usize,
    /// Most memory for those of all tenants, bytes. Once it is used up, a tenant may still take as much as an even share of
    /// it, so that it is twice as much at the worst, and one that has more takes no more.
    pub total_retained_bytes_max: usize,
    /// How often kept sessions and retained messages are saved, seconds, if any changed.
    pub save_interval_s: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sessions_max: 100_000,
            sessions_per_tenant_max: 100_000,
            sessions_per_owner_max: 16,
            subscriptions_max: 1_024,
            session_expiry_s_max: 7 * 24 * 3_600,
            stalled_s_max: 30,
            queue_messages_max: 10_000,
            queue_bytes_max: 4 << 20,
            total_queue_bytes_max: 512 << 20,
            retained_max: 65_536,
            retained_bytes_max: 64 << 20,
            total_retained_bytes_max: 512 << 20,
            save_interval_s: 60,
        }
    }
}

/// What a router has to do with beside its clients.
#[derive(Clone, Default)]
pub struct Surroundings {
    /// Where sessions and retained messages outlive the process; `None`: they do not.
    pub file: Option<PathBuf>,
    /// The time on the wall, which goes on while the process does not run.
    pub clock: Clock,
    /// What new subscriptions are offered beside the retained messages.
    pub latest: Option<Arc<dyn Latest>>,
    /// Whether each tenant has a namespace; if not all share one, as in open mode.
    pub are_tenants_apart: bool,
}

/// A handle to the router; clones are the same router. It ends with the last handle and link, or by [`Router::stop`].
#[derive(Clone, Debug)]
pub struct Router {
    inbox: Arc<InboxEnd>,
    shared: Arc<Shared>,
    link_last: Arc<AtomicU64>,
    ended: Arc<Mutex<Receiver<()>>>,
    are_tenants_apart: bool,
}

/// A client that wants a link.
pub struct Attach {
    /// The namespace that all names of this client are in.
    pub mount: Mount,
    /// As in CONNECT, or as assigned, behind its owner and a NUL if it has one; unique within the mount: who attaches under a name takes its session over.
    pub client_id: String,
    /// Decides which properties are delivered, and how a refusal is coded.
    pub version: Version,
    /// Begin anew, forgetting the kept session (3.1.1: clean session).
    pub clean_start: bool,
    /// How long the session outlives the connection (3.1.1: 0 if clean session, else `u32::MAX`).
    pub session_expiry_s: u32,
    /// Which filters, share group and all, the client may subscribe to now. Asked on the router's thread for those of a kept
    /// session, of which the others end before anything is delivered; must not block.
    pub may_subscribe: Box<dyn Fn(&str) -> bool + Send>,
    /// Published when the link ends with [`WillFate::Publish`].
    pub will: Option<Will>,
    /// Most unacknowledged deliveries with QoS > 0 (3.1.1: 65,535).
    pub receive_maximum: u16,
    /// Most publishes of the client at QoS 2 that it has not released; one more ends the connection with
    /// [`CloseReason::ReceiveMaximumExceeded`] [MQTT-3.3.4-9]. At 3.1.1 clients are told no bound: 65,535.
    pub unreleased_max: u16,
    /// Largest packet that the client takes, bytes; larger deliveries are dropped for it [MQTT-3.1.2-25].
    pub packet_bytes_max: Option<u32>,
    /// Where everything for this client goes.
    pub outbox: Arc<dyn Deliver>,
}

/// What happens to the will when a link ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WillFate {
    /// The connection was lost, or ended with reason 0x04.
    Publish,
    /// The client said DISCONNECT.
    Discard,
}

/// The router's queue for this link (or for new links) is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the router is busy")]
pub struct Busy;

impl Router {
    /// Starts the router's thread, with what was saved of the last one. Blocks for the disk; a file that does not read is told
    /// and set aside.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub fn start(config: Config, surroundings: Surroundings) -> std::io::Result<Self> {
        let Surroundings { file, clock, latest, are_tenants_apart } = surroundings;
        let began = Instant::now();
        let shared = Arc::new(Shared::default());
        let inbox = Arc::new(Inbox::default());
        let image = file.as_ref().and_then(|file| saved::load(file, Ms(0), clock.now()));
        let saver = file.map(|file| Saver::start(file, clock)).transpose()?;
        let (ends, ended) = sync_channel(1);
        let (restoring, restored) = sync_channel(1);
        let start = Start { config, shared: Arc::clone(&shared), latest, image, saver, began };
        let inbox_there = Arc::clone(&inbox);
        std::thread::Builder::new().name("mqtt-router".into()).spawn(move || {
            thread::run(start, &inbox_there, restoring);
            drop(ends);
        })?;
        // Nothing is ever sent: the end of it says that clients find their sessions.
        let _ended = restored.recv();
        Ok(Self {
            inbox: Arc::new(InboxEnd::new(inbox)),
            shared,
            link_last: Arc::default(),
            ended: Arc::new(Mutex::new(ended)),
            are_tenants_apart,
        })
    }

    /// Links a client. Never blocks; [`FromRouter::Attached`] follows through the outbox, and packets may be sent before
    /// it came. `Busy`: more clients attach at this moment than the router keeps up with, answer "server unavailable".
    pub fn attach(&self, attach: Attach) -> Result<Link, Busy> {
        let id: LinkId = self.link_last.fetch_add(1, Ordering::Relaxed);
        let window = Arc::new(Window::default());
        let client = Client {
            link: id,
            window: Arc::clone(&window),
            outbox: Outbox::new(attach.outbox),
            version: attach.version,
            will: attach.will,
            session_expiry_s: attach.session_expiry_s,
            receive_maximum: attach.receive_maximum.max(1),
            unreleased_max: attach.unreleased_max,
            packet_bytes_max: attach.packet_bytes_max,
            paused_since: None,
        };
        let Attach { mount, client_id, clean_start, may_subscribe, .. } = attach;
        let arrival = Arrival { client_id: client_id.into(), clean_start, may_subscribe, client };
        self.inbox.send(Command::Attach(mount, Box::new(arrival))).map_err(|(busy, command)| {
            if let Command::Attach(_, arrival) = command {
                arrival.client.outbox.silence();
            }
            busy
        })?;
        Ok(Link::new(id, window, Arc::clone(&self.inbox)))
    }

    /// Whether a session is there under this name, its client connected or not (so that CONNECT without a clean start needs
    /// a link, and with one needs [`Router::forget`]).
    pub fn has_session(&self, mount: &Mount, client_id: &str) -> bool {
        self.shared.sessions.contains(&ClientName { mount: mount.clone(), client_id: client_id.into() })
    }

    /// Ends the session under this name, if any, for a client that connects with a clean start and needs no link yet; a
    /// connection that still holds it is told [`CloseReason::TakenOver`].
    pub fn forget(&self, mount: &Mount, client_id: &str) -> Result<(), Busy> {
        self.inbox.send(Command::Forget(mount.clone(), client_id.into())).map_err(|(busy, _)| busy)
    }

    /// The namespace that a tenant's fixes are told in.
    pub fn mount_of(&self, tenant: &TenantId) -> Mount {
        if self.are_tenants_apart { Mount::Tenant(tenant.clone()) } else { Mount::Open }
    }

    /// Whether anybody in this mount subscribes to anything: one load if nobody does at all, so that nothing is built for
    /// nobody.
    pub fn has_subscribers(&self, mount: &Mount) -> bool {
        self.subscriptions() > 0 && self.shared.by_mount.contains_key(mount)
    }

    /// Subscriptions of all sessions.
    pub fn subscriptions(&self) -> usize {
        self.shared.subscriptions.load(Ordering::Relaxed)
    }

    /// Sessions, connected and kept.
    pub fn sessions(&self) -> usize {
        self.shared.sessions.len()
    }

    /// Publishes an accepted fix to subscribers. Never blocks: with the queue full it is dropped and counted.
    pub fn publish_fix(&self, mount: Mount, topic: &str, qos: u8, payload: Bytes) {
        let message = Message::fix(topic.into(), payload, qos.min(2));
        if self.inbox.send_fix((mount, message)).is_err() {
            self.shared.fixes_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Publishes what the engine itself has to tell to subscribers, behind the fixes that wait. Never blocks.
    ///
    /// # Errors
    /// The queue is full: it can be tried again.
    pub fn publish(&self, mount: Mount, topic: &str, qos: u8, payload: Bytes) -> Result<(), Busy> {
        self.inbox.send_fix((mount, Message::fix(topic.into(), payload, qos.min(2))))
    }

    /// Fixes that [`Router::publish_fix`] had to drop since the start.
    pub fn fixes_dropped(&self) -> u64 {
        self.shared.fixes_dropped.load(Ordering::Relaxed)
    }

    /// Messages that sessions lost since the start because their clients were too far behind.
    pub fn messages_dropped(&self) -> u64 {
        self.shared.messages_dropped.load(Ordering::Relaxed)
    }

    /// Messages that were delivered and not retained since the start, for want of room.
    pub fn unretained(&self) -> u64 {
        self.shared.unretained.load(Ordering::Relaxed)
    }

    /// Ends the router once what was sent before is done with. Blocks for that, [`STOP_MAX`] at most.
    pub fn stop(&self) {
        // Only arrivals are refused.
        drop(self.inbox.send(Command::Stop));
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(STOP_MAX) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            tracing::error!(
                "the mqtt router takes too long to end: what its sessions had since the last save may be lost"
            );
        }
    }
}
