//! What is on its way into a socket: packets put one behind the other, and how far the socket has taken them.

use std::io::{self, Write};

use mio::net::TcpStream;

#[derive(Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    taken: usize,
}

impl Outgoing {
    /// Where packets are put.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Whether the socket has taken everything.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Forgets what a lost connection did not take.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.taken = 0;
    }

    /// Writes what the socket takes.
    pub(super) fn write_to(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        while self.taken < self.bytes.len() {
            match stream.write(&self.bytes[self.taken..]) {
                Ok(length) => self.taken += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.clear();
        Ok(())
    }
}
