//! A socket in memory, as narrow as a test wants it, and a reader that asks again only when the contract says it must.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use super::layer::{Fault, Layer, Received};

/// A socket: what is put in is read, what is written can be taken.
#[derive(Debug)]
pub(super) struct Wire {
    incoming: VecDeque<u8>,
    /// The peer hung up behind what is there.
    pub(super) is_ended: bool,
    /// Bytes that one read gives at most.
    pub(super) read_max: usize,
    outgoing: Vec<u8>,
    /// Bytes that writes take until they would block.
    pub(super) room: usize,
}

/// How a layer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    HungUp,
    Faulty(Fault),
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            incoming: VecDeque::new(),
            is_ended: false,
            read_max: usize::MAX,
            outgoing: Vec::new(),
            room: usize::MAX,
        }
    }
}

impl Wire {
    /// The peer sends.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.incoming.extend(bytes);
    }

    /// Takes all that was written.
    pub(super) fn written(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outgoing)
    }

    /// Whether everything was read.
    pub(super) fn is_drained(&self) -> bool {
        self.incoming.is_empty()
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() {
            return if self.is_ended { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let count = buffer.len().min(self.read_max);
        self.incoming.read(&mut buffer[..count])
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.room);
        if count == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.room -= if self.room == usize::MAX { 0 } else { count };
        self.outgoing.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Layer for Wire {
    fn receive(&mut self, buffer: &mut [u8]) -> Received {
        match self.read(buffer) {
            Ok(0) => Received::End,
            Ok(count) => Received::Bytes { count, is_drained: self.incoming.is_empty() && !self.is_ended },
            Err(_) => Received::Nothing,
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
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

/// Reads with a buffer of this size for as long as the layer says that there may be more, and no longer: what it kept back
/// would stay there, since no event would tell of it.
pub(super) fn read_all(layer: &mut impl Layer, buffer_bytes: usize) -> (Vec<u8>, Option<Ended>) {
    let mut read = Vec::new();
    let mut buffer = vec![0; buffer_bytes];
    loop {
        match layer.receive(&mut buffer) {
            Received::Bytes { count, is_drained } => {
                read.extend_from_slice(&buffer[..count]);
                if is_drained {
                    return (read, None);
                }
            }
            Received::Nothing => return (read, None),
            Received::End => return (read, Some(Ended::HungUp)),
            Received::Fault(fault) => return (read, Some(Ended::Faulty(fault))),
        }
    }
}
