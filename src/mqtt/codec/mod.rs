//! Control packets off the fast path: whole packets to and from bytes, for both versions of MQTT.
//!
//! Types are the specification's, with reason codes as MQTT 5 numbers them; the encoder maps them to what 3.1.1 knows.
//! What a client may not send is refused here with its clause, so that nothing behind has to check again.

#[cfg(test)]
mod conformance;
mod decode;
mod encode;
#[cfg(test)]
mod lengths;
mod properties;
mod reader;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;

pub use decode::{decode, decode_connect};
pub use encode::encode;

/// Longest string or binary field.
const STRING_BYTES_MAX: usize = 65_535;

/// Largest value of a variable byte integer.
const VARINT_MAX: u32 = 268_435_455;

/// The protocol levels that the door speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1, level 4.
    V4,
    /// MQTT 5, level 5.
    V5,
}

/// Why bytes are not a packet that a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} [{clause}]")]
pub struct Malformed {
    /// What is wrong, for the log.
    pub what: &'static str,
    /// The clause of the specification, such as `MQTT-2.2.2-2`.
    pub clause: &'static str,
    /// Reason code for the DISCONNECT or CONNACK of MQTT 5: 0x81 malformed packet, 0x82 protocol error, 0x84 unsupported
    /// protocol version, 0x90 topic name invalid...
    pub reason: u8,
}

impl Malformed {
    const fn packet(what: &'static str, clause: &'static str) -> Self {
        Self { what, clause, reason: 0x81 }
    }

    const fn protocol(what: &'static str, clause: &'static str) -> Self {
        Self { what, clause, reason: 0x82 }
    }
}

/// A remaining length as 3.1.1 lets it be and MQTT 5 does not.
pub(super) const PADDED_LENGTH: Malformed =
    Malformed::packet("a remaining length takes more bytes than it needs", "MQTT-1.5.5-1");

/// A client's CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// Told apart by the protocol level.
    pub version: Version,
    /// Empty: the server assigns one.
    pub client_id: String,
    /// Clean start (MQTT 5) or clean session (3.1.1).
    pub clean_start: bool,
    /// Seconds, 0 = off.
    pub keep_alive_s: u16,
    /// Published by the server when the connection is lost.
    pub will: Option<Will>,
    /// User name, if its flag is set.
    pub username: Option<String>,
    /// Password, if its flag is set.
    pub password: Option<Bytes>,
    /// Session expiry interval; at 3.1.1 it follows from clean session (0, or `u32::MAX`).
    pub session_expiry_s: u32,
    /// Receive maximum; 65,535 when absent and at 3.1.1.
    pub receive_maximum: u16,
    /// Largest packet that the client takes, bytes.
    pub packet_bytes_max: Option<u32>,
    /// Enhanced authentication asked for (unknown methods are refused with 0x8C).
    pub authentication_method: Option<String>,
    /// Topic aliases that the client takes from the server; 0 when absent and at 3.1.1.
    pub topic_alias_max: u16,
    /// Whether acknowledgements may carry a reason string; true when absent [MQTT-3.1.2-29].
    pub wants_problem_information: bool,
    /// Whether the client asks for response information in its CONNACK; false when absent.
    pub wants_response_information: bool,
}

/// The will in a CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Where it is published.
    pub topic: String,
    /// What is published.
    pub payload: Bytes,
    /// 0, 1 or 2.
    pub qos: u8,
    /// Kept as the topic's retained message.
    pub retain: bool,
    /// Seconds to wait for the client to come back before it is published (MQTT 5).
    pub delay_s: u32,
    /// What the publish carries besides (MQTT 5).
    pub properties: Option<Box<PublishProperties>>,
}

/// A PUBLISH, of either side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publish {
    /// Sent before.
    pub dup: bool,
    /// 0, 1 or 2.
    pub qos: u8,
    /// To be retained, or delivered from the retained messages.
    pub retain: bool,
    /// Empty only with a topic alias. Shared by all to whom it is delivered.
    pub topic: Arc<str>,
    /// Packet identifier; 0 at QoS 0.
    pub pkid: u16,
    /// The message.
    pub payload: Bytes,
    /// MQTT 5's; `None` when there are none.
    pub properties: Option<Box<PublishProperties>>,
}

/// Properties of a PUBLISH or will (MQTT 5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishProperties {
    /// Whether the payload is UTF-8 text.
    pub payload_is_text: Option<bool>,
    /// Lifetime of the message, seconds.
    pub message_expiry_s: Option<u32>,
    /// Topic alias, never 0.
    pub topic_alias: Option<u16>,
    /// Where to answer.
    pub response_topic: Option<String>,
    /// What to answer with.
    pub correlation_data: Option<Bytes>,
    /// In their order.
    pub user_properties: Vec<(String, String)>,
    /// Server to client only.
    pub subscription_identifiers: Vec<u32>,
    /// What the payload is.
    pub content_type: Option<String>,
}

/// One filter of a SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Topic filter, possibly shared.
    pub filter: String,
    /// Most QoS of deliveries.
    pub qos: u8,
    /// Not the client's own publishes (MQTT 5).
    pub no_local: bool,
    /// Keep the retain flag as published (MQTT 5).
    pub retain_as_published: bool,
    /// When to send retained messages.
    pub retain_handling: RetainHandling,
}

/// When a SUBSCRIBE is answered with retained messages; 3.1.1 is `Always`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RetainHandling {
    /// At every SUBSCRIBE.
    #[default]
    Always,
    /// If the subscription is new.
    IfNew,
    /// Not at all.
    Never,
}

