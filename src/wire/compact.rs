//! Compact binary batches, Rhumb's own, for trackers that pay by the byte: the fixes of one driver, each against the one
//! before it.
//!
//! A batch is the version, one byte 0x01, and then fixes until the payload ends. No JSON begins with that byte, so that a
//! batch may be sent wherever native JSON may ([`super::native_or_compact`]). A fix is:
//!
//! | part | present if | coding |
//! |---|---|---|
//! | head | always | one byte, see below |
//! | step | its two bits say so | signed varint: time since the fix before, in seconds or in milliseconds |
//! | move | `MOVED` | two signed varints: change of latitude and of longitude, in 1e-7 degrees |
//! | known | `KNOWN` | one byte: bit `i` says that this fix has optional field `i` |
//! | changed | `CHANGED` | one byte: bit `i` says that field `i` has another value than before |
//! | fields | bit of `changed` | signed varint each, the lowest bit's first: change of its value |
//!
//! | bits of head | name | says |
//! |---|---|---|
//! | 0 and 1 | step | 0: as long after the fix before as that one after its own; 1: a step in seconds follows; 2: one in milliseconds; 3: never |
//! | 2 | `MOVED` | it is at another position than the fix before |
//! | 3 | `KNOWN` | it has other optional fields than the fix before |
//! | 4 | `CHANGED` | some field has another value |
//! | 5 to 7 | | never set |
//!
//! | bit | optional field | unit |
//! |---|---|---|
//! | 0 | speed | mm/s |
//! | 1 | heading | 0.01 degrees clockwise from north |
//! | 2 | altitude | cm |
//! | 3 | accuracy | cm |
//! | 4 | horizontal dilution of precision | 0.01 |
//! | 5 | the tracker's own counter | 1 |
//! | 6 | battery | percent |
//! | 7 | satellites, 0 for "no fix" | 1 |
//!
//! Before the first fix everything is 0 and no optional field is known: the first fix is against 1970-01-01T00:00:00Z and 0, 0. A
//! field that a fix does not have keeps its value for the next one that has it. Varints are LEB128 of 64 bits, signed ones
//! zigzag: 0, -1, 1, -2 are 0, 1, 2, 3.
//!
//! Two fixes, at 52.2297, 21.0122 and 2024-02-16T14:17:04Z with 8.3 m/s, and at 52.2298, 21.0122 ten seconds later with 8.5 m/s:
//!
//! ```text
//! 01                       version
//! 1d                       step in seconds, MOVED, KNOWN, CHANGED
//!    c0 b9 fb dc 0c           1,708,093,024 s
//!    d0 fa 8c f2 03           522,297,000
//!    a0 d4 b1 c8 01           210,122,000
//!    01                       has speed
//!    01 d8 81 01              speed: 8,300
//! 15                       step in seconds, MOVED, CHANGED
//!    14                       10 s
//!    d0 0f 00                 1,000 and 0
//!    01 90 03                 speed: 200
//! ```
//!
//! Every fix has a time. A batch that ends within a fix, or has bits that are never set, is one malformed element, since
//! nothing after a fault can be trusted; an instant outside the years 0000 to 9999 makes its fix malformed, and what cannot
//! be otherwise is as in [`super::native`]. No part of a batch tells a length or a count.

use super::Decoded;
use super::draft::{Draft, Field};
use super::time;
use crate::fix::{Element, Fix, Reason};
use crate::packed::{put_signed, take_signed};
use crate::units::E7_PER_DEGREE;

/// The first byte of every batch.
pub const VERSION: u8 = 0x01;

const STEP: u8 = 0b11;
const STEP_IN_SECONDS: u8 = 1;
const STEP_IN_MS: u8 = 2;
const MOVED: u8 = 1 << 2;
const KNOWN: u8 = 1 << 3;
const CHANGED: u8 = 1 << 4;
const NEVER: u8 = 0b111 << 5;

/// The optional fields, each at its bit, and how many of its units make one of the report's.
const FIELDS: [(Field, f64); 8] = [
    (Field::Speed, 1_000.0),
    (Field::Heading, 100.0),
    (Field::Altitude, 100.0),
    (Field::Accuracy, 100.0),
    (Field::Hdop, 100.0),
    (Field::Seq, 1.0),
    (Field::Battery, 1.0),
    (Field::Satellites, 1.0),
];

/// What the next fix of a batch stands against.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    time_ms: i64,
    step_ms: i64,
    latitude_e7: i64,
    longitude_e7: i64,
    known: u8,
    values: [i64; FIELDS.len()],
}

/// Appends one batch of these fixes, without their receive times.
pub fn encode(fixes: &[Fix], out: &mut Vec<u8>) {
    out.push(VERSION);
    let mut before = Before::default();
    for fix in fixes {
        before.put(fix, out);
    }
}

/// Reads a batch and appends an element for each fix, `elements_max` at most, or one if it cannot be read.
pub fn decode(payload: &[u8], elements_max: usize, elements: &mut Vec<Element>) -> Decoded {
    let length = elements.len();
    match read(payload, length.saturating_add(elements_max), elements) {
        Some(false) => Decoded::default(),
        Some(true) => {
            elements.truncate(length);
            Decoded::OVER
        }
        None => {
            elements.truncate(length);
            elements.push(Err(Reason::Malformed));
            Decoded::default()
        }
    }
}

