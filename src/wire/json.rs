//! JSON as other systems shape it: the members of objects and arrays, each as its text, by serde_json.
//!
//! Values are taken as their text and read here: serde_json by itself refuses a whole payload for one `1e999`, and rounds
//! numbers to the last bit only with a feature that the crate does not need otherwise. What is nested is skipped without
//! recursion, and looked into only where a codec asks for it.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::ControlFlow;

use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Decoded;
use super::decimal::Decimal;
use super::draft::Draft;
use super::time;
use crate::fix::{Element, Reason};
use crate::units::TimestampMs;

/// Reads a payload that is one message, or an array whose members each stand for themselves. `read` makes an element of the
/// text of a message, which may be anything, or `None` if it is to be skipped. Makes `elements_max` elements at most.
pub(super) fn decode(
    payload: &[u8],
    elements_max: usize,
    elements: &mut Vec<Element>,
    read: fn(&[u8]) -> Option<Element>,
) -> Decoded {
    let before = elements.len();
    let mut decoded = Decoded::default();
    let take = |text: &[u8]| {
        match read(text) {
            Some(_) if elements.len() - before >= elements_max => {
                decoded = Decoded::OVER;
                return ControlFlow::Break(());
            }
            Some(element) => elements.push(element),
            None => decoded.skipped += 1,
        }
        ControlFlow::Continue(())
    };
    let is_read = each_message(payload, take).is_some();
    if decoded.is_over {
        elements.truncate(before);
    } else if !is_read {
        elements.truncate(before);
        elements.push(Err(Reason::Malformed));
        decoded.skipped = 0;
    }
    decoded
}

/// Tells the members of a payload that is an array, as [`each_member`], or a payload of another kind as a whole.
fn each_message<'a>(payload: &'a [u8], mut each: impl FnMut(&'a [u8]) -> ControlFlow<()>) -> Option<()> {
    if payload.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return each_member(payload, each);
    }
    each(payload).is_continue().then_some(())
}

/// Tells the members of an array, in their order, until `each` breaks off. `None` if it did, or if the payload is not one array
/// up to its last byte, which may be found out only after some were told.
pub(crate) fn each_member<'a>(payload: &'a [u8], each: impl FnMut(&'a [u8]) -> ControlFlow<()>) -> Option<()> {
    let mut deserializer = serde_json::Deserializer::from_slice(payload);
    deserializer.deserialize_seq(Array(each, PhantomData)).ok()?;
    deserializer.end().ok()
}

/// Tells the members of an object, key and text of the value, in their order; of a key that comes twice both. `None` if
/// `text` is not one object from its first byte to its last, which may be found out only after some were told.
pub(super) fn each_of_object<'a>(text: &'a [u8], each: impl FnMut(&str, &'a str)) -> Option<()> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    deserializer.deserialize_map(Object(each, PhantomData)).ok()?;
    deserializer.end().ok()
}

/// What an object has under a key, the last of several; `None` if there is none, or no object.
pub(super) fn value_of<'a>(object: &'a [u8], wanted: &str) -> Option<&'a str> {
    let mut found = None;
    each_of_object(object, |key, value| {
        if key == wanted {
            found = Some(value);
        }
    })?;
    found
}

/// The text that an object has under a key; `None` as [`value_of`], or if it is none.
pub(super) fn text_of<'a>(object: &'a [u8], wanted: &str) -> Option<Cow<'a, str>> {
    text(value_of(object, wanted)?)
}

/// The value of a number, or `None` for a value of another type. Like the functions below it takes correct JSON.
pub(super) fn number(value: &str) -> Option<f64> {
    is_number(value).then(|| value.parse().ok()).flatten()
}

/// The value of a text, without its escapes; borrowed where it has none.
pub(super) fn text(value: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str::<PlainText<'_>>(value).ok().map(|text| text.0)
}

/// Sets the time of a draft by a value: epoch number or RFC 3339; `null` says nothing.
pub(super) fn set_time(draft: &mut Draft, value: &str) {
    if value == "null" { draft.clear_time() } else { draft.set_time(instant(value)) }
}

fn instant(value: &str) -> Option<TimestampMs> {
    if is_number(value) {
        return time::from_epoch(Decimal::parse(value.as_bytes())?);
    }
    time::parse_rfc3339(text(value)?.as_bytes())
}

fn is_number(value: &str) -> bool {
    value.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

#[derive(serde::Deserialize)]
struct PlainText<'a>(#[serde(borrow)] Cow<'a, str>);

struct Array<'a, F>(F, PhantomData<&'a ()>);

impl<'a, F: FnMut(&'a [u8]) -> ControlFlow<()>> Visitor<'a> for Array<'a, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut members: A) -> Result<(), A::Error> {
        while let Some(member) = members.next_element::<&RawValue>()? {
            if self.0(member.get().as_bytes()).is_break() {
                return Err(A::Error::custom("broken off"));
            }
        }
        Ok(())
    }
}

struct Object<'a, F>(F, PhantomData<&'a ()>);

impl<'a, F: FnMut(&str, &'a str)> Visitor<'a> for Object<'a, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut members: A) -> Result<(), A::Error> {
        while let Some(key) = members.next_key::<PlainText<'_>>()? {
            self.0(&key.0, members.next_value::<&RawValue>()?.get());
        }
        Ok(())
    }
}
