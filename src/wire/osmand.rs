//! The OsmAnd protocol, as OsmAnd's live tracking, older Traccar Clients and many scripts speak it: a query string or a form.
//!
//! | parameter | value |
//! |---|---|
//! | `id`, `deviceid` | whose; see [`device_id`] |
//! | `lat`, `lon`, or `location=lat,lon` | degrees, both required |
//! | `timestamp` | a number, below 2^31 - 1 seconds and else milliseconds; or RFC 3339, in UTC if it names no zone |
//! | `valid` | `true` or `1`; `false` and `0` say "no fix" and are kept for the judge as 0 satellites |
//! | `speed` | knots |
//! | `bearing`, `heading` | degrees clockwise from north |
//! | `altitude`, `accuracy` | metres |
//! | `hdop` | from 0 |
//! | `batt` | percent |
//!
//! A query is text by nature, so that numbers are read from it here that quotes would hide in JSON. An empty value is the
//! same as a parameter that is not there; spaces around a value are nothing. Other parameters are skipped. Unreadable and
//! impossible values are as in [`super::native`], only that a query which says itself that it is no fix is
//! [`Reason::NoFix`](crate::fix::Reason::NoFix) and not malformed without coordinates. A query is always one element.

use std::borrow::Cow;

use super::Decoded;
use super::decimal::{self, Decimal};
use super::draft::{Draft, Field, MPS_PER_KNOT};
use super::time;
use crate::fix::Element;
use crate::units::TimestampMs;

/// A timestamp below this is seconds, from here on milliseconds.
const EPOCH_SECONDS_END: i64 = (1 << 31) - 1;

/// Reads a query (what follows the `?`) or the body of a form, and appends its element.
pub fn decode(query: &[u8], elements: &mut Vec<Element>) -> Decoded {
    let mut draft = Draft::default();
    for (key, value) in parameters(query) {
        let value = value.trim_ascii();
        match (&*key, value) {
            (_, b"") => {}
            (b"timestamp", _) => draft.set_time(instant(value)),
            (b"location", _) => draft.set_place(value),
            (b"valid", _) => draft.set_valid(truth(value)),
            (b"speed", _) => draft.set_number(Field::Speed, decimal::number(value).map(|knots| knots * MPS_PER_KNOT)),
            (key, _) => {
                if let Some(field) = field_of(key) {
                    draft.set_number(field, decimal::number(value));
                }
            }
        }
    }
    elements.push(draft.finish());
    Decoded::default()
}

/// The device that a query or a form names: the last `id` or `deviceid`, decoded. `None` if it names none, or one that is
/// no text.
pub fn device_id(query: &[u8]) -> Option<Cow<'_, str>> {
    let named = parameters(query).filter(|(key, value)| matches!(&**key, b"id" | b"deviceid") && !value.is_empty());
    match named.last()?.1 {
        Cow::Borrowed(id) => str::from_utf8(id).ok().map(Cow::Borrowed),
        Cow::Owned(id) => String::from_utf8(id).ok().map(Cow::Owned),
    }
}

fn field_of(key: &[u8]) -> Option<Field> {
    Some(match key {
        b"lat" => Field::Latitude,
        b"lon" => Field::Longitude,
        b"bearing" | b"heading" => Field::Heading,
        b"altitude" => Field::Altitude,
        b"accuracy" => Field::Accuracy,
        b"hdop" => Field::Hdop,
        b"batt" => Field::Battery,
        _ => return None,
    })
}

fn truth(value: &[u8]) -> Option<bool> {
    match value {
        b"1" => Some(true),
        b"0" => Some(false),
        _ if value.eq_ignore_ascii_case(b"true") => Some(true),
        _ if value.eq_ignore_ascii_case(b"false") => Some(false),
        _ => None,
    }
}

fn instant(text: &[u8]) -> Option<TimestampMs> {
    if let Some(number) = Decimal::parse(text) {
        return time::from_epoch_before(number, EPOCH_SECONDS_END);
    }
    time::parse_rfc3339(text).or_else(|| {
        // Whoever did not encode the `+` of an offset sent a space.
        if let Some((head, [b' ', offset @ ..])) = text.len().checked_sub(6).map(|at| text.split_at(at))
            && let Some(time) = time::parse_rfc3339(&[head, b"+", offset].concat())
        {
            return Some(time);
        }
        time::parse_rfc3339(&[text, b"Z"].concat())
    })
}

type Text<'a> = Cow<'a, [u8]>;

/// The parameters of a query in their order, decoded.
fn parameters(query: &[u8]) -> impl Iterator<Item = (Text<'_>, Text<'_>)> {
    query.split(|byte| *byte == b'&').map(|parameter| {
        let end = parameter.iter().position(|byte| *byte == b'=').unwrap_or(parameter.len());
        let value = parameter.get(end + 1..).unwrap_or_default();
        (decoded(&parameter[..end]), decoded(value))
    })
}

/// The text of a part of a form (WHATWG URL, section 5.1): `+` is a space, `%41` an `A`, and a `%` that begins nothing of the
/// kind is itself.
fn decoded(text: &[u8]) -> Text<'_> {
    if !text.iter().any(|byte| matches!(byte, b'+' | b'%')) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, behind @ ..] = rest {
        rest = behind;
        out.push(match (first, behind) {
            (b'+', _) => b' ',
            (b'%', [high, low, behind @ ..]) => match (hex_digit(*high), hex_digit(*low)) {
                (Some(high), Some(low)) => {
                    rest = behind;
                    high << 4 | low
                }
                _ => b'%',
            },
            (byte, _) => *byte,
        });
    }
    Cow::Owned(out)
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}
