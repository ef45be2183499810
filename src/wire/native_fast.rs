//! The fast parser of native JSON: the plain form in one pass, without allocating and without looking back.
//!
//! It knows objects, and arrays of them, whose keys and texts are plain ASCII without escapes, whose numbers have no
//! exponent and at most 19 digits, and which nest nothing. Whatever else it meets, correct or not, it leaves to
//! [`super::native_general`]; what it does read, it reads to the same result.

use super::decimal::Decimal;
use super::draft::{Draft, Field};
use super::native::field_of;
use super::time;
use crate::fix::Element;
use crate::units::TimestampMs;

/// Reads the payload if it is plain. `false` says that it is not, or holds more than `elements_max`, and that `elements` may
/// hold part of it.
pub(super) fn decode(payload: &[u8], elements_max: usize, elements: &mut Vec<Element>) -> bool {
    Scanner { payload, at: 0 }.payload(elements_max, elements).is_some()
}

/// `None` from any of its methods means "not plain".
struct Scanner<'a> {
    payload: &'a [u8],
    at: usize,
}

/// Powers of ten that an `f64` holds exactly.
const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Whole numbers up to here are exact in an `f64`.
const EXACT_MANTISSA_MAX: u64 = 1 << 53;

/// Digits that always fit a `u64`.
const DIGITS_MAX: usize = 19;

/// Length of `2024-01-01T12:00:00Z`.
const TIME_LEN: usize = 20;

/// Bytes that are not part of a plain text: its closing quote, and whatever makes it not plain.
const ENDS_TEXT: [bool; 256] = {
    let mut ends = [true; 256];
    let mut byte = 0x20;
    while byte < 0x80 {
        ends[byte] = byte == b'"' as usize || byte == b'\\' as usize;
        byte += 1;
    }
    ends
};

impl<'a> Scanner<'a> {
    fn payload(&mut self, elements_max: usize, elements: &mut Vec<Element>) -> Option<()> {
        match self.peek_token()? {
            b'{' => elements.push(self.object()?),
            b'[' => self.array(elements_max, elements)?,
            _ => return None,
        }
        self.skip_space();
        (self.at == self.payload.len()).then_some(())
    }

    fn array(&mut self, elements_max: usize, elements: &mut Vec<Element>) -> Option<()> {
        self.at += 1;
        let end = elements.len().saturating_add(elements_max);
        if self.peek_token()? == b']' {
            self.at += 1;
            return Some(());
        }
        loop {
            if self.peek_token()? != b'{' || elements.len() == end {
                return None;
            }
            let element = self.object()?;
            elements.push(element);
            match self.next_token()? {
                b',' => {}
                b']' => return Some(()),
                _ => return None,
            }
        }
    }

    fn object(&mut self) -> Option<Element> {
        self.at += 1;
        let mut draft = Draft::default();
        if self.peek_token()? == b'}' {
            self.at += 1;
            return Some(draft.finish());
        }
        loop {
            self.member(&mut draft)?;
            match self.next_token()? {
                b',' => {}
                b'}' => return Some(draft.finish()),
                _ => return None,
            }
        }
    }

    fn member(&mut self, draft: &mut Draft) -> Option<()> {
        if self.next_token()? != b'"' {
            return None;
        }
        let field = self.key()?;
        if self.next_token()? != b':' {
            return None;
        }
        let first = self.peek_token()?;
        match (field, first) {
            (Some(Field::Timestamp), b'"') => {
                self.at += 1;
                let time = self.time()?;
                draft.set_time(time);
            }
            (Some(Field::Timestamp), b'-' | b'0'..=b'9') => draft.set_time(time::from_epoch(self.number()?)),
            (Some(Field::Timestamp), b'n') => {
                self.literal(b"null")?;
                draft.clear_time();
            }
            (Some(field), b'-' | b'0'..=b'9') => {
                let number = self.number()?;
                draft.set_number(field, Some(exact(number)?));
            }
            (Some(field), b'n') => {
                self.literal(b"null")?;
                draft.set_number(field, None);
            }
            (None, b'"') => {
                self.at += 1;
                self.text()?;
            }
            (None, b'-' | b'0'..=b'9') => {
                self.number()?;
            }
            (None, b'n') => self.literal(b"null")?,
            (None, b't') => self.literal(b"true")?,
            (None, b'f') => self.literal(b"false")?,
            _ => return None,
        }
        Some(())
    }

