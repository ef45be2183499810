//! Native JSON: what driver apps send, one object for a fix or an array of them for a backlog.
//!
//! | key | value |
//! |---|---|
//! | `latitude`, `lat`; `longitude`, `lon`, `lng` | degrees, both required |
//! | `timestamp` | RFC 3339, or a number since the epoch ([`time::from_epoch`]) |
//! | `speed` | m/s, from 0 |
//! | `heading`, `bearing`, `course` | degrees clockwise from north, 0 to 360 |
//! | `altitude` | metres |
//! | `accuracy` | metres, from 0 |
//! | `battery` | percent, 0 to 100, rounded |
//! | `satellites` | whole, 0 to 255; 0 says "no fix" and is kept for the judge |
//! | `hdop` | from 0 |
//! | `seq` | whole, 0 to 4,294,967,295 |
//!
//! Other keys are skipped, whatever they hold. `null` is the same as a key that is not there. Of a key (or of two names
//! of one value) that comes twice the last counts, as in most JSON readers.
//!
//! - A latitude or longitude that is missing or not a JSON number makes the element malformed: there is no fix without a
//!   place. Numbers in quotes are not numbers: whoever sends `"40.7"` also sends `"40,7"`, and guessing moves fixes. A
//!   number of any size is one; whether it is on the earth is the judge's question (`1e999` reads as infinity).
//! - A `timestamp` that is there but unreadable makes the element malformed. To give such a fix its receive time would
//!   put a known wrong time into the identity of a stored fix; only a fix that says nothing of its time is `None` here.
//! - Any other field that is of another type or cannot be (speed -1, heading 400, battery 150) is unknown, and the fix
//!   stands: trackers use such values for "I do not know", and the place and time are what matter.
//! - In an array each element stands for itself: one that is no object, or malformed, is one malformed element. An empty
//!   array is no element at all. A payload that is not JSON from its first byte to its last (RFC 8259; UTF-8; no NaN, no
//!   byte order mark), or neither object nor array, is one malformed element, whatever could be read before the fault.
//!
//! Two parsers do this. The fast one knows the plain form and hands over whatever else it meets; the general one knows
//! all of JSON. Neither recurses into what is nested, and neither keeps more than a constant times the payload.

pub use super::encode::{encode, encode_report};
use super::time;
use super::{native_fast, native_general};
use crate::fix::{Element, Reason, Report};
use crate::units::TimestampMs;

/// Reads a payload and appends what it holds to `elements`: one element for an object or for anything unreadable, one
/// for each member of an array.
pub fn decode(payload: &[u8], elements: &mut Vec<Element>) {
    let before = elements.len();
    if !native_fast::decode(payload, elements) {
        elements.truncate(before);
        native_general::decode(payload, elements);
    }
}

/// The values that a fix can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Latitude,
    Longitude,
    Timestamp,
    Speed,
    Heading,
    Altitude,
    Accuracy,
    Battery,
    Satellites,
    Hdop,
    Seq,
}

impl Field {
    pub(super) fn of_key(key: &[u8]) -> Option<Self> {
        Some(match key {
            b"latitude" | b"lat" => Self::Latitude,
            b"longitude" | b"lon" | b"lng" => Self::Longitude,
            b"timestamp" => Self::Timestamp,
            b"speed" => Self::Speed,
            b"heading" | b"bearing" | b"course" => Self::Heading,
            b"altitude" => Self::Altitude,
            b"accuracy" => Self::Accuracy,
            b"battery" => Self::Battery,
            b"satellites" => Self::Satellites,
            b"hdop" => Self::Hdop,
            b"seq" => Self::Seq,
            _ => return None,
        })
    }
}

/// What an object has said so far. A NaN stands for a number that is absent or unreadable.
#[derive(Debug)]
pub(super) struct Draft {
    report: Report,
    time_is_readable: bool,
}

impl Draft {
    pub(super) fn new() -> Self {
        Self { report: Report::at(None, f64::NAN, f64::NAN), time_is_readable: true }
    }

    /// Sets any field but the timestamp; a NaN clears it.
    pub(super) fn set_number(&mut self, field: Field, value: f64) {
        let report = &mut self.report;
        match field {
            Field::Latitude => report.latitude = value,
            Field::Longitude => report.longitude = value,
            Field::Timestamp => {}
            Field::Speed => report.speed_mps = within(value, 0.0, f64::from(f32::MAX)),
            Field::Heading => report.heading_deg = within(value, 0.0, 360.0),
            Field::Altitude => report.altitude_m = within(value, f64::from(f32::MIN), f64::from(f32::MAX)),
            Field::Accuracy => report.accuracy_m = within(value, 0.0, f64::from(f32::MAX)),
            Field::Hdop => report.hdop = within(value, 0.0, f64::from(f32::MAX)),
            Field::Battery => {
                report.battery_percent = (0.0..=100.0).contains(&value).then(|| value.round() as u8);
            }
            Field::Satellites => report.satellites = whole(value, f64::from(u8::MAX)).map(|value| value as u8),
            Field::Seq => report.seq = whole(value, f64::from(u32::MAX)).map(|value| value as u32),
        }
    }

    /// The timestamp is there; `None` says that it cannot be read.
    pub(super) fn set_time(&mut self, time: Option<TimestampMs>) {
        self.report.time = time;
        self.time_is_readable = time.is_some();
    }

    /// The timestamp is `null`.
    pub(super) fn clear_time(&mut self) {
        self.report.time = None;
        self.time_is_readable = true;
    }

    pub(super) fn finish(&self) -> Element {
        if self.report.latitude.is_nan() || self.report.longitude.is_nan() || !self.time_is_readable {
            return Err(Reason::Malformed);
        }
        Ok(self.report)
    }
}

fn within(value: f64, min: f64, max: f64) -> f32 {
    if (min..=max).contains(&value) { value as f32 } else { f32::NAN }
}

fn whole(value: f64, max: f64) -> Option<f64> {
    ((0.0..=max).contains(&value) && value.fract() == 0.0).then_some(value)
}

#[cfg(test)]
mod tests;
