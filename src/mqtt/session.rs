//! What a connection's packets mean: CONNECT, telemetry by the fast path, and everything else to the router.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::acks::AckKind;
use super::clients::ClientRef;
use super::close::Close;
use super::codec::{self, ClientPacket, ConnAckProperties, Connect, Malformed, Publish, ServerPacket, Version, Will};
use super::connection::{Connection, Outbound, Phase, Route, Session};
use super::frame::{Framed, Packet, first_packet};
use super::mailbox::{ConnectionRef, Message};
use super::publish::{self, Parsed, RawPublish};
use super::router::{Attach, CloseReason, Deliver, FromRouter, Link, Mount, WillFate};
use super::topic::{self, Topic};
use super::worker::{Context, TICKS_PER_S, Tick};
use crate::fix::Reason;
use crate::ids::DriverKey;
use crate::limits::PAYLOAD_FIXES_MAX;
use crate::pipeline::RouteError;
use crate::wire::native;

/// Publishes that a connection may still bring while the brake is on, so that a PINGREQ behind them is heard.
const BRAKED_PUBLISHES_MAX: u8 = 16;

/// Reason code of MQTT 5: topic name invalid.
const TOPIC_NAME_INVALID: u8 = 0x90;

/// Reason code of MQTT 5: quota exceeded.
const QUOTA_EXCEEDED: u8 = 0x97;

/// Reason code of MQTT 5: packet identifier not found.
const PACKET_ID_NOT_FOUND: u8 = 0x92;

/// Reason code of MQTT 5's DISCONNECT: publish the will all the same.
const DISCONNECT_WITH_WILL: u8 = 0x04;

const PUBLISH: u8 = 3;
const CONNECT: u8 = 1;

impl Connection {
    /// Whether the next packet may be taken now.
    pub(super) fn may_take(&self, context: &Context) -> bool {
        match self.phase {
            Phase::AwaitingConnect => true,
            Phase::AwaitingLink | Phase::Lingering => false,
            Phase::Open => {
                let Some(session) = &self.session else { return false };
                let is_window_open =
                    session.version == Version::V5 || self.acks.len() < usize::from(context.config.in_flight_max);
                let is_brake_off = !context.outbox.is_full() || self.braked_publishes < BRAKED_PUBLISHES_MAX;
                is_window_open && is_brake_off && session.retry.is_none() && !self.is_out_full()
            }
        }
    }

    /// Takes whole packets off the front of `bytes` as long as it may; tells how many bytes they were.
    pub(super) fn take_packets(&mut self, context: &mut Context, bytes: &[u8]) -> Result<usize, Close> {
        if !context.outbox.is_full() {
            self.braked_publishes = 0;
        }
        let mut taken = 0;
        while self.may_take(context) {
            match first_packet(&bytes[taken..], context.config.packet_bytes_max) {
                Framed::Incomplete => break,
                Framed::Packet(packet) => {
                    self.take_packet(context, &packet)?;
                    taken += packet.bytes.len();
                }
                Framed::Malformed => {
                    return Err(Close::Malformed(Malformed {
                        what: "a remaining length of more than four bytes",
                        clause: "MQTT-1.5.5-1",
                        reason: 0x81,
                    }));
                }
                Framed::TooLarge => return Err(Close::PacketTooLarge),
            }
        }
        Ok(taken)
    }