    /// A key whose opening quote was taken, and its closing one: the field that it names, if it does.
    fn key(&mut self) -> Option<Option<Field>> {
        if let Some((field, len)) = known_key(self.payload.get(self.at..)?) {
            self.at += len + 1;
            return Some(Some(field));
        }
        self.text().map(field_of)
    }

    /// A timestamp whose opening quote was taken, and its closing one: `None` within if it is none.
    fn time(&mut self) -> Option<Option<TimestampMs>> {
        // In the usual form its end need not be looked for.
        if let Some((text, [b'"', ..])) = self.payload.get(self.at..)?.split_at_checked(TIME_LEN)
            && let Some(time) = time::parse_rfc3339(text)
        {
            self.at += TIME_LEN + 1;
            return Some(Some(time));
        }
        self.text().map(time::parse_rfc3339)
    }

    /// A text whose opening quote was taken, up to and without its closing one.
    fn text(&mut self) -> Option<&'a [u8]> {
        let rest = self.payload.get(self.at..)?;
        let len = rest.iter().position(|byte| ENDS_TEXT[usize::from(*byte)])?;
        if rest[len] != b'"' {
            return None;
        }
        self.at += len + 1;
        Some(&rest[..len])
    }

    // Without this its result goes through memory, which costs a tenth of the whole.
    #[inline(always)]
    fn number(&mut self) -> Option<Decimal> {
        let rest = self.payload.get(self.at..)?;
        let negative = *rest.first()? == b'-';
        let start = usize::from(negative);
        let mut at = start;
        let mut mantissa = 0_u64;
        at += take_digits(&rest[at..], &mut mantissa);
        let whole_digits = at - start;
        if whole_digits == 0 || (whole_digits > 1 && rest[start] == b'0') {
            return None;
        }
        let mut decimals = 0;
        if rest.get(at) == Some(&b'.') {
            at += 1;
            decimals = take_digits(&rest[at..], &mut mantissa);
            if decimals == 0 {
                return None;
            }
            at += decimals;
        }
        if whole_digits + decimals > DIGITS_MAX || matches!(rest.get(at), Some(b'e' | b'E')) {
            return None;
        }
        self.at += at;
        Some(Decimal { negative, mantissa, exponent: -(decimals as i32), truncated: false })
    }

    fn literal(&mut self, word: &[u8]) -> Option<()> {
        self.payload.get(self.at..)?.starts_with(word).then(|| self.at += word.len())
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.payload.get(self.at) {
            self.at += 1;
        }
    }

    #[inline]
    fn peek_token(&mut self) -> Option<u8> {
        let next = *self.payload.get(self.at)?;
        if next > b' ' {
            return Some(next);
        }
        self.skip_space();
        self.payload.get(self.at).copied()
    }

    fn next_token(&mut self) -> Option<u8> {
        let token = self.peek_token()?;
        self.at += 1;
        Some(token)
    }
}

