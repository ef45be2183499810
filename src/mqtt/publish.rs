//! The fast path's first half: a PUBLISH read in place, nothing copied.

use super::codec::Version;
use super::frame::Packet;

/// A PUBLISH whose parts point into what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RawPublish<'a> {
    pub(super) qos: u8,
    /// 0 at QoS 0.
    pub(super) packet_id: u16,
    /// Empty only with an alias.
    pub(super) topic: &'a [u8],
    /// 0 is none.
    pub(super) alias: u16,
    pub(super) payload: &'a [u8],
}

/// What a PUBLISH is to the fast path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parsed<'a> {
    /// Read whole.
    Plain(RawPublish<'a>),
    /// Something that the fast path does not know or that is wrong (properties other than an alias, an empty topic, a bad
    /// flag): for the codec to read or to refuse.
    Other,
}

/// Reads a PUBLISH. What this takes, the codec would take and read alike; it checks no topic.
pub(super) fn parse<'a>(packet: &Packet<'a>, version: Version) -> Parsed<'a> {
    let qos = (packet.first_byte() >> 1) & 3;
    let is_dup = packet.first_byte() & 0x08 != 0;
    // QoS 3 [MQTT-3.3.1-4], and DUP at QoS 0 [MQTT-3.3.1-2].
    if qos == 3 || (is_dup && qos == 0) {
        return Parsed::Other;
    }
    let Some((topic, mut rest)) = take_text(packet.body) else { return Parsed::Other };
    let mut packet_id = 0;
    if qos > 0 {
        let Some((id, after)) = rest.split_first_chunk() else { return Parsed::Other };
        packet_id = u16::from_be_bytes(*id);
        rest = after;
        // [MQTT-2.2.1-3]
        if packet_id == 0 {
            return Parsed::Other;
        }
    }
    let mut alias = 0;
    if version == Version::V5 {
        (alias, rest) = match rest {
            [0, after @ ..] => (0, after),
            // Alias 0 is none [MQTT-3.3.2-8].
            [3, 0x23, high, low, after @ ..] if (*high, *low) != (0, 0) => (u16::from_be_bytes([*high, *low]), after),
            _ => return Parsed::Other,
        };
    }
    // [MQTT-4.7.3-1]
    if topic.is_empty() && alias == 0 {
        return Parsed::Other;
    }
    Parsed::Plain(RawPublish { qos, packet_id, topic, alias, payload: rest })
}

fn take_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    let len = usize::from(u16::from_be_bytes(*len));
    rest.split_at_checked(len)
}

#[cfg(test)]
mod tests {
    use super::super::frame::{Framed, first_packet};
    use super::*;

    fn parsed(bytes: &[u8], version: Version) -> Parsed<'_> {
        match first_packet(bytes, Some(version), 1_000) {
            Framed::Packet(packet) => parse(&packet, version),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn plain_publishes_are_read_and_all_else_is_left() {
        let aliased =
            |qos, packet_id, topic, alias, payload| Parsed::Plain(RawPublish { qos, packet_id, topic, alias, payload });
        let plain = |qos, packet_id, topic, payload| aliased(qos, packet_id, topic, 0, payload);
        assert_eq!(parsed(b"\x30\x05\x00\x01txy", Version::V4), plain(0, 0, b"t", b"xy"));
        assert_eq!(parsed(b"\x3A\x06\x00\x01t\x00\x07x", Version::V4), plain(1, 7, b"t", b"x"));
        assert_eq!(parsed(b"\x35\x05\x00\x01t\x01\x00", Version::V4), plain(2, 256, b"t", b""));
        assert_eq!(parsed(b"\x32\x07\x00\x01t\x00\x07\x00x", Version::V5), plain(1, 7, b"t", b"x"));
        let topic_and_alias = parsed(b"\x32\x0A\x00\x01t\x00\x07\x03\x23\x01\x02x", Version::V5);
        assert_eq!(topic_and_alias, aliased(1, 7, b"t", 0x0102, b"x"));
        assert_eq!(parsed(b"\x30\x07\x00\x00\x03\x23\x00\x02x", Version::V5), aliased(0, 0, b"", 2, b"x"));
        let others: &[(&[u8], Version)] = &[
            (b"\x36\x05\x00\x01t\x00\x01", Version::V4),
            (b"\x38\x04\x00\x01tx", Version::V4),
            (b"\x32\x05\x00\x01t\x00\x00", Version::V4),
            (b"\x32\x04\x00\x01t\x00", Version::V4),
            (b"\x30\x03\x00\x02t", Version::V4),
            (b"\x30\x02\x00\x00", Version::V4),
            (b"\x30\x01\x00", Version::V4),
            (b"\x30\x00", Version::V4),
            (b"\x30\x03\x00\x01t", Version::V5),
            (b"\x30\x06\x00\x01t\x02\x01\x01", Version::V5),
            (b"\x30\x03\x00\x00\x00", Version::V5),
            (b"\x30\x06\x00\x00\x03\x23\x00\x00", Version::V5),
            (b"\x30\x05\x00\x00\x03\x23\x00", Version::V5),
            (b"\x30\x09\x00\x00\x06\x23\x00\x01\x23\x00\x01", Version::V5),
        ];
        for (bytes, version) in others {
            assert_eq!(parsed(bytes, *version), Parsed::Other, "{bytes:?}");
        }
    }
}
