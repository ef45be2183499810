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

    /// Delivers a message, unless a rule keeps it from this client or the client takes none of its size (one that is sent
    /// again after the client came back taking less): then the router is told that it is done with [MQTT-3.1.2-25].
    pub(super) fn deliver(&mut self, context: &Context, publish: Publish) -> Result<(), Close> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let (qos, pkid) = (publish.qos, publish.pkid);
        if context.acl.may_deliver(session.principal.as_deref(), &publish.topic, session.is_resumed)
            && put_publish(&mut self.out, session, publish)
        {
            return Ok(());
        }
        match qos {
            0 => Ok(()),
            1 => self.send_routed(context, ClientPacket::PubAck { pkid }),
            _ => self.send_routed(context, ClientPacket::PubRec { pkid, reason: NOT_AUTHORIZED }),
        }
    }
}

/// Appends a PUBLISH, by its alias where there is one; false if the client takes none of its size.
fn put_publish(out: &mut Vec<u8>, session: &mut Session, mut publish: Publish) -> bool {
    let named = session.outgoing_aliases.as_ref().map_or(Named::Plainly, |aliases| aliases.name(&publish.topic));
    let alias = match named {
        Named::Plainly => None,
        Named::First(alias) | Named::Aliased(alias) => Some(alias),
    };
    if alias.is_some() {
        publish.properties.get_or_insert_default().topic_alias = alias;
    }
    let topic = match named {
        Named::Aliased(_) => std::mem::take(&mut publish.topic),
        Named::Plainly | Named::First(_) => Arc::default(),
    };
    let mut packet = ServerPacket::Publish(publish);
    if put_within(out, session, &packet) {
        if let (Named::First(alias), Some(aliases), ServerPacket::Publish(publish)) =
            (named, &mut session.outgoing_aliases, &packet)
        {
            aliases.sent(&publish.topic, alias);
        }
        return true;
    }
    // Perhaps without the three bytes of the alias, which then go by another message.
    if let ServerPacket::Publish(publish) = &mut packet {
        if let Some(properties) = &mut publish.properties {
            properties.topic_alias = None;
        }
        if !topic.is_empty() {
            publish.topic = topic;
        }
    }
    put_within(out, session, &packet)
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

    #[test]
    fn texts_have_one_byte_for_their_length_and_for_what_is_around_them() {
        for text in (0..=255).filter_map(reason_text) {
            assert!(text.len() <= 100, "{text}");
        }
    }
}
