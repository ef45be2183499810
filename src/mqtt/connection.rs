//! One connection: its socket, what was read of a packet that is not whole, what waits to be written, and what it owes.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use mio::net::TcpStream;

use super::acks::AckRing;
use super::aliases::{Incoming, Outgoing};
use super::clients::ClientName;
use super::close::Close;
use super::codec::{ClientPacket, Version};
use super::credentials::Pending;
use super::mailbox::ConnectionRef;
use super::outbound::Outbound;
use super::rate::SharedBucket;
use super::router::Link;
use super::subscribe::PartlyRefused;
use super::transport::{CERTIFICATE_EXPIRED, CERTIFICATE_REVOKED, Fault, Received, Stream};
use super::wills::IngestWill;
use super::worker::Tick;
use crate::auth::{Principal, Standing};
use crate::codec::Codec;
use crate::ids::DriverKey;
use crate::tls::Holder;
use crate::units::TimestampMs;

/// Bytes that wait to be written beyond which a connection is not read: who does not take answers asks no more.
const OUT_BYTES_MAX: usize = 64 * 1024;

/// Bytes that are read at once to see whether a client that hung up left any.
const LEFT_BEHIND_READ_BYTES: usize = 64;

/// Reads for that: each may bring nothing but a layer's own words, and the last of them is a goodbye.
const LEFT_BEHIND_READS_MAX: usize = 4;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing but a CONNECT is taken.
    AwaitingConnect,
    /// CONNECT came; who it is has to be known before it is answered, or its refusal is held back.
    AwaitingAuth,
    /// CONNECT came; the router has to say whether a session goes on before CONNACK can.
    AwaitingLink,
    /// CONNACK went.
    Open,
    /// Everything was said; what still comes is thrown away until the peer hangs up, because closing over unread bytes
    /// would take our last words away from it.
    Lingering,
}

/// What the topic says that a connection published on last. Most connections have one topic for life.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) topic: Box<[u8]>,
    pub(super) source: Source,
}

/// Whose fixes a topic carries, and how they are written.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) driver: Arc<DriverKey>,
    /// `Native` stands for a compact batch as well: its first byte tells.
    pub(super) codec: Codec,
}

/// What CONNECT began.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) version: Version,
    /// Who it is; `None` in open mode, where all are in one namespace.
    pub(super) principal: Option<Arc<Principal>>,
    /// Whether that is still so, for credentials that can be taken back.
    pub(super) standing: Option<Standing>,
    pub(super) client_id: Box<str>,
    /// The client had none and is told this one.
    pub(super) is_id_assigned: bool,
    pub(super) clean_start: bool,
    pub(super) session_expiry_s: u32,
    pub(super) receive_maximum: u16,
    pub(super) packet_bytes_max: Option<u32>,
    /// A will on an ingest topic: the door's own to publish. Any other is the router's.
    pub(super) ingest_will: Option<Box<IngestWill>>,
    pub(super) link: Option<Link>,
    pub(super) outbound: Option<Arc<Outbound>>,
    /// Whether it goes on with subscriptions of before, which the rules of now may not allow.
    pub(super) is_resumed: bool,
    /// Packets that the router had no room for; until it has, the connection is not read.
    pub(super) retry: VecDeque<ClientPacket>,
    /// SUBSCRIBEs at the router of which it does not know all.
    pub(super) partly_refused: Vec<PartlyRefused>,
    /// Whether acknowledgements may say why in words.
    pub(super) wants_problem_information: bool,
    /// The keep-alive that the client was told, if it is not the one that it asked for.
    pub(super) told_keep_alive_s: Option<u16>,
    /// What the client may still publish and subscribe, if that is limited.
    pub(super) bucket: Option<SharedBucket>,
    pub(super) aliases: Incoming,
    pub(super) outgoing_aliases: Option<Box<Outgoing>>,
    /// Packet ids of QoS 2 publishes that the client has not released yet, sorted [MQTT-4.3.3-2].
    pub(super) unreleased: Vec<u16>,
}

