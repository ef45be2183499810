//! The fast path's second half: whose fixes a publish carries, whether its client may publish them, and what it is owed.

use std::borrow::Cow;

use super::acks::AckKind;
use super::acl::FixesOf;
use super::aliases::Incoming;
use super::close::Close;
use super::codec::{self, ClientPacket, Publish, Version};
use super::connection::{Connection, Route, Source};
use super::frame::Packet;
use super::mailbox::ConnectionRef;
use super::mapping::Mapped;
use super::publish::RawPublish;
use super::topic::{self, Topic};
use super::wills::{IngestWill, Wills};
use super::worker::Context;
use crate::auth::{Principal, TENANT_DEFAULT};
use crate::codec::Codec;
use crate::fix::Reason;
use crate::limits::PAYLOAD_FIXES_MAX;
use crate::pipeline::RouteError;
use crate::wire::{self, Decoded};

/// Reason code of MQTT 5: not authorized.
const NOT_AUTHORIZED: u8 = 0x87;

/// Reason code of MQTT 5: topic name invalid.
const TOPIC_NAME_INVALID: u8 = 0x90;

/// Reason code of MQTT 5: quota exceeded.
const QUOTA_EXCEEDED: u8 = 0x97;

/// Why a publish is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The client may not publish here.
    NotAllowed,
    /// The topic is longer or deeper than the configuration lets it be.
    TopicTooLarge,
    /// An ingest topic that leads nowhere.
    Route(RouteError),
}

impl Refusal {
    /// As the end of a connection that cannot be told otherwise.
    pub(super) fn into_close(self) -> Close {
        match self {
            Self::NotAllowed => Close::TopicDenied,
            Self::TopicTooLarge => Close::TopicTooLarge,
            Self::Route(RouteError::Id(_)) => Close::BadIngestTopic,
            Self::Route(RouteError::TooManyTenants) => Close::TooManyTenants,
        }
    }
}

impl Connection {
    /// Takes a publish that is telemetry, its topic resolved if only its alias came; false if it is not telemetry, and then
    /// nothing was done.
    pub(super) fn ingest_named(&mut self, context: &mut Context, publish: &RawPublish<'_>) -> Result<bool, Close> {
        if publish.alias == 0 {
            return self.ingest(context, publish);
        }
        Incoming::check(publish.alias, context.config.topic_alias_max).map_err(Close::Malformed)?;
        // Away from the session, which the publish changes; on an error the connection ends with it.
        let Some(session) = &mut self.session else { return Ok(false) };
        let mut aliases = std::mem::take(&mut session.aliases);
        let is_taken = if publish.topic.is_empty() {
            let topic = aliases.topic(publish.alias).map_err(Close::Malformed)?;
            self.ingest(context, &RawPublish { topic, ..*publish })?
        } else {
            let is_taken = self.ingest(context, publish)?;
            if is_taken && std::str::from_utf8(publish.topic).is_ok_and(|topic| context.config.takes_topic(topic)) {
                aliases.set(publish.alias, publish.topic);
            }
            is_taken
        };
        if let Some(session) = &mut self.session {
            session.aliases = aliases;
        }
        Ok(is_taken)
    }