/// The field named at the start of `text`, and the length of its name, if a closing quote follows. Knows the keys that most
/// trackers send, and compares them eight bytes at a time.
#[inline]
fn known_key(text: &[u8]) -> Option<(Field, usize)> {
    let (word, rest) = text.split_first_chunk::<8>()?;
    let word = u64::from_le_bytes(*word);
    let len = index_of_quote(word);
    if len < 8 {
        // The length as well: a name that ends in NUL bytes is another name.
        let field = match (len, word & ((1 << (8 * len)) - 1)) {
            (5, KEY_SPEED) => Field::Speed,
            (7, KEY_HEADING | KEY_BEARING) | (6, KEY_COURSE) => Field::Heading,
            (3, KEY_LAT) => Field::Latitude,
            (3, KEY_LON | KEY_LNG) => Field::Longitude,
            (7, KEY_BATTERY) => Field::Battery,
            _ => return None,
        };
        return Some((field, len));
    }
    match (word, rest) {
        (KEY_LATITUDE, [b'"', ..]) => Some((Field::Latitude, 8)),
        (KEY_LONGITUD, [b'e', b'"', ..]) => Some((Field::Longitude, 9)),
        (KEY_TIMESTAM, [b'p', b'"', ..]) => Some((Field::Timestamp, 9)),
        (KEY_ACCURACY, [b'"', ..]) => Some((Field::Accuracy, 8)),
        (KEY_ALTITUDE, [b'"', ..]) => Some((Field::Altitude, 8)),
        _ => None,
    }
}

const KEY_LATITUDE: u64 = u64::from_le_bytes(*b"latitude");
const KEY_LONGITUD: u64 = u64::from_le_bytes(*b"longitud");
const KEY_TIMESTAM: u64 = u64::from_le_bytes(*b"timestam");
const KEY_ACCURACY: u64 = u64::from_le_bytes(*b"accuracy");
const KEY_ALTITUDE: u64 = u64::from_le_bytes(*b"altitude");
const KEY_SPEED: u64 = u64::from_le_bytes(*b"speed\0\0\0");
const KEY_HEADING: u64 = u64::from_le_bytes(*b"heading\0");
const KEY_BEARING: u64 = u64::from_le_bytes(*b"bearing\0");
const KEY_COURSE: u64 = u64::from_le_bytes(*b"course\0\0");
const KEY_BATTERY: u64 = u64::from_le_bytes(*b"battery\0");
const KEY_LAT: u64 = u64::from_le_bytes(*b"lat\0\0\0\0\0");
const KEY_LON: u64 = u64::from_le_bytes(*b"lon\0\0\0\0\0");
const KEY_LNG: u64 = u64::from_le_bytes(*b"lng\0\0\0\0\0");

/// Which of a word's bytes, from the lowest, is the first quote; 8 if none is. The test for a zero byte of Alan Mycroft
/// (1987), which can only err above the first.
fn index_of_quote(word: u64) -> usize {
    const ONES: u64 = u64::MAX / 255;
    let difference = word ^ (ONES * b'"' as u64);
    let zeros = difference.wrapping_sub(ONES) & !difference & (ONES << 7);
    (zeros.trailing_zeros() / 8) as usize
}

/// Adds the digits at the start of `text` to `mantissa`, which wraps beyond [`DIGITS_MAX`], and counts them.
#[inline]
fn take_digits(text: &[u8], mantissa: &mut u64) -> usize {
    let mut count = 0;
    while let Some(digit) = text.get(count).map(|byte| byte.wrapping_sub(b'0'))
        && digit <= 9
    {
        *mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
        count += 1;
    }
    count
}

/// The nearest `f64`, where one division of two exact numbers gives it: William D. Clinger, "How to Read Floating Point
/// Numbers Accurately" (1990).
fn exact(number: Decimal) -> Option<f64> {
    let power = POWERS_OF_TEN.get(number.exponent.unsigned_abs() as usize)?;
    if number.mantissa > EXACT_MANTISSA_MAX {
        return None;
    }
    let magnitude = number.mantissa as f64 / power;
    Some(if number.negative { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_quote_of_a_word_is_found(word: u64) {
            let quote = word.to_le_bytes().iter().position(|byte| *byte == b'"');
            prop_assert_eq!(index_of_quote(word), quote.unwrap_or(8));
        }
    }
}
