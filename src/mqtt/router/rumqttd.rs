//! rumqttd's router as the engine of matching, fan-out and queues.
//!
//! Only what it does well is asked of it: subscriptions at QoS 0 and 1, publishes at QoS 0, one link for each subscribing
//! session. Everything around it is the seam's. Its calls block on its event channel, which it empties without ever
//! waiting for a link; so they are made on the hub's thread and nowhere else.

use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rumqttd::local::{LinkBuilder, LinkRx, LinkTx};
use rumqttd::protocol::{
    Disconnect, DisconnectReasonCode, Filter, Packet, PubAck, PubAckReason, QoS, RetainForwardRule, Subscribe,
    SubscribeProperties, Unsubscribe,
};
use rumqttd::{Notification, RouterConfig};

use super::Config;
use super::message::Message;

/// The router's thread has ended.
#[derive(Debug, thiserror::Error)]
#[error("the router has ended")]
pub(super) struct Gone;

/// Packet ids of rumqttd's deliveries at QoS 1: 1 to this, over and over.
pub(super) const PKID_MAX: u16 = 100;

/// Messages that it hands over in one go at QoS 0.
const READ_MAX: u64 = 100;

/// Links asked for at once: the hub waits for each, so that more than a few only gather when the router hangs.
const REQUESTS_MAX: usize = 16;

/// Segments of a filter's log; the oldest goes as a whole.
const SEGMENTS: usize = 8;

/// Matches every mounted topic; a publish that no filter matches would make rumqttd hang up on the publisher.
const CATCH_ALL: &str = "#";

/// Longest wait for the router to answer to a new link; one that panics in that moment never does, and leaves the caller of
/// `build` waiting for good.
const LINK_TIMEOUT: Duration = Duration::from_secs(1);

/// An id to link under, and where the link goes.
type LinkRequest = (String, mpsc::SyncSender<RouterLink>);

/// A running router. Its thread outlives it (rumqttd has no way to stop one), idle.
pub(super) struct Backend {
    linker: mpsc::SyncSender<LinkRequest>,
}

impl Backend {
    pub(super) fn start(config: &Config) -> std::io::Result<Self> {
        let config = RouterConfig {
            // One for each session, the publisher, and room for some that are being exchanged.
            max_connections: config.sessions_max + 8,
            max_outgoing_packet_count: READ_MAX,
            max_segment_size: (config.filter_bytes_max / SEGMENTS).max(1_024),
            max_segment_count: SEGMENTS,
            initialized_filters: Some(vec![CATCH_ALL.into()]),
            ..RouterConfig::default()
        };
        let (linker, requests) = mpsc::sync_channel::<LinkRequest>(REQUESTS_MAX);
        let events = rumqttd::Router::new(0, config).spawn();
        std::thread::Builder::new().name("mqtt-linker".into()).spawn(move || {
            for (id, reply) in requests {
                let Ok((tx, rx, _)) = LinkBuilder::new(&id, events.clone()).clean_session(true).build() else { return };
                // Nobody waits any more: the link ends as it is dropped.
                drop(reply.send(RouterLink { tx, rx }));
            }
        })?;
        Ok(Self { linker })
    }

    /// Links under an id that no other link has.
    pub(super) fn connect(&self, id: &str) -> Result<RouterLink, Gone> {
        let (reply, link) = mpsc::sync_channel(1);
        self.linker.try_send((id.into(), reply)).map_err(|_| Gone)?;
        link.recv_timeout(LINK_TIMEOUT).map_err(|_| Gone)
    }

    /// Makes the router panic: it cuts topics after their first byte, and only mounted ones are sure to begin with ASCII.
    #[cfg(test)]
    pub(super) fn kill(&self) {
        let mut link = self.connect("killer").unwrap();
        link.send(Packet::Publish(rumqttd::protocol::Publish::new("\u{e9}", "", false), None)).unwrap();
    }
}