/// Reads a batch until there are `end` elements, and says whether it holds more; `None` if it cannot be read.
fn read(payload: &[u8], end: usize, elements: &mut Vec<Element>) -> Option<bool> {
    let (&VERSION, mut rest) = payload.split_first()? else { return None };
    let mut before = Before::default();
    while !rest.is_empty() {
        before.take(&mut rest)?;
        if elements.len() == end {
            return Some(true);
        }
        elements.push(before.element());
    }
    Some(false)
}

impl Before {
    fn put(&mut self, fix: &Fix, out: &mut Vec<u8>) {
        let step_ms = fix.time.0.wrapping_sub(self.time_ms);
        let latitude_e7 = i64::from(fix.position.latitude_e7);
        let longitude_e7 = i64::from(fix.position.longitude_e7);
        let is_moved = (latitude_e7, longitude_e7) != (self.latitude_e7, self.longitude_e7);
        let (known, values) = optional_fields(fix);
        let changed = (0..FIELDS.len())
            .fold(0, |changed, index| changed | (u8::from(values[index] != self.values[index]) << index))
            & known;

        let step = match step_ms {
            same if same == self.step_ms => 0,
            whole if whole % 1_000 == 0 => STEP_IN_SECONDS,
            _ => STEP_IN_MS,
        };
        let flag = |bit, is_set| if is_set { bit } else { 0 };
        out.push(step | flag(MOVED, is_moved) | flag(KNOWN, known != self.known) | flag(CHANGED, changed != 0));
        match step {
            STEP_IN_SECONDS => put_signed(out, step_ms / 1_000),
            STEP_IN_MS => put_signed(out, step_ms),
            _ => {}
        }
        if is_moved {
            put_signed(out, latitude_e7 - self.latitude_e7);
            put_signed(out, longitude_e7 - self.longitude_e7);
        }
        if known != self.known {
            out.push(known);
        }
        if changed != 0 {
            out.push(changed);
            for index in bits(changed) {
                put_signed(out, values[index] - self.values[index]);
                self.values[index] = values[index];
            }
        }
        *self = Self { time_ms: fix.time.0, step_ms, latitude_e7, longitude_e7, known, values: self.values };
    }

    /// Takes the next fix off the front of `input`; `None` if there is no whole one.
    fn take(&mut self, input: &mut &[u8]) -> Option<()> {
        let head = take_byte(input)?;
        if head & NEVER != 0 {
            return None;
        }
        match head & STEP {
            0 => {}
            STEP_IN_SECONDS => self.step_ms = take_signed(input)?.checked_mul(1_000)?,
            STEP_IN_MS => self.step_ms = take_signed(input)?,
            _ => return None,
        }
        self.time_ms = self.time_ms.checked_add(self.step_ms)?;
        if head & MOVED != 0 {
            self.latitude_e7 = self.latitude_e7.checked_add(take_signed(input)?)?;
            self.longitude_e7 = self.longitude_e7.checked_add(take_signed(input)?)?;
        }
        if head & KNOWN != 0 {
            self.known = take_byte(input)?;
        }
        if head & CHANGED != 0 {
            for index in bits(take_byte(input)?) {
                self.values[index] = self.values[index].checked_add(take_signed(input)?)?;
            }
        }
        Some(())
    }

    fn element(&self) -> Element {
        let mut draft = Draft::default();
        draft.set_time(time::from_ms(self.time_ms));
        draft.set_number(Field::Latitude, Some(self.latitude_e7 as f64 / E7_PER_DEGREE));
        draft.set_number(Field::Longitude, Some(self.longitude_e7 as f64 / E7_PER_DEGREE));
        for index in bits(self.known) {
            let (field, units) = FIELDS[index];
            draft.set_number(field, Some(self.values[index] as f64 / units));
        }
        draft.finish()
    }
}

/// Which optional fields a fix has, and their values (0 where it has none).
fn optional_fields(fix: &Fix) -> (u8, [i64; FIELDS.len()]) {
    let fields = [
        fix.speed_mmps.map(i64::from),
        fix.heading_cdeg.map(i64::from),
        fix.altitude_cm.map(i64::from),
        fix.accuracy_cm.map(i64::from),
        fix.hdop_centi.map(i64::from),
        fix.seq.map(i64::from),
        fix.battery_percent.map(i64::from),
        fix.satellites.map(i64::from),
    ];
    let known = fields.iter().rev().fold(0, |known, field| known << 1 | u8::from(field.is_some()));
    (known, fields.map(Option::unwrap_or_default))
}

/// The places of the bits that are set, lowest first.
fn bits(mask: u8) -> impl Iterator<Item = usize> {
    (0..FIELDS.len()).filter(move |index| mask & 1 << index != 0)
}

fn take_byte(input: &mut &[u8]) -> Option<u8> {
    let (first, rest) = input.split_first()?;
    *input = rest;
    Some(*first)
}

#[cfg(test)]
mod tests;
