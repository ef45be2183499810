//! Instants as text: RFC 3339 and epoch numbers, read without a calendar library and without allocating.

use super::decimal::Decimal;
use crate::units::TimestampMs;

/// 0000-01-01T00:00:00Z, the first instant that RFC 3339 can write.
pub const EARLIEST: TimestampMs = TimestampMs(-62_167_219_200_000);

/// 9999-12-31T23:59:59.999Z, the last one.
pub const LATEST: TimestampMs = TimestampMs(253_402_300_799_999);

/// A number below this is seconds since the epoch, from here on milliseconds: seconds until the year 5138,
/// milliseconds from 1973.
const EPOCH_SECONDS_END: i64 = 100_000_000_000;

const DAY_S: i64 = 86_400;

/// Reads an instant in either form that clients send: RFC 3339 text, or an epoch number (see [`from_epoch`]).
pub fn parse(text: &[u8]) -> Option<TimestampMs> {
    parse_rfc3339(text).or_else(|| from_epoch(Decimal::parse(text)?))
}

/// The instant of an epoch number: below 10^11 seconds (decimals allowed), else milliseconds; floored to
/// milliseconds. `None` outside the years 0000 to 9999.
pub fn from_epoch(number: Decimal) -> Option<TimestampMs> {
    from_epoch_before(number, EPOCH_SECONDS_END)
}

/// As [`from_epoch`], for formats that draw the line elsewhere: below `seconds_end` seconds, else milliseconds.
pub(super) fn from_epoch_before(number: Decimal, seconds_end: i64) -> Option<TimestampMs> {
    let shift = if number.floor_shifted(0)? < seconds_end { 3 } else { 0 };
    from_ms(number.floor_shifted(shift)?)
}

/// The instant of milliseconds since the epoch, or `None` outside the years 0000 to 9999.
pub(super) fn from_ms(ms: i64) -> Option<TimestampMs> {
    (EARLIEST.0..=LATEST.0).contains(&ms).then_some(TimestampMs(ms))
}

/// Reads the whole of `text` as an RFC 3339 date-time, floored to milliseconds.
///
/// Any offset and any number of decimals; `T` and `Z` also in lower case, and a space for the `T` (section 5.6). The
/// second 60 is allowed where leap seconds are, at 23:59 UTC, and is the first second of the next day, as in POSIX
/// time. `None` for anything else, for days that do not exist, and outside the years 0000 to 9999 in UTC.
pub fn parse_rfc3339(text: &[u8]) -> Option<TimestampMs> {
    let (head, rest) = text.split_first_chunk::<19>()?;
    let [y1, y2, y3, y4, b'-', mo1, mo2, b'-', d1, d2, b'T' | b't' | b' ', h1, h2, b':', mi1, mi2, b':', s1, s2] =
        *head
    else {
        return None;
    };
    let digits = [y1, y2, y3, y4, mo1, mo2, d1, d2, h1, h2, mi1, mi2, s1, s2, b'0', b'0'];
    // All at once, so that the compiler can take them into one register.
    let digits = digits.map(|byte| byte.wrapping_sub(b'0'));
    if digits.iter().fold(0, |highest, digit| (*digit).max(highest)) > 9 {
        return None;
    }
    let pair = |index: usize| u32::from(digits[index]) * 10 + u32::from(digits[index + 1]);
    let (year, month, day) = (pair(0) * 100 + pair(2), pair(4), pair(6));
    let (hour, minute, second) = (pair(8), pair(10), pair(12));
    if !(1..=12).contains(&month) || day == 0 || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    if day > 28 && day > days_in_month(year, month) {
        return None;
    }
    let (fraction_ms, offset_s) = match rest {
        b"Z" => (0, 0),
        [b'.', rest @ ..] => {
            let (fraction_ms, zone) = fraction_ms(rest)?;
            (fraction_ms, offset_s(zone)?)
        }
        zone => (0, offset_s(zone)?),
    };
    let seconds = days_from_civil(year, month, day) * DAY_S + i64::from(hour * 3_600 + minute * 60 + second) - offset_s;
    if second == 60 && seconds.rem_euclid(DAY_S) != 0 {
        return None;
    }
    from_ms(seconds * 1_000 + fraction_ms)
}

fn two_digits(tens: u8, ones: u8) -> Option<u32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| u32::from(tens) * 10 + u32::from(ones))
}

/// Milliseconds of the decimals at the start of `text`, and what follows them.
fn fraction_ms(text: &[u8]) -> Option<(i64, &[u8])> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let (digits, rest) = text.split_at(count);
    let digit = |place: usize| digits.get(place).map_or(0, |byte| i64::from(byte - b'0'));
    Some((digit(0) * 100 + digit(1) * 10 + digit(2), rest))
}

/// Seconds that a zone's clocks are ahead of UTC.
fn offset_s(zone: &[u8]) -> Option<i64> {
    match *zone {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (two_digits(h1, h2)?, two_digits(m1, m2)?);
            let offset_s = i64::from(hours * 3_600 + minutes * 60);
            (hours <= 23 && minutes <= 59).then_some(if sign == b'-' { -offset_s } else { offset_s })
        }
        _ => None,
    }
}

fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar, year 0 or later: `days_from_civil` of Howard
/// Hinnant, "chrono-Compatible Low-Level Date Algorithms". Years begin in March there, so that the leap day is the last;
/// here they are also counted from a cycle of 400 years earlier, so that none is negative.
fn days_from_civil(year: u32, month: u32, day: u32) -> i64 {
    let year = year + 400 - u32::from(month <= 2);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year;
    i64::from(days) - (719_468 + 146_097)
}

