//! Reading one connection: what came goes through the shared buffer, and only the beginning of a packet is carried over.

use super::Context;
use crate::mqtt::close::Close;
use crate::mqtt::connection::{Connection, Phase, ReadOutcome};
use crate::mqtt::frame::missing_bytes;

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
        // Whoever sends a large packet in small pieces is not to have all of them moved for each.
        if fresh < missing_bytes(&connection.carried) {
            connection.carried.extend_from_slice(&buffer[carried..carried + fresh]);
            continue;
        }
        buffer[..carried].copy_from_slice(&connection.carried);
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

    /// A connection of which nothing was read, and its other end.
    fn connect(door: &mut Workbench) -> (TcpStream, Connection) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_nodelay(true).unwrap();
        let socket = listener.accept().unwrap().0;
        socket.set_nonblocking(true).unwrap();
        let stream = Transport::Tcp.begin(mio::net::TcpStream::from_std(socket), 1 << 18).unwrap();
        let me = ConnectionRef { key: 0, generation: 1 };
        (client, Connection::new(stream, 0, me, door.context.now_tick, false))
    }

    #[test]
    fn of_whoever_is_not_known_yet_little_is_read_at_once() {
        let mut door = Workbench::new(Config::default());
        let (mut client, mut connection) = connect(&mut door);
        // The beginning of a CONNECT of 70,000 bytes.
        client.write_all(&[0x10, 0xF0, 0xA2, 0x04]).unwrap();
        client.write_all(&vec![0; READ_BYTES - 4]).unwrap();
        let mut buffer = vec![0; READ_BYTES + door.context.config.packet_bytes_max];
        let pumped = pump(&mut connection, &mut door.context, &mut buffer);
        assert!(matches!(pumped, Ok(Pumped::Unfinished)));
        assert_eq!(connection.carried.len(), READS_IN_A_ROW_MAX * CARRIED_READ_BYTES);
    }

    /// Else a packet of 256 KiB in single bytes has 32 GiB moved.
    #[test]
    fn a_packet_in_small_pieces_is_moved_once_when_it_is_whole() {
        const UNTOUCHED: u8 = 0xAA;
        let mut door = Workbench::new(Config::default());
        let (mut client, mut connection) = connect(&mut door);
        let mut buffer = vec![UNTOUCHED; READ_BYTES + door.context.config.packet_bytes_max];
        let mut feed = |connection: &mut Connection, context: &mut Context, piece: &[u8]| {
            let carried = connection.carried.len();
            client.write_all(piece).unwrap();
            connection.is_readable = true;
            assert!(pump(connection, context, &mut buffer).is_ok());
            // What was carried would be moved to where the buffer begins.
            let is_moved = buffer[..carried].iter().any(|byte| *byte != UNTOUCHED);
            buffer.fill(UNTOUCHED);
            is_moved
        };
        feed(&mut connection, &mut door.context, b"\x10\x0D\0\x04MQTT\x04\x02\0\0\0\x01c");
        assert_eq!(connection.phase, Phase::Open);
        let body = [b"\0\x20tenant/default/driver/d/location", &[b' '; 3_000][..]].concat();
        let publish = [&[0x30, body.len() as u8 | 0x80, (body.len() >> 7) as u8], &body[..]].concat();
        let (last, pieces) = publish.split_last().unwrap();
        let (mut moved, mut grown) = (0, 0);
        for (number, piece) in pieces.chunks(1).enumerate() {
            let capacity = connection.carried.capacity();
            moved += usize::from(feed(&mut connection, &mut door.context, piece));
            grown += usize::from(connection.carried.capacity() > capacity);
            assert_eq!((connection.carried.len(), door.context.tally.publishes), (number + 1, 0));
        }
        // The two bytes that may be more of the header, and the one behind it.
        assert!(moved <= 3 && grown < 12, "moved {moved} times, grown {grown} times");
        assert!(feed(&mut connection, &mut door.context, &[*last, 0xC0, 0]));
        assert_eq!((connection.carried.len(), door.context.tally.publishes), (0, 1));
        assert_eq!(connection.out, [0x20, 2, 0, 0, 0xD0, 0]);
    }
}
