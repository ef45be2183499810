//! The general parser of native JSON: all of RFC 8259, by serde_json.
//!
//! Values are taken as their text and read here: serde_json by itself refuses a whole payload for one `1e999`, and rounds
//! numbers to the last bit only with a feature that the crate does not need otherwise. What is nested is skipped
//! without recursion.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::decimal::Decimal;
use super::draft::{Draft, Field};
use super::native::field_of;
use super::time;
use crate::fix::{Element, Reason};
use crate::units::TimestampMs;

/// Reads any payload.
pub(super) fn decode(payload: &[u8], elements: &mut Vec<Element>) {
    let before = elements.len();
    let is_read = match payload.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => members(payload, elements).is_ok(),
        _ => {
            elements.push(object(payload));
            true
        }
    };
    if !is_read {
        elements.truncate(before);
        elements.push(Err(Reason::Malformed));
    }
}

fn object(text: &[u8]) -> Element {
    serde_json::from_slice::<Object>(text).map_err(|_| Reason::Malformed)?.0.finish()
}

fn members(payload: &[u8], elements: &mut Vec<Element>) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(payload);
    deserializer.deserialize_seq(Members(elements))?;
    deserializer.end()
}

struct Members<'a>(&'a mut Vec<Element>);

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of fixes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        while let Some(member) = array.next_element::<&RawValue>()? {
            self.0.push(object(member.get().as_bytes()));
        }
        Ok(())
    }
}

struct Object(Draft);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor).map(Self)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Draft;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a fix")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Draft, A::Error> {
        let mut draft = Draft::default();
        while let Some(Key(field)) = members.next_key()? {
            let value = members.next_value::<&RawValue>()?.get();
            match field {
                Some(Field::Timestamp) if value == "null" => draft.clear_time(),
                Some(Field::Timestamp) => draft.set_time(instant(value)),
                Some(field) => draft.set_number(field, number(value)),
                None => {}
            }
        }
        Ok(draft)
    }
}

/// A key, known or not.
struct Key(Option<Field>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Key, E> {
        Ok(Key(field_of(key.as_bytes())))
    }
}

/// A number's value, or `None` for a value of another type. `value` is correct JSON.
fn number(value: &str) -> Option<f64> {
    is_number(value).then(|| value.parse().ok()).flatten()
}

/// The instant of a timestamp's value, which is correct JSON.
fn instant(value: &str) -> Option<TimestampMs> {
    if is_number(value) {
        return time::from_epoch(Decimal::parse(value.as_bytes())?);
    }
    let text = serde_json::from_str::<PlainText<'_>>(value).ok()?;
    time::parse_rfc3339(text.0.as_bytes())
}

fn is_number(value: &str) -> bool {
    value.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

/// A JSON text without its escapes; borrowed where it has none.
#[derive(serde::Deserialize)]
struct PlainText<'a>(#[serde(borrow)] Cow<'a, str>);
