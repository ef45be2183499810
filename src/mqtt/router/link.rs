//! A client's link: the door's end, and the router's way to the connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::inbox::{Command, InboxEnd};
use super::{Busy, ClientPacket, CloseReason, Deliver, Flow, FromRouter, WillFate, message};
use crate::mqtt::codec::Subscription;

/// Packets of a client that may wait for the router.
const PACKETS_MAX: usize = 64;

/// Most memory for them, bytes; one that is larger waits alone.
const PACKETS_BYTES_MAX: usize = 256 << 10;

/// What a packet is counted as beside its texts.
const PACKET_BYTES: usize = 128;

/// Tells links apart, for as long as the process runs.
pub(super) type LinkId = u64;

/// What both ends of a link see.
#[derive(Debug, Default)]
pub(super) struct Window {
    waiting: AtomicUsize,
    bytes: AtomicUsize,
    is_door_waiting: AtomicBool,
}

/// How a link was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) will: WillFate,
    pub(super) session_expiry_s: Option<u32>,
}

/// A client's end of the router. Dropped without [`Link::close`], it counts as a lost connection.
#[derive(Debug)]
pub struct Link {
    id: LinkId,
    window: Arc<Window>,
    inbox: Arc<InboxEnd>,
    ending: Ending,
}

impl Link {
    pub(super) fn new(id: LinkId, window: Arc<Window>, inbox: Arc<InboxEnd>) -> Self {
        Self { id, window, inbox, ending: Ending { will: WillFate::Publish, session_expiry_s: None } }
    }

    /// Hands over a SUBSCRIBE, UNSUBSCRIBE, PUBLISH (topic alias resolved), PUBACK, PUBREC, PUBREL or PUBCOMP; others are
    /// the door's own and ignored. Never blocks. `Err` is [`Busy`] with the packet: stop reading this client until
    /// [`FromRouter::Ready`], then send it again, and be ready for another `Busy`. After [`FromRouter::Closed`] packets go
    /// nowhere.
    pub fn send(&self, packet: ClientPacket) -> Result<(), Box<(Busy, ClientPacket)>> {
        if !self.window.enter(bytes(&packet)) {
            return Err(Box::new((Busy, packet)));
        }
        self.tell(Command::Packet(self.id, Box::new(packet)));
        Ok(())
    }

    /// Goes on after [`Flow::Pause`].
    pub fn resume(&self) {
        self.tell(Command::Resume(self.id));
    }

    /// Ends the connection. What was sent before is still handled. `session_expiry_s` is the DISCONNECT's, if it had one.
    pub fn close(mut self, will: WillFate, session_expiry_s: Option<u32>) {
        self.ending = Ending { will, session_expiry_s };
    }

    fn tell(&self, command: Command) {
        // Only arrivals are refused.
        drop(self.inbox.send(command));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.tell(Command::Detach(self.id, self.ending));
    }
}

impl Window {
    /// Takes a place for a packet; false if there is none, and then the door is told when there is.
    fn enter(&self, bytes: usize) -> bool {
        if self.try_enter(bytes) {
            return true;
        }
        // Asked for before the second try, so that the router cannot free all places between them unasked.
        self.is_door_waiting.store(true, Ordering::SeqCst);
        self.try_enter(bytes)
    }

    /// Only the door enters, so that nobody else takes a place between the look and the step.
    fn try_enter(&self, bytes: usize) -> bool {
        let waiting = self.waiting.load(Ordering::SeqCst);
        let has_bytes = self.bytes.load(Ordering::SeqCst) + bytes <= PACKETS_BYTES_MAX;
        let has_room = waiting == 0 || (waiting < PACKETS_MAX && has_bytes);
        if has_room {
            self.bytes.fetch_add(bytes, Ordering::SeqCst);
            self.waiting.fetch_add(1, Ordering::SeqCst);
        }
        has_room
    }

    /// Frees the place of a packet. Whether the door found none and is to be told now: when half of them are free, not at every
    /// packet.
    pub(super) fn leave(&self, packet: &ClientPacket) -> bool {
        let bytes = bytes(packet);
        let bytes_left = self.bytes.fetch_sub(bytes, Ordering::SeqCst) - bytes;
        let left = self.waiting.fetch_sub(1, Ordering::SeqCst) - 1;
        let is_half_free = left <= PACKETS_MAX / 2 && bytes_left <= PACKETS_BYTES_MAX / 2;
        is_half_free && self.is_door_waiting.swap(false, Ordering::SeqCst)
    }
}