    fn take_packet(&mut self, context: &mut Context, packet: &Packet<'_>) -> Result<(), Close> {
        let Some(version) = self.version() else { return self.connect(context, packet) };
        if packet.first_byte() >> 4 == PUBLISH
            && let Parsed::Plain(publish) = publish::parse(packet, version)
            && self.ingest(context, &publish)?
        {
            return Ok(());
        }
        match codec::decode(version, packet.bytes).map_err(Close::Malformed)? {
            ClientPacket::Publish(publish) => self.publish(context, publish),
            ClientPacket::PubRel { pkid } => self.release(context, pkid),
            ClientPacket::PingReq => {
                codec::encode(version, &ServerPacket::PingResp, &mut self.out);
                Ok(())
            }
            ClientPacket::Disconnect { reason, session_expiry_s } => {
                Err(Close::ByClient { publish_will: reason == DISCONNECT_WITH_WILL, session_expiry_s })
            }
            // Acknowledgements of deliveries mean nothing to a client that never had one.
            ClientPacket::PubAck { .. } | ClientPacket::PubRec { .. } | ClientPacket::PubComp { .. }
                if self.session.as_ref().is_none_or(|session| session.link.is_none()) =>
            {
                Ok(())
            }
            routed => self.send_routed(context, routed),
        }
    }

    /// Takes a publish that is telemetry; false if it is not.
    fn ingest(&mut self, context: &mut Context, publish: &RawPublish<'_>) -> Result<bool, Close> {
        let is_cached = self.route.as_ref().is_some_and(|route| *route.topic == *publish.topic);
        if !is_cached {
            let Ok(topic) = std::str::from_utf8(publish.topic) else { return Ok(false) };
            let Topic::Ingest { tenant, driver } = topic::classify(topic) else { return Ok(false) };
            match context.ingress.route(tenant, driver) {
                Ok(driver) => self.route = Some(Route { topic: publish.topic.into(), driver }),
                Err(error) => {
                    self.refuse_publish(publish.qos, publish.packet_id, error)?;
                    return Ok(true);
                }
            }
        }
        context.publishes += 1;
        if context.outbox.is_full() {
            self.braked_publishes += 1;
        }
        let kind = match publish.qos {
            0 => {
                let Some(route) = &self.route else { return Ok(false) };
                add(context, &route.driver, None, publish.payload);
                return Ok(true);
            }
            1 => AckKind::PubAck,
            _ => AckKind::PubRec,
        };
        self.check_in_flight(context)?;
        if kind == AckKind::PubRec && !self.begin_exactly_once(context, publish.packet_id)? {
            return Ok(true);
        }
        let Some(route) = &self.route else { return Ok(false) };
        let number = self.acks.owe(kind, publish.packet_id);
        if !add(context, &route.driver, Some((self.me, number)), publish.payload) {
            self.acks.release(number, 1);
        }
        Ok(true)
    }

    /// A client of MQTT 5 was told how much it may have in flight; one of 3.1.1 is not read while it has too much.
    fn check_in_flight(&self, context: &Context) -> Result<(), Close> {
        if self.acks.len() >= usize::from(context.config.in_flight_max) {
            return Err(Close::ReceiveMaximumExceeded);
        }
        Ok(())
    }

    /// Remembers a QoS 2 packet id until its PUBREL; false if it is a repetition, which is answered and not taken again.
    fn begin_exactly_once(&mut self, context: &Context, packet_id: u16) -> Result<bool, Close> {
        let Some(session) = &mut self.session else { return Ok(false) };
        match session.unreleased.binary_search(&packet_id) {
            Ok(_) => {
                if !self.acks.owes_pubrec(packet_id) {
                    self.acks.owe_ready(AckKind::PubRec, packet_id, 0);
                }
                Ok(false)
            }
            // One of 3.1.1 was told no bound, and has no more packet ids than this set has room for.
            Err(_)
                if session.version == Version::V5
                    && session.unreleased.len() >= usize::from(context.config.in_flight_max) =>
            {
                Err(Close::ReceiveMaximumExceeded)
            }
            Err(place) => {
                session.unreleased.insert(place, packet_id);
                Ok(true)
            }
        }
    }

