//! The seam to a general MQTT router: what the front door asks of one, whichever stands behind it.
//!
//! A client gets a [`Link`] only when it needs one (a SUBSCRIBE, a will, a publish that is no telemetry, a session to be kept).
//! The door never waits for the router: everything towards it is a bounded try, everything from it arrives through the
//! client's [`Deliver`], called on the router's threads. Tenants are inside: each name carries its [`Mount`] in there, and
//! loses it on the way out.
//!
//! What the router promises the door, so that the door need not: delivered QoS is the lesser of publish and subscription;
//! the packet ids of deliveries are the router's, at most `receive_maximum` of them in flight; PUBLISHes of a client are
//! acknowledged in their order; QoS 2 is deduplicated in both directions; retained messages, wills with their delay, sessions
//! with their expiry and take-over by client id are the router's. What it expects of the door: packets that the codec
//! accepted, topic aliases resolved, the ACL applied, and no ingest topic (those never come here, but for
//! [`Router::publish_fix`]).
//!
//! Behind it is rumqttd's router, asked only for matching, fan-out and queues. A client that falls further behind than
//! [`Config::filter_bytes_max`] loses the oldest messages, at QoS 1 and 2 too; sessions end with the router and with the process, retained
//! messages with the process; rumqttd keeps each filter and topic that it ever saw.

mod delivery;
mod hub;
mod link;
mod message;
mod mount;
mod outgoing;
mod retained;
mod rumqttd;
mod session;
mod subscriptions;
#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "expiry and delays take their time; what a test collects is bounded by it"
)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub use link::Link;
pub use mount::Mount;

use hub::{ClientName, Command, Hub, Shared};
use message::{Message, SERVER};
use session::Arrival;

use crate::mqtt::codec::{ClientPacket, ServerPacket, Version, Will};

/// Bounds of the router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Most sessions, connected and kept, that have a link; beyond it [`Router::attach`] answers through the outbox
    /// with [`CloseReason::QuotaExceeded`]. One takes some 40 kB.
    pub sessions_max: usize,
    /// Most subscriptions of one session; a SUBSCRIBE beyond gets 0x97 (3.1.1: 0x80).
    pub subscriptions_max: usize,
    /// Longest time that a session is kept for a client that is away, seconds.
    pub session_expiry_s_max: u32,
    /// How long a connection may leave [`Flow::Pause`] standing before it is cut, seconds.
    pub stalled_s_max: u32,
    /// Memory for the messages that subscribers have yet to read, bytes, for each filter. Who falls further behind loses the
    /// oldest.
    pub filter_bytes_max: usize,
    /// Most different filters since the router started; a SUBSCRIBE beyond gets 0x97 (3.1.1: 0x80). One takes some 8 kB
    /// without its messages, and each topic that is new to the router is compared with all.
    pub filters_max: usize,
    /// Most retained messages; further topics are not retained.
    pub retained_max: usize,
    /// Most memory for them, bytes, counted as topics and payloads.
    pub retained_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sessions_max: 16_384,
            subscriptions_max: 1_024,
            session_expiry_s_max: 7 * 24 * 3_600,
            stalled_s_max: 30,
            filter_bytes_max: 1 << 20,
            filters_max: 16_384,
            retained_max: 65_536,
            retained_bytes_max: 64 << 20,
        }
    }
}

/// A handle to the router; clones are the same router. It ends with the last handle and link, but for rumqttd's own two
/// threads, which cannot be stopped and idle until the process ends.
#[derive(Clone, Debug)]
pub struct Router {
    commands: mpsc::Sender<Command>,
    fixes: mpsc::Sender<Message>,
    shared: Arc<Shared>,
}

/// A client that wants a link.
pub struct Attach {
    /// The namespace that all names of this client are in.
    pub mount: Mount,
    /// As in CONNECT, or as assigned; unique within the mount: who attaches under a name takes its session over.
    pub client_id: String,
    /// Decides which properties are delivered, and how a refusal is coded.
    pub version: Version,
    /// Begin anew, forgetting the kept session (3.1.1: clean session).
    pub clean_start: bool,
    /// How long the session outlives the connection (3.1.1: 0 if clean session, else `u32::MAX`).
    pub session_expiry_s: u32,
    /// Published when the link ends with [`WillFate::Publish`].
    pub will: Option<Will>,
    /// Most unacknowledged deliveries with QoS > 0 (3.1.1: 65,535).
    pub receive_maximum: u16,
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

/// What the router has for a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromRouter {
    /// The first to arrive: the link is there.
    Attached {
        /// Whether an earlier session goes on.
        session_present: bool,
    },
    /// A packet to encode and send: PUBLISH and PUBREL of deliveries, SUBACK, UNSUBACK, and the PUBACK, PUBREC and
    /// PUBCOMP of the client's own publishes. Names are without the mount.
    Packet(ServerPacket),
    /// The link takes packets again after [`Busy`].
    Ready,
    /// The last to arrive: the link is gone, close the connection.
    Closed(CloseReason),
}

