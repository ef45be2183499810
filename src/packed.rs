//! Delta coding of fixes: variable-length integers and runs of fixes packed against each other, shared by the frames of
//! the journal and the blocks of the store.
//!
//! A packed fix is a head byte, then only what the head says has changed since the fix before it:
//!
//! | part | present if | coding |
//! |---|---|---|
//! | head | always | one byte below 0x80, see below |
//! | presence | `PRESENCE` | one byte: bit `i` says that optional field `i` is known |
//! | time | not `SAME_STEP` | signed varint: milliseconds since the fix before |
//! | receive time | neither `SAME_RECEIVED` nor `SAME_DELAY` | signed varint: change of (receive time - time) |
//! | position | not `SAME_POSITION` | signed varints: change of latitude, of longitude, in 1e-7 degrees |
//! | changed | `CHANGED` | one byte: bit `i` says that known field `i` has another value than when last known |
//! | fields | bit of `changed` | signed varint each: change of its value |
//!
//! | head bit | name | says |
//! |---|---|---|
//! | 0 | `SAME_RECEIVED` | received with the fix before |
//! | 1 | `SAME_DELAY` | received as long after its time as the fix before |
//! | 2 | `PRESENCE` | other optional fields are known than before |
//! | 3 | `CHANGED` | some known field has another value |
//! | 4 | `SAME_POSITION` | where the fix before was |
//! | 5 | `SAME_STEP` | as long after the fix before as that one after its own |
//! | 6 | `MARK` | the caller's own bit |
//! | 7 | | never set, so that a caller can tell its own records from fixes |
//!
//! Optional fields, by bit: speed, heading, altitude, accuracy, hdop, sequence, battery, satellites. Before the first
//! fix everything is 0 and nothing is known, which makes the first fix of a run absolute. Differences wrap, so that
//! every value has a code. Varints are LEB128, signed ones zigzag.

use crate::fix::Fix;
use crate::units::{Position, TimestampMs};

const SAME_RECEIVED: u8 = 1;
const SAME_DELAY: u8 = 1 << 1;
const PRESENCE: u8 = 1 << 2;
const CHANGED: u8 = 1 << 3;
const SAME_POSITION: u8 = 1 << 4;
const SAME_STEP: u8 = 1 << 5;
const MARK: u8 = 1 << 6;
const NEVER: u8 = 1 << 7;

/// Optional fields of a fix.
const FIELDS: usize = 8;

/// Largest value of each optional field; altitude takes all 32 bits.
const FIELD_MAX: [u32; FIELDS] =
    [u32::MAX, u16::MAX as u32, u32::MAX, u32::MAX, u16::MAX as u32, u32::MAX, u8::MAX as u32, u8::MAX as u32];

/// Longest code of a `u64`.
pub const VARINT_BYTES_MAX: usize = 10;

/// Longest code of a 32-bit difference.
const VARINT32_BYTES_MAX: usize = 5;

/// Longest packed fix: three bytes of bits, two 64-bit and ten 32-bit differences.
pub const FIX_BYTES_MAX: usize = 3 + 2 * VARINT_BYTES_MAX + (2 + FIELDS) * VARINT32_BYTES_MAX;

/// Appends `value` as LEB128, 1 to [`VARINT_BYTES_MAX`] bytes.
pub fn put_varint(out: &mut Vec<u8>, value: u64) {
    let mut code = Code::<VARINT_BYTES_MAX>::new();
    code.put(value);
    out.extend_from_slice(code.as_slice());
}

/// Takes a LEB128 integer off the front of `input`; `None` if it is cut short or beyond 64 bits.
pub fn take_varint(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for (index, byte) in input.iter().take(VARINT_BYTES_MAX).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if index == VARINT_BYTES_MAX - 1 && *byte > 1 {
            return None;
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            *input = &input[index + 1..];
            return Some(value);
        }
    }
    None
}

/// Appends `value` so that small ones of either sign are short.
pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, zigzag(value));
}

/// Takes what [`put_signed`] put; `None` as [`take_varint`].
pub fn take_signed(input: &mut &[u8]) -> Option<i64> {
    take_varint(input).map(unzigzag)
}

