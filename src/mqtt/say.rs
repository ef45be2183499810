//! What the door says to a client: acknowledgements, deliveries and the last word, each within the packet size that the client
//! takes [MQTT-3.1.2-24].

use std::sync::Arc;

use super::acks::AckKind;
use super::aliases::Named;
use super::close::Close;
use super::codec::{self, ClientPacket, Publish, ServerPacket, Version};
use super::connection::{Connection, Phase, Session};
use super::opening;
use super::worker::Context;

/// Reason code of MQTT 5: not authorized.
const NOT_AUTHORIZED: u8 = 0x87;

/// Bytes of a PUBACK or PUBREC of MQTT 5 with a reason string, beside the string.
const ACK_OVERHEAD_BYTES: usize = 9;

impl Connection {
    /// Says a packet that must not be left out.
    ///
    /// An error says that the client takes no packet of this size.
    pub(super) fn say(&mut self, packet: &ServerPacket) -> Result<(), Close> {
        let Some(session) = &self.session else { return Ok(()) };
        if put_within(&mut self.out, session, packet) { Ok(()) } else { Err(Close::AnswerTooLarge) }
    }

    /// Says why the connection ends, where its version can, and in words where they fit. Until CONNACK went it is CONNACK
    /// that says so [MQTT-3.14.0-1].
    pub(super) fn say_goodbye(&mut self, why: Close) {
        let (Some(session), Some(reason)) = (&self.session, why.reason_code()) else { return };
        if self.phase == Phase::AwaitingLink {
            opening::put_refusal(&mut self.out, session.version, why, session.packet_bytes_max);
            return;
        }
        let reason_string = why.text().map(str::to_owned);
        if !put_within(&mut self.out, session, &ServerPacket::Disconnect { reason, reason_string }) {
            put_within(&mut self.out, session, &ServerPacket::Disconnect { reason, reason_string: None });
        }
    }

    /// Moves the acknowledgements that may go to what is to be written.
    pub(super) fn collect_acks(&mut self) {
        let Some(session) = &self.session else { return };
        while let Some((kind, packet_id, reason)) = self.acks.pop_ready() {
            put_ack(&mut self.out, session, kind, packet_id, reason);
        }
    }

    /// Delivers a message, unless a rule keeps it from this client: then the router is told that it is done with. That the client
    /// takes its size is the router's to see to [MQTT-3.1.2-24].
    pub(super) fn deliver(&mut self, context: &Context, publish: Publish) -> Result<(), Close> {
        let Some(session) = &mut self.session else { return Ok(()) };
        if context.acl.may_deliver(session.principal.as_deref(), &publish.topic, session.is_resumed) {
            put_publish(&mut self.out, session, publish);
            return Ok(());
        }
        match (publish.qos, publish.pkid) {
            (0, _) => Ok(()),
            (1, pkid) => self.send_routed(context, ClientPacket::PubAck { pkid }),
            (_, pkid) => self.send_routed(context, ClientPacket::PubRec { pkid, reason: NOT_AUTHORIZED }),
        }
    }
}

/// Appends a PUBLISH that fits by its name, by its alias where there is one and that fits as well: it takes three bytes, which
/// is more than the shortest topics have.
fn put_publish(out: &mut Vec<u8>, session: &mut Session, mut publish: Publish) {
    let named = session.outgoing_aliases.as_ref().map_or(Named::Plainly, |aliases| aliases.name(&publish.topic));
    let alias = match named {
        Named::Plainly => {
            codec::encode(session.version, &ServerPacket::Publish(publish), out);
            return;
        }
        Named::First(alias) | Named::Aliased(alias) => alias,
    };
    let topic = Arc::clone(&publish.topic);
    publish.properties.get_or_insert_default().topic_alias = Some(alias);
    if named == Named::Aliased(alias) {
        publish.topic = Arc::default();
    }
    let mut packet = ServerPacket::Publish(publish);
    if put_within(out, session, &packet) {
        if let (Named::First(_), Some(aliases)) = (named, &mut session.outgoing_aliases) {
            aliases.sent(&topic, alias);
        }
        return;
    }
    // Without the alias, which then goes with another message.
    if let ServerPacket::Publish(publish) = &mut packet {
        publish.topic = topic;
        if let Some(properties) = &mut publish.properties {
            properties.topic_alias = None;
        }
    }
    codec::encode(session.version, &packet, out);
}