/// Why the router ended a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Another connection attached under this client id (0x8E).
    TakenOver,
    /// The client did not read its deliveries for too long (0x97).
    Stalled,
    /// No room for another session (0x97).
    QuotaExceeded,
    /// The router failed and is being started anew, or is gone (0x88). Clients reconnect.
    Unavailable,
}

/// Whether a connection takes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// Took this one; no further publish until [`Link::resume`]. Answers still come.
    Pause,
}

/// The outbox of a connection.
pub trait Deliver: Send + Sync {
    /// Takes a packet for the client. Called on the router's threads, one call at a time for a link and in order; must not
    /// block. After `Closed` it is not called again.
    fn deliver(&self, packet: FromRouter) -> Flow;
}

/// The router's queue for this link (or for new links) is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the router is busy")]
pub struct Busy;

impl Router {
    /// Starts the router's threads.
    pub fn start(config: Config) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (commands, commands_in) = mpsc::channel(hub::COMMANDS_MAX);
        let (fixes, fixes_in) = mpsc::channel(hub::FIXES_MAX);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let hub_shared = Arc::clone(&shared);
        let backend = rumqttd::Backend::start(&config)?;
        std::thread::Builder::new().name("mqtt-hub".into()).spawn(move || {
            let sessions = tokio::task::LocalSet::new();
            sessions.block_on(&runtime, async move {
                Hub::new(config, hub_shared, backend).run(commands_in, fixes_in).await;
            });
        })?;
        Ok(Self { commands, fixes, shared })
    }

    /// Links a client. Never blocks; [`FromRouter::Attached`] follows through the outbox, and packets may be sent before
    /// it came. `Busy`: more clients attach at this moment than the router keeps up with, answer "server unavailable".
    pub fn attach(&self, attach: Attach) -> Result<Link, Busy> {
        let name = ClientName { mount: attach.mount.clone(), client_id: attach.client_id.clone() };
        let (link, link_end) = link::pair(self.commands.clone());
        let arrival = Box::new(Arrival::new(attach, link_end));
        self.commands.try_send(Command::Attach(name, arrival)).map_err(|error| {
            let (mpsc::error::TrySendError::Full(command) | mpsc::error::TrySendError::Closed(command)) = error;
            if let Command::Attach(_, arrival) = command {
                arrival.outbox.silence();
            }
            Busy
        })?;
        Ok(link)
    }

    /// Whether a session is there under this name, its client connected or not (so that CONNECT without a clean start needs
    /// a link, and with one needs [`Router::forget`]).
    pub fn has_session(&self, mount: &Mount, client_id: &str) -> bool {
        self.shared.sessions.contains(&ClientName { mount: mount.clone(), client_id: client_id.to_owned() })
    }

    /// Ends the session under this name, if any, for a client that connects with a clean start and needs no link yet; a
    /// connection that still holds it is told [`CloseReason::TakenOver`].
    pub fn forget(&self, mount: &Mount, client_id: &str) -> Result<(), Busy> {
        let name = ClientName { mount: mount.clone(), client_id: client_id.to_owned() };
        self.commands.try_send(Command::Forget(name)).map_err(|_| Busy)
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
    pub fn publish_fix(&self, mount: &Mount, topic: &str, qos: u8, payload: Bytes) {
        if !self.has_subscribers(mount) {
            return;
        }
        let message = Message {
            topic: mount.topic(topic),
            payload,
            qos: qos.min(2),
            retain: false,
            publisher: SERVER,
            expires_at: None,
            properties: None,
        };
        if self.fixes.try_send(message).is_err() {
            self.shared.fixes_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Fixes that [`Router::publish_fix`] had to drop since the start.
    pub fn fixes_dropped(&self) -> u64 {
        self.shared.fixes_dropped.load(Ordering::Relaxed)
    }
}
