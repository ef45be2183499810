//! What a client says once it is attached.

use super::message::Message;
use super::namespace::Namespace;
use super::session::Answer;
use super::subscribers::SessionKey;
use super::turn::Turn;
use super::{CloseReason, FromRouter};
use crate::mqtt::codec::{ClientPacket, Publish, ServerPacket};

/// Reason codes from here on are failures.
const FAILURE: u8 = 0x80;

const PACKET_ID_NOT_FOUND: u8 = 0x92;

impl Namespace {
    pub(super) fn packet(&mut self, key: SessionKey, packet: ClientPacket, turn: &mut Turn) {
        let Some(session) = self.sessions.get_mut(key as usize) else { return };
        if session.client.as_ref().is_some_and(|client| client.window.leave(&packet)) {
            session.tell(FromRouter::Ready, turn);
        }
        match packet {
            ClientPacket::Publish(publish) => return self.published(key, publish, turn),
            ClientPacket::Subscribe { pkid, identifier, subscriptions } => {
                return self.subscribe(key, pkid, identifier, subscriptions, turn);
            }
            ClientPacket::Unsubscribe { pkid, filters } => return self.unsubscribe(key, pkid, &filters, turn),
            ClientPacket::PubRel { pkid } => {
                let reason = if session.received.remove(&pkid) { 0 } else { PACKET_ID_NOT_FOUND };
                session.answer(ServerPacket::PubComp { pkid, reason }, turn);
            }
            ClientPacket::PubAck { pkid } => {
                session.outgoing.complete(pkid, Answer::Acknowledged);
            }
            ClientPacket::PubRec { pkid, reason } if reason >= FAILURE => {
                session.outgoing.complete(pkid, Answer::Refused);
            }
            ClientPacket::PubRec { pkid, .. } => {
                let reason = if session.outgoing.release(pkid) { 0 } else { PACKET_ID_NOT_FOUND };
                session.answer(ServerPacket::PubRel { pkid, reason }, turn);
            }
            ClientPacket::PubComp { pkid } => {
                session.outgoing.complete(pkid, Answer::Completed);
            }
            ClientPacket::PingReq | ClientPacket::Disconnect { .. } => {}
        }
        session.flush(turn);
    }

    /// Passes a client's publish on, at QoS 2 at its first coming (method B of section 4.3.3).
    fn published(&mut self, key: SessionKey, publish: Publish, turn: &mut Turn) {
        let Some(session) = self.sessions.get_mut(key as usize) else { return };
        let (qos, pkid) = (publish.qos, publish.pkid);
        let unreleased_max = session.client.as_ref().map_or(u16::MAX, |client| client.unreleased_max);
        let is_new = qos < 2 || !session.received.contains(&pkid);
        if qos == 2 && is_new && session.received.len() >= usize::from(unreleased_max) {
            return self.leave(key, CloseReason::ReceiveMaximumExceeded, turn);
        }
        if is_new {
            if qos == 2 {
                session.received.insert(pkid);
            }
            let message = Message::published(publish, session.address.number, turn.now);
            self.publish(message, turn);
        }
        let answer = match qos {
            0 => return,
            1 => ServerPacket::PubAck { pkid, reason: 0 },
            _ => ServerPacket::PubRec { pkid, reason: 0 },
        };
        if let Some(session) = self.sessions.get_mut(key as usize) {
            session.answer(answer, turn);
        }
    }
}
