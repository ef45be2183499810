//! Packets that clients might send: well formed most of them, then bent.

use super::Rng;
use crate::mqtt::codec::Version;

const TOPICS: [&[u8]; 16] = [
    b"tenant/default/driver/d1/location",
    b"tenant/acme/driver/d1/location",
    b"tenant/acme/driver/d1/command/go",
    b"tenant/globex/driver/d2/location",
    b"tenant/a b/driver/\xC3\xA4/location",
    b"tenant/acme/driver/+/location",
    b"owntracks/anna/phone",
    b"owntracks/anna/\0",
    b"teltonika/352/data",
    b"a",
    b"a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q",
    b"$SYS/x",
    b"",
    b"#",
    b"\xFF\xFE",
    b"/",
];

const FILTERS: [&[u8]; 14] = [
    b"#",
    b"+/+",
    b"a/#",
    b"tenant/acme/#",
    b"tenant/+/driver/+/location",
    b"tenant/acme/driver/d1/#",
    b"$share/g/a/#",
    b"$share/g/tenant/acme/#",
    b"$share//a",
    b"$share/+/a",
    b"a/#/b",
    b"",
    b"\xED\xA0\x80",
    b"secret/x",
];

const PAYLOADS: [&[u8]; 8] = [
    br#"{"latitude":52.1,"longitude":21.0,"timestamp":1700000000000}"#,
    br#"[{"lat":1,"lon":2},{"lat":3}]"#,
    br#"{"_type":"location","lat":52.2,"lon":21.0,"tst":1708093024}"#,
    br#"{"_type":"lwt"}"#,
    b"",
    b"\0\x01\x02\x03",
    b"\xFF\xFF",
    b"[",
];

/// A topic of which most are good.
fn topic(rng: &mut Rng) -> &'static [u8] {
    if rng.one_in(8) { rng.pick(&TOPICS) } else { rng.pick(&TOPICS[..4]) }
}

/// What says in a payload whom it came from: no other bytes here have it in them.
pub(super) const FROM: &str = "from:";

/// A payload that says whose it is, half of the time; else fixes in it could not be read.
fn payload(rng: &mut Rng, from: &str) -> Vec<u8> {
    let payload: &[u8] = rng.pick(&PAYLOADS);
    if rng.one_in(2) { payload.into() } else { [payload, FROM.as_bytes(), from.as_bytes()].concat() }
}

/// A filter of which most are good.
fn filter(rng: &mut Rng) -> &'static [u8] {
    if rng.one_in(8) { rng.pick(&FILTERS) } else { rng.pick(&FILTERS[..8]) }
}

/// Every property identifier, with how its value is written.
const PROPERTIES: [(u8, Kind); 27] = [
    (0x01, Kind::Byte),
    (0x02, Kind::Four),
    (0x03, Kind::Text),
    (0x08, Kind::Text),
    (0x09, Kind::Text),
    (0x0B, Kind::Varint),
    (0x11, Kind::Four),
    (0x12, Kind::Text),
    (0x13, Kind::Two),
    (0x15, Kind::Text),
    (0x16, Kind::Text),
    (0x17, Kind::Byte),
    (0x18, Kind::Four),
    (0x19, Kind::Byte),
    (0x1A, Kind::Text),
    (0x1C, Kind::Text),
    (0x1F, Kind::Text),
    (0x21, Kind::Two),
    (0x22, Kind::Two),
    (0x23, Kind::Two),
    (0x24, Kind::Byte),
    (0x25, Kind::Byte),
    (0x26, Kind::Pair),
    (0x27, Kind::Four),
    (0x28, Kind::Byte),
    (0x29, Kind::Byte),
    (0x2A, Kind::Byte),
];

#[derive(Clone, Copy)]
enum Kind {
    Byte,
    Two,
    Four,
    Varint,
    Text,
    Pair,
}

/// A fixed header before a body.
pub(super) fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    varint(&mut bytes, body.len() as u32);
    bytes.extend_from_slice(body);
    bytes
}

fn varint(bytes: &mut Vec<u8>, mut rest: u32) {
    loop {
        let low = (rest & 0x7F) as u8;
        rest >>= 7;
        bytes.push(if rest > 0 { low | 0x80 } else { low });
        if rest == 0 {
            return;
        }
    }
}

fn text(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend((text.len() as u16).to_be_bytes());
    bytes.extend_from_slice(text);
}

/// A block of properties of which most belong where these are said to, with values that are small as a rule.
fn properties(rng: &mut Rng, bytes: &mut Vec<u8>, allowed: &[u8]) {
    let mut block = Vec::new();
    for _ in 0..rng.below(4).saturating_sub(1) {
        let wanted = if allowed.is_empty() || rng.one_in(40) { None } else { Some(*rng.pick(allowed)) };
        let known = PROPERTIES.iter().find(|(identifier, _)| Some(*identifier) == wanted);
        let (identifier, kind) = *known.unwrap_or_else(|| rng.pick(&PROPERTIES));
        block.push(identifier);
        let value = if rng.one_in(10) { rng.next() as u32 } else { rng.below(20) as u32 };
        match kind {
            Kind::Byte => block.push((value % if rng.one_in(10) { 256 } else { 2 }) as u8),
            Kind::Two => block.extend((value as u16).to_be_bytes()),
            Kind::Four => block.extend((if rng.one_in(4) { value } else { 100 + value }).to_be_bytes()),
            Kind::Varint => varint(&mut block, value & 0x0FFF_FFFF),
            Kind::Text => text(&mut block, topic(rng)),
            Kind::Pair => {
                text(&mut block, rng.pick(&FILTERS));
                text(&mut block, rng.pick(&PAYLOADS));
            }
        }
    }
    varint(bytes, block.len() as u32);
    bytes.extend(block);
}

