//! Native JSON: what driver apps send, one object for a fix or an array of them for a backlog.
//!
//! | key | value |
//! |---|---|
//! | `latitude`, `lat`; `longitude`, `lon`, `lng` | degrees, both required |
//! | `timestamp` | RFC 3339, or a number since the epoch ([`from_epoch`](super::time::from_epoch)) |
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

use super::Decoded;
use super::draft::Field;
pub use super::encode::{encode, encode_report};
use super::{native_fast, native_general};
use crate::fix::Element;

/// Reads a payload and appends what it holds to `elements`: one element for an object or for anything unreadable, one
/// for each member of an array, `elements_max` at most.
pub fn decode(payload: &[u8], elements_max: usize, elements: &mut Vec<Element>) -> Decoded {
    let before = elements.len();
    if native_fast::decode(payload, elements_max, elements) {
        return Decoded::default();
    }
    elements.truncate(before);
    native_general::decode(payload, elements_max, elements)
}

/// The field of a key.
pub(super) fn field_of(key: &[u8]) -> Option<Field> {
    Some(match key {
        b"latitude" | b"lat" => Field::Latitude,
        b"longitude" | b"lon" | b"lng" => Field::Longitude,
        b"timestamp" => Field::Timestamp,
        b"speed" => Field::Speed,
        b"heading" | b"bearing" | b"course" => Field::Heading,
        b"altitude" => Field::Altitude,
        b"accuracy" => Field::Accuracy,
        b"battery" => Field::Battery,
        b"satellites" => Field::Satellites,
        b"hdop" => Field::Hdop,
        b"seq" => Field::Seq,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