/// Takes a signed difference of 32 bits; `None` if it is longer.
fn take_signed_32(input: &mut &[u8]) -> Option<i32> {
    i32::try_from(take_signed(input)?).ok()
}

/// Takes one byte.
fn take_byte(input: &mut &[u8]) -> Option<u8> {
    let (first, rest) = input.split_first()?;
    *input = rest;
    Some(*first)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// A code being built on the stack, so that the output grows once.
struct Code<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Code<N> {
    fn new() -> Self {
        Self { bytes: [0; N], len: 0 }
    }

    fn byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn put(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    fn put_signed(&mut self, value: i64) {
        self.put(zigzag(value));
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// What the next fix of a run is packed against.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    time_ms: i64,
    step_ms: i64,
    received_ms: i64,
    position: Position,
    presence: u8,
    /// The last known value of each optional field.
    values: [u32; FIELDS],
}

impl Before {
    /// A run that starts near an instant: shorter first fixes where both sides know it.
    fn at(instant: TimestampMs) -> Self {
        Self { time_ms: instant.0, received_ms: instant.0, ..Self::default() }
    }

    fn delay_ms(&self) -> i64 {
        self.received_ms.wrapping_sub(self.time_ms)
    }
}

/// Packs the fixes of a run, each against the one before.
#[derive(Clone, Debug, Default)]
pub struct Packer(Before);

impl Packer {
    /// A run whose first fix is absolute.
    pub fn new() -> Self {
        Self::default()
    }

    /// A run whose first fix is packed against this instant, which [`Unpacker::at`] has to be told as well.
    pub fn at(instant: TimestampMs) -> Self {
        Self(Before::at(instant))
    }

    /// Appends the next fix of the run, at most [`FIX_BYTES_MAX`] bytes.
    pub fn pack(&mut self, fix: &Fix, out: &mut Vec<u8>) {
        self.pack_marked(fix, false, out);
    }

    /// As [`Packer::pack`], with a bit of the caller's.
    pub fn pack_marked(&mut self, fix: &Fix, mark: bool, out: &mut Vec<u8>) {
        let before = &mut self.0;
        let step_ms = fix.time.0.wrapping_sub(before.time_ms);
        let delay_ms = fix.received_at.0.wrapping_sub(fix.time.0);
        let delay_change = delay_ms.wrapping_sub(before.delay_ms());
        let (presence, values) = optional_fields(fix);
        let changed = changed_fields(presence, &values, &before.values);

        let mut head = if mark { MARK } else { 0 };
        if fix.received_at.0 == before.received_ms {
            head |= SAME_RECEIVED;
        } else if delay_change == 0 {
            head |= SAME_DELAY;
        }
        if presence != before.presence {
            head |= PRESENCE;
        }
        if changed != 0 {
            head |= CHANGED;
        }
        if fix.position == before.position {
            head |= SAME_POSITION;
        }
        if step_ms == before.step_ms {
            head |= SAME_STEP;
        }

        let mut code = Code::<FIX_BYTES_MAX>::new();
        code.byte(head);
        if head & PRESENCE != 0 {
            code.byte(presence);
        }
        if head & SAME_STEP == 0 {
            code.put_signed(step_ms);
        }
        if head & (SAME_RECEIVED | SAME_DELAY) == 0 {
            code.put_signed(delay_change);
        }
        if head & SAME_POSITION == 0 {
            let (now, then) = (fix.position, before.position);
            code.put_signed(i64::from(now.latitude_e7.wrapping_sub(then.latitude_e7)));
            code.put_signed(i64::from(now.longitude_e7.wrapping_sub(then.longitude_e7)));
        }
        if head & CHANGED != 0 {
            code.byte(changed);
            let mut left = changed;
            while left != 0 {
                let index = left.trailing_zeros() as usize;
                code.put_signed(i64::from(values[index].wrapping_sub(before.values[index]) as i32));
                before.values[index] = values[index];
                left &= left - 1;
            }
        }
        out.extend_from_slice(code.as_slice());

        before.time_ms = fix.time.0;
        before.step_ms = step_ms;
        before.received_ms = fix.received_at.0;
        before.position = fix.position;
        before.presence = presence;
    }
}

/// Takes the fixes of a run apart again.
#[derive(Clone, Debug, Default)]
pub struct Unpacker(Before);

impl Unpacker {
    /// A run that [`Packer::new`] began.
    pub fn new() -> Self {
        Self::default()
    }

    /// A run that [`Packer::at`] began with the same instant.
    pub fn at(instant: TimestampMs) -> Self {
        Self(Before::at(instant))
    }

    /// Takes the next fix off the front of `input`; `None` if there is no whole, sound one. Never reads past `input`,
    /// never panics. After a `None` neither the run nor `input` is of further use.
    pub fn unpack(&mut self, input: &mut &[u8]) -> Option<Fix> {
        self.unpack_marked(input).map(|(fix, _)| fix)
    }

    /// As [`Unpacker::unpack`], with the caller's bit.
    pub fn unpack_marked(&mut self, input: &mut &[u8]) -> Option<(Fix, bool)> {
        let before = &mut self.0;
        let head = take_byte(input)?;
        if head & NEVER != 0 {
            return None;
        }
        if head & PRESENCE != 0 {
            before.presence = take_byte(input)?;
        }
        let delay_before = before.delay_ms();
        if head & SAME_STEP == 0 {
            before.step_ms = take_signed(input)?;
        }
        before.time_ms = before.time_ms.wrapping_add(before.step_ms);
        if head & SAME_RECEIVED == 0 {
            let change = if head & SAME_DELAY == 0 { take_signed(input)? } else { 0 };
            before.received_ms = before.time_ms.wrapping_add(delay_before.wrapping_add(change));
        }
        if head & SAME_POSITION == 0 {
            let position = &mut before.position;
            position.latitude_e7 = position.latitude_e7.wrapping_add(take_signed_32(input)?);
            position.longitude_e7 = position.longitude_e7.wrapping_add(take_signed_32(input)?);
        }
        if head & CHANGED != 0 {
            let mut left = take_byte(input)?;
            while left != 0 {
                let index = left.trailing_zeros() as usize;
                let value = before.values[index].wrapping_add(take_signed_32(input)? as u32);
                if value > FIELD_MAX[index] {
                    return None;
                }
                before.values[index] = value;
                left &= left - 1;
            }
        }
        Some((fix_of(before), head & MARK != 0))
    }
}

/// Which optional fields a fix has, and their values (0 where it has none).
fn optional_fields(fix: &Fix) -> (u8, [u32; FIELDS]) {
    let fields = [
        fix.speed_mmps,
        fix.heading_cdeg.map(u32::from),
        fix.altitude_cm.map(|value| value as u32),
        fix.accuracy_cm,
        fix.hdop_centi.map(u32::from),
        fix.seq,
        fix.battery_percent.map(u32::from),
        fix.satellites.map(u32::from),
    ];
    let mut presence = 0;
    let mut values = [0; FIELDS];
    for (index, field) in fields.into_iter().enumerate() {
        if let Some(value) = field {
            presence |= 1 << index;
            values[index] = value;
        }
    }
    (presence, values)
}

/// The known fields whose value is another than when last known.
fn changed_fields(presence: u8, values: &[u32; FIELDS], before: &[u32; FIELDS]) -> u8 {
    let mut differs = 0;
    for index in 0..FIELDS {
        differs |= u8::from(values[index] != before[index]) << index;
    }
    differs & presence
}

/// The fix that the state of a run stands for.
fn fix_of(state: &Before) -> Fix {
    let field = |index: usize| (state.presence & 1 << index != 0).then_some(state.values[index]);
    Fix {
        time: TimestampMs(state.time_ms),
        received_at: TimestampMs(state.received_ms),
        position: state.position,
        speed_mmps: field(0),
        heading_cdeg: field(1).map(|value| value as u16),
        altitude_cm: field(2).map(|value| value as i32),
        accuracy_cm: field(3),
        hdop_centi: field(4).map(|value| value as u16),
        seq: field(5),
        battery_percent: field(6).map(|value| value as u8),
        satellites: field(7).map(|value| value as u8),
    }
}

#[cfg(test)]
mod tests;
