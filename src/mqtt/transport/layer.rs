//! What every layer of a connection offers to the one above it, and the lowest of them: the socket.

use std::fmt;
use std::io::{self, Read, Write};

use mio::net::TcpStream;

/// What came of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mqtt) enum Received {
    /// So many bytes; none, where what came was the layer's own. Drained: nothing more is there, and the next will come
    /// with an event.
    Bytes { count: usize, is_drained: bool },
    /// Nothing, until an event.
    Nothing,
    /// The peer hung up.
    End,
    /// What came breaks the layer's protocol. It was answered, and nothing more can be read.
    Fault(Fault),
}

/// How a layer's protocol was broken, in words for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mqtt) enum Fault {
    /// No TLS, or none that both ends agree on.
    Tls(&'static str),
    /// A request that does not become a WebSocket.
    Handshake(&'static str),
    /// No WebSocket frame, or none that may carry MQTT.
    Frame(&'static str),
}

impl Fault {
    /// The reason in metrics and logs.
    pub(in crate::mqtt) fn as_str(self) -> &'static str {
        match self {
            Self::Tls(_) => "tls_failed",
            Self::Handshake(_) => "websocket_refused",
            Self::Frame(_) => "websocket_malformed",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(what) | Self::Handshake(what) | Self::Frame(what) => formatter.write_str(what),
        }
    }
}

/// One layer. None of its calls blocks.
pub(in crate::mqtt) trait Layer {
    /// Reads into `buffer`, which is not empty.
    fn receive(&mut self, buffer: &mut [u8]) -> Received;

    /// Takes bytes to be sent, and tells how many. What was taken may still wait here, bounded, for [`Layer::flush`].
    ///
    /// An error of `WouldBlock` says that nothing was taken, any other that the peer is gone.
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Whether something waits here or below to be sent.
    fn has_unsent(&self) -> bool;

    /// Sends what waits. An error of `WouldBlock` says that not all went, any other that the peer is gone.
    fn flush(&mut self) -> io::Result<()>;

    /// Says goodbye, here and below, once. An error says that it did not go out whole.
    fn finish(&mut self) -> io::Result<()>;
}

impl Layer for TcpStream {
    #[inline]
    fn receive(&mut self, buffer: &mut [u8]) -> Received {
        loop {
            match self.read(buffer) {
                Ok(0) => return Received::End,
                // Less than there was room for: the socket is empty, and the next bytes come with an event of their own
                // (epoll(7), on edge-triggered streams).
                Ok(count) => return Received::Bytes { count, is_drained: count < buffer.len() },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Received::Nothing,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Received::End,
            }
        }
    }

    #[inline]
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return sent,
            }
        }
    }

    fn has_unsent(&self) -> bool {
        false
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}
