//! The few MQTT packets that a publishing client needs, written and told apart byte by byte.

use crate::plan::{Credentials, Qos, Version};

/// Longest packet accepted from a broker; acknowledgements are short, and a subscriber's publishes are ours.
const PACKET_BYTES_MAX: usize = 1 << 20;

/// PINGREQ.
pub const PINGREQ: [u8; 2] = [0xC0, 0];
/// DISCONNECT without reason.
pub const DISCONNECT: [u8; 2] = [0xE0, 0];

/// Bytes that are no MQTT packet of a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker sent what is no packet for a client")]
pub struct Malformed;

/// A packet from the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet {
    /// CONNACK: 0 is success.
    Connack {
        /// Return code or reason code.
        code: u8,
        /// Whether the broker kept the session.
        session_present: bool,
        /// Publishes it takes unacknowledged (MQTT 5; 65,535 where it does not say).
        receive_maximum: u16,
    },
    /// PUBLISH, whatever it says.
    Publish,
    /// PUBACK.
    Puback(u16, u8),
    /// PUBREC.
    Pubrec(u16, u8),
    /// PUBCOMP.
    Pubcomp(u16),
    /// SUBACK with the first reason code.
    Suback(u8),
    /// PINGRESP.
    Pingresp,
    /// DISCONNECT with its reason (MQTT 5).
    Disconnect(u8),
}

/// Takes the first packet off `input`: the packet and its length, or `None` if it is not whole yet.
pub fn next(input: &[u8], version: Version) -> Result<Option<(Packet, usize)>, Malformed> {
    let Some((&first, rest)) = input.split_first() else { return Ok(None) };
    let Some((length, length_bytes)) = variable_length(rest)? else { return Ok(None) };
    if length > PACKET_BYTES_MAX {
        return Err(Malformed);
    }
    let begin = 1 + length_bytes;
    let Some(body) = input.get(begin..begin + length) else { return Ok(None) };
    let id = || body.first_chunk::<2>().map(|id| u16::from_be_bytes(*id)).ok_or(Malformed);
    let reason = || body.get(2).copied().unwrap_or(0);
    let packet = match first >> 4 {
        2 => connack(body, version)?,
        3 => Packet::Publish,
        4 => Packet::Puback(id()?, reason()),
        5 => Packet::Pubrec(id()?, reason()),
        7 => Packet::Pubcomp(id()?),
        9 => Packet::Suback(*body.last().ok_or(Malformed)?),
        13 => Packet::Pingresp,
        14 if version == Version::V5 => Packet::Disconnect(body.first().copied().unwrap_or(0)),
        _ => return Err(Malformed),
    };
    Ok(Some((packet, begin + length)))
}

fn variable_length(input: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let mut length = 0;
    for (index, byte) in input.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((length, index + 1)));
        }
    }
    if input.len() >= 4 { Err(Malformed) } else { Ok(None) }
}

fn connack(body: &[u8], version: Version) -> Result<Packet, Malformed> {
    let [flags, code, properties @ ..] = body else { return Err(Malformed) };
    let receive_maximum = match version {
        Version::V3 => u16::MAX,
        Version::V5 => receive_maximum(properties)?.unwrap_or(u16::MAX),
    };
    Ok(Packet::Connack { code: *code, session_present: flags & 1 == 1, receive_maximum })
}

