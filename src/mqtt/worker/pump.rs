//! Reading one connection: what came goes through the shared buffer, and only the beginning of a packet is carried over.

use super::Context;
use crate::mqtt::close::Close;
use crate::mqtt::connection::{Connection, Phase, ReadOutcome};

/// Reads of one connection in a row, so that a flood does not starve its neighbours.
pub(super) const READS_IN_A_ROW_MAX: usize = 4;

/// Bytes read at once while most of them are carried over until they may be taken: the brake is on, or nobody knows yet who it
/// is.
const CARRIED_READ_BYTES: usize = 4 * 1024;

/// How far reading a connection went.
pub(super) enum Pumped {
    /// Nothing more for now.
    Done,
    /// It may not be read until something frees it.
    Paused,
    /// There is more than its share.
    Unfinished,
}

/// Reads a connection into the shared buffer and takes the packets that are whole.
pub(super) fn pump(connection: &mut Connection, context: &mut Context, buffer: &mut [u8]) -> Result<Pumped, Close> {
    // After a pause whole packets may be among what was carried.
    if !connection.carried.is_empty() {
        let carried = std::mem::take(&mut connection.carried);
        let taken = connection.take_packets(context, &carried)?;
        connection.carried = carried;
        connection.carried.drain(..taken);
    }
    for _ in 0..READS_IN_A_ROW_MAX {
        if !connection.may_take(context) {
            return Ok(Pumped::Paused);
        }
        if !connection.is_readable {
            return Ok(Pumped::Done);
        }
        let carried = connection.carried.len();
        buffer[..carried].copy_from_slice(&connection.carried);
        let is_carried = context.outbox.is_full() || connection.phase != Phase::Open;
        let room = if is_carried { CARRIED_READ_BYTES } else { buffer.len() - carried };
        let fresh = match connection.read(&mut buffer[carried..carried + room]) {
            ReadOutcome::Some(count) => count,
            ReadOutcome::Nothing => return Ok(Pumped::Done),
            ReadOutcome::End => return Err(Close::Lost),
            ReadOutcome::Fault(fault) => return Err(Close::Transport(fault)),
        };
        // What TLS and WebSocket have to say for themselves is no packet: it keeps nobody alive.
        if fresh == 0 {
            continue;
        }
        connection.heard_at = context.now_tick;
        let bytes = &buffer[..carried + fresh];
        let taken = connection.take_packets(context, bytes)?;
        if taken == bytes.len() {
            connection.carried = Vec::new();
        } else {
            connection.carried.clear();
            connection.carried.extend_from_slice(&bytes[taken..]);
        }
    }
    // What was carried over may hold whole packets that only a pause kept back.
    Ok(if !connection.may_take(context) {
        Pumped::Paused
    } else if connection.is_readable {
        Pumped::Unfinished
    } else {
        Pumped::Done
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::super::READ_BYTES;
    use super::*;
    use crate::mqtt::config::Config;
    use crate::mqtt::mailbox::ConnectionRef;
    use crate::mqtt::transport::Transport;
    use crate::mqtt::workbench::Workbench;

    #[test]
    fn of_whoever_is_not_known_yet_little_is_read_at_once() {
        let mut door = Workbench::new(Config::default());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = listener.accept().unwrap().0;
        socket.set_nonblocking(true).unwrap();
        let stream = Transport::Tcp.begin(mio::net::TcpStream::from_std(socket), 1 << 18).unwrap();
        let mut connection =
            Connection::new(stream, 0, ConnectionRef { key: 0, generation: 1 }, door.context.now_tick, false);
        // The beginning of a CONNECT of 70,000 bytes.
        client.write_all(&[0x10, 0xF0, 0xA2, 0x04]).unwrap();
        client.write_all(&vec![0; READ_BYTES - 4]).unwrap();
        let mut buffer = vec![0; READ_BYTES + door.context.config.packet_bytes_max];
        let pumped = pump(&mut connection, &mut door.context, &mut buffer);
        assert!(matches!(pumped, Ok(Pumped::Unfinished)));
        assert_eq!(connection.carried.len(), READS_IN_A_ROW_MAX * CARRIED_READ_BYTES);
    }
}
