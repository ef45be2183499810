//! What carries MQTT: a socket alone, or TLS, WebSocket or both over it.
//!
//! Nothing here blocks, and nothing waits for an event that will not come: sockets are edge-triggered, so a layer says that
//! it is drained only when the socket below said so and nothing is left above it. A plain socket has neither a box nor a
//! buffer nor a dynamic call; what the others need is in a box, so that it costs a plain connection nothing.

mod layer;
mod tls;
mod websocket;

use std::io;
use std::net::Shutdown;
use std::sync::Arc;

use mio::net::TcpStream;

pub use websocket::Origins;

use self::layer::Layer;
pub(super) use self::layer::{Fault, Received};

/// A certificate that was taken back between its handshake and CONNECT.
pub(super) const CERTIFICATE_REVOKED: Fault = Fault::Tls(REVOKED);

use self::tls::{REVOKED, Tls};
use self::websocket::WebSocket;
use crate::tls::{Holder, Server};

/// What the connections of a listener speak below MQTT.
#[derive(Clone, Debug)]
pub enum Transport {
    /// Nothing.
    Tcp,
    /// TLS.
    Tls(Arc<Server>),
    /// WebSocket, for pages from these origins.
    WebSocket(Origins),
    /// WebSocket over TLS.
    WebSocketTls(Arc<Server>, Origins),
}

impl Transport {
    /// The name in metrics and logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls(_) => "tls",
            Self::WebSocket(_) => "websocket",
            Self::WebSocketTls(..) => "websocket_tls",
        }
    }

    /// Begins to speak it on a socket that was just accepted.
    ///
    /// # Errors
    /// TLS has no random numbers.
    pub(super) fn begin(&self, socket: TcpStream, packet_bytes_max: usize) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp => Stream::Tcp(socket),
            Self::Tls(server) => Stream::Tls(Box::new(Tls::begin(server, socket)?)),
            Self::WebSocket(origins) => {
                Stream::WebSocket(Box::new(WebSocket::new(socket, origins.clone(), packet_bytes_max)))
            }
            Self::WebSocketTls(server, origins) => {
                let tls = Tls::begin(server, socket)?;
                Stream::WebSocketTls(Box::new(WebSocket::new(tls, origins.clone(), packet_bytes_max)))
            }
        })
    }
}

/// A connection's socket, with what is spoken over it.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Tls(Box<Tls<TcpStream>>),
    WebSocket(Box<WebSocket<TcpStream>>),
    WebSocketTls(Box<WebSocket<Tls<TcpStream>>>),
}

impl Stream {
    /// The socket, to register it.
    pub(super) fn socket_mut(&mut self) -> &mut TcpStream {
        match self {
            Self::Tcp(socket) => socket,
            Self::Tls(tls) => tls.below_mut(),
            Self::WebSocket(websocket) => websocket.below_mut(),
            Self::WebSocketTls(websocket) => websocket.below_mut().below_mut(),
        }
    }

    /// Reads into `buffer`, which is not empty.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Received {
        match self {
            Self::Tcp(socket) => socket.receive(buffer),
            Self::Tls(tls) => tls.receive(buffer),
            Self::WebSocket(websocket) => websocket.receive(buffer),
            Self::WebSocketTls(websocket) => websocket.receive(buffer),
        }
    }

    /// Reads what the peer still sends, whatever it is, to throw it away.
    pub(super) fn receive_raw(&mut self, buffer: &mut [u8]) -> Received {
        self.socket_mut().receive(buffer)
    }

    /// Takes bytes to be sent, and tells how many.
    ///
    /// # Errors
    /// `WouldBlock`: none for now. Anything else: the peer is gone.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.send(bytes),
            Self::Tls(tls) => tls.send(bytes),
            Self::WebSocket(websocket) => websocket.send(bytes),
            Self::WebSocketTls(websocket) => websocket.send(bytes),
        }
    }

    /// Whether something waits here for the socket to take it: bytes that were taken, or words of the layers' own.
    pub(super) fn has_unsent(&self) -> bool {
        match self {
            Self::Tcp(_) => false,
            Self::Tls(tls) => tls.has_unsent(),
            Self::WebSocket(websocket) => websocket.has_unsent(),
            Self::WebSocketTls(websocket) => websocket.has_unsent(),
        }
    }

    /// Sends what waits here, as far as the socket takes it.
    ///
    /// # Errors
    /// `WouldBlock`: not all. Anything else: the peer is gone.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(_) => Ok(()),
            Self::Tls(tls) => tls.flush(),
            Self::WebSocket(websocket) => websocket.flush(),
            Self::WebSocketTls(websocket) => websocket.flush(),
        }
    }

    /// Says goodbye in every layer's own way, and that nothing more follows.
    ///
    /// # Errors
    /// The goodbye could not be sent whole.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(_) => Ok(()),
            Self::Tls(tls) => tls.finish(),
            Self::WebSocket(websocket) => websocket.finish(),
            Self::WebSocketTls(websocket) => websocket.finish(),
        }?;
        self.socket_mut().shutdown(Shutdown::Write)
    }

    /// Whose certificate the client showed, once it has, where that says who it is.
    pub(super) fn holder(&self) -> Option<Holder> {
        match self {
            Self::Tcp(_) | Self::WebSocket(_) => None,
            Self::Tls(tls) => tls.holder(),
            Self::WebSocketTls(websocket) => websocket.below_with_certificate()?.holder(),
        }
    }

    /// Whether the certificate that the client showed was revoked, if it showed one.
    pub(super) fn is_revoked(&mut self) -> bool {
        match self {
            Self::Tcp(_) | Self::WebSocket(_) => false,
            Self::Tls(tls) => tls.is_revoked(),
            Self::WebSocketTls(websocket) => websocket.below_mut().is_revoked(),
        }
    }
}

#[cfg(test)]
mod testing;
