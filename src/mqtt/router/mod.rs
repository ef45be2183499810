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

mod mount;

use std::sync::Arc;

use bytes::Bytes;

pub use mount::Mount;

use crate::mqtt::codec::{ClientPacket, ServerPacket, Version, Will};

/// Bounds of the router.
#[derive(Clone, Debug)]
pub struct Config {
    /// Most sessions, connected and kept, that have a link; beyond it [`Router::attach`] answers through the outbox
    /// with [`CloseReason::QuotaExceeded`].
    pub sessions_max: usize,
    /// Most subscriptions of one session; a SUBSCRIBE beyond gets 0x97 (3.1.1: 0x80).
    pub subscriptions_max: usize,
    /// Longest time that a session is kept for a client that is away, seconds.
    pub session_expiry_s_max: u32,
    /// How long a connection may leave [`Flow::Pause`] standing before it is cut, seconds.
    pub stalled_s_max: u32,
    /// Memory for the messages that subscribers have yet to read, bytes, for each filter.
    pub filter_bytes_max: usize,
}

/// A handle to the router; clones are the same router. It and its threads end with the last handle and link.
#[derive(Clone, Debug)]
pub struct Router;

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
    /// The client broke the protocol towards the router, such as too many QoS 2 publishes never released (0x93).
    ReceiveMaximumExceeded,
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

/// A client's end of the router. Dropped without [`Link::close`], it counts as a lost connection.
#[derive(Debug)]
pub struct Link;

impl Router {
    /// Starts the router's threads.
    pub fn start(_config: Config) -> std::io::Result<Self> {
        unreachable!("signatures")
    }

    /// Links a client. Never blocks; [`FromRouter::Attached`] follows through the outbox, and packets may be sent before
    /// it came. `Busy`: more clients attach at this moment than the router keeps up with, answer "server unavailable".
    pub fn attach(&self, _attach: Attach) -> Result<Link, Busy> {
        unreachable!("signatures")
    }

    /// Whether a session is kept under this name (so that CONNECT without a clean start needs a link).
    pub fn has_session(&self, _mount: &Mount, _client_id: &str) -> bool {
        unreachable!("signatures")
    }

    /// Ends the session kept under this name, if any, for a client that connects with a clean start and needs no link yet;
    /// a connection that still holds it is told [`CloseReason::TakenOver`].
    pub fn forget(&self, _mount: &Mount, _client_id: &str) {
        unreachable!("signatures")
    }

    /// Whether anybody in this mount subscribes to anything: one load, so that nothing is built for nobody.
    pub fn has_subscribers(&self, _mount: &Mount) -> bool {
        unreachable!("signatures")
    }

    /// Subscriptions of all sessions.
    pub fn subscriptions(&self) -> usize {
        unreachable!("signatures")
    }

    /// Publishes an accepted fix to subscribers. Never blocks: with the queue full it is dropped and counted.
    pub fn publish_fix(&self, _mount: &Mount, _topic: &str, _qos: u8, _payload: Bytes) {
        unreachable!("signatures")
    }

    /// Fixes that [`Router::publish_fix`] had to drop since the start.
    pub fn fixes_dropped(&self) -> u64 {
        unreachable!("signatures")
    }
}

impl Link {
    /// Hands over a SUBSCRIBE, UNSUBSCRIBE, PUBLISH (topic alias resolved), PUBACK, PUBREC, PUBREL or PUBCOMP; others are
    /// the door's own and ignored. Never blocks. `Err` is [`Busy`] with the packet: stop reading this client until
    /// [`FromRouter::Ready`], then send it again.
    pub fn send(&self, packet: ClientPacket) -> Result<(), Box<(Busy, ClientPacket)>> {
        Err(Box::new((Busy, packet)))
    }

    /// Goes on after [`Flow::Pause`].
    pub fn resume(&self) {}

    /// Ends the connection. What was sent before is still handled. `session_expiry_s` is the DISCONNECT's, if it had one.
    pub fn close(self, _will: WillFate, _session_expiry_s: Option<u32>) {}
}
