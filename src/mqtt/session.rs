//! What a connection's packets mean: CONNECT, telemetry by the fast path, and everything else to the router.

use std::borrow::Cow;

use super::acks::AckKind;
use super::clients::ClientRef;
use super::close::Close;
use super::codec::{self, ClientPacket, Malformed, Publish, ServerPacket, Version};
use super::connection::{Connection, Phase, Route, Source};
use super::frame::{Framed, Packet, first_packet};
use super::mailbox::ConnectionRef;
use super::mapping::Mapped;
use super::publish::{self, Parsed, RawPublish};
use super::router::{FromRouter, WillFate};
use super::topic::{self, Topic};
use super::worker::Context;
use crate::auth::TENANT_DEFAULT;
use crate::codec::Codec;
use crate::fix::Reason;
use crate::limits::PAYLOAD_FIXES_MAX;
use crate::pipeline::RouteError;
use crate::wire::{self, Decoded};

/// Fixes that a connection may still bring while the brake is on, so that a PINGREQ behind them is heard.
const BRAKED_FIXES_MAX: usize = 16;

/// Reason code of MQTT 5: topic name invalid.
const TOPIC_NAME_INVALID: u8 = 0x90;

/// Reason code of MQTT 5: quota exceeded.
const QUOTA_EXCEEDED: u8 = 0x97;

/// Reason code of MQTT 5: packet identifier not found.
const PACKET_ID_NOT_FOUND: u8 = 0x92;

/// Reason code of MQTT 5's DISCONNECT: publish the will all the same.
const DISCONNECT_WITH_WILL: u8 = 0x04;

const PUBLISH: u8 = 3;

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
                let is_brake_off = !context.outbox.is_full()
                    || (self.braked_fixes < BRAKED_FIXES_MAX && !context.outbox.is_over_ceiling());
                is_window_open && is_brake_off && session.retry.is_none() && !self.is_out_full()
            }
        }
    }

    /// Takes whole packets off the front of `bytes` as long as it may; tells how many bytes they were.
    pub(super) fn take_packets(&mut self, context: &mut Context, bytes: &[u8]) -> Result<usize, Close> {
        if !context.outbox.is_full() {
            self.braked_fixes = 0;
        }
        let mut taken = 0;
        while self.may_take(context) {
            match first_packet(&bytes[taken..], context.config.packet_bytes_max) {
                Framed::Incomplete => break,
                Framed::Packet(packet) => {
                    self.take_packet(context, &packet)?;
                    taken += packet.bytes.len();
                }
                Framed::Malformed(malformed) => return Err(Close::Malformed(malformed)),
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
            match source_of(context, topic) {
                None => return Ok(false),
                Some(Ok(source)) => self.route = Some(Route { topic: publish.topic.into(), source }),
                Some(Err(error)) => {
                    self.refuse_publish(context, publish.qos, publish.packet_id, error)?;
                    return Ok(true);
                }
            }
        }
        context.publishes += 1;
        let is_braked = context.outbox.is_full();
        let kind = match publish.qos {
            0 => {
                let Some(route) = &self.route else { return Ok(false) };
                let added = add(context, &route.source, None, publish.payload);
                self.braked_fixes += if is_braked { added } else { 0 };
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
        let added = add(context, &route.source, Some((self.me, number)), publish.payload);
        self.braked_fixes += if is_braked { added } else { 0 };
        if added == 0 {
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
    fn refuse_publish(&mut self, context: &Context, qos: u8, packet_id: u16, error: RouteError) -> Result<(), Close> {
        let (reason, why) = match error {
            RouteError::Id(_) => (TOPIC_NAME_INVALID, Close::BadIngestTopic),
            RouteError::TooManyTenants => (QUOTA_EXCEEDED, Close::TooManyTenants),
        };
        if self.version() != Some(Version::V5) || qos == 0 {
            return Err(why);
        }
        self.check_in_flight(context)?;
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
            && self.phase != Phase::AwaitingLink
            && !context.outbox.is_over_ceiling()
            && why.publishes_will()
            && let Some(Ok(source)) = source_of(context, &will.topic)
        {
            context.publishes += 1;
            add(context, &source, None, &will.payload);
        }
    }
}

/// Whose fixes a topic carries; `None` if it carries none.
fn source_of(context: &Context, topic: &str) -> Option<Result<Source, RouteError>> {
    let (tenant, driver, codec) = match topic::classify(topic, &context.mapping) {
        Topic::Native { tenant, driver } => (tenant.into(), driver.into(), Codec::Native),
        Topic::Mapped(Mapped { codec, driver, tenant }) => {
            // Nobody shows who he is in open mode.
            (tenant.map_or(Cow::Borrowed(TENANT_DEFAULT), Cow::Owned), Cow::Owned(driver), codec)
        }
        Topic::Other => return None,
    };
    Some(context.ingress.route(&tenant, &driver).map(|driver| Source { driver, codec }))
}

/// Adds a payload's fixes to what goes to their shard. A payload of more than may be is refused as a whole.
fn add(context: &mut Context, source: &Source, ack: Option<(ConnectionRef, u32)>, payload: &[u8]) -> usize {
    let codec = if source.codec == Codec::Native { wire::native_or_compact(payload) } else { source.codec };
    let mut decoded = Decoded::default();
    let added = context.outbox.add(&source.driver, context.now, ack, codec, payload, |elements| {
        decoded = wire::decode(codec, payload, PAYLOAD_FIXES_MAX, elements);
        if decoded.is_over {
            elements.push(Err(Reason::TooLarge));
        }
    });
    context.ingress.skipped().add(codec, decoded.skipped);
    added
}