/// Appends a packet, unless the client takes none of its size.
fn put_within(out: &mut Vec<u8>, session: &Session, packet: &ServerPacket) -> bool {
    let begin = out.len();
    codec::encode(session.version, packet, out);
    let fits = session.packet_bytes_max.is_none_or(|bytes_max| out.len() - begin <= bytes_max as usize);
    if !fits {
        out.truncate(begin);
    }
    fits
}

/// Appends a PUBACK or PUBREC: what says failure says why, if the client wants to know and the text fits.
fn put_ack(out: &mut Vec<u8>, session: &Session, kind: AckKind, packet_id: u16, reason: u8) {
    let first_byte = match kind {
        AckKind::PubAck => 0x40,
        AckKind::PubRec => 0x50,
    };
    let [high, low] = packet_id.to_be_bytes();
    if reason == 0 || session.version == Version::V4 {
        out.extend_from_slice(&[first_byte, 2, high, low]);
        return;
    }
    let fits = |text: &&str| {
        let bytes = text.len() + ACK_OVERHEAD_BYTES;
        session.wants_problem_information && session.packet_bytes_max.is_none_or(|most| bytes <= most as usize)
    };
    match reason_text(reason).filter(fits) {
        None => out.extend_from_slice(&[first_byte, 3, high, low, reason]),
        Some(text) => {
            let len = text.len() as u8;
            out.extend_from_slice(&[first_byte, len + 7, high, low, reason, len + 3, 0x1F, 0, len]);
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// Why a publish was not taken, for people; at most 100 bytes.
fn reason_text(reason: u8) -> Option<&'static str> {
    match reason {
        0x87 => Some("this client may not publish on this topic"),
        0x90 => Some("the topic is too long or too deep, or its names are no ids"),
        0x97 => Some("as much as the configuration allows is there already"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::config::Config;
    use crate::mqtt::workbench::Workbench;

    #[test]
    fn texts_have_one_byte_for_their_length_and_for_what_is_around_them() {
        for text in (0..=255).filter_map(reason_text) {
            assert!(text.len() <= 100, "{text}");
        }
    }

    /// The router lets nothing by that is larger by its name than the client takes; an alias must not make it so, be it new or
    /// known.
    #[test]
    fn a_message_that_just_fits_by_its_name_still_does_where_there_is_an_alias() {
        let mut door = Workbench::new(Config::default());
        let connect = b"\x10\x11\0\x04MQTT\x05\x02\0\0\x03\x22\0\x05\0\x01c";
        for topic_bytes in [1, 2, 3, 4, 100, 115, 116, 117, 118, 119, 120, 121, 122, 123, 124, 125, 200] {
            let publish = Publish { topic: "t".repeat(topic_bytes).into(), ..Publish::default() };
            let mut plain = Vec::new();
            codec::encode(Version::V5, &ServerPacket::Publish(publish.clone()), &mut plain);
            for (spare, is_known) in (0..=4).flat_map(|spare| [(spare, false), (spare, true)]) {
                let what = format!("topic of {topic_bytes} bytes, {spare} to spare, alias known: {is_known}");
                let mut connection = door.connection(false);
                assert_eq!(connection.take_packets(&mut door.context, connect), Ok(connect.len()));
                let session = connection.session.as_mut().unwrap();
                if is_known {
                    put_publish(&mut Vec::new(), session, publish.clone());
                }
                session.packet_bytes_max = Some((plain.len() + spare) as u32);
                let mut out = Vec::new();
                put_publish(&mut out, session, publish.clone());
                assert!(!out.is_empty() && out.len() <= plain.len() + spare, "{}: {what}", out.len());
                assert_eq!(is_known && topic_bytes > 3, out.len() < plain.len(), "by its alias alone: {what}");
                connection.end_session(&mut door.context, Close::Lost);
            }
        }
    }
}
