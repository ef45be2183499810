//! Teltonika's Codec JSON, which its trackers publish over MQTT:
//!
//! ```json
//! {"state": {"reported": {"ts": 1708093024000, "pr": 0, "latlng": "55.66,12.58", "alt": 12, "ang": 270, "sat": 9, "sp": 54,
//!  "evt": 240, "239": 1, "240": 1}}}
//! ```
//!
//! `latlng` is a text, latitude and longitude in degrees; `ts` milliseconds since the epoch, `alt` metres, `ang` degrees
//! clockwise from north, `sp` km/h. `sat` of 0 says "no fix", whatever `latlng` holds, and is kept for the judge. The rest, priority,
//! event and the inputs under their numbers, is skipped. Absent, unreadable and impossible values are as in
//! [`super::native`], and so is an array; a payload without `state.reported` is malformed.

use super::Decoded;
use super::draft::{Draft, Field, KMH_PER_MPS};
use super::json;
use crate::fix::{Element, Reason};

/// Reads a payload and appends an element, or one for each member of an array, `elements_max` at most.
pub fn decode(payload: &[u8], elements_max: usize, elements: &mut Vec<Element>) -> Decoded {
    json::decode(payload, elements_max, elements, |text| Some(message(text)))
}

fn message(text: &[u8]) -> Element {
    let state = json::value_of(text, "state").ok_or(Reason::Malformed)?;
    let reported = json::value_of(state.as_bytes(), "reported").ok_or(Reason::Malformed)?;
    let mut draft = Draft::default();
    json::each_of_object(reported.as_bytes(), |key, value| match key {
        "ts" => json::set_time(&mut draft, value),
        "latlng" => draft.set_place(json::text(value).unwrap_or_default().as_bytes()),
        "alt" => draft.set_number(Field::Altitude, json::number(value)),
        "ang" => draft.set_number(Field::Heading, json::number(value)),
        "sat" => draft.set_number(Field::Satellites, json::number(value)),
        "sp" => draft.set_number(Field::Speed, json::number(value).map(|speed_kmh| speed_kmh / KMH_PER_MPS)),
        _ => {}
    })
    .ok_or(Reason::Malformed)?;
    draft.finish()
}
