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

/// Reads the payload if it is plain. `false` says that it is not, and that `elements` may hold part of it.
pub(super) fn decode(payload: &[u8], elements: &mut Vec<Element>) -> bool {
    Scanner { payload, at: 0 }.payload(elements).is_some()
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

impl<'a> Scanner<'a> {
    fn payload(&mut self, elements: &mut Vec<Element>) -> Option<()> {
        match self.peek_token()? {
            b'{' => elements.push(self.object()?),
            b'[' => self.array(elements)?,
            _ => return None,
        }
        self.skip_space();
        (self.at == self.payload.len()).then_some(())
    }

    fn array(&mut self, elements: &mut Vec<Element>) -> Option<()> {
        self.at += 1;
        if self.peek_token()? == b']' {
            self.at += 1;
            return Some(());
        }
        loop {
            if self.peek_token()? != b'{' {
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
        let field = field_of(self.text()?);
        if self.next_token()? != b':' {
            return None;
        }
        let first = self.peek_token()?;
        match (field, first) {
            (Some(Field::Timestamp), b'"') => {
                self.at += 1;
                draft.set_time(time::parse_rfc3339(self.text()?));
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

    /// A text whose opening quote was taken, up to and without its closing one.
    fn text(&mut self) -> Option<&'a [u8]> {
        let rest = self.payload.get(self.at..)?;
        let len = rest.iter().position(|byte| *byte == b'"' || *byte == b'\\' || !(0x20..0x80).contains(byte))?;
        if rest[len] != b'"' {
            return None;
        }
        self.at += len + 1;
        Some(&rest[..len])
    }

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

    fn peek_token(&mut self) -> Option<u8> {
        self.skip_space();
        self.payload.get(self.at).copied()
    }

    fn next_token(&mut self) -> Option<u8> {
        let token = self.peek_token()?;
        self.at += 1;
        Some(token)
    }
}

/// Adds the digits at the start of `text` to `mantissa`, which wraps beyond [`DIGITS_MAX`], and counts them.
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