/// Property 0x21 among those that a CONNACK may have (MQTT 5, 3.2.2.3).
fn receive_maximum(properties: &[u8]) -> Result<Option<u16>, Malformed> {
    let Some((length, length_bytes)) = variable_length(properties)? else { return Ok(None) };
    let mut rest = properties.get(length_bytes..length_bytes + length).ok_or(Malformed)?;
    let text_bytes = |at: &[u8]| at.first_chunk::<2>().map_or(2, |length| 2 + usize::from(u16::from_be_bytes(*length)));
    while let Some((&id, value)) = rest.split_first() {
        let value_bytes = match id {
            0x21 => return value.first_chunk::<2>().map(|most| Some(u16::from_be_bytes(*most))).ok_or(Malformed),
            0x24 | 0x25 | 0x28 | 0x29 | 0x2A => 1,
            0x13 | 0x22 => 2,
            0x11 | 0x27 => 4,
            0x12 | 0x15 | 0x16 | 0x1A | 0x1C | 0x1F => text_bytes(value),
            0x26 => {
                let key_bytes = text_bytes(value);
                key_bytes + text_bytes(value.get(key_bytes..).ok_or(Malformed)?)
            }
            _ => return Err(Malformed),
        };
        rest = value.get(value_bytes..).ok_or(Malformed)?;
    }
    Ok(None)
}

/// Appends CONNECT. A session that is to be resumed is kept for an hour.
pub fn put_connect(
    out: &mut Vec<u8>,
    version: Version,
    client_id: &str,
    credentials: Option<&Credentials>,
    resume: bool,
    keep_alive_s: u16,
) {
    let mut body = Vec::with_capacity(64);
    put_text(&mut body, "MQTT");
    let with_credentials = if credentials.is_some() { 0xC0 } else { 0 };
    body.extend_from_slice(&[if version == Version::V5 { 5 } else { 4 }, with_credentials | u8::from(!resume) << 1]);
    body.extend_from_slice(&keep_alive_s.to_be_bytes());
    match (version, resume) {
        (Version::V3, _) => {}
        (Version::V5, false) => body.push(0),
        (Version::V5, true) => body.extend_from_slice(&[5, 0x11, 0, 0, 0x0E, 0x10]),
    }
    put_text(&mut body, client_id);
    if let Some(Credentials { user, password }) = credentials {
        put_text(&mut body, user);
        put_text(&mut body, password);
    }
    put_packet(out, 0x10, &body);
}

/// Appends SUBSCRIBE to one filter at QoS 0, with packet id 1.
pub fn put_subscribe(out: &mut Vec<u8>, version: Version, filter: &str) {
    let mut body = vec![0, 1];
    if version == Version::V5 {
        body.push(0);
    }
    put_text(&mut body, filter);
    body.push(0);
    put_packet(out, 0x82, &body);
}

/// Appends PUBREL.
pub fn put_pubrel(out: &mut Vec<u8>, id: u16) {
    let [high, low] = id.to_be_bytes();
    out.extend_from_slice(&[0x62, 2, high, low]);
}

