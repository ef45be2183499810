//! Traccar Client's JSON, which newer versions of that app post where older ones speak [`super::osmand`]:
//!
//! ```json
//! {"device_id": "d1", "location": {"timestamp": "2024-02-16T14:17:04.000Z", "coords": {"latitude": 52.1, "longitude": 21.0,
//!  "accuracy": 5.0, "speed": 8.3, "heading": 270.0, "altitude": 110.0}, "battery": {"level": 0.87, "is_charging": false}}}
//! ```
//!
//! Speed is in m/s, `level` from 0 to 1, and below 0 each of speed, heading and level says "I do not know". `location` may be an array,
//! the form in which the app's location library sends what has gathered; each member stands for itself. What else there
//! is (`is_moving`, `odometer`, `event`, `activity`, `extras`) is skipped. Absent, unreadable and impossible values are as in
//! [`super::native`]; a payload that is no object, or has no `location`, is malformed.

use std::borrow::Cow;

use super::Decoded;
use super::draft::{Draft, Field};
use super::json;
use crate::fix::{Element, Reason};

/// Reads a payload and appends an element, or one for each member of an array of locations, `elements_max` at most.
pub fn decode(payload: &[u8], elements_max: usize, elements: &mut Vec<Element>) -> Decoded {
    match json::value_of(payload, "location") {
        Some(location) => json::decode(location.as_bytes(), elements_max, elements, |text| Some(element(text))),
        None => {
            elements.push(Err(Reason::Malformed));
            Decoded::default()
        }
    }
}

/// The device that a payload names.
pub fn device_id(payload: &[u8]) -> Option<Cow<'_, str>> {
    json::text_of(payload, "device_id")
}

fn element(text: &[u8]) -> Element {
    let mut draft = Draft::default();
    let (mut coords, mut battery) = (None, None);
    json::each_of_object(text, |key, value| match key {
        "timestamp" => json::set_time(&mut draft, value),
        "coords" => coords = Some(value),
        "battery" => battery = Some(value),
        _ => {}
    })
    .ok_or(Reason::Malformed)?;
    // Whatever is not an object has no members: no coordinates, which is malformed, or no level, which is unknown.
    if let Some(coords) = coords {
        let _ = json::each_of_object(coords.as_bytes(), |key, value| {
            if let Some(field) = field_of(key) {
                draft.set_number(field, json::number(value));
            }
        });
    }
    if let Some(battery) = battery {
        let level = json::value_of(battery.as_bytes(), "level").and_then(json::number);
        draft.set_number(Field::Battery, level.map(|level| level * 100.0));
    }
    draft.finish()
}

fn field_of(key: &str) -> Option<Field> {
    Some(match key {
        "latitude" => Field::Latitude,
        "longitude" => Field::Longitude,
        "accuracy" => Field::Accuracy,
        "speed" => Field::Speed,
        "heading" => Field::Heading,
        "altitude" => Field::Altitude,
        _ => return None,
    })
}