/// A delivery.
#[derive(Debug)]
pub(super) struct Delivery {
    /// What; `None` if it cannot be read and is only to be acknowledged.
    pub(super) message: Option<Message>,
    /// The number given to [`RouterLink::subscribe`]; rumqttd forgets it when a shared subscription ended.
    pub(super) subscription: Option<usize>,
    /// Takes a packet id, and an acknowledgement in turn.
    pub(super) wants_ack: bool,
}

/// A link to the router; unlinks when dropped.
pub(super) struct RouterLink {
    tx: LinkTx,
    rx: LinkRx,
}

impl RouterLink {
    /// Adds a subscription under a number > 0.
    pub(super) fn subscribe(&mut self, path: &str, at_least_once: bool, number: usize) -> Result<(), Gone> {
        let qos = if at_least_once { QoS::AtLeastOnce } else { QoS::AtMostOnce };
        let filter = Filter {
            path: path.into(),
            qos,
            nolocal: false,
            preserve_retain: false,
            retain_forward_rule: RetainForwardRule::Never,
        };
        let properties = SubscribeProperties { id: Some(number), user_properties: Vec::new() };
        self.send(Packet::Subscribe(Subscribe { pkid: 1, filters: vec![filter] }, Some(properties)))
    }

    /// Ends a subscription.
    pub(super) fn unsubscribe(&mut self, path: &str) -> Result<(), Gone> {
        self.send(Packet::Unsubscribe(Unsubscribe { pkid: 1, filters: vec![path.into()] }, None))
    }

    /// Acknowledges the oldest delivery that wants it. rumqttd takes acknowledgements only in the order of its deliveries.
    pub(super) fn acknowledge(&mut self, pkid: u16) -> Result<(), Gone> {
        self.send(Packet::PubAck(PubAck { pkid, reason: PubAckReason::Success }, None))
    }

    /// Publishes; returns with the messages in the router's hands.
    pub(super) fn publish(&mut self, messages: impl Iterator<Item = Message>) -> Result<(), Gone> {
        let mut last = None;
        for message in messages {
            if let Some(packet) = last.replace(message.into_rumqttd()) {
                self.tx.buffer().push_back(packet);
            }
        }
        last.map_or(Ok(()), |packet| self.send(packet))
    }

    /// Wakes the router, which can miss a turn when a link ended; and tells whether it lives.
    pub(super) fn nudge(&mut self) -> Result<(), Gone> {
        self.send(Packet::Unsubscribe(Unsubscribe { pkid: 1, filters: Vec::new() }, None))
    }

    /// The next delivery. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Delivery, Gone> {
        loop {
            match self.rx.next().await.map_err(|_| Gone)? {
                Some(Notification::Forward(forward)) => {
                    // The QoS is private; the length counts a packet id if there is one.
                    let publish = &forward.publish;
                    let wants_ack = publish.len() > 2 + publish.topic.len() + publish.payload.len();
                    let (message, subscription) = Message::from_rumqttd(forward).unzip();
                    return Ok(Delivery { message, subscription: subscription.flatten(), wants_ack });
                }
                // It stopped handing over until what it had handed over is taken.
                Some(Notification::Unschedule) => self.rx.ready().map_err(|_| Gone)?,
                Some(Notification::Disconnect(..)) => return Err(Gone),
                _ => {}
            }
        }
    }

    fn send(&mut self, packet: Packet) -> Result<(), Gone> {
        // An async function without a point to wait at: one poll completes it.
        match pin!(self.tx.send(packet)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(_)) => Ok(()),
            _ => Err(Gone),
        }
    }
}

impl Drop for RouterLink {
    fn drop(&mut self) {
        let reason_code = DisconnectReasonCode::NormalDisconnection;
        // An error says that there is nothing left to unlink from.
        drop(self.send(Packet::Disconnect(Disconnect { reason_code }, None)));
    }
}