fn put_packet(out: &mut Vec<u8>, first: u8, body: &[u8]) {
    out.push(first);
    put_variable_length(out, body.len());
    out.extend_from_slice(body);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("topics and names are bounded by the command line");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn put_variable_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

/// One device's PUBLISH: all but flags, packet id and payload is made once.
#[derive(Clone, Debug)]
pub struct Publisher {
    /// Length and text of the topic.
    topic: Vec<u8>,
    version: Version,
}

impl Publisher {
    /// Publishes on `topic`.
    pub fn new(topic: &str, version: Version) -> Self {
        let mut field = Vec::with_capacity(2 + topic.len());
        put_text(&mut field, topic);
        Self { topic: field, version }
    }

    /// Appends a PUBLISH; `id` is for QoS 1 and 2, `again` sets the DUP flag.
    pub fn put(&self, out: &mut Vec<u8>, qos: Qos, id: u16, again: bool, payload: &[u8]) {
        let (qos_bits, id_bytes) = match qos {
            Qos::AtMostOnce => (0, 0),
            Qos::AtLeastOnce => (2, 2),
            Qos::ExactlyOnce => (4, 2),
        };
        let property_bytes = usize::from(self.version == Version::V5);
        out.push(0x30 | qos_bits | u8::from(again) << 3);
        put_variable_length(out, self.topic.len() + id_bytes + property_bytes + payload.len());
        out.extend_from_slice(&self.topic);
        if id_bytes == 2 {
            out.extend_from_slice(&id.to_be_bytes());
        }
        if property_bytes == 1 {
            out.push(0);
        }
        out.extend_from_slice(payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn publishes_are_laid_out_as_the_standard_says() {
        let put = |version, qos, again| {
            let mut out = Vec::new();
            Publisher::new("a/b", version).put(&mut out, qos, 0x0102, again, b"xy");
            out
        };
        assert_eq!(put(Version::V3, Qos::AtMostOnce, false), b"\x30\x07\x00\x03a/bxy");
        assert_eq!(put(Version::V3, Qos::AtLeastOnce, false), b"\x32\x09\x00\x03a/b\x01\x02xy");
        assert_eq!(put(Version::V3, Qos::AtLeastOnce, true), b"\x3A\x09\x00\x03a/b\x01\x02xy");
        assert_eq!(put(Version::V5, Qos::ExactlyOnce, false), b"\x34\x0A\x00\x03a/b\x01\x02\x00xy");
    }

    #[test]
    fn a_long_packet_has_its_length_in_two_bytes() {
        let mut out = Vec::new();
        Publisher::new("t", Version::V3).put(&mut out, Qos::AtMostOnce, 0, false, &[b'x'; 200]);
        assert_eq!(out[..3], [0x30, 0xCB, 0x01]);
        assert_eq!(next(&out, Version::V3), Ok(Some((Packet::Publish, out.len()))));
    }

    #[test]
    fn connect_carries_credentials_and_session() {
        let mut out = Vec::new();
        let credentials = Credentials { user: "u".to_owned(), password: "p".to_owned() };
        put_connect(&mut out, Version::V3, "c", Some(&credentials), false, 60);
        assert_eq!(out, b"\x10\x13\x00\x04MQTT\x04\xC2\x00\x3C\x00\x01c\x00\x01u\x00\x01p");
        out.clear();
        put_connect(&mut out, Version::V5, "c", None, true, 60);
        assert_eq!(out, b"\x10\x13\x00\x04MQTT\x05\x00\x00\x3C\x05\x11\x00\x00\x0E\x10\x00\x01c");
    }

    #[test]
    fn acknowledgements_of_both_versions_are_understood() {
        let v5 = |bytes| next(bytes, Version::V5).map(|packet| packet.map(|(packet, _)| packet));
        assert_eq!(v5(b"\x40\x02\x00\x07"), Ok(Some(Packet::Puback(7, 0))));
        assert_eq!(v5(b"\x40\x03\x00\x07\x87"), Ok(Some(Packet::Puback(7, 0x87))));
        assert_eq!(v5(b"\x50\x02\x01\x00"), Ok(Some(Packet::Pubrec(256, 0))));
        assert_eq!(v5(b"\x70\x02\x01\x00"), Ok(Some(Packet::Pubcomp(256))));
        assert_eq!(v5(b"\xE0\x01\x8B"), Ok(Some(Packet::Disconnect(0x8B))));
        assert_eq!(v5(b"\xD0\x00"), Ok(Some(Packet::Pingresp)));
        assert_eq!(v5(b"\x40\x02\x00"), Ok(None));
        assert_eq!(v5(b"\x40\x01\x00"), Err(Malformed));
        assert_eq!(v5(b"\xF0\x00"), Err(Malformed));
        assert_eq!(v5(b"\x40\xFF\xFF\xFF\xFF"), Err(Malformed));
    }

    #[test]
    fn receive_maximum_is_found_among_other_properties() {
        let body = b"\x20\x0C\x00\x00\x09\x24\x01\x12\x00\x01x\x21\x00\x14";
        let Ok(Some((Packet::Connack { receive_maximum, code, .. }, _))) = next(body, Version::V5) else {
            panic!("not understood")
        };
        assert_eq!((receive_maximum, code), (20, 0));
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_broker_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            for version in [Version::V3, Version::V5] {
                if let Ok(Some((_, length))) = next(&bytes, version) {
                    prop_assert!(length >= 2 && length <= bytes.len());
                }
            }
        }
    }
}
