//! Decimal numbers as text: read without losing a digit, printed from fixed point without a float in between.

/// A decimal number as it was written: `±mantissa × 10^exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// Whether a minus sign stands before it.
    pub negative: bool,
    /// The first 19 digits that count.
    pub mantissa: u64,
    /// The power of ten that the mantissa is multiplied by.
    pub exponent: i32,
    /// Whether digits other than 0 follow the 19, so that the number is larger in magnitude than written here.
    pub truncated: bool,
}

/// Digits that always fit the mantissa.
const MANTISSA_DIGITS_MAX: u32 = 19;

/// Exponents beyond this are the same as this: nothing here reaches 10^9999.
const EXPONENT_MAX: i32 = 9_999;

impl Decimal {
    /// Reads the whole of `text` as a JSON number (RFC 8259 section 6); leading zeros are let pass.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (negative, mut rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            _ => (false, text),
        };
        let mut number = Self { negative, mantissa: 0, exponent: 0, truncated: false };
        let mut digits = 0;
        if number.take_digits(&mut rest, &mut digits, 0) == 0 {
            return None;
        }
        if let [b'.', fraction @ ..] = rest {
            rest = fraction;
            if number.take_digits(&mut rest, &mut digits, -1) == 0 {
                return None;
            }
        }
        if let [b'e' | b'E', power @ ..] = rest {
            let (sign, power) = match power {
                [b'-', power @ ..] => (-1, power),
                [b'+', power @ ..] => (1, power),
                _ => (1, power),
            };
            if power.is_empty() || !power.iter().all(u8::is_ascii_digit) {
                return None;
            }
            let magnitude =
                power.iter().fold(0, |sum: i32, byte| (sum * 10 + i32::from(byte - b'0')).min(EXPONENT_MAX));
            number.exponent = number.exponent.saturating_add(sign * magnitude);
            rest = &[];
        }
        rest.is_empty().then_some(number)
    }

    /// Takes digits off `rest`; each kept one moves the exponent by `step`, each dropped one by `step + 1`.
    fn take_digits(&mut self, rest: &mut &[u8], digits: &mut u32, step: i32) -> usize {
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        for byte in &rest[..count] {
            let digit = u64::from(byte - b'0');
            if *digits < MANTISSA_DIGITS_MAX {
                self.mantissa = self.mantissa * 10 + digit;
                self.exponent = self.exponent.saturating_add(step);
                *digits += u32::from(self.mantissa != 0);
            } else {
                self.exponent = self.exponent.saturating_add(step + 1);
                self.truncated |= digit != 0;
            }
        }
        *rest = &rest[count..];
        count
    }

    /// The largest whole number not above `self × 10^shift`, or `None` beyond what an `i64` holds.
    pub fn floor_shifted(self, shift: i32) -> Option<i64> {
        let exponent = self.exponent.saturating_add(shift);
        let (whole, remains) = if exponent >= 0 {
            let factor = if self.mantissa == 0 { 1 } else { 10_u64.checked_pow(exponent.unsigned_abs())? };
            (self.mantissa.checked_mul(factor)?, self.truncated)
        } else {
            match 10_u64.checked_pow(exponent.unsigned_abs()) {
                Some(divisor) => (self.mantissa / divisor, self.truncated || !self.mantissa.is_multiple_of(divisor)),
                None => (0, self.mantissa != 0),
            }
        };
        let whole = i64::try_from(whole).ok()?;
        Some(if self.negative { -whole - i64::from(remains) } else { whole })
    }
}

/// The number nearest to the whole of `text`, in the grammar of [`Decimal::parse`]; one beyond every `f64` is infinite.
pub fn number(text: &[u8]) -> Option<f64> {
    Decimal::parse(text)?;
    str::from_utf8(text).ok()?.parse().ok()
}

/// Longest text of a fixed-point number: sign, 20 digits, point.
const FIXED_BYTES_MAX: usize = 22;

/// Appends `value / 10^decimals` with no trailing zeros and no point when it is whole.
pub fn put_fixed(out: &mut Vec<u8>, value: i64, decimals: u32) {
    let mut text = [0; FIXED_BYTES_MAX];
    let mut start = text.len();
    let mut put = |byte: u8| {
        start -= 1;
        text[start] = byte;
    };
    let mut rest = value.unsigned_abs();
    let mut has_fraction = false;
    for _ in 0..decimals {
        let digit = (rest % 10) as u8;
        rest /= 10;
        has_fraction |= digit != 0;
        if has_fraction {
            put(b'0' + digit);
        }
    }
    if has_fraction {
        put(b'.');
    }
    loop {
        put(b'0' + (rest % 10) as u8);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        put(b'-');
    }
    out.extend_from_slice(&text[start..]);
}

/// Appends a whole number.
pub fn put_whole(out: &mut Vec<u8>, value: u32) {
    put_fixed(out, i64::from(value), 0);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_read_to_the_digit() {
        let decimal = |text: &str| Decimal::parse(text.as_bytes());
        let plain = |negative, mantissa, exponent| Some(Decimal { negative, mantissa, exponent, truncated: false });
        assert_eq!(decimal("0"), plain(false, 0, 0));
        assert_eq!(decimal("-12.50"), plain(true, 1250, -2));
        assert_eq!(decimal("1.5e3"), plain(false, 15, 2));
        assert_eq!(decimal("2E-7"), plain(false, 2, -7));
        assert_eq!(decimal("0.0000000000000000000000001"), plain(false, 1, -25));
        let long = decimal("1234567890123456789.5").unwrap();
        assert!(long.truncated && long.mantissa == 1_234_567_890_123_456_789 && long.exponent == 0);
        for bad in ["", "-", ".5", "5.", "1e", "1e+", "+1", "1x", "NaN", "1.2.3", " 1"] {
            assert_eq!(decimal(bad), None, "{bad}");
        }
    }

    #[test]
    fn floors_go_down_on_both_sides_of_zero() {
        let floor = |text: &str, shift| Decimal::parse(text.as_bytes()).unwrap().floor_shifted(shift);
        assert_eq!(floor("1708093024.123", 3), Some(1_708_093_024_123));
        assert_eq!(floor("1.9999", 3), Some(1_999));
        assert_eq!(floor("-1.9991", 3), Some(-2_000));
        assert_eq!(floor("-1.999", 3), Some(-1_999));
        assert_eq!(floor("1e-400", 3), Some(0));
        assert_eq!(floor("-1e-400", 3), Some(-1));
        assert_eq!(floor("1e400", 3), None);
        assert_eq!(floor("0e400", 3), Some(0));
    }

    #[test]
    fn fixed_point_prints_short() {
        let print = |value, decimals| {
            let mut out = Vec::new();
            put_fixed(&mut out, value, decimals);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(print(521_234_567, 7), "52.1234567");
        assert_eq!(print(-740_060_000, 7), "-74.006");
        assert_eq!(print(-1, 7), "-0.0000001");
        assert_eq!(print(0, 7), "0");
        assert_eq!(print(27_000, 2), "270");
        assert_eq!(print(i64::MIN, 0), i64::MIN.to_string());
        assert_eq!(print(i64::MIN, 18), "-9.223372036854775808");
    }

    proptest! {
        #[test]
        fn printing_and_reading_agree(value: i32, decimals in 0_u32..9) {
            let mut out = Vec::new();
            put_fixed(&mut out, i64::from(value), decimals);
            let read = Decimal::parse(&out).unwrap();
            prop_assert_eq!(read.floor_shifted(decimals as i32), Some(i64::from(value)));
        }
    }
}