    /// A publish on an ingest topic that leads nowhere. MQTT 5 can say so, above QoS 0; otherwise only the end of the
    /// connection says it [MQTT-3.3.5-2].
    fn refuse_publish(&mut self, qos: u8, packet_id: u16, error: RouteError) -> Result<(), Close> {
        let (reason, why) = match error {
            RouteError::Id(_) => (TOPIC_NAME_INVALID, Close::BadIngestTopic),
            RouteError::TooManyTenants => (QUOTA_EXCEEDED, Close::TooManyTenants),
        };
        if self.version() != Some(Version::V5) || qos == 0 {
            return Err(why);
        }
        let kind = if qos == 1 { AckKind::PubAck } else { AckKind::PubRec };
        self.acks.owe_ready(kind, packet_id, reason);
        Ok(())
    }

    /// A publish that the fast path left to the codec: telemetry with properties, or the router's.
    fn publish(&mut self, context: &mut Context, publish: Publish) -> Result<(), Close> {
        if publish.properties.as_ref().is_some_and(|properties| properties.topic_alias.is_some()) {
            return Err(Close::Malformed(Malformed {
                what: "a topic alias, where none was offered",
                clause: "MQTT-3.3.2-9",
                reason: 0x94,
            }));
        }
        let raw = RawPublish {
            qos: publish.qos,
            packet_id: publish.pkid,
            topic: publish.topic.as_bytes(),
            payload: &publish.payload,
        };
        if self.ingest(context, &raw)? {
            return Ok(());
        }
        if publish.qos > 0 {
            self.check_in_flight(context)?;
            let kind = if publish.qos == 1 { AckKind::PubAck } else { AckKind::PubRec };
            self.acks.owe_routed(kind, publish.pkid);
        }
        self.send_routed(context, ClientPacket::Publish(publish))
    }