impl Session {
    /// What the client is known by.
    pub(super) fn name(&self) -> ClientName {
        ClientName::new(self.principal.as_deref(), &self.client_id)
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    pub(super) me: ConnectionRef,
    /// The number of the listener it came to.
    pub(super) listener: u8,
    pub(super) phase: Phase,
    /// When the phase began, for the phases that may not last.
    pub(super) phase_since: Tick,
    pub(super) heard_at: Tick,
    /// 1.5 × keep-alive; 0 is off.
    pub(super) silence_max: Tick,
    pub(super) over_limit: bool,
    /// Whose certificate the client showed, until CONNECT makes use of it.
    pub(super) holder: Option<Box<Holder>>,
    /// The CONNECT that is not answered yet.
    pub(super) pending: Option<Box<Pending>>,
    pub(super) session: Option<Box<Session>>,
    pub(super) route: Option<Route>,
    pub(super) acks: AckRing,
    /// Read and not taken yet: the beginning of a packet, or more when the connection is paused.
    pub(super) carried: Vec<u8>,
    /// To be written.
    pub(super) out: Vec<u8>,
    /// What of `out` counts against the subscriber's queue.
    out_cost: usize,
    /// Since when the socket takes no more.
    pub(super) blocked_since: Option<Tick>,
    /// Fixes taken since the brake went on.
    pub(super) braked_fixes: usize,
    pub(super) is_readable: bool,
    pub(super) is_peer_closed: bool,
    /// On the worker's list of those with something to write.
    pub(super) is_dirty: bool,
    /// On the worker's list of those not read for now.
    pub(super) is_paused: bool,
    /// On the worker's list of those that had more to read than one turn's share.
    pub(super) is_unfinished: bool,
}

/// What came of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadOutcome {
    /// This many bytes.
    Some(usize),
    /// Nothing for now.
    Nothing,
    /// The peer hung up.
    End,
    /// What came is none of what the connection is to speak below MQTT.
    Fault(Fault),
}

impl Connection {
    pub(super) fn new(stream: Stream, listener: u8, me: ConnectionRef, now: Tick, over_limit: bool) -> Self {
        Self {
            stream,
            me,
            listener,
            phase: Phase::AwaitingConnect,
            phase_since: now,
            heard_at: now,
            silence_max: 0,
            over_limit,
            holder: None,
            pending: None,
            session: None,
            route: None,
            acks: AckRing::default(),
            carried: Vec::new(),
            out: Vec::new(),
            out_cost: 0,
            blocked_since: None,
            braked_fixes: 0,
            is_readable: true,
            is_peer_closed: false,
            is_dirty: false,
            is_paused: false,
            is_unfinished: false,
        }
    }

    /// The socket, to register it.
    pub(super) fn socket_mut(&mut self) -> &mut TcpStream {
        self.stream.socket_mut()
    }

    /// Where it comes from; `None` if it is gone.
    pub(super) fn peer(&mut self) -> Option<IpAddr> {
        self.stream.socket_mut().peer_addr().ok().map(|address| address.ip())
    }

    /// Why it may not begin, if so: a session of TLS was resumed with a certificate that has ended since.
    pub(super) fn resumed_too_late(&mut self, now: TimestampMs) -> Option<Close> {
        self.stream.is_expired(now).then_some(Close::Transport(CERTIFICATE_EXPIRED))
    }

    /// Why it may last no longer, if so: what it showed of itself is good no more.
    pub(super) fn lapsed(&mut self, now: TimestampMs) -> Option<Close> {
        if self.stream.is_revoked() {
            return Some(Close::Revoked);
        }
        if self.stream.is_expired(now) {
            return Some(Close::Expired);
        }
        self.session.as_ref()?.lapsed(now)
    }

    /// The protocol version, once CONNECT told it.
    pub(super) fn version(&self) -> Option<Version> {
        self.session.as_ref().map(|session| session.version)
    }

    /// Whether more waits to be written than the connection may have and still be read.
    pub(super) fn is_out_full(&self) -> bool {
        self.out.len() >= OUT_BYTES_MAX
    }

    /// Whether the client hung up while it waits for who it is, and left nothing behind that would be taken after that. TLS and
    /// WebSocket have words of their own for that, which come before the end and have to be read; what else comes is kept.
    pub(super) fn has_given_up(&mut self) -> bool {
        if self.phase != Phase::AwaitingAuth || !self.carried.is_empty() {
            return false;
        }
        let mut left_behind = [0; LEFT_BEHIND_READ_BYTES];
        for _ in 0..LEFT_BEHIND_READS_MAX {
            match self.stream.receive(&mut left_behind) {
                Received::Bytes { count: 0, .. } => {}
                Received::Bytes { count, .. } => {
                    self.carried.extend_from_slice(&left_behind[..count]);
                    return false;
                }
                Received::End => return true,
                Received::Nothing | Received::Fault(_) => return false,
            }
        }
        false
    }

