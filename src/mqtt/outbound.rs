//! What the router has for a connection, on its way to the connection's worker, and how much of it is not written yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::codec::ServerPacket;
use super::mailbox::{ConnectionRef, Mailbox, Message};
use super::router::{Deliver, Flow, FromRouter};

/// Where the router leaves packets for a connection, from its own thread.
pub(super) struct Outbound {
    mailbox: Arc<Mailbox>,
    worker: usize,
    connection: ConnectionRef,
    queue_bytes_max: usize,
    /// Bytes delivered and not written to the socket yet.
    queued_bytes: AtomicUsize,
    is_paused: AtomicBool,
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Outbound")
    }
}

/// What a delivery costs beside its payload and topic.
const DELIVERY_OVERHEAD_BYTES: usize = 64;

impl Outbound {
    pub(super) fn new(mailbox: Arc<Mailbox>, worker: usize, connection: ConnectionRef, queue_bytes_max: usize) -> Self {
        Self {
            mailbox,
            worker,
            connection,
            queue_bytes_max,
            queued_bytes: AtomicUsize::new(0),
            is_paused: AtomicBool::new(false),
        }
    }

    /// Takes written bytes off; true if the router held back and may go on.
    pub(super) fn written(&self, cost: usize, queue_bytes_max: usize) -> bool {
        let left = self.queued_bytes.fetch_sub(cost, Ordering::AcqRel) - cost;
        left <= queue_bytes_max / 2 && self.is_paused.swap(false, Ordering::AcqRel)
    }
}

impl Deliver for Outbound {
    fn deliver(&self, from_router: FromRouter) -> Flow {
        // Answers are bounded by what the client asked; deliveries are not.
        let cost = match &from_router {
            FromRouter::Packet(ServerPacket::Publish(publish)) => {
                publish.payload.len() + publish.topic.len() + DELIVERY_OVERHEAD_BYTES
            }
            _ => 0,
        };
        let queued = self.queued_bytes.fetch_add(cost, Ordering::AcqRel) + cost;
        let is_over = queued > self.queue_bytes_max;
        if is_over {
            // Before the message: whoever writes it sees the pause.
            self.is_paused.store(true, Ordering::Release);
        }
        self.mailbox.gather(Message::Routed { connection: self.connection, from_router, cost });
        if is_over { Flow::Pause } else { Flow::Continue }
    }

    fn hand_over(&self) {
        self.mailbox.hand_over();
    }

    fn worker(&self) -> usize {
        self.worker
    }
}