    /// Takes a publish that is telemetry; false if it is not.
    fn ingest(&mut self, context: &mut Context, publish: &RawPublish<'_>) -> Result<bool, Close> {
        let is_cached = self.route.as_ref().is_some_and(|route| *route.topic == *publish.topic);
        if !is_cached {
            let Ok(topic) = std::str::from_utf8(publish.topic) else { return Ok(false) };
            let who = self.session.as_ref().and_then(|session| session.principal.as_deref());
            match source_of(context, who, topic) {
                None => return Ok(false),
                // What is kept here was allowed, for as long as the connection lasts.
                Some(Ok(source)) => self.route = Some(Route { topic: publish.topic.into(), source }),
                Some(Err(refusal)) => {
                    self.refuse_publish(context, publish.qos, publish.packet_id, refusal)?;
                    return Ok(true);
                }
            }
        }
        context.tally.publishes += 1;
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

    /// A publish that is not taken. MQTT 5 can say so, above QoS 0; otherwise only the end of the connection says it
    /// [MQTT-3.3.5-2].
    fn refuse_publish(
        &mut self,
        context: &mut Context,
        qos: u8,
        packet_id: u16,
        refusal: Refusal,
    ) -> Result<(), Close> {
        context.tally.publishes_refused += 1;
        let reason = match refusal {
            Refusal::NotAllowed => NOT_AUTHORIZED,
            Refusal::TopicTooLarge | Refusal::Route(RouteError::Id(_)) => TOPIC_NAME_INVALID,
            Refusal::Route(RouteError::TooManyTenants) => QUOTA_EXCEEDED,
        };
        if self.version() != Some(Version::V5) || qos == 0 {
            return Err(refusal.into_close());
        }
        self.check_in_flight(context)?;
        let kind = if qos == 1 { AckKind::PubAck } else { AckKind::PubRec };
        self.acks.owe_ready(kind, packet_id, reason);
        Ok(())
    }

    /// A publish that the fast path left to the codec: telemetry with properties, or the router's.
    pub(super) fn publish(&mut self, context: &mut Context, mut publish: Publish) -> Result<(), Close> {
        self.resolve_alias(context, &mut publish)?;
        let (qos, packet_id) = (publish.qos, publish.pkid);
        let raw = RawPublish { qos, packet_id, topic: publish.topic.as_bytes(), alias: 0, payload: &publish.payload };
        if self.ingest(context, &raw)? {
            return Ok(());
        }
        let who = self.session.as_ref().and_then(|session| session.principal.as_deref());
        if let Err(refusal) = check_topic(context, who, &publish.topic, None) {
            return self.refuse_publish(context, qos, packet_id, refusal);
        }
        if publish.retain && !context.config.offers_retain() && self.version() == Some(Version::V5) {
            return Err(Close::RetainNotSupported);
        }
        if qos > 0 {
            self.check_in_flight(context)?;
            let kind = if qos == 1 { AckKind::PubAck } else { AckKind::PubRec };
            self.acks.owe_routed(kind, packet_id);
        }
        self.send_routed(context, ClientPacket::Publish(publish))
    }

    /// Puts the topic in the place of its alias, which nobody behind the door knows.
    fn resolve_alias(&mut self, context: &Context, publish: &mut Publish) -> Result<(), Close> {
        let Some(properties) = &mut publish.properties else { return Ok(()) };
        let Some(alias) = properties.topic_alias.take() else { return Ok(()) };
        if **properties == codec::PublishProperties::default() {
            publish.properties = None;
        }
        Incoming::check(alias, context.config.topic_alias_max).map_err(Close::Malformed)?;
        let Some(session) = &mut self.session else { return Ok(()) };
        if publish.topic.is_empty() {
            let topic = session.aliases.topic(alias).map_err(Close::Malformed)?;
            publish.topic = String::from_utf8_lossy(topic).into();
        } else if context.config.takes_topic(&publish.topic) {
            session.aliases.set(alias, publish.topic.as_bytes());
        }
        Ok(())
    }

    /// Throws a publish at QoS 0 away that is over the client's rate. An alias that it sets still counts: the next ones may
    /// come without their topic.
    pub(super) fn drop_publish(&mut self, context: &mut Context, packet: &Packet<'_>) -> Result<(), Close> {
        context.tally.publishes_dropped += 1;
        if self.version() == Some(Version::V5)
            && let ClientPacket::Publish(mut publish) =
                codec::decode(Version::V5, packet.bytes).map_err(Close::Malformed)?
        {
            self.resolve_alias(context, &mut publish)?;
        }
        Ok(())
    }
}

/// Publishes a will on an ingest topic, like any publish. One whose client may not come in any more is refused, and one for which
/// the shards have no room is put off.
pub(super) fn publish_will(context: &mut Context, will: IngestWill) {
    if will.has_lapsed(context.now) {
        context.tally.publishes_refused += 1;
    } else if context.outbox.is_over_ceiling() {
        context.tally.wills_lost += u64::from(!context.wills.put_off(will));
    } else {
        context.tally.publishes += 1;
        add(context, &will.source, None, &will.payload);
    }
}

/// Publishes one will after the other, for as long as there are any and the shards have room.
pub(super) fn publish_wills(context: &mut Context, next: impl Fn(&Wills) -> Option<IngestWill>) {
    while !context.outbox.is_over_ceiling()
        && let Some(will) = next(&context.wills)
    {
        publish_will(context, will);
    }
}

/// Whether a client may publish on this topic.
pub(super) fn check_topic(
    context: &Context,
    who: Option<&Principal>,
    topic: &str,
    fixes_of: Option<FixesOf<'_>>,
) -> Result<(), Refusal> {
    if !context.config.takes_topic(topic) {
        return Err(Refusal::TopicTooLarge);
    }
    if context.acl.may_publish(who, topic, fixes_of) { Ok(()) } else { Err(Refusal::NotAllowed) }
}

/// Whose fixes a topic carries, by their names, and how they are written; `None` if it carries none.
fn names_of<'a>(
    context: &Context,
    who: Option<&Principal>,
    topic: &'a str,
) -> Option<(Cow<'a, str>, Cow<'a, str>, Codec)> {
    match topic::classify(topic, &context.mapping) {
        Topic::Native { tenant, driver } => Some((tenant.into(), driver.into(), Codec::Native)),
        Topic::Mapped(Mapped { codec, driver, tenant }) => {
            let own = || who.map_or(TENANT_DEFAULT, |principal| principal.tenant.as_str()).to_owned();
            Some((tenant.unwrap_or_else(own).into(), driver.into(), codec))
        }
        Topic::Other => None,
    }
}

/// Whose fixes a topic carries, if this client may publish them; `None` if it carries none.
pub(super) fn source_of(context: &Context, who: Option<&Principal>, topic: &str) -> Option<Result<Source, Refusal>> {
    let (tenant, driver, codec) = names_of(context, who, topic)?;
    let found = check_topic(context, who, topic, Some(FixesOf { tenant: &tenant, driver: &driver })).and_then(|()| {
        let driver = context.ingress.route(&tenant, &driver).map_err(Refusal::Route)?;
        Ok(Source { driver, codec })
    });
    Some(found)
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