    /// PUBREL: of a fix's packet id, or of the router's.
    fn release(&mut self, context: &mut Context, pkid: u16) -> Result<(), Close> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let reason = match session.unreleased.binary_search(&pkid) {
            Ok(place) => {
                session.unreleased.remove(place);
                0
            }
            Err(_) if session.link.is_some() => return self.send_routed(context, ClientPacket::PubRel { pkid }),
            Err(_) => PACKET_ID_NOT_FOUND,
        };
        codec::encode(session.version, &ServerPacket::PubComp { pkid, reason }, &mut self.out);
        Ok(())
    }

    /// The first packet, which must be a CONNECT [MQTT-3.1.0-1].
    fn connect(&mut self, context: &mut Context, packet: &Packet<'_>) -> Result<(), Close> {
        if packet.first_byte() >> 4 != CONNECT {
            return Err(Close::Malformed(Malformed {
                what: "the first packet is no CONNECT",
                clause: "MQTT-3.1.0-1",
                reason: 0x82,
            }));
        }
        let connect = codec::decode_connect(packet.bytes).map_err(|malformed| {
            if let Some(version) = version_of(packet) {
                self.refuse_connect(version, malformed.reason);
            } else if malformed.reason == 0x84 {
                self.refuse_connect(Version::V4, malformed.reason);
                return Close::UnsupportedVersion;
            }
            Close::Malformed(malformed)
        })?;
        let version = connect.version;
        let refusal = if self.over_limit {
            Some(Close::TooManyConnections)
        } else if connect.authentication_method.is_some() {
            Some(Close::AuthMethodRefused)
        } else if version == Version::V4 && connect.client_id.is_empty() && !connect.clean_start {
            Some(Close::ClientIdRefused)
        } else {
            None
        };
        if let Some(why) = refusal {
            if let Some(reason) = why.reason_code() {
                self.refuse_connect(version, reason);
            }
            return Err(why);
        }
        self.begin_session(context, connect)
    }

    fn begin_session(&mut self, context: &mut Context, connect: Connect) -> Result<(), Close> {
        let is_id_assigned = connect.client_id.is_empty();
        let client_id = if is_id_assigned { assigned_client_id(self.me, context.worker) } else { connect.client_id };
        let me = ClientRef { worker: context.worker, connection: self.me };
        if let Some(former) = context.clients.take(&client_id, me) {
            context.mailboxes[former.worker]
                .send(Message::Close { connection: former.connection, why: Close::TakenOver });
        }
        let (ingest_will, routed_will) = match connect.will {
            Some(will) if matches!(topic::classify(&will.topic), Topic::Ingest { .. }) => (Some(will), None),
            other => (None, other),
        };
        self.silence_max = Tick::from(connect.keep_alive_s) * TICKS_PER_S * 3 / 2;
        let has_kept_session = context.router.has_session(&Mount::Open, &client_id);
        let session = Session {
            version: connect.version,
            client_id: client_id.into(),
            is_id_assigned,
            clean_start: connect.clean_start,
            session_expiry_s: connect.session_expiry_s,
            receive_maximum: connect.receive_maximum,
            packet_bytes_max: connect.packet_bytes_max,
            ingest_will,
            link: None,
            outbound: None,
            retry: None,
            unreleased: Vec::new(),
        };
        let needs_link = routed_will.is_some() || (has_kept_session && !session.clean_start);
        if has_kept_session && session.clean_start && !needs_link {
            let forgotten = context.router.forget(&Mount::Open, &session.client_id);
            forgotten.map_err(|_| Close::Router(CloseReason::Unavailable))?;
        }
        self.session = Some(Box::new(session));
        self.phase = Phase::Open;
        if needs_link {
            self.attach(context, routed_will)?;
            self.phase = Phase::AwaitingLink;
            self.phase_since = context.now_tick;
            return Ok(());
        }
        self.send_connack(context, false);
        Ok(())
    }

    fn send_connack(&mut self, context: &Context, session_present: bool) {
        let Some(session) = &self.session else { return };
        let properties = ConnAckProperties {
            receive_maximum: Some(context.config.in_flight_max),
            packet_bytes_max: u32::try_from(context.config.packet_bytes_max).ok(),
            assigned_client_id: session.is_id_assigned.then(|| session.client_id.to_string()),
            ..ConnAckProperties::default()
        };
        let packet = ServerPacket::ConnAck { session_present, reason: 0, properties: Box::new(properties) };
        codec::encode(session.version, &packet, &mut self.out);
    }

    fn refuse_connect(&mut self, version: Version, reason: u8) {
        let packet = ServerPacket::ConnAck { session_present: false, reason, properties: Box::default() };
        codec::encode(version, &packet, &mut self.out);
    }

    /// The connection's link, made now if it has none.
    fn link(&mut self, context: &Context) -> Result<&Link, Close> {
        if self.session.as_ref().is_some_and(|session| session.link.is_none()) {
            self.attach(context, None)?;
        }
        let link = self.session.as_ref().and_then(|session| session.link.as_ref());
        link.ok_or(Close::Router(CloseReason::Unavailable))
    }

    fn attach(&mut self, context: &Context, will: Option<Will>) -> Result<(), Close> {
        let me = self.me;
        let Some(session) = &mut self.session else { return Ok(()) };
        let queue_bytes_max = context.config.subscriber_queue_bytes_max;
        let outbound = Arc::new(Outbound::new(Arc::clone(&context.mailboxes[context.worker]), me, queue_bytes_max));
        let link = context.router.attach(Attach {
            mount: Mount::Open,
            client_id: session.client_id.to_string(),
            version: session.version,
            clean_start: session.clean_start,
            session_expiry_s: session.session_expiry_s,
            will,
            receive_maximum: session.receive_maximum,
            packet_bytes_max: session.packet_bytes_max,
            outbox: Arc::clone(&outbound) as Arc<dyn Deliver>,
        });
        session.link = Some(link.map_err(|_| Close::Router(CloseReason::Unavailable))?);
        session.outbound = Some(outbound);
        Ok(())
    }

    fn send_routed(&mut self, context: &Context, packet: ClientPacket) -> Result<(), Close> {
        if let Err(refused) = self.link(context)?.send(packet)
            && let Some(session) = &mut self.session
        {
            session.retry = Some(refused.1);
        }
        Ok(())
    }

    /// Takes what the router has for this connection.
    pub(super) fn take_routed(&mut self, context: &Context, from_router: FromRouter) -> Result<(), Close> {
        match from_router {
            FromRouter::Attached { session_present } => {
                if self.phase == Phase::AwaitingLink {
                    self.phase = Phase::Open;
                    self.heard_at = context.now_tick;
                    self.send_connack(context, session_present);
                }
            }
            FromRouter::Packet(ServerPacket::PubAck { pkid, reason }) => {
                self.acks.release_routed(AckKind::PubAck, pkid, reason);
            }
            FromRouter::Packet(ServerPacket::PubRec { pkid, reason }) => {
                self.acks.release_routed(AckKind::PubRec, pkid, reason);
            }
            FromRouter::Packet(packet) => {
                if let Some(version) = self.version() {
                    codec::encode(version, &packet, &mut self.out);
                }
            }
            FromRouter::Ready => {
                let waiting = self.session.as_mut().and_then(|session| session.retry.take());
                if let Some(packet) = waiting {
                    self.send_routed(context, packet)?;
                }
            }
            FromRouter::Closed(reason) => return Err(Close::Router(reason)),
        }
        Ok(())
    }

    /// Says why the connection ends, where its version can, and leaves the router and the will behind as MQTT wants.
    pub(super) fn end_session(&mut self, context: &mut Context, why: Close) {
        let Some(session) = self.session.take() else { return };
        if session.version == Version::V5
            && self.phase != Phase::AwaitingLink
            && let Some(reason) = why.reason_code()
        {
            let packet = ServerPacket::Disconnect { reason, reason_string: None };
            codec::encode(session.version, &packet, &mut self.out);
        } else if self.phase == Phase::AwaitingLink
            && let Some(reason) = why.reason_code()
        {
            self.refuse_connect(session.version, reason);
        }
        let me = ClientRef { worker: context.worker, connection: self.me };
        context.clients.leave(&session.client_id, me);
        if let Some(link) = session.link {
            let fate = if why.publishes_will() { WillFate::Publish } else { WillFate::Discard };
            let session_expiry_s = match why {
                Close::ByClient { session_expiry_s, .. } => session_expiry_s,
                _ => None,
            };
            link.close(fate, session_expiry_s);
        }
        if let Some(will) = session.ingest_will
            && why.publishes_will()
            && let Topic::Ingest { tenant, driver } = topic::classify(&will.topic)
            && let Ok(driver) = context.ingress.route(tenant, driver)
        {
            context.publishes += 1;
            add(context, &driver, None, &will.payload);
        }
    }
}

/// Adds a payload's fixes to what goes to their shard. A payload of more than may be is malformed as a whole.
fn add(context: &mut Context, driver: &Arc<DriverKey>, ack: Option<(ConnectionRef, u32)>, payload: &[u8]) -> bool {
    context.outbox.add(driver, context.now, ack, |elements| {
        let before = elements.len();
        native::decode(payload, elements);
        if elements.len() - before > PAYLOAD_FIXES_MAX {
            elements.truncate(before);
            elements.push(Err(Reason::Malformed));
        }
    })
}

/// The version of a CONNECT that may be malformed beyond its first bytes.
fn version_of(packet: &Packet<'_>) -> Option<Version> {
    match packet.body {
        [0, 4, b'M', b'Q', b'T', b'T', 4, ..] => Some(Version::V4),
        [0, 4, b'M', b'Q', b'T', b'T', 5, ..] => Some(Version::V5),
        _ => None,
    }
}

/// A client id that nobody has and nobody guesses [MQTT-3.1.3-6].
fn assigned_client_id(connection: ConnectionRef, worker: usize) -> String {
    let unguessable = RandomState::new().hash_one((connection.key, connection.generation, worker));
    format!("rhumb-{worker}-{}-{unguessable:016x}", connection.generation)
}
