//! Packets to bytes.

use super::{ConnAckProperties, Publish, PublishProperties, STRING_BYTES_MAX, ServerPacket, VARINT_MAX, Version};

/// Appends a packet for a client. Properties and reasons that 3.1.1 does not know are left out there, and a DISCONNECT
/// altogether.
pub fn encode(version: Version, packet: &ServerPacket, out: &mut Vec<u8>) {
    match packet {
        ServerPacket::ConnAck { session_present, reason, properties } => {
            connack(version, *session_present, *reason, properties, out);
        }
        ServerPacket::Publish(packet) => publish(version, packet, out),
        ServerPacket::PubAck { pkid, reason } => ack(version, 0x40, *pkid, *reason, out),
        ServerPacket::PubRec { pkid, reason } => ack(version, 0x50, *pkid, *reason, out),
        ServerPacket::PubRel { pkid, reason } => ack(version, 0x62, *pkid, *reason, out),
        ServerPacket::PubComp { pkid, reason } => ack(version, 0x70, *pkid, *reason, out),
        ServerPacket::SubAck { pkid, reasons } => suback(version, *pkid, reasons, out),
        ServerPacket::UnsubAck { pkid, reasons } => unsuback(version, *pkid, reasons, out),
        ServerPacket::PingResp => out.extend([0xD0, 0]),
        ServerPacket::Disconnect { reason, reason_string } => {
            if version == Version::V5 {
                disconnect(*reason, reason_string.as_deref(), out);
            }
        }
    }
}

fn connack(version: Version, session_present: bool, reason: u8, properties: &ConnAckProperties, out: &mut Vec<u8>) {
    // A refusal never announces a session [MQTT-3.2.2-4].
    let flags = u8::from(session_present && reason == 0);
    if version == Version::V4 {
        out.extend([0x20, 2, flags, return_code(reason)]);
        return;
    }
    let mut block = Vec::new();
    put_u32(&mut block, 0x11, properties.session_expiry_s);
    put_u16(&mut block, 0x21, properties.receive_maximum);
    if let Some(is_available) = properties.retain_available {
        block.extend([0x25, u8::from(is_available)]);
    }
    put_u32(&mut block, 0x27, properties.packet_bytes_max);
    put_string(&mut block, 0x12, properties.assigned_client_id.as_deref());
    put_u16(&mut block, 0x22, properties.topic_alias_max);
    put_u16(&mut block, 0x13, properties.keep_alive_s);
    put_string(&mut block, 0x1F, properties.reason_string.as_deref());
    out.push(0x20);
    varint(out, 2 + varint_len(block.len()) + block.len());
    out.extend([flags, reason]);
    varint(out, block.len());
    out.extend(block);
}

/// The return code of 3.1.1 that comes nearest to a reason code: "not authorized" for what the same CONNECT never gets, and
/// "server unavailable" where another try may.
fn return_code(reason: u8) -> u8 {
    match reason {
        0x00 => 0,
        0x84 => 1,
        0x85 => 2,
        0x86 => 4,
        0x87 | 0x8A | 0x8C | 0x90 => 5,
        _ => 3,
    }
}

fn publish(version: Version, packet: &Publish, out: &mut Vec<u8>) {
    debug_assert_eq!(packet.qos == 0, packet.pkid == 0, "a packet identifier goes with QoS 1 and 2");
    let mut block = Vec::new();
    if let (Version::V5, Some(properties)) = (version, &packet.properties) {
        publish_properties(properties, &mut block);
    }
    let pkid_len = if packet.qos == 0 { 0 } else { 2 };
    let block_len = if version == Version::V5 { varint_len(block.len()) + block.len() } else { 0 };
    let remaining = 2 + packet.topic.len() + pkid_len + block_len + packet.payload.len();
    out.reserve(5 + remaining);
    out.push(0x30 | u8::from(packet.dup) << 3 | packet.qos << 1 | u8::from(packet.retain));
    varint(out, remaining);
    bytes(out, packet.topic.as_bytes());
    if packet.qos != 0 {
        out.extend(packet.pkid.to_be_bytes());
    }
    if version == Version::V5 {
        varint(out, block.len());
        out.extend(block);
    }
    out.extend_from_slice(&packet.payload);
}