/// A CONNECT of this version.
pub(super) fn connect(rng: &mut Rng, version: Version, from: &str) -> Vec<u8> {
    let is_v5 = version == Version::V5;
    let mut body = Vec::new();
    text(&mut body, if rng.one_in(50) { b"MQIsdp" } else { b"MQTT" });
    body.push(if rng.one_in(50) {
        rng.next() as u8
    } else if is_v5 {
        5
    } else {
        4
    });
    let will = if rng.one_in(3) { 0x04 | (rng.below(3) as u8) << 3 | (rng.below(2) as u8) << 5 } else { 0 };
    let credentials = if rng.one_in(3) { 0xC0 } else { 0 };
    let flags = will | credentials | if rng.one_in(3) { 0 } else { 0x02 };
    body.push(if rng.one_in(30) { rng.next() as u8 } else { flags });
    body.extend((rng.below(100) as u16).to_be_bytes());
    if is_v5 {
        properties(rng, &mut body, &[0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x22, 0x26, 0x27]);
    }
    text(&mut body, rng.pick(&[b"one" as &[u8], b"two", b"three", b""]));
    if will > 0 {
        if is_v5 {
            properties(rng, &mut body, &[0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26]);
        }
        text(&mut body, topic(rng));
        text(&mut body, &payload(rng, from));
    }
    if credentials > 0 {
        text(&mut body, b"user");
        text(&mut body, b"\xFFpass");
    }
    framed(0x10, &body)
}

/// Any packet that a client might send after its CONNECT.
pub(super) fn later(rng: &mut Rng, version: Version, from: &str) -> Vec<u8> {
    let is_v5 = version == Version::V5;
    match rng.below(20) {
        0..9 => publish(rng, version, from),
        9..12 => {
            let mut body = packet_id(rng);
            if is_v5 {
                properties(rng, &mut body, &[0x0B, 0x26]);
            }
            for _ in 0..1 + rng.below(3) {
                text(&mut body, filter(rng));
                body.push(if rng.one_in(10) { rng.next() as u8 } else { rng.below(3) as u8 });
            }
            framed(0x82, &body)
        }
        12 => {
            let mut body = packet_id(rng);
            if is_v5 {
                properties(rng, &mut body, &[0x26]);
            }
            for _ in 0..1 + rng.below(3) {
                text(&mut body, filter(rng));
            }
            framed(0xA2, &body)
        }
        13..17 => {
            let mut body = packet_id(rng);
            if is_v5 && rng.one_in(2) {
                body.push(*rng.pick(&[0, 0x10, 0x80, 0x87, 0x92, 0x97, 0x13]));
                if rng.one_in(2) {
                    properties(rng, &mut body, &[0x1F, 0x26]);
                }
            }
            framed(*rng.pick(&[0x40, 0x50, 0x62, 0x62, 0x62, 0x70]), &body)
        }
        17 => framed(0xC0, b""),
        18 if rng.one_in(4) => {
            let mut body = Vec::new();
            if is_v5 && rng.one_in(2) {
                body.push(*rng.pick(&[0, 0x04, 0x81, 0x8E, 0x98]));
                if rng.one_in(2) {
                    properties(rng, &mut body, &[0x11, 0x1F, 0x26]);
                }
            }
            framed(0xE0, &body)
        }
        18 if rng.one_in(8) => connect(rng, version, from),
        19 if rng.one_in(8) => {
            let body: Vec<u8> = (0..rng.below(30)).map(|_| rng.next() as u8).collect();
            framed(rng.next() as u8, &body)
        }
        _ => publish(rng, version, from),
    }
}

/// A PUBLISH, of version 5 with an alias often.
pub(super) fn publish(rng: &mut Rng, version: Version, from: &str) -> Vec<u8> {
    let qos = rng.below(3) as u8;
    let mut body = Vec::new();
    text(&mut body, topic(rng));
    if qos > 0 {
        body.extend(packet_id(rng));
    }
    if version == Version::V5 {
        if rng.one_in(3) {
            body.extend([3, 0x23, 0, rng.below(20) as u8]);
        } else {
            properties(rng, &mut body, &[0x01, 0x02, 0x03, 0x08, 0x09, 0x23, 0x23, 0x26]);
        }
    }
    body.extend(payload(rng, from));
    let dup = u8::from(qos > 0 && rng.one_in(8)) << 3;
    framed(0x30 | dup | qos << 1 | u8::from(rng.one_in(6)), &body)
}

fn packet_id(rng: &mut Rng) -> Vec<u8> {
    let id = if rng.one_in(40) { 0 } else { 1 + rng.below(6) as u8 };
    vec![0, id]
}

/// Bends a packet, in half of the cases so that it still passes for a whole one.
pub(super) fn bend(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..=rng.below(3) {
        let at = rng.below(bytes.len().max(1));
        match rng.below(6) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << rng.below(8),
            1 if !bytes.is_empty() => bytes[at] = *rng.pick(&[0, 1, 0x7F, 0x80, 0xFF, 0x23, 0x26]),
            2 => bytes.insert(at, rng.next() as u8),
            3 if !bytes.is_empty() => drop(bytes.remove(at)),
            4 => bytes.truncate(at),
            _ => {
                let end = (at + rng.below(12)).min(bytes.len());
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
    if rng.one_in(2) && bytes.len() >= 2 {
        let header = 2 + bytes[1..bytes.len().min(4)].iter().take_while(|byte| **byte & 0x80 != 0).count();
        let body = bytes.get(header..).unwrap_or_default().to_vec();
        *bytes = framed(bytes[0], &body);
    }
}
