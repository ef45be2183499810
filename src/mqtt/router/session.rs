//! A session: what a client subscribed to, what is under way to it, and how long it is kept while the client is away. One
//! task on the hub's thread.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::delivery::{Answer, Deliveries};
use super::hub::{ClientName, Hub, SessionLink};
use super::link::{Ending, FromDoor, LinkEnd, Outbox};
use super::message::{ExpiryMs, Message, PublisherId};
use super::rumqttd::{Delivery, Gone};
use super::subscriptions::Subscriptions;
use super::{Attach, CloseReason, Flow, FromRouter, WillFate};
use crate::mqtt::codec::{ClientPacket, Publish, ServerPacket, Version, Will};

/// A client that attaches.
pub(super) struct Arrival {
    pub(super) version: Version,
    clean_start: bool,
    session_expiry_s: u32,
    will: Option<Will>,
    pub(super) receive_maximum: u16,
    pub(super) packet_bytes_max: Option<u32>,
    pub(super) outbox: Outbox,
    link_end: LinkEnd,
}

impl Arrival {
    pub(super) fn new(attach: Attach, link_end: LinkEnd) -> Self {
        Self {
            version: attach.version,
            clean_start: attach.clean_start,
            session_expiry_s: attach.session_expiry_s,
            will: attach.will,
            receive_maximum: attach.receive_maximum.max(1),
            packet_bytes_max: attach.packet_bytes_max,
            outbox: Outbox::new(attach.outbox),
            link_end,
        }
    }
}

/// What the hub tells a session.
pub(super) enum Control {
    /// Its client is back, or another takes over.
    Attach(Box<Arrival>),
    /// A client of its name began anew without it.
    Forget,
}

/// The connected client.
pub(super) struct Client {
    pub(super) arrival: Box<Arrival>,
    /// Set while its outbox is full.
    pub(super) paused_since: Option<Instant>,
}

pub(super) struct Session {
    pub(super) hub: Rc<Hub>,
    pub(super) name: ClientName,
    pub(super) id: PublisherId,
    pub(super) client: Option<Client>,
    pub(super) link: Option<SessionLink>,
    pub(super) subscriptions: Subscriptions,
    pub(super) deliveries: Deliveries,
    /// Packet ids of the client's publishes at QoS 2 that it has not released.
    received: HashSet<u16>,
    /// A will that waits, and until when.
    will: Option<(Will, Instant)>,
    expires_at: Option<Instant>,
}

/// Whether a session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    GoesOn,
    Ends,
}

enum Happening {
    Control(Option<Control>),
    Door(FromDoor),
    Router(Result<Delivery, Gone>),
    Deadline,
}

impl Session {
    pub(super) fn new(hub: Rc<Hub>, name: ClientName, id: PublisherId) -> Self {
        Self {
            hub,
            name,
            id,
            client: None,
            link: None,
            subscriptions: Subscriptions::default(),
            deliveries: Deliveries::default(),
            received: HashSet::new(),
            will: None,
            expires_at: None,
        }
    }

    /// Serves the client that arrived and those that follow it under its name, until the session expires.
    pub(super) async fn run(mut self, mut controls: mpsc::UnboundedReceiver<Control>, arrival: Box<Arrival>) {
        self.attach(arrival, false);
        loop {
            let happening = self.next(&mut controls).await;
            let life = match happening {
                Happening::Control(Some(Control::Attach(arrival))) => self.take_over(arrival),
                Happening::Control(Some(Control::Forget) | None) => {
                    self.leave(CloseReason::TakenOver);
                    Life::Ends
                }
                Happening::Door(from_door) => self.door(from_door),
                Happening::Router(Ok(delivery)) => self.delivered(delivery),
                Happening::Router(Err(Gone)) => self.lost(),
                Happening::Deadline => self.deadline(),
            };
            if life == Life::Ends {
                break;
            }
        }
        self.end();
        controls.close();
        self.hub.ended(&self.name);
        // Clients that came for this session meanwhile begin anew.
        while let Ok(control) = controls.try_recv() {
            if let Control::Attach(arrival) = control {
                self.hub.attach(self.name.clone(), arrival);
            }
        }
    }

