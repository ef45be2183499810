//! Reading one connection: what came goes through the shared buffer, and only the beginning of a packet is carried over.

use super::Context;
use crate::mqtt::close::Close;
use crate::mqtt::connection::{Connection, ReadOutcome};

/// Reads of one connection in a row, so that a flood does not starve its neighbours.
pub(super) const READS_IN_A_ROW_MAX: usize = 4;

/// Bytes read at once while the brake is on: most of them are carried over until it lifts.
const BRAKED_READ_BYTES: usize = 4 * 1024;

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
        let room = if context.outbox.is_full() { BRAKED_READ_BYTES } else { buffer.len() - carried };
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