    /// Reads once into `buffer`, which is not empty.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> ReadOutcome {
        let received = self.stream.receive(buffer);
        if self.phase == Phase::AwaitingConnect && matches!(received, Received::Bytes { count: 1.., .. }) {
            if self.stream.is_revoked() {
                return ReadOutcome::Fault(CERTIFICATE_REVOKED);
            }
            self.holder = self.stream.holder().map(Box::new);
        }
        self.received(received)
    }

    /// Reads once what is only to be thrown away.
    pub(super) fn read_past(&mut self, buffer: &mut [u8]) -> ReadOutcome {
        let received = self.stream.receive_raw(buffer);
        self.received(received)
    }

    fn received(&mut self, received: Received) -> ReadOutcome {
        match received {
            Received::Bytes { count, is_drained } => {
                // A hang-up that already came has no event of its own any more.
                self.is_readable = !is_drained || self.is_peer_closed;
                ReadOutcome::Some(count)
            }
            Received::Nothing => {
                self.is_readable = false;
                ReadOutcome::Nothing
            }
            Received::End => ReadOutcome::End,
            Received::Fault(fault) => ReadOutcome::Fault(fault),
        }
    }

    /// Whether something waits to be written.
    pub(super) fn has_unwritten(&self) -> bool {
        !self.out.is_empty() || self.stream.has_unsent()
    }

    /// Whether there is nothing to be written, nor to be accounted for as written.
    pub(super) fn has_nothing_to_write(&self) -> bool {
        !self.has_unwritten() && self.out_cost == 0
    }

    /// Takes a delivery's cost on until its bytes are written.
    pub(super) fn add_out_cost(&mut self, cost: usize) {
        self.out_cost += cost;
    }

    /// Writes what waits, as far as the socket takes it.
    ///
    /// # Errors
    /// The peer is gone.
    pub(super) fn write(&mut self, now: Tick, subscriber_queue_bytes_max: usize) -> io::Result<()> {
        let mut written = 0;
        let flushed = loop {
            if written == self.out.len() {
                break self.stream.flush();
            }
            match self.stream.send(&self.out[written..]) {
                Ok(count) => written += count,
                Err(error) => break Err(error),
            }
        };
        match flushed {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.out.drain(..written);
                if written > 0 || self.blocked_since.is_none() {
                    self.blocked_since = Some(now);
                }
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        self.blocked_since = None;
        if self.out.capacity() > OUT_BYTES_MAX {
            self.out = Vec::new();
        }
        self.out.clear();
        if self.out_cost > 0 {
            let cost = std::mem::take(&mut self.out_cost);
            if let Some(session) = &self.session
                && let (Some(outbound), Some(link)) = (&session.outbound, &session.link)
                && outbound.written(cost, subscriber_queue_bytes_max)
            {
                link.resume();
            }
        }
        Ok(())
    }

    /// Gives back the memory that only traffic needs, of a connection that has none.
    pub(super) fn give_back(&mut self) {
        if self.out.is_empty() {
            self.out = Vec::new();
        }
        if self.carried.is_empty() {
            self.carried = Vec::new();
        }
        self.acks.give_back();
    }

    /// Says that nothing more will be written.
    ///
    /// # Errors
    /// That could not be said whole.
    pub(super) fn shut_write(&mut self) -> io::Result<()> {
        self.stream.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of user memory that the door may hold for an idle tracker, of the 2 KiB that all of it may.
    const IDLE_BYTES_MAX: usize = 1_536;

    /// What it holds, allocation by allocation: a slot of its worker's slab, what CONNECT said, its topic, its name among the
    /// clients. Each allocation takes 16 bytes more, at most, than is asked for; slab and map may be half empty.
    #[test]
    fn an_idle_tracker_is_small() {
        let topic = "tenant/acme-logistics/driver/truck-0123456789/location";
        let client_id = "tracker-0123456789abcdef";
        let slot = 2 * size_of::<Connection>();
        let entry = size_of::<ClientName>() + size_of::<super::super::clients::Holder>() + 1;
        let owner = "device/truck-0123456789/truck-0123456789/";
        let name = 2 * entry + owner.len() + client_id.len() + 16;
        let session = size_of::<Session>() + 16 + client_id.len() + 16;
        let route = topic.len() + 16 + size_of::<DriverKey>() + 2 * size_of::<usize>() + 16;
        let total = slot + name + session + route;
        assert!(total <= IDLE_BYTES_MAX, "{total}: slot {slot}, name {name}, session {session}, route {route}");
    }

    #[test]
    fn a_plain_socket_has_nothing_beside_it_but_which_kind_it_is() {
        assert!(size_of::<Stream>() <= size_of::<TcpStream>().next_multiple_of(8) + 8);
    }
}
