//! How a connection begins: the CONNECT that its first packet has to be, and how a refusal is said.

use super::close::Close;
use super::codec::{self, ConnAckProperties, Connect, Malformed, ServerPacket, Version};
use super::frame::Packet;

const CONNECT: u8 = 1;

/// What is wrong with a first packet of another type.
pub(super) const NO_CONNECT: Malformed =
    Malformed { what: "the first packet is no CONNECT", clause: "MQTT-3.1.0-1", reason: 0x82 };

/// Whether a packet that begins with this byte is a CONNECT.
pub(super) fn is_connect(first_byte: u8) -> bool {
    first_byte >> 4 == CONNECT
}

/// A first packet that does not open a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// Why.
    pub(super) why: Close,
    /// The version in which the client can be told, if it is known to speak MQTT at all.
    pub(super) version: Option<Version>,
}

/// Reads the first packet, which must be a CONNECT [MQTT-3.1.0-1].
pub(super) fn read_connect(packet: &Packet<'_>) -> Result<Connect, Refused> {
    if !is_connect(packet.first_byte()) {
        return Err(Refused { why: Close::Malformed(NO_CONNECT), version: None });
    }
    codec::decode_connect(packet.bytes).map_err(|malformed| match version_of(packet) {
        None if malformed.reason == 0x84 => Refused { why: Close::UnsupportedVersion, version: Some(Version::V4) },
        version => Refused { why: Close::Malformed(malformed), version },
    })
}

/// Appends the CONNACK that refuses. The text is for people and told to MQTT 5 clients only.
pub(super) fn put_refusal(out: &mut Vec<u8>, version: Version, reason: u8, text: Option<&str>) {
    let properties = ConnAckProperties { reason_string: text.map(str::to_owned), ..ConnAckProperties::default() };
    let packet = ServerPacket::ConnAck { session_present: false, reason, properties: Box::new(properties) };
    codec::encode(version, &packet, out);
}

/// The version of a CONNECT that may be malformed beyond its first bytes.
fn version_of(packet: &Packet<'_>) -> Option<Version> {
    match packet.body {
        [0, 4, b'M', b'Q', b'T', b'T', 4, ..] => Some(Version::V4),
        [0, 4, b'M', b'Q', b'T', b'T', 5, ..] => Some(Version::V5),
        _ => None,
    }
}