/// A packet that a connected client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientPacket {
    /// PUBLISH.
    Publish(Publish),
    /// PUBACK of a delivery; the reason is ignored by MQTT's rules.
    PubAck {
        /// Of the delivery.
        pkid: u16,
    },
    /// PUBREC of a delivery.
    PubRec {
        /// Of the delivery.
        pkid: u16,
        /// 0x80 and above end the delivery.
        reason: u8,
    },
    /// PUBREL of the client's publish.
    PubRel {
        /// Of the publish.
        pkid: u16,
    },
    /// PUBCOMP of a delivery.
    PubComp {
        /// Of the delivery.
        pkid: u16,
    },
    /// SUBSCRIBE, with at least one filter.
    Subscribe {
        /// Packet identifier.
        pkid: u16,
        /// Subscription identifier (MQTT 5).
        identifier: Option<u32>,
        /// What to subscribe to.
        subscriptions: Vec<Subscription>,
    },
    /// UNSUBSCRIBE, with at least one filter.
    Unsubscribe {
        /// Packet identifier.
        pkid: u16,
        /// What to end.
        filters: Vec<String>,
    },
    /// PINGREQ.
    PingReq,
    /// DISCONNECT.
    Disconnect {
        /// 0x04: publish the will all the same.
        reason: u8,
        /// New session expiry interval.
        session_expiry_s: Option<u32>,
    },
}

/// A packet for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerPacket {
    /// CONNACK; for 3.1.1 the reason becomes the nearest return code.
    ConnAck {
        /// Whether an earlier session goes on.
        session_present: bool,
        /// 0, or why not.
        reason: u8,
        /// MQTT 5's.
        properties: Box<ConnAckProperties>,
    },
    /// PUBLISH.
    Publish(Publish),
    /// PUBACK of the client's publish.
    PubAck {
        /// Of the publish.
        pkid: u16,
        /// 0, or why not (MQTT 5).
        reason: u8,
    },
    /// PUBREC of the client's publish.
    PubRec {
        /// Of the publish.
        pkid: u16,
        /// 0, or why not (MQTT 5).
        reason: u8,
    },
    /// PUBREL of a delivery.
    PubRel {
        /// Of the delivery.
        pkid: u16,
        /// 0, or 0x92 packet identifier not found.
        reason: u8,
    },
    /// PUBCOMP of the client's publish.
    PubComp {
        /// Of the publish.
        pkid: u16,
        /// 0, or 0x92 packet identifier not found.
        reason: u8,
    },
    /// SUBACK.
    SubAck {
        /// Of the SUBSCRIBE.
        pkid: u16,
        /// One for each filter: granted QoS, or 0x80 and above (all 0x80 at 3.1.1).
        reasons: Vec<u8>,
    },
    /// UNSUBACK.
    UnsubAck {
        /// Of the UNSUBSCRIBE.
        pkid: u16,
        /// One for each filter (MQTT 5).
        reasons: Vec<u8>,
    },
    /// PINGRESP.
    PingResp,
    /// DISCONNECT; nothing at 3.1.1, where servers just close.
    Disconnect {
        /// Why.
        reason: u8,
        /// For people.
        reason_string: Option<String>,
    },
}

/// Properties of a CONNACK (MQTT 5); what is `None` or default is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnAckProperties {
    /// If it differs from what the client asked for.
    pub session_expiry_s: Option<u32>,
    /// Most unacknowledged publishes of the client.
    pub receive_maximum: Option<u16>,
    /// Largest packet that the server takes, bytes.
    pub packet_bytes_max: Option<u32>,
    /// `Some(false)`: no message is retained.
    pub retain_available: Option<bool>,
    /// The id that an empty one became.
    pub assigned_client_id: Option<String>,
    /// Topic aliases that the server takes; absent is none.
    pub topic_alias_max: Option<u16>,
    /// Keep-alive that holds in place of the client's, seconds.
    pub keep_alive_s: Option<u16>,
    /// For people.
    pub reason_string: Option<String>,
}

/// Whether this may be published on: 1 to 65,535 bytes, no wildcard, no U+0000 [MQTT-3.3.2-2, MQTT-4.7.3-1,
/// MQTT-4.7.3-2, MQTT-4.7.3-3].
pub fn is_topic(topic: &str) -> bool {
    (1..=STRING_BYTES_MAX).contains(&topic.len()) && !topic.bytes().any(|byte| matches!(byte, b'+' | b'#' | 0))
}

/// Whether this is a topic filter [MQTT-4.7.1-1 to 3], shared ones included [MQTT-4.8.2-1, MQTT-4.8.2-2].
pub fn is_filter(filter: &str) -> bool {
    let plain = match filter.strip_prefix("$share/") {
        None => filter,
        Some(shared) => match shared.split_once('/') {
            Some((group, rest)) if is_group(group) => rest,
            _ => return false,
        },
    };
    (1..=STRING_BYTES_MAX).contains(&filter.len()) && filter != "$share" && is_plain_filter(plain)
}

fn is_group(group: &str) -> bool {
    !group.is_empty() && !group.contains(['+', '#', '\0'])
}

fn is_plain_filter(filter: &str) -> bool {
    let levels_are_whole = filter.split('/').all(|level| level.len() <= 1 || !level.contains(['+', '#']));
    let hash_is_last = filter.find('#').is_none_or(|at| at + 1 == filter.len());
    !filter.is_empty() && !filter.contains('\0') && levels_are_whole && hash_is_last
}
