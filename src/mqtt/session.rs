//! What a connection's packets mean: CONNECT, telemetry by the fast path, and everything else to the router.

use std::sync::Arc;

use super::acks::AckKind;
use super::clients::{ClientRef, Left};
use super::close::Close;
use super::codec::{self, ClientPacket, Malformed, ServerPacket, Version};
use super::connection::{Connection, Phase};
use super::frame::{CONNECT_BYTES_MAX, Framed, Packet, first_packet};
use super::ingest;
use super::publish::{self, Parsed};
use super::rate::{self, Admission};
use super::router::will::{expiry_s, wait_s};
use super::router::{FromRouter, WillFate};
use super::worker::Context;

/// Fixes that a connection may still bring while the brake is on, so that a PINGREQ behind them is heard.
const BRAKED_FIXES_MAX: usize = 16;

/// Reason code of MQTT 5: packet identifier not found.
const PACKET_ID_NOT_FOUND: u8 = 0x92;

/// Reason code of MQTT 5's DISCONNECT: publish the will all the same.
const DISCONNECT_WITH_WILL: u8 = 0x04;

const PUBLISH: u8 = 3;
const SUBSCRIBE: u8 = 8;
const UNSUBSCRIBE: u8 = 10;

/// A DISCONNECT that would keep a session which CONNECT did not ask for.
const BELATED_EXPIRY: Malformed = Malformed {
    what: "a session expiry interval in DISCONNECT where CONNECT had none",
    clause: "MQTT-3.14.2.2.2",
    reason: 0x82,
};

impl Connection {
    /// Whether the next packet may be taken now.
    pub(super) fn may_take(&self, context: &Context) -> bool {
        match self.phase {
            Phase::AwaitingConnect => true,
            Phase::AwaitingAuth | Phase::AwaitingLink | Phase::Lingering => false,
            Phase::Open => {
                let Some(session) = &self.session else { return false };
                let is_window_open =
                    session.version == Version::V5 || self.acks.len() < usize::from(context.config.in_flight_max);
                let is_brake_off = !context.outbox.is_full()
                    || (self.braked_fixes < BRAKED_FIXES_MAX && !context.outbox.is_over_ceiling());
                let is_held = session
                    .bucket
                    .as_ref()
                    .is_some_and(|bucket| rate::lock(bucket).holds(&context.config, context.now_tick));
                is_window_open && is_brake_off && !is_held && session.retry.is_empty() && !self.is_out_full()
            }
        }
    }

    /// Takes whole packets off the front of `bytes` as long as it may; tells how many bytes they were.
    pub(super) fn take_packets(&mut self, context: &mut Context, bytes: &[u8]) -> Result<usize, Close> {
        if !context.outbox.is_full() {
            self.braked_fixes = 0;
        }
        let mut taken = 0;
        while self.may_take(context) {
            let connect_bytes_max = if self.session.is_none() { CONNECT_BYTES_MAX } else { usize::MAX };
            let packet_bytes_max = context.config.packet_bytes_max.min(connect_bytes_max);
            match first_packet(&bytes[taken..], self.version(), packet_bytes_max) {
                Framed::Incomplete => break,
                Framed::Packet(packet) => {
                    match self.admit(context, &packet) {
                        Admission::Take => self.take_packet(context, &packet)?,
                        Admission::Drop => self.drop_publish(context, &packet)?,
                        Admission::Hold => break,
                    }
                    taken += packet.bytes.len();
                }
                Framed::Malformed(malformed) => return Err(Close::Malformed(malformed)),
                Framed::TooLarge => return Err(Close::PacketTooLarge),
            }
        }
        Ok(taken)
    }

    /// Whether the client's rate has room for a packet, which only some need; [`rate`](super::rate) says why not all.
    fn admit(&self, context: &Context, packet: &Packet<'_>) -> Admission {
        let kind = packet.first_byte() >> 4;
        match self.session.as_ref().and_then(|session| session.bucket.as_ref()) {
            Some(bucket) if matches!(kind, PUBLISH | SUBSCRIBE | UNSUBSCRIBE) => {
                let may_be_lost = kind == PUBLISH && (packet.first_byte() >> 1) & 3 == 0;
                rate::lock(bucket).admit(&context.config, context.now_tick, may_be_lost, packet.bytes.len())
            }
            _ => Admission::Take,
        }
    }

    fn take_packet(&mut self, context: &mut Context, packet: &Packet<'_>) -> Result<(), Close> {
        let Some(version) = self.version() else { return self.connect(context, packet) };
        if packet.first_byte() >> 4 == PUBLISH
            && let Parsed::Plain(publish) = publish::parse(packet, version)
            && self.ingest_named(context, &publish)?
        {
            return Ok(());
        }
        match codec::decode(version, packet.bytes).map_err(Close::Malformed)? {
            ClientPacket::Publish(publish) => self.publish(context, publish),
            ClientPacket::PubRel { pkid } => self.release(context, pkid),
            ClientPacket::Subscribe { pkid, identifier, subscriptions } => {
                self.subscribe(context, pkid, identifier, subscriptions)
            }
            ClientPacket::PingReq => self.say(&ServerPacket::PingResp),
            ClientPacket::Disconnect { reason, session_expiry_s } => {
                let began_with_expiry = self.session.as_ref().is_some_and(|session| session.session_expiry_s > 0);
                if session_expiry_s.is_some_and(|expiry_s| expiry_s > 0) && !began_with_expiry {
                    return Err(Close::Malformed(BELATED_EXPIRY));
                }
                Err(Close::ByClient { publish_will: reason == DISCONNECT_WITH_WILL, session_expiry_s })
            }
            // Acknowledgements of deliveries mean nothing to a client that never had one.
            ClientPacket::PubAck { .. } | ClientPacket::PubRec { .. } | ClientPacket::PubComp { .. }
                if self.session.as_ref().is_none_or(|session| session.link.is_none()) =>
            {
                Ok(())
            }
            routed => self.send_routed(context, routed),
        }
    }