fn publish_properties(properties: &PublishProperties, block: &mut Vec<u8>) {
    if let Some(is_text) = properties.payload_is_text {
        block.extend([0x01, u8::from(is_text)]);
    }
    put_u32(block, 0x02, properties.message_expiry_s);
    put_u16(block, 0x23, properties.topic_alias);
    put_string(block, 0x08, properties.response_topic.as_deref());
    if let Some(data) = &properties.correlation_data {
        block.push(0x09);
        bytes(block, data);
    }
    for identifier in &properties.subscription_identifiers {
        block.push(0x0B);
        varint(block, *identifier as usize);
    }
    put_string(block, 0x03, properties.content_type.as_deref());
    for (name, value) in &properties.user_properties {
        block.push(0x26);
        bytes(block, name.as_bytes());
        bytes(block, value.as_bytes());
    }
}

fn ack(version: Version, first: u8, pkid: u16, reason: u8, out: &mut Vec<u8>) {
    let [high, low] = pkid.to_be_bytes();
    match (version, reason) {
        (Version::V4, _) | (Version::V5, 0) => out.extend([first, 2, high, low]),
        (Version::V5, _) => out.extend([first, 3, high, low, reason]),
    }
}

fn suback(version: Version, pkid: u16, reasons: &[u8], out: &mut Vec<u8>) {
    out.push(0x90);
    let block_len = usize::from(version == Version::V5);
    varint(out, 2 + block_len + reasons.len());
    out.extend(pkid.to_be_bytes());
    match version {
        // 3.1.1 knows one failure only [MQTT-3.9.3-2].
        Version::V4 => out.extend(reasons.iter().map(|reason| (*reason).min(0x80))),
        Version::V5 => {
            out.push(0);
            out.extend(reasons);
        }
    }
}

fn unsuback(version: Version, pkid: u16, reasons: &[u8], out: &mut Vec<u8>) {
    out.push(0xB0);
    match version {
        Version::V4 => {
            out.push(2);
            out.extend(pkid.to_be_bytes());
        }
        Version::V5 => {
            varint(out, 3 + reasons.len());
            out.extend(pkid.to_be_bytes());
            out.push(0);
            out.extend(reasons);
        }
    }
}

fn disconnect(reason: u8, reason_string: Option<&str>, out: &mut Vec<u8>) {
    let mut block = Vec::new();
    put_string(&mut block, 0x1F, reason_string);
    out.push(0xE0);
    if block.is_empty() {
        out.extend([1, reason]);
        return;
    }
    varint(out, 1 + varint_len(block.len()) + block.len());
    out.push(reason);
    varint(out, block.len());
    out.extend(block);
}

fn put_u16(block: &mut Vec<u8>, identifier: u8, value: Option<u16>) {
    if let Some(value) = value {
        block.push(identifier);
        block.extend(value.to_be_bytes());
    }
}

fn put_u32(block: &mut Vec<u8>, identifier: u8, value: Option<u32>) {
    if let Some(value) = value {
        block.push(identifier);
        block.extend(value.to_be_bytes());
    }
}

fn put_string(block: &mut Vec<u8>, identifier: u8, value: Option<&str>) {
    if let Some(value) = value {
        block.push(identifier);
        bytes(block, value.as_bytes());
    }
}

/// A field with its length; every text that gets here came from a field or is a short one of ours.
fn bytes(out: &mut Vec<u8>, field: &[u8]) {
    debug_assert!(field.len() <= STRING_BYTES_MAX, "a field of MQTT has two bytes for its length");
    out.extend((field.len() as u16).to_be_bytes());
    out.extend_from_slice(field);
}

fn varint(out: &mut Vec<u8>, value: usize) {
    debug_assert!(value <= VARINT_MAX as usize, "a packet has at most 256 MiB");
    let mut rest = value;
    loop {
        let low = (rest & 0x7F) as u8;
        rest >>= 7;
        if rest == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn varint_len(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}
