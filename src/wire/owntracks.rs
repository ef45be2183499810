//! OwnTracks JSON: what its apps publish or post, one message an object.
//!
//! | key | value |
//! |---|---|
//! | `_type` | `location`; messages of other types hold no fix and are skipped |
//! | `lat`, `lon` | degrees, both required |
//! | `tst` | when: seconds since the epoch |
//! | `vel` | km/h |
//! | `cog` | degrees clockwise from north |
//! | `alt`, `acc` | metres |
//! | `batt` | percent |
//!
//! Absent, unreadable and impossible values are as in [`super::native`], and so is an array: each message of it stands for
//! itself. A message without a `_type` that is a text is malformed: nobody can say what it is. Which types there are grows
//! with the apps (`lwt`, `transition`, `waypoint`, `waypoints`, `status`, `card`, `cmd`, `steps`, `encrypted`), so that one
//! with a name not known here is skipped like them. An empty payload, which clears a retained message and which apps post
//! now and then, is skipped as well.
//!
//! `tst` is the time of the fix; `created_at` is when the message was made, later for one that waited, and is not read.

use std::borrow::Cow;

use super::Decoded;
use super::draft::{Draft, Field, KMH_PER_MPS};
use super::json;
use crate::fix::{Element, Reason};

/// Reads a payload and appends an element for each message that is a location or unreadable, `elements_max` at
/// most.
pub fn decode(payload: &[u8], elements_max: usize, elements: &mut Vec<Element>) -> Decoded {
    if payload.is_empty() {
        return Decoded { skipped: 1, ..Decoded::default() };
    }
    json::decode(payload, elements_max, elements, message)
}

/// The topic that a message sent over HTTP would have been published on, if it says so: `owntracks/{user}/{device}`.
pub fn topic(body: &[u8]) -> Option<Cow<'_, str>> {
    json::text_of(body, "topic")
}

fn message(text: &[u8]) -> Option<Element> {
    let mut draft = Draft::default();
    let mut kind = None;
    let read = json::each_of_object(text, |key, value| match key {
        "_type" => kind = json::text(value),
        "tst" => json::set_time(&mut draft, value),
        "lat" => draft.set_number(Field::Latitude, json::number(value)),
        "lon" => draft.set_number(Field::Longitude, json::number(value)),
        "vel" => draft.set_number(Field::Speed, json::number(value).map(|speed_kmh| speed_kmh / KMH_PER_MPS)),
        "cog" => draft.set_number(Field::Heading, json::number(value)),
        "alt" => draft.set_number(Field::Altitude, json::number(value)),
        "acc" => draft.set_number(Field::Accuracy, json::number(value)),
        "batt" => draft.set_number(Field::Battery, json::number(value)),
        _ => {}
    });
    match (read, kind.as_deref()) {
        (Some(()), Some("location")) => Some(draft.finish()),
        (Some(()), Some(_)) => None,
        (_, None) | (None, _) => Some(Err(Reason::Malformed)),
    }
}
