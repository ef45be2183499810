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

/// Appends the CONNACK that refuses, where there is anything to say, to a client that takes packets of so many bytes. It says
/// why in words to clients of MQTT 5, where they fit [MQTT-3.2.2-19].
pub(super) fn put_refusal(out: &mut Vec<u8>, version: Version, why: Close, packet_bytes_max: Option<u32>) {
    let Some(reason) = why.connack_code() else { return };
    let begin = out.len();
    for text in [why.text(), None] {
        let properties = ConnAckProperties { reason_string: text.map(str::to_owned), ..ConnAckProperties::default() };
        let packet = ServerPacket::ConnAck { session_present: false, reason, properties: Box::new(properties) };
        codec::encode(version, &packet, out);
        if packet_bytes_max.is_none_or(|bytes_max| out.len() - begin <= bytes_max as usize) {
            return;
        }
        out.truncate(begin);
    }
}

/// The version of a CONNECT that may be malformed beyond its first bytes.
fn version_of(packet: &Packet<'_>) -> Option<Version> {
    match packet.body {
        [0, 4, b'M', b'Q', b'T', b'T', 4, ..] => Some(Version::V4),
        [0, 4, b'M', b'Q', b'T', b'T', 5, ..] => Some(Version::V5),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_why_in_words_where_they_fit() {
        let refusal = |version, why, packet_bytes_max| {
            let mut out = vec![0xAA];
            put_refusal(&mut out, version, why, packet_bytes_max);
            assert_eq!(out.remove(0), 0xAA, "what was there before stays");
            out
        };
        let text = Close::BadCredentials.text().unwrap();
        let whole = refusal(Version::V5, Close::BadCredentials, None);
        assert_eq!((whole[3], &whole[whole.len() - text.len()..]), (0x86, text.as_bytes()));
        let bytes = whole.len() as u32;
        assert_eq!(refusal(Version::V5, Close::BadCredentials, Some(bytes)), whole);
        assert_eq!(refusal(Version::V5, Close::BadCredentials, Some(bytes - 1)), b"\x20\x03\0\x86\0");
        assert_eq!(refusal(Version::V5, Close::BadCredentials, Some(4)), b"", "it takes none at all");
        assert_eq!(refusal(Version::V4, Close::BadCredentials, None), b"\x20\x02\0\x04");
        assert_eq!(refusal(Version::V5, Close::Stopping, Some(5)), b"\x20\x03\0\x88\0");
        assert_eq!(refusal(Version::V5, Close::Lost, None), b"");
    }
}