/// What a packet is counted as while it waits.
fn bytes(packet: &ClientPacket) -> usize {
    let texts = match packet {
        ClientPacket::Publish(publish) => message::publish_bytes(publish),
        ClientPacket::Subscribe { subscriptions, .. } => {
            subscriptions.iter().map(|subscription| size_of::<Subscription>() + subscription.filter.len()).sum()
        }
        ClientPacket::Unsubscribe { filters, .. } => {
            filters.iter().map(|filter| size_of::<String>() + filter.len()).sum()
        }
        _ => 0,
    };
    PACKET_BYTES + texts
}

/// A connection's outbox, which hears `Closed` exactly once, last, whatever happens to the session.
pub(super) struct Outbox {
    deliver: Arc<dyn Deliver>,
    is_closed: bool,
}

impl Outbox {
    pub(super) fn new(deliver: Arc<dyn Deliver>) -> Self {
        Self { deliver, is_closed: false }
    }

    /// The door ended the link, and wants to hear no more.
    pub(super) fn silence(mut self) {
        self.is_closed = true;
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        if !self.is_closed {
            self.deliver.deliver(FromRouter::Closed(CloseReason::Unavailable));
            self.deliver.hand_over();
        }
    }
}

/// Packets that gather at most before they are handed over: workers are not to stand idle during a long fan-out.
const GATHERED_MAX: usize = 256;

/// Brings to connections what the router has for them, worker by worker.
#[derive(Default)]
pub(super) struct Post {
    packets: usize,
    /// One outbox of each worker for whose connections something gathered.
    gathered: Vec<Arc<dyn Deliver>>,
}

impl Post {
    pub(super) fn deliver(&mut self, outbox: &Outbox, packet: FromRouter) -> Flow {
        let worker = outbox.deliver.worker();
        if !self.gathered.iter().any(|other| other.worker() == worker) {
            self.gathered.push(Arc::clone(&outbox.deliver));
        }
        let flow = outbox.deliver.deliver(packet);
        self.packets += 1;
        if self.packets >= GATHERED_MAX {
            self.hand_over();
        }
        flow
    }

    /// The connection is to be closed.
    pub(super) fn close(&mut self, mut outbox: Outbox, reason: CloseReason) {
        outbox.is_closed = true;
        self.deliver(&outbox, FromRouter::Closed(reason));
    }

    /// Hands over all that gathered.
    pub(super) fn hand_over(&mut self) {
        self.packets = 0;
        for worker in self.gathered.drain(..) {
            worker.hand_over();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::mqtt::codec::{Publish, RetainHandling};

    fn publish(payload_bytes: usize) -> ClientPacket {
        ClientPacket::Publish(Publish { payload: Bytes::from(vec![0; payload_bytes]), ..Publish::default() })
    }

    fn subscribe(filters: usize) -> ClientPacket {
        let subscription = Subscription {
            filter: "a/+".into(),
            qos: 0,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::Always,
        };
        ClientPacket::Subscribe { pkid: 1, identifier: None, subscriptions: vec![subscription; filters] }
    }

    /// How many enter until there is no room.
    fn enter(window: &Window, packet: &ClientPacket) -> usize {
        (0..10 * PACKETS_MAX).take_while(|_| window.enter(bytes(packet))).count()
    }

    #[test]
    fn packets_wait_by_number_and_by_size() {
        let cases = [
            (ClientPacket::PubAck { pkid: 1 }, PACKETS_MAX),
            (publish(1_000), PACKETS_MAX),
            (publish(PACKETS_BYTES_MAX / 8), 7),
            (publish(PACKETS_BYTES_MAX), 1),
            (publish(10 * PACKETS_BYTES_MAX), 1),
            (subscribe(PACKETS_BYTES_MAX / 8), 1),
        ];
        for (packet, count) in cases {
            let window = Window::default();
            for _ in 0..2 {
                assert_eq!(enter(&window, &packet), count, "{} bytes", bytes(&packet));
                let told: usize = (0..count).map(|_| usize::from(window.leave(&packet))).sum();
                assert_eq!(told, 1, "the door waits, and is told once");
            }
            assert_eq!((window.waiting.into_inner(), window.bytes.into_inner()), (0, 0));
        }
    }
}
