//! The seam as the door sees it.

mod delivery;
mod failure;
mod latest;
mod restart;
mod room;
mod session;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::mqtt::codec::{ClientPacket, Publish, PublishProperties, RetainHandling, ServerPacket, Subscription};

/// Long enough for the busiest machine.
const SOON: Duration = Duration::from_secs(10);

/// Long enough for what is there to arrive.
const QUIET: Duration = Duration::from_millis(150);

struct TestOutbox {
    sender: Sender<FromRouter>,
    is_full: Arc<AtomicBool>,
}

impl Deliver for TestOutbox {
    fn deliver(&self, packet: FromRouter) -> Flow {
        // The test may have let go of its client.
        let _ = self.sender.send(packet);
        if self.is_full.load(Ordering::SeqCst) { Flow::Pause } else { Flow::Continue }
    }

    fn hand_over(&self) {}

    fn worker(&self) -> usize {
        0
    }
}

/// A client as the door would hold it.
struct Client {
    link: Link,
    inbox: Receiver<FromRouter>,
    /// Deliveries that came while something else was waited for.
    early: RefCell<VecDeque<Publish>>,
    is_full: Arc<AtomicBool>,
    session_present: bool,
}

fn attach(client_id: &str) -> (Attach, Receiver<FromRouter>, Arc<AtomicBool>) {
    let (sender, inbox) = channel();
    let is_full = Arc::new(AtomicBool::new(false));
    let attach = Attach {
        mount: Mount::Open,
        client_id: client_id.into(),
        version: Version::V5,
        clean_start: true,
        session_expiry_s: 0,
        may_subscribe: Box::new(|_| true),
        will: None,
        receive_maximum: u16::MAX,
        unreleased_max: u16::MAX,
        packet_bytes_max: None,
        outbox: Arc::new(TestOutbox { sender, is_full: Arc::clone(&is_full) }),
    };
    (attach, inbox, is_full)
}

fn client(router: &Router, client_id: &str) -> Client {
    client_with(router, client_id, |_| {})
}

fn client_with(router: &Router, client_id: &str, change: impl FnOnce(&mut Attach)) -> Client {
    let (mut attach, inbox, is_full) = attach(client_id);
    change(&mut attach);
    let link = router.attach(attach).unwrap();
    match inbox.recv_timeout(SOON).unwrap() {
        FromRouter::Attached { session_present } => {
            Client { link, inbox, early: RefCell::default(), is_full, session_present }
        }
        other => panic!("{other:?} before Attached"),
    }
}

fn kept(attach: &mut Attach) {
    attach.clean_start = false;
    attach.session_expiry_s = 3_600;
}

fn in_tenant(name: &str) -> impl FnOnce(&mut Attach) {
    let tenant = TenantId::new(name).unwrap();
    move |attach| attach.mount = Mount::Tenant(tenant)
}

fn start_with(config: Config) -> Router {
    Router::start(config, Surroundings::default()).unwrap()
}

fn start() -> Router {
    start_with(Config::default())
}

fn subscription(filter: &str, qos: u8) -> Subscription {
    Subscription {
        filter: filter.into(),
        qos,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Always,
    }
}

fn message(topic: &str, qos: u8, payload: &str) -> Publish {
    Publish {
        topic: topic.into(),
        qos,
        pkid: if qos > 0 { 7 } else { 0 },
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        ..Publish::default()
    }
}

impl Client {
    /// Sends as the door does, waiting while the link is busy. How often it was.
    fn send(&self, packet: ClientPacket) -> usize {
        let mut busy = 0;
        let mut sent = self.link.send(packet);
        while let Err(refused) = sent {
            busy += 1;
            loop {
                match self.inbox.recv_timeout(SOON).unwrap() {
                    FromRouter::Ready => break,
                    FromRouter::Packet(ServerPacket::Publish(publish)) => self.early.borrow_mut().push_back(publish),
                    other => panic!("{other:?} while busy"),
                }
            }
            sent = self.link.send(refused.1);
        }
        busy
    }

    fn packet(&self) -> ServerPacket {
        loop {
            match self.inbox.recv_timeout(SOON) {
                Ok(FromRouter::Packet(packet)) => return packet,
                Ok(FromRouter::Ready) => {}
                other => panic!("{other:?} is no packet"),
            }
        }
    }

    /// The next packet that is no delivery.
    fn answer(&self) -> ServerPacket {
        loop {
            match self.packet() {
                ServerPacket::Publish(publish) => self.early.borrow_mut().push_back(publish),
                packet => return packet,
            }
        }
    }

    fn subscribe_with(&self, identifier: Option<u32>, subscription: Subscription) -> Vec<u8> {
        self.send(ClientPacket::Subscribe { pkid: 3, identifier, subscriptions: vec![subscription] });
        match self.answer() {
            ServerPacket::SubAck { pkid: 3, reasons } => reasons,
            other => panic!("{other:?} is no SUBACK"),
        }
    }

    fn subscribe(&self, filter: &str, qos: u8) {
        assert_eq!(self.subscribe_with(None, subscription(filter, qos)), [qos]);
    }

    fn unsubscribe(&self, filter: &str) -> Vec<u8> {
        self.send(ClientPacket::Unsubscribe { pkid: 4, filters: vec![filter.into()] });
        match self.answer() {
            ServerPacket::UnsubAck { pkid: 4, reasons } => reasons,
            other => panic!("{other:?} is no UNSUBACK"),
        }
    }

    /// Publishes and takes the acknowledgements.
    fn publish(&self, publish: Publish) {
        let (qos, pkid) = (publish.qos, publish.pkid);
        self.send(ClientPacket::Publish(publish));
        match qos {
            0 => {}
            1 => assert_eq!(self.answer(), ServerPacket::PubAck { pkid, reason: 0 }),
            _ => {
                assert_eq!(self.answer(), ServerPacket::PubRec { pkid, reason: 0 });
                self.send(ClientPacket::PubRel { pkid });
                assert_eq!(self.answer(), ServerPacket::PubComp { pkid, reason: 0 });
            }
        }
    }

    /// The next delivery, unacknowledged.
    fn delivery(&self) -> Publish {
        if let Some(publish) = self.early.borrow_mut().pop_front() {
            return publish;
        }
        match self.packet() {
            ServerPacket::Publish(publish) => publish,
            other => panic!("{other:?} is no PUBLISH"),
        }
    }

    /// The next delivery, acknowledged as its QoS wants.
    fn received(&self) -> Publish {
        let publish = self.delivery();
        let pkid = publish.pkid;
        match publish.qos {
            0 => assert_eq!(pkid, 0),
            1 => {
                self.send(ClientPacket::PubAck { pkid });
            }
            _ => {
                self.send(ClientPacket::PubRec { pkid, reason: 0 });
                assert_eq!(self.answer(), ServerPacket::PubRel { pkid, reason: 0 });
                self.send(ClientPacket::PubComp { pkid });
            }
        }
        publish
    }

    fn payload(&self) -> String {
        String::from_utf8(self.received().payload.to_vec()).unwrap()
    }

    #[track_caller]
    fn hears_nothing(&self) {
        let heard = self.inbox.recv_timeout(QUIET).ok().filter(|heard| *heard != FromRouter::Ready);
        assert!(heard.is_none() && self.early.borrow().is_empty(), "{heard:?}");
    }

    fn closed(&self) -> CloseReason {
        loop {
            if let FromRouter::Closed(reason) = self.inbox.recv_timeout(SOON).unwrap() {
                return reason;
            }
        }
    }
}