    async fn next(&mut self, controls: &mut mpsc::UnboundedReceiver<Control>) -> Happening {
        let deadline = self.next_deadline();
        let wants_router =
            self.client.as_ref().is_some_and(|client| client.paused_since.is_none()) && !self.deliveries.has_waiting();
        let (client, link) = (self.client.as_mut(), self.link.as_mut());
        tokio::select! {
            control = controls.recv() => Happening::Control(control),
            from_door = async { match client {
                Some(client) => client.arrival.link_end.next().await,
                None => std::future::pending().await,
            } } => Happening::Door(from_door),
            delivery = async { match link {
                Some(link) if wants_router => link.link.next().await,
                _ => std::future::pending().await,
            } } => Happening::Router(delivery),
            () = async { match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            } } => Happening::Deadline,
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let stalled_max = Duration::from_secs(self.hub.config.stalled_s_max.into());
        let stalled_at = self.client.as_ref().and_then(|client| client.paused_since).map(|since| since + stalled_max);
        let will_at = self.will.as_ref().map(|(_, at)| *at);
        [stalled_at, will_at, self.expires_at].into_iter().flatten().min()
    }

    fn deadline(&mut self) -> Life {
        let now = Instant::now();
        if self.will.as_ref().is_some_and(|(_, at)| *at <= now) {
            self.publish_will();
        }
        if self.expires_at.is_some_and(|at| at <= now) {
            return Life::Ends;
        }
        let stalled_max = Duration::from_secs(self.hub.config.stalled_s_max.into());
        let is_stalled =
            |client: &Client| client.paused_since.is_some_and(|since| now.duration_since(since) >= stalled_max);
        if self.client.as_ref().is_some_and(is_stalled) {
            tracing::info!(client_id = self.name.client_id, "subscriber does not read, cut");
            return self.leave(CloseReason::Stalled);
        }
        Life::GoesOn
    }

    fn take_over(&mut self, arrival: Box<Arrival>) -> Life {
        self.leave(CloseReason::TakenOver);
        let is_link_dead = self.link.as_ref().is_some_and(|link| link.generation != self.hub.generation());
        let continues = !arrival.clean_start && self.expires_at.is_some() && !is_link_dead;
        if !continues {
            self.end();
        }
        self.attach(arrival, continues);
        Life::GoesOn
    }

    fn attach(&mut self, arrival: Box<Arrival>, session_present: bool) {
        self.expires_at = None;
        // The client is back before its will was due [MQTT-3.1.3-9].
        self.will = None;
        arrival.outbox.deliver(FromRouter::Attached { session_present });
        self.client = Some(Client { arrival, paused_since: None });
        for packet in self.deliveries.resend() {
            self.answer(packet);
        }
        self.flush();
    }

    /// Ends the connection from this side.
    fn leave(&mut self, reason: CloseReason) -> Life {
        let Some(client) = self.client.take() else { return Life::GoesOn };
        let Arrival { outbox, will, session_expiry_s, .. } = *client.arrival;
        outbox.close(reason);
        self.detached(will, session_expiry_s)
    }

    /// The door ended the connection.
    fn left(&mut self, ending: Ending) -> Life {
        let Some(client) = self.client.take() else { return Life::GoesOn };
        let Arrival { outbox, will, session_expiry_s, .. } = *client.arrival;
        outbox.silence();
        let will = will.filter(|_| ending.will == WillFate::Publish);
        // A DISCONNECT cannot begin what CONNECT did not ask for [MQTT-3.14.2-2].
        let changed = ending.session_expiry_s.filter(|_| session_expiry_s > 0);
        self.detached(will, changed.unwrap_or(session_expiry_s))
    }

    /// Without a client now: the will is published, or waits; the session is kept, or not.
    fn detached(&mut self, will: Option<Will>, session_expiry_s: u32) -> Life {
        let now = Instant::now();
        let expiry_s = session_expiry_s.min(self.hub.config.session_expiry_s_max);
        if let Some(will) = will {
            // Whichever is first, the delay or the session's end.
            let delay = Duration::from_secs(will.delay_s.min(expiry_s).into());
            self.will = Some((will, now + delay));
            if delay.is_zero() {
                self.publish_will();
            }
        }
        if expiry_s == 0 {
            return Life::Ends;
        }
        self.expires_at = Some(now + Duration::from_secs(expiry_s.into()));
        Life::GoesOn
    }

    /// Forgets everything but the name.
    fn end(&mut self) {
        self.publish_will();
        self.expires_at = None;
        self.hub.shared.unsubscribed(&self.name.mount, self.subscriptions.len());
        self.subscriptions = Subscriptions::default();
        self.deliveries = Deliveries::default();
        self.received.clear();
        if let Some(link) = self.link.take() {
            self.hub.unlink(link);
        }
    }

