//! The way from the router to a connection, as the door sees it.

use crate::mqtt::codec::ServerPacket;

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
    /// The link takes packets again after [`Busy`](super::Busy).
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
    /// More publishes at QoS 2 unreleased than the client was offered (0x93).
    ReceiveMaximumExceeded,
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
    /// Took this one; no further publish until [`Link::resume`](super::Link::resume). Answers still come.
    Pause,
}

/// The outbox of a connection.
pub trait Deliver: Send + Sync {
    /// Takes a packet for the client, which may go on with [`Deliver::hand_over`] only. Called on the router's thread, in
    /// order; must not block. After `Closed` it is not called again.
    fn deliver(&self, packet: FromRouter) -> Flow;

    /// Passes on what all outboxes of the same [worker](Deliver::worker) took. Called soon after [`Deliver::deliver`], once for
    /// many; must not block.
    fn hand_over(&self);

    /// Which worker has the connection.
    fn worker(&self) -> usize;
}
