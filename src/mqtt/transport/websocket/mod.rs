//! WebSocket over a layer (RFC 6455), as MQTT uses it: binary frames, whose bounds mean nothing to the packets in them
//! [MQTT-6.0.0-1, MQTT-6.0.0-2].
//!
//! Frames are unmasked where they were read, in the caller's buffer, and their payload goes on from there at once, so that
//! neither a frame nor a message is ever held: what a connection keeps is the beginning of a header, a control frame under
//! way and what the socket has not taken. The handshake and the library that reads it are tungstenite's; its frames
//! are not, because it holds each message until it is whole.

mod frame;
mod handshake;
mod inbound;

use std::io;

use self::handshake::Handshake;
use self::inbound::{Ended, Inbound};
use super::layer::{Fault, Layer, Received};

pub use self::handshake::Origins;

/// Bytes that are taken for one frame.
const SEND_BYTES_MAX: usize = 16 * 1024;

/// Memory that is kept for what waits to be sent, while nothing does.
const KEPT_CAPACITY: usize = 64;

/// What the connection has come to.
#[derive(Debug)]
enum Phase {
    /// The request is not answered yet.
    Asked(Handshake),
    /// Frames go both ways.
    Open(Inbound),
    /// The request was refused, and said why.
    Refused(Fault),
}

/// A WebSocket over a layer.
#[derive(Debug)]
pub(in crate::mqtt) struct WebSocket<L> {
    below: L,
    phase: Phase,
    frame_bytes_max: u64,
    /// Whole frames, or the answer to the request, that the layer below has not taken.
    unsent: Vec<u8>,
    /// How much of that it has.
    sent: usize,
    /// Whether a certificate below says who it is.
    counts_certificate: bool,
    /// A close frame went into `unsent`; none may follow it.
    has_said_close: bool,
}

impl<L> WebSocket<L> {
    pub(super) fn new(below: L, origins: Origins, packet_bytes_max: usize) -> Self {
        Self {
            below,
            phase: Phase::Asked(Handshake::new(origins)),
            frame_bytes_max: frame::BYTES_MAX.max(packet_bytes_max as u64),
            unsent: Vec::new(),
            sent: 0,
            counts_certificate: false,
            has_said_close: false,
        }
    }

    /// The layer below, if a certificate that was shown there says who it is: not for every page.
    pub(super) fn below_with_certificate(&self) -> Option<&L> {
        self.counts_certificate.then_some(&self.below)
    }

    pub(super) fn below_mut(&mut self) -> &mut L {
        &mut self.below
    }

    fn say_close(&mut self, code: u16) {
        if !std::mem::replace(&mut self.has_said_close, true) {
            frame::put_close(&mut self.unsent, code);
        }
    }
}

impl<L: Layer> WebSocket<L> {
    /// Takes the handshake's bytes off the front of what was read; tells where what follows them begins.
    fn shake_hands(&mut self, read: &[u8]) -> usize {
        let Phase::Asked(handshake) = &mut self.phase else { return 0 };
        let Some(answer) = handshake.take(read) else { return read.len() };
        self.unsent.extend_from_slice(&answer.response);
        self.counts_certificate = answer.counts_certificate;
        self.phase = match answer.refused {
            Some(why) => Phase::Refused(Fault::Handshake(why)),
            None => Phase::Open(Inbound::new(self.frame_bytes_max)),
        };
        answer.taken
    }

    /// Sends what waits, for as long as that blocks nothing. Whether the peer is gone is found at the next read.
    fn try_flush(&mut self) {
        if self.has_unsent() {
            drop(self.flush());
        }
    }
}

impl<L: Layer> Layer for WebSocket<L> {
    fn receive(&mut self, buffer: &mut [u8]) -> Received {
        match &self.phase {
            Phase::Refused(fault) => return Received::Fault(*fault),
            Phase::Open(inbound) => match inbound.ended() {
                Some(Ended::Closed(_)) => return Received::End,
                Some(Ended::Violated { what, .. }) => return Received::Fault(Fault::Frame(what)),
                None => {}
            },
            Phase::Asked(_) => {}
        }
        let (count, is_drained) = match self.below.receive(buffer) {
            Received::Bytes { count, is_drained } => (count, is_drained),
            other => return other,
        };
        let begin = self.shake_hands(&buffer[..count]);
        let mut taken = 0;
        let mut goes_on = true;
        if let Phase::Open(inbound) = &mut self.phase {
            taken = inbound.take(buffer, begin, count, &mut self.unsent);
            match inbound.ended() {
                Some(Ended::Closed(code) | Ended::Violated { code, .. }) => {
                    self.say_close(code);
                    goes_on = false;
                }
                None => {}
            }
        } else if matches!(self.phase, Phase::Refused(_)) {
            goes_on = false;
        }
        self.try_flush();
        // Whoever got the last bytes asks again and hears the end.
        Received::Bytes { count: taken, is_drained: is_drained && goes_on }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flush()?;
        let taken = &bytes[..bytes.len().min(SEND_BYTES_MAX)];
        frame::put_binary(&mut self.unsent, taken);
        match self.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken.len()),
        }
    }

    fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() || self.below.has_unsent()
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.sent < self.unsent.len() {
            self.sent += self.below.send(&self.unsent[self.sent..])?;
        }
        self.sent = 0;
        if self.unsent.capacity() > KEPT_CAPACITY {
            self.unsent = Vec::new();
        }
        self.unsent.clear();
        self.below.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        if matches!(self.phase, Phase::Open(_)) {
            self.say_close(frame::NORMAL);
        }
        self.flush()?;
        self.below.finish()
    }
}

#[cfg(test)]
mod tests;
