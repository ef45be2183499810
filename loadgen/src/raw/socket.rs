//! Sockets to the broker: how they are opened, and why they are lost.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

use crate::packet::Malformed;
use crate::plan::Plan;

/// A small send buffer, so that at QoS 0 the broker's pace reaches the generator and not megabytes of socket memory.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Why a connection ended before the run did.
#[derive(Debug, thiserror::Error)]
pub(super) enum Loss {
    #[error("the broker closed the connection")]
    Closed,
    #[error("the broker refused the connection with code {0}")]
    Refused(u8),
    #[error("the broker disconnected with reason {0:#04x}")]
    Disconnected(u8),
    #[error("the broker did not let the device in in time")]
    Timeout,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("{0}")]
    Io(io::ErrorKind),
}

impl From<io::Error> for Loss {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind())
    }
}

/// Begins to connect device `number`, from the source address that is its turn.
pub(super) fn connect(plan: &Plan, number: u32) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(plan.address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    if plan.source_addresses > 1 && plan.address.is_ipv4() {
        let last = 1 + (number % u32::from(plan.source_addresses)) as u8;
        let source = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0);
        socket.bind(&source.into())?;
    }
    // EINPROGRESS; the event loop tells how it went.
    match socket.connect(&plan.address.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}
