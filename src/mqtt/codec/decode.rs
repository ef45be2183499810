//! Bytes to packets, refusing what a client may not send.

use bytes::Bytes;

use super::properties::{Place, Properties};
use super::reader::Reader;
use super::{
    ClientPacket, Connect, Malformed, PADDED_LENGTH, Publish, RetainHandling, Subscription, Version, Will, is_filter,
    is_topic,
};

const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const PUBREC: u8 = 5;
const PUBREL: u8 = 6;
const PUBCOMP: u8 = 7;
const SUBSCRIBE: u8 = 8;
const UNSUBSCRIBE: u8 = 10;
const PINGREQ: u8 = 12;
const DISCONNECT: u8 = 14;

/// Decodes one whole CONNECT, fixed header to last byte.
pub fn decode_connect(packet: &[u8]) -> Result<Connect, Malformed> {
    let FixedHeader { kind, flags, is_padded, mut body } = FixedHeader::read(packet)?;
    if kind != CONNECT {
        return Err(Malformed::protocol("the first packet is no CONNECT", "MQTT-3.1.0-1"));
    }
    if flags != 0 {
        return Err(Malformed::packet("reserved flags of CONNECT are set", "MQTT-2.2.2-2"));
    }
    let version = version(&mut body)?;
    if is_padded && version == Version::V5 {
        return Err(PADDED_LENGTH);
    }
    let flags = ConnectFlags::check(body.u8()?, version)?;
    let keep_alive_s = body.u16()?;
    let properties = match version {
        Version::V4 => Properties::default(),
        Version::V5 => Properties::read(&mut body, Place::Connect)?,
    };
    let client_id = body.string()?.to_owned();
    if version == Version::V4 && client_id.is_empty() && !flags.clean_start() {
        let what = "an empty client identifier without clean session";
        return Err(Malformed { what, clause: "MQTT-3.1.3-8", reason: 0x85 });
    }
    let will = if flags.has_will() { Some(will(&mut body, version, flags)?) } else { None };
    let username = if flags.has_username() { Some(body.string()?.to_owned()) } else { None };
    let password = if flags.has_password() { Some(Bytes::copy_from_slice(body.binary()?)) } else { None };
    body.end()?;
    let session_expiry_s = match version {
        Version::V4 if flags.clean_start() => 0,
        Version::V4 => u32::MAX,
        Version::V5 => properties.session_expiry_s.unwrap_or(0),
    };
    Ok(Connect {
        version,
        client_id,
        clean_start: flags.clean_start(),
        keep_alive_s,
        will,
        username,
        password,
        session_expiry_s,
        receive_maximum: properties.receive_maximum.unwrap_or(u16::MAX),
        packet_bytes_max: properties.packet_bytes_max,
        authentication_method: properties.authentication_method,
        topic_alias_max: properties.topic_alias_max,
        wants_problem_information: properties.request_problem_information.unwrap_or(true),
        wants_response_information: properties.request_response_information.unwrap_or(false),
    })
}

/// Decodes one whole packet of a connected client, fixed header to last byte. A second CONNECT and AUTH are refused.
pub fn decode(version: Version, packet: &[u8]) -> Result<ClientPacket, Malformed> {
    let FixedHeader { kind, flags, is_padded, mut body } = FixedHeader::read(packet)?;
    if is_padded && version == Version::V5 {
        return Err(PADDED_LENGTH);
    }
    let flags_wanted = match kind {
        PUBLISH => return publish(version, flags, body),
        PUBREL | SUBSCRIBE | UNSUBSCRIBE => 0b0010,
        _ => 0,
    };
    if flags != flags_wanted {
        return Err(Malformed::packet("reserved flags are not as they must be", "MQTT-2.2.2-2"));
    }
    let decoded = match kind {
        PUBACK => ack(version, &mut body, PUBACK_REASONS).map(|(pkid, _)| ClientPacket::PubAck { pkid }),
        PUBREC => ack(version, &mut body, PUBACK_REASONS).map(|(pkid, reason)| ClientPacket::PubRec { pkid, reason }),
        PUBREL => ack(version, &mut body, PUBREL_REASONS).map(|(pkid, _)| ClientPacket::PubRel { pkid }),
        PUBCOMP => ack(version, &mut body, PUBREL_REASONS).map(|(pkid, _)| ClientPacket::PubComp { pkid }),
        SUBSCRIBE => subscribe(version, &mut body),
        UNSUBSCRIBE => unsubscribe(version, &mut body),
        PINGREQ => Ok(ClientPacket::PingReq),
        DISCONNECT => disconnect(version, &mut body),
        CONNECT => Err(Malformed::protocol("a second CONNECT", "MQTT-3.1.0-2")),
        _ => Err(Malformed::protocol("a packet that clients do not send", "MQTT-4.8.0-1")),
    }?;
    body.end()?;
    Ok(decoded)
}

