//! What the router has for a connection, on its way to the connection's worker, and how much of it is not written yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::codec::ServerPacket;
use super::mailbox::{ConnectionRef, Mailbox, Message};
use super::router::{Deliver, Flow, FromRouter, publish_bytes};

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

/// What a delivery costs beside its texts and properties.
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
            FromRouter::Packet(ServerPacket::Publish(publish)) => publish_bytes(publish) + DELIVERY_OVERHEAD_BYTES,
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use mio::{Poll, Token, Waker};

    use super::super::codec::{Publish, PublishProperties};
    use super::*;

    #[test]
    fn a_delivery_costs_all_that_it_carries() {
        let text = || "x".repeat(10_000);
        let properties = |change: &dyn Fn(&mut PublishProperties)| {
            let mut properties = PublishProperties::default();
            change(&mut properties);
            Publish { properties: Some(Box::new(properties)), ..Publish::default() }
        };
        let cases = [
            Publish { payload: Bytes::from(text()), ..Publish::default() },
            Publish { topic: text().into(), ..Publish::default() },
            properties(&|properties| properties.user_properties.push((text(), String::new()))),
            properties(&|properties| properties.user_properties.push((String::new(), text()))),
            properties(&|properties| properties.correlation_data = Some(Bytes::from(text()))),
            properties(&|properties| properties.content_type = Some(text())),
        ];
        for publish in cases {
            let poll = Poll::new().unwrap();
            let mailbox = Arc::new(Mailbox::new(Waker::new(poll.registry(), Token(0)).unwrap()));
            let connection = ConnectionRef { key: 0, generation: 0 };
            let outbound = Outbound::new(mailbox, 0, connection, 100_000);
            let deliver = || outbound.deliver(FromRouter::Packet(ServerPacket::Publish(publish.clone())));
            let taken = (0..100).take_while(|_| deliver() == Flow::Continue).count();
            assert_eq!(taken, 9, "{publish:?}");
        }
    }
}
