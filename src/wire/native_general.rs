//! The general parser of native JSON: all of RFC 8259.

use super::Decoded;
use super::draft::{Draft, Field};
use super::json;
use super::native::field_of;
use crate::fix::{Element, Reason};

/// Reads any payload.
pub(super) fn decode(payload: &[u8], elements_max: usize, elements: &mut Vec<Element>) -> Decoded {
    json::decode(payload, elements_max, elements, |text| Some(object(text)))
}

fn object(text: &[u8]) -> Element {
    let mut draft = Draft::default();
    json::each_of_object(text, |key, value| match field_of(key.as_bytes()) {
        Some(Field::Timestamp) => json::set_time(&mut draft, value),
        Some(field) => draft.set_number(field, json::number(value)),
        None => {}
    })
    .ok_or(Reason::Malformed)?;
    draft.finish()
}