/// What every packet begins with, and the body that the remaining length covers exactly.
struct FixedHeader<'a> {
    kind: u8,
    flags: u8,
    /// The remaining length took more bytes than it needs, which only MQTT 5 forbids [MQTT-1.5.5-1].
    is_padded: bool,
    body: Reader<'a>,
}

impl<'a> FixedHeader<'a> {
    fn read(packet: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(packet);
        let first = reader.u8()?;
        let (remaining, is_padded) = reader.padded_varint()?;
        let body = Reader::new(reader.take(remaining as usize)?);
        reader.end()?;
        Ok(Self { kind: first >> 4, flags: first & 0x0F, is_padded, body })
    }
}

fn version(body: &mut Reader<'_>) -> Result<Version, Malformed> {
    let name = body.string()?;
    let level = body.u8()?;
    match (name, level) {
        ("MQTT", 4) => Ok(Version::V4),
        ("MQTT", 5) => Ok(Version::V5),
        ("MQTT", _) | ("MQIsdp", 3) => {
            Err(Malformed { what: "neither MQTT 3.1.1 nor 5", clause: "MQTT-3.1.2-2", reason: 0x84 })
        }
        _ => Err(Malformed { what: "the protocol name is not MQTT", clause: "MQTT-3.1.2-1", reason: 0x84 }),
    }
}

/// The connect flags, consistent.
#[derive(Clone, Copy, Debug)]
struct ConnectFlags(u8);

impl ConnectFlags {
    fn check(bits: u8, version: Version) -> Result<Self, Malformed> {
        let flags = Self(bits);
        if bits & 0x01 != 0 {
            return Err(Malformed::packet("the reserved connect flag is set", "MQTT-3.1.2-3"));
        }
        if !flags.has_will() && bits & 0x38 != 0 {
            return Err(Malformed::packet("will QoS or will retain without a will", "MQTT-3.1.2-11"));
        }
        if flags.will_qos() > 2 {
            return Err(Malformed::packet("will QoS 3", "MQTT-3.1.2-14"));
        }
        if version == Version::V4 && flags.has_password() && !flags.has_username() {
            return Err(Malformed::packet("a password without a user name", "MQTT-3.1.2-22"));
        }
        Ok(flags)
    }

    fn clean_start(self) -> bool {
        self.0 & 0x02 != 0
    }

    fn has_will(self) -> bool {
        self.0 & 0x04 != 0
    }

    fn will_qos(self) -> u8 {
        (self.0 >> 3) & 0x03
    }

    fn will_retain(self) -> bool {
        self.0 & 0x20 != 0
    }

    fn has_password(self) -> bool {
        self.0 & 0x40 != 0
    }

    fn has_username(self) -> bool {
        self.0 & 0x80 != 0
    }
}

fn will(body: &mut Reader<'_>, version: Version, flags: ConnectFlags) -> Result<Will, Malformed> {
    let properties = match version {
        Version::V4 => Properties::default(),
        Version::V5 => Properties::read(body, Place::Will)?,
    };
    let topic = body.string()?;
    if !is_topic(topic) {
        return Err(Malformed { what: "the will topic is no topic name", clause: "MQTT-3.1.3-10", reason: 0x90 });
    }
    Ok(Will {
        topic: topic.to_owned(),
        payload: Bytes::copy_from_slice(body.binary()?),
        qos: flags.will_qos(),
        retain: flags.will_retain(),
        delay_s: properties.will_delay_s.unwrap_or(0),
        properties: properties.into_publish(),
    })
}

fn publish(version: Version, flags: u8, mut body: Reader<'_>) -> Result<ClientPacket, Malformed> {
    let (dup, qos, retain) = (flags & 0x08 != 0, (flags >> 1) & 0x03, flags & 0x01 != 0);
    if qos == 3 {
        return Err(Malformed::packet("a PUBLISH at QoS 3", "MQTT-3.3.1-4"));
    }
    if dup && qos == 0 {
        return Err(Malformed::packet("DUP is set at QoS 0", "MQTT-3.3.1-2"));
    }
    let topic = body.string()?;
    let pkid = if qos == 0 { 0 } else { body.pkid()? };
    let properties = match version {
        Version::V4 => Properties::default(),
        Version::V5 => Properties::read(&mut body, Place::Publish)?,
    };
    if topic.is_empty() && version == Version::V5 && properties.publish.topic_alias.is_none() {
        return Err(Malformed::protocol("a PUBLISH with neither topic nor alias", "MQTT-3.3.2.1"));
    }
    let is_aliased = topic.is_empty() && version == Version::V5;
    if !is_aliased && !is_topic(topic) {
        return Err(Malformed { what: "the topic is no topic name", clause: "MQTT-3.3.2-2", reason: 0x90 });
    }
    let payload = body.rest();
    if properties.publish.payload_is_text == Some(true) && std::str::from_utf8(payload).is_err() {
        return Err(Malformed { what: "the payload is not the UTF-8 it says", clause: "MQTT-3.3.2.3.2", reason: 0x99 });
    }
    Ok(ClientPacket::Publish(Publish {
        dup,
        qos,
        retain,
        topic: topic.into(),
        pkid,
        payload: Bytes::copy_from_slice(payload),
        properties: properties.into_publish(),
    }))
}