    /// The link broke: deliveries are lost, and the client has to begin anew to know.
    pub(super) fn lost(&mut self) -> Life {
        self.hub.link_broke();
        self.leave(CloseReason::Unavailable);
        Life::Ends
    }

    fn publish_will(&mut self) {
        let Some((will, _)) = self.will.take() else { return };
        let publish = Publish {
            qos: will.qos,
            retain: will.retain,
            topic: will.topic,
            payload: will.payload,
            properties: will.properties,
            ..Publish::default()
        };
        if self.publish(publish).is_err() {
            tracing::warn!(client_id = self.name.client_id, "will lost, the router is being started anew");
        }
    }

    fn publish(&self, publish: Publish) -> Result<(), Gone> {
        let expiry_s = publish.properties.as_ref().and_then(|properties| properties.message_expiry_s);
        self.hub.publish(Message {
            topic: self.name.mount.topic(&publish.topic),
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            publisher: self.id,
            expires_at: expiry_s.map(ExpiryMs::after),
            properties: publish.properties,
        })
    }

    fn door(&mut self, from_door: FromDoor) -> Life {
        match from_door {
            FromDoor::Packet(packet) => {
                let handled = self.packet(packet);
                let waits = |client: &Client| client.arrival.link_end.take_door_waiting();
                if self.client.as_ref().is_some_and(waits) {
                    self.tell(FromRouter::Ready);
                }
                if handled.is_err() { self.lost() } else { Life::GoesOn }
            }
            FromDoor::Resumed => {
                if let Some(client) = &mut self.client {
                    client.paused_since = None;
                }
                self.flush_and_acknowledge()
            }
            FromDoor::Ended(ending) => self.left(ending),
        }
    }

    fn packet(&mut self, packet: ClientPacket) -> Result<(), Gone> {
        match packet {
            ClientPacket::Publish(publish) => self.published(publish)?,
            ClientPacket::PubRel { pkid } => {
                let reason = if self.received.remove(&pkid) { 0 } else { PACKET_ID_NOT_FOUND };
                self.answer(ServerPacket::PubComp { pkid, reason });
            }
            ClientPacket::PubAck { pkid } => {
                self.deliveries.complete(pkid, Answer::Acknowledged);
            }
            ClientPacket::PubRec { pkid, reason } if reason >= FAILURE => {
                self.deliveries.complete(pkid, Answer::Refused);
            }
            ClientPacket::PubRec { pkid, .. } => {
                let reason = if self.deliveries.release(pkid) { 0 } else { PACKET_ID_NOT_FOUND };
                self.answer(ServerPacket::PubRel { pkid, reason });
            }
            ClientPacket::PubComp { pkid } => {
                self.deliveries.complete(pkid, Answer::Completed);
            }
            ClientPacket::Subscribe { pkid, identifier, subscriptions } => {
                self.subscribe(pkid, identifier, subscriptions)?;
            }
            ClientPacket::Unsubscribe { pkid, filters } => self.unsubscribe(pkid, &filters)?,
            ClientPacket::PingReq | ClientPacket::Disconnect { .. } => {}
        }
        self.flush();
        self.acknowledge()
    }

    /// Passes a client's publish on, at QoS 2 at its first coming (method B of section 4.3.3).
    fn published(&mut self, publish: Publish) -> Result<(), Gone> {
        let (qos, pkid) = (publish.qos, publish.pkid);
        if qos < 2 || !self.received.contains(&pkid) {
            self.publish(publish)?;
        }
        match qos {
            0 => {}
            1 => self.answer(ServerPacket::PubAck { pkid, reason: 0 }),
            _ => {
                self.received.insert(pkid);
                self.answer(ServerPacket::PubRec { pkid, reason: 0 });
            }
        }
        Ok(())
    }

    pub(super) fn answer(&mut self, packet: ServerPacket) {
        self.tell(FromRouter::Packet(packet));
    }

    fn tell(&mut self, packet: FromRouter) {
        if let Some(client) = &mut self.client
            && client.arrival.outbox.deliver(packet) == Flow::Pause
        {
            client.paused_since.get_or_insert_with(Instant::now);
        }
    }
}

/// Reason codes from here on are failures.
const FAILURE: u8 = 0x80;

const PACKET_ID_NOT_FOUND: u8 = 0x92;