/// Year, month and day of a day number: `civil_from_days` of the same paper.
fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Appends an instant as RFC 3339 in UTC, with milliseconds only when they are not 0. Instants outside the years 0000
/// to 9999 are printed as the nearest end of that range.
pub fn write_rfc3339(time: TimestampMs, out: &mut Vec<u8>) {
    let ms = time.0.clamp(EARLIEST.0, LATEST.0);
    let (seconds, fraction_ms) = (ms.div_euclid(1_000), ms.rem_euclid(1_000) as u32);
    let (year, month, day) = civil_from_days(seconds.div_euclid(DAY_S));
    let second_of_day = seconds.rem_euclid(DAY_S) as u32;
    let (year_high, year_low) = pair_of(year as u32 / 100, year as u32 % 100);
    let (month, day) = pair_of(month, day);
    let (hour, minute) = pair_of(second_of_day / 3_600, second_of_day / 60 % 60);
    let second = digits_of(second_of_day % 60);
    out.extend_from_slice(&[
        year_high[0],
        year_high[1],
        year_low[0],
        year_low[1],
        b'-',
        month[0],
        month[1],
        b'-',
        day[0],
        day[1],
        b'T',
        hour[0],
        hour[1],
        b':',
        minute[0],
        minute[1],
        b':',
        second[0],
        second[1],
    ]);
    if fraction_ms != 0 {
        let [tens, ones] = digits_of(fraction_ms % 100);
        out.extend_from_slice(&[b'.', b'0' + (fraction_ms / 100) as u8, tens, ones]);
    }
    out.push(b'Z');
}

fn pair_of(first: u32, second: u32) -> ([u8; 2], [u8; 2]) {
    (digits_of(first), digits_of(second))
}

/// Two digits of a number below 100.
fn digits_of(number: u32) -> [u8; 2] {
    [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(text: &str) -> Option<i64> {
        parse(text.as_bytes()).map(|time| time.0)
    }

    fn printed(ms: i64) -> String {
        let mut out = Vec::new();
        write_rfc3339(TimestampMs(ms), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn known_instants() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2024-02-16T14:17:04Z", 1_708_093_024_000),
            ("2024-02-16t14:17:04z", 1_708_093_024_000),
            ("2024-02-16 14:17:04+00:00", 1_708_093_024_000),
            ("2024-02-16T15:17:04.5+01:00", 1_708_093_024_500),
            ("2024-02-16T14:17:04.123999999999Z", 1_708_093_024_123),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000),
            ("2000-02-29T00:00:00Z", 951_782_400_000),
            ("1901-12-13T20:45:52Z", -2_147_483_648_000),
            ("1969-12-31T23:59:59.9999Z", -1),
            ("0000-01-01T00:00:00Z", EARLIEST.0),
            ("9999-12-31T23:59:59.999Z", LATEST.0),
            ("2024-01-01T00:30:00+23:59", 1_703_982_660_000),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000),
            ("2016-12-31T15:59:60.25-08:00", 1_483_228_800_250),
            ("1708093024", 1_708_093_024_000),
            ("1708093024.123", 1_708_093_024_123),
            ("1.708093024123456e9", 1_708_093_024_123),
            ("1708093024123", 1_708_093_024_123),
            ("1708093024123.9", 1_708_093_024_123),
            ("99999999999", 99_999_999_999_000),
            ("100000000000", 100_000_000_000),
            ("0", 0),
            ("-0.0005", -1),
        ] {
            assert_eq!(ms(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_instant() {
        for text in [
            "",
            "now",
            "2024-02-16",
            "2024-02-16T14:17Z",
            "2024-02-16T14:17:04",
            "2024-02-16T14:17:04+0100",
            "2024-02-16T14:17:04.Z",
            "2024-02-16T14:17:04,5Z",
            "2024-02-16T24:00:00Z",
            "2024-02-16T14:60:00Z",
            "2024-02-16T14:17:61Z",
            "2024-02-16T14:17:60Z",
            "2023-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2024-01-00T00:00:00Z",
            "2024-04-31T00:00:00Z",
            "0000-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "2024-01-01T00:00:00+24:00",
            "2024-01-01T00:00:00Zx",
            "+1708093024",
            "1e30",
            "-99999999999",
            "NaN",
            "0x10",
        ] {
            assert_eq!(ms(text), None, "{text}");
        }
    }

    #[test]
    fn printing_keeps_to_the_range() {
        assert_eq!(printed(1_708_093_024_000), "2024-02-16T14:17:04Z");
        assert_eq!(printed(1_708_093_024_007), "2024-02-16T14:17:04.007Z");
        assert_eq!(printed(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(printed(i64::MAX), "9999-12-31T23:59:59.999Z");
        assert_eq!(printed(i64::MIN), "0000-01-01T00:00:00Z");
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(ms in EARLIEST.0..=LATEST.0) {
            prop_assert_eq!(parse_rfc3339(printed(ms).as_bytes()), Some(TimestampMs(ms)));
        }

        #[test]
        fn every_day_follows_the_one_before(day in -719_528_i64..2_932_896) {
            let (year, month, day_of_month) = civil_from_days(day);
            prop_assert_eq!(days_from_civil(year as u32, month, day_of_month), day);
            let next = civil_from_days(day + 1);
            prop_assert!(next > (year, month, day_of_month));
        }

        #[test]
        fn any_bytes_never_panic(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            parse(&text);
        }
    }
}
