//! A client's link: the door's end, and the session's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};

use super::hub::Command;
use super::{Busy, ClientPacket, CloseReason, Deliver, Flow, FromRouter, WillFate};

/// Packets of a client that may wait for its session.
const PACKETS_MAX: usize = 64;

#[derive(Debug, Default)]
struct Signals {
    is_door_waiting: AtomicBool,
    resumed: Notify,
    ending: Mutex<Option<Ending>>,
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
    packets: mpsc::Sender<ClientPacket>,
    signals: Arc<Signals>,
    /// Keeps the hub running.
    _hub: mpsc::Sender<Command>,
}

impl Link {
    /// Hands over a SUBSCRIBE, UNSUBSCRIBE, PUBLISH (topic alias resolved), PUBACK, PUBREC, PUBREL or PUBCOMP; others are
    /// the door's own and ignored. Never blocks. `Err` is [`Busy`] with the packet: stop reading this client until
    /// [`FromRouter::Ready`], then send it again, and be ready for another `Busy`. After [`FromRouter::Closed`] packets go nowhere.
    pub fn send(&self, packet: ClientPacket) -> Result<(), Box<(Busy, ClientPacket)>> {
        let packet = match self.packets.try_send(packet) {
            Ok(()) | Err(TrySendError::Closed(_)) => return Ok(()),
            Err(TrySendError::Full(packet)) => packet,
        };
        // Asked for before the second try, so that the session cannot empty the queue between them unasked.
        self.signals.is_door_waiting.store(true, Ordering::SeqCst);
        match self.packets.try_send(packet) {
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
            Err(TrySendError::Full(packet)) => Err(Box::new((Busy, packet))),
        }
    }

    /// Goes on after [`Flow::Pause`].
    pub fn resume(&self) {
        self.signals.resumed.notify_one();
    }

    /// Ends the connection. What was sent before is still handled. `session_expiry_s` is the DISCONNECT's, if it had one.
    pub fn close(self, will: WillFate, session_expiry_s: Option<u32>) {
        let mut ending = self.signals.ending.lock().unwrap_or_else(PoisonError::into_inner);
        *ending = Some(Ending { will, session_expiry_s });
    }
}

/// The session's end of a link.
#[derive(Debug)]
pub(super) struct LinkEnd {
    packets: mpsc::Receiver<ClientPacket>,
    signals: Arc<Signals>,
}

pub(super) fn pair(hub: mpsc::Sender<Command>) -> (Link, LinkEnd) {
    let (packets, packets_in) = mpsc::channel(PACKETS_MAX);
    let signals = Arc::new(Signals::default());
    (Link { packets, signals: Arc::clone(&signals), _hub: hub }, LinkEnd { packets: packets_in, signals })
}

/// What the door did.
#[derive(Debug)]
pub(super) enum FromDoor {
    Packet(ClientPacket),
    Resumed,
    Ended(Ending),
}

impl LinkEnd {
    /// The next thing that the door did. Cancel safe.
    pub(super) async fn next(&mut self) -> FromDoor {
        tokio::select! {
            packet = self.packets.recv() => match packet {
                Some(packet) => FromDoor::Packet(packet),
                None => FromDoor::Ended(self.ending()),
            },
            () = self.signals.resumed.notified() => FromDoor::Resumed,
        }
    }

    /// Whether the door found the queue full and is to be told now: when half of it is free, not at every packet.
    pub(super) fn take_door_waiting(&self) -> bool {
        self.packets.len() <= PACKETS_MAX / 2 && self.signals.is_door_waiting.swap(false, Ordering::SeqCst)
    }

    fn ending(&self) -> Ending {
        let ending = *self.signals.ending.lock().unwrap_or_else(PoisonError::into_inner);
        ending.unwrap_or(Ending { will: WillFate::Publish, session_expiry_s: None })
    }
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

    pub(super) fn deliver(&self, packet: FromRouter) -> Flow {
        self.deliver.deliver(packet)
    }

    /// The connection is to be closed.
    pub(super) fn close(mut self, reason: CloseReason) {
        self.is_closed = true;
        self.deliver.deliver(FromRouter::Closed(reason));
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
        }
    }
}