    /// PUBREL: of a fix's packet id, or of the router's.
    fn release(&mut self, context: &mut Context, pkid: u16) -> Result<(), Close> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let reason = match session.unreleased.binary_search(&pkid) {
            Ok(place) => {
                session.unreleased.remove(place);
                0
            }
            Err(_) if session.link.is_some() => return self.send_routed(context, ClientPacket::PubRel { pkid }),
            Err(_) => PACKET_ID_NOT_FOUND,
        };
        self.say(&ServerPacket::PubComp { pkid, reason })
    }

    /// Sends a packet to the router, behind those that it has no room for yet.
    pub(super) fn send_routed(&mut self, context: &Context, packet: ClientPacket) -> Result<(), Close> {
        if let Some(session) = self.session.as_mut().filter(|session| !session.retry.is_empty()) {
            session.retry.push_back(packet);
            return Ok(());
        }
        if let Err(refused) = self.link(context)?.send(packet)
            && let Some(session) = &mut self.session
        {
            session.retry.push_back(refused.1);
        }
        Ok(())
    }

    /// Sends what the router had no room for, as far as it has now.
    fn send_waiting(&mut self, context: &Context) -> Result<(), Close> {
        while let Some(packet) = self.session.as_mut().and_then(|session| session.retry.pop_front()) {
            if let Err(refused) = self.link(context)?.send(packet) {
                if let Some(session) = &mut self.session {
                    session.retry.push_front(refused.1);
                }
                break;
            }
        }
        Ok(())
    }

    /// Takes what the router has for this connection.
    pub(super) fn take_routed(&mut self, context: &mut Context, from_router: FromRouter) -> Result<(), Close> {
        match from_router {
            FromRouter::Attached { session_present } => {
                if let Some(session) = &mut self.session {
                    session.is_resumed = session_present;
                }
                if self.phase == Phase::AwaitingLink {
                    self.heard_at = context.now_tick;
                    self.send_connack(context, session_present)?;
                }
            }
            FromRouter::Packet(ServerPacket::PubAck { pkid, reason }) => {
                self.acks.release_routed(AckKind::PubAck, pkid, reason);
            }
            FromRouter::Packet(ServerPacket::PubRec { pkid, reason }) => {
                self.acks.release_routed(AckKind::PubRec, pkid, reason);
            }
            FromRouter::Packet(ServerPacket::Publish(publish)) => self.deliver(context, publish)?,
            FromRouter::Packet(ServerPacket::SubAck { pkid, reasons }) => self.subscribed(pkid, reasons)?,
            FromRouter::Packet(packet) => self.say(&packet)?,
            FromRouter::Ready => self.send_waiting(context)?,
            FromRouter::Closed(reason) => return Err(Close::Router(reason)),
        }
        Ok(())
    }

    /// Says why the connection ends, where its version can, and leaves the router and the will behind as MQTT wants.
    pub(super) fn end_session(&mut self, context: &mut Context, why: Close) {
        self.say_goodbye(why);
        let Some(session) = self.session.take() else { return };
        let session_expiry_s = match why {
            Close::ByClient { session_expiry_s, .. } => session_expiry_s,
            _ => None,
        };
        let name = session.name();
        if let Some(link) = session.link {
            let fate = if why.publishes_will() { WillFate::Publish } else { WillFate::Discard };
            link.close(fate, session_expiry_s);
        }
        let me = ClientRef { worker: context.worker, connection: self.me };
        let will = session.ingest_will.filter(|_| self.phase != Phase::AwaitingLink && why.publishes_will());
        let Some(will) = will else {
            context.clients.leave(&name, me);
            return;
        };
        let most_s = context.config.router.session_expiry_s_max;
        let wait_s = wait_s(will.delay_s, expiry_s(session.session_expiry_s, session_expiry_s, most_s));
        // With the process, the session is over.
        let wait_s = if why == Close::Stopping { 0 } else { wait_s };
        let succession = Arc::clone(&will.succession);
        let owner_max = context.config.router.sessions_per_owner_max;
        // It waits before the name is free, so that whoever takes the name next finds it.
        let given_back = context.wills.wait(&name, *will, wait_s, context.now_tick, owner_max);
        context.clients.leave(&name, me);
        let left = succession.left();
        let will = match left {
            Left::Free => given_back,
            // Somebody took the name since it began to wait.
            Left::GoesOn | Left::Ended => given_back.or_else(|| context.wills.take_back(&name, &succession)),
        };
        // The client is back before its will was due [MQTT-3.1.3-9].
        let is_called_off = left == Left::GoesOn && wait_s > 0;
        if let Some(will) = will.filter(|_| !is_called_off) {
            ingest::publish_will(context, will);
        }
    }
}