const PUBACK_REASONS: &[u8] = &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
const PUBREL_REASONS: &[u8] = &[0x00, 0x92];

fn ack(version: Version, body: &mut Reader<'_>, reasons: &[u8]) -> Result<(u16, u8), Malformed> {
    let pkid = body.pkid()?;
    if version == Version::V4 || body.is_empty() {
        return Ok((pkid, 0));
    }
    let reason = body.u8()?;
    if !reasons.contains(&reason) {
        return Err(Malformed::packet("an unknown reason code in an acknowledgement", "MQTT-3.4.2-1"));
    }
    if !body.is_empty() {
        Properties::read(body, Place::Ack)?;
    }
    Ok((pkid, reason))
}

fn subscribe(version: Version, body: &mut Reader<'_>) -> Result<ClientPacket, Malformed> {
    let pkid = body.pkid()?;
    let identifier = match version {
        Version::V4 => None,
        Version::V5 => Properties::read(body, Place::Subscribe)?.subscription_identifier,
    };
    let mut subscriptions = Vec::new();
    while !body.is_empty() {
        let filter = filter(body)?;
        subscriptions.push(subscription(version, filter, body.u8()?)?);
    }
    if subscriptions.is_empty() {
        return Err(Malformed::protocol("a SUBSCRIBE without a filter", "MQTT-3.8.3-3"));
    }
    Ok(ClientPacket::Subscribe { pkid, identifier, subscriptions })
}

fn subscription(version: Version, filter: &str, options: u8) -> Result<Subscription, Malformed> {
    let reserved = if version == Version::V4 { 0xFC } else { 0xC0 };
    if options & reserved != 0 {
        return Err(Malformed::packet("reserved subscription options are set", "MQTT-3.8.3-4"));
    }
    let retain_handling = match (options >> 4) & 0x03 {
        0 => RetainHandling::Always,
        1 => RetainHandling::IfNew,
        2 => RetainHandling::Never,
        _ => return Err(Malformed::protocol("retain handling 3", "MQTT-3.8.3.1")),
    };
    if options & 0x03 == 3 {
        return Err(Malformed::packet("a subscription at QoS 3", "MQTT-3.8.3-4"));
    }
    let no_local = options & 0x04 != 0;
    if no_local && filter.starts_with("$share/") {
        return Err(Malformed::protocol("no local on a shared subscription", "MQTT-3.8.3-4"));
    }
    Ok(Subscription {
        filter: filter.to_owned(),
        qos: options & 0x03,
        no_local,
        retain_as_published: options & 0x08 != 0,
        retain_handling,
    })
}

fn unsubscribe(version: Version, body: &mut Reader<'_>) -> Result<ClientPacket, Malformed> {
    let pkid = body.pkid()?;
    if version == Version::V5 {
        Properties::read(body, Place::Unsubscribe)?;
    }
    let mut filters = Vec::new();
    while !body.is_empty() {
        filters.push(filter(body)?.to_owned());
    }
    if filters.is_empty() {
        return Err(Malformed::protocol("an UNSUBSCRIBE without a filter", "MQTT-3.10.3-2"));
    }
    Ok(ClientPacket::Unsubscribe { pkid, filters })
}

fn filter<'a>(body: &mut Reader<'a>) -> Result<&'a str, Malformed> {
    let filter = body.string()?;
    if !is_filter(filter) {
        return Err(Malformed { what: "not a topic filter", clause: "MQTT-4.7.1-2", reason: 0x8F });
    }
    Ok(filter)
}

const DISCONNECT_REASONS: &[u8] = &[0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];

fn disconnect(version: Version, body: &mut Reader<'_>) -> Result<ClientPacket, Malformed> {
    if version == Version::V4 || body.is_empty() {
        return Ok(ClientPacket::Disconnect { reason: 0, session_expiry_s: None });
    }
    let reason = body.u8()?;
    if !DISCONNECT_REASONS.contains(&reason) {
        return Err(Malformed::packet("an unknown reason code in DISCONNECT", "MQTT-3.14.2-1"));
    }
    let session_expiry_s = match body.is_empty() {
        true => None,
        false => Properties::read(body, Place::Disconnect)?.session_expiry_s,
    };
    Ok(ClientPacket::Disconnect { reason, session_expiry_s })
}
