//! flespi's JSON messages: flat objects whose keys name a parameter of its protocol-independent format, one message or an
//! array of them.
//!
//! | key | value |
//! |---|---|
//! | `position.latitude`, `position.longitude` | degrees, both required |
//! | `position.valid` | `false` says "no fix", as 0 satellites do |
//! | `timestamp` | seconds since the epoch, decimals allowed, or RFC 3339 |
//! | `position.speed` | km/h |
//! | `position.direction` | degrees clockwise from north |
//! | `position.altitude` | metres |
//! | `position.satellites` | 0 says "no fix" and is kept for the judge |
//! | `position.hdop` | from 0 |
//! | `battery.level` | percent |
//!
//! Other keys are skipped, `ident` as well: the topic names the driver. Absent, unreadable and impossible values are as in
//! [`super::native`], only that a message which says itself that it is no fix is [`Reason::NoFix`] and not malformed without
//! coordinates: it has none to give.

use super::Decoded;
use super::draft::{Draft, Field, KMH_PER_MPS};
use super::json;
use crate::fix::{Element, Reason};

/// Reads a payload and appends an element for each message, `elements_max` at most.
pub fn decode(payload: &[u8], elements_max: usize, elements: &mut Vec<Element>) -> Decoded {
    json::decode(payload, elements_max, elements, |text| Some(message(text)))
}

fn message(text: &[u8]) -> Element {
    let mut draft = Draft::default();
    json::each_of_object(text, |key, value| match key {
        "timestamp" => json::set_time(&mut draft, value),
        "position.valid" => draft.set_valid(value.parse().ok()),
        "position.speed" => draft.set_number(Field::Speed, json::number(value).map(|kmh| kmh / KMH_PER_MPS)),
        key => {
            if let Some(field) = field_of(key) {
                draft.set_number(field, json::number(value));
            }
        }
    })
    .ok_or(Reason::Malformed)?;
    draft.finish()
}

fn field_of(key: &str) -> Option<Field> {
    Some(match key {
        "position.latitude" => Field::Latitude,
        "position.longitude" => Field::Longitude,
        "position.direction" => Field::Heading,
        "position.altitude" => Field::Altitude,
        "position.satellites" => Field::Satellites,
        "position.hdop" => Field::Hdop,
        "battery.level" => Field::Battery,
        _ => return None,
    })
}
