//! Renders a fix as native JSON: a template of the device's last payload whose digits are patched in place.

use std::sync::Arc;

use crate::faults::{Item, Kind, garbage};
use crate::fix::Fix;

/// The bounds of the fields that change, in bytes from the payload's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Widths {
    latitude: usize,
    longitude: usize,
    speed: usize,
    heading: usize,
}

/// One device's payload, about 110 bytes:
/// `{"latitude":52.229700,"longitude":21.012200,"timestamp":"2026-11-20T15:08:21.123Z","speed":13.4,"heading":271}`.
/// As long as no number gains or loses a digit only the digits are written.
#[derive(Clone, Debug, Default)]
pub struct Payload {
    bytes: Vec<u8>,
    widths: Widths,
    latitude_at: usize,
    longitude_at: usize,
    timestamp_at: usize,
    speed_at: usize,
    heading_at: usize,
    /// The second whose date and time the template shows.
    second: Option<i64>,
    /// What every publish carries instead.
    constant: Option<Arc<[u8]>>,
}

impl Payload {
    /// Payloads of fixes, or the same one for ever.
    pub fn new(constant: Option<Arc<[u8]>>) -> Self {
        Self { constant, ..Self::default() }
    }

    /// The payload of a publish, valid until the next call.
    pub fn of(&mut self, item: &Item) -> &[u8] {
        match item.kind {
            Kind::Garbage(number) => garbage(number),
            _ if self.constant.is_some() => self.constant.as_deref().unwrap_or_default(),
            Kind::Fresh | Kind::Duplicate | Kind::Overtaken => self.render(&item.fix),
        }
    }

    /// The payload of `fix`, valid until the next call.
    pub fn render(&mut self, fix: &Fix) -> &[u8] {
        let widths = Widths {
            latitude: coordinate_width(fix.latitude_e6),
            longitude: coordinate_width(fix.longitude_e6),
            speed: integer_width(u32::from(fix.speed_dmps / 10)) + 2,
            heading: integer_width(u32::from(fix.heading_deg)),
        };
        if widths != self.widths || self.bytes.is_empty() {
            self.lay_out(widths);
        }
        put_coordinate(&mut self.bytes[self.latitude_at..][..widths.latitude], fix.latitude_e6);
        put_coordinate(&mut self.bytes[self.longitude_at..][..widths.longitude], fix.longitude_e6);
        self.put_timestamp(fix.time_ms);
        let speed = &mut self.bytes[self.speed_at..][..widths.speed];
        put_digits(&mut speed[..widths.speed - 2], u32::from(fix.speed_dmps / 10));
        put_digits(&mut speed[widths.speed - 1..], u32::from(fix.speed_dmps % 10));
        put_digits(&mut self.bytes[self.heading_at..][..widths.heading], u32::from(fix.heading_deg));
        &self.bytes
    }

    fn lay_out(&mut self, widths: Widths) {
        let bytes = &mut self.bytes;
        bytes.clear();
        let mut field = |label: &str, width: usize, point_before_last: Option<usize>| {
            bytes.extend_from_slice(label.as_bytes());
            let at = bytes.len();
            bytes.resize(at + width, b'0');
            if let Some(decimals) = point_before_last {
                bytes[at + width - decimals - 1] = b'.';
            }
            at
        };
        self.latitude_at = field("{\"latitude\":", widths.latitude, Some(6));
        self.longitude_at = field(",\"longitude\":", widths.longitude, Some(6));
        self.timestamp_at = field(",\"timestamp\":\"", 24, Some(4));
        self.speed_at = field("\",\"speed\":", widths.speed, Some(1));
        self.heading_at = field(",\"heading\":", widths.heading, None);
        field("}", 0, None);
        self.widths = widths;
        self.second = None;
    }

    fn put_timestamp(&mut self, time_ms: i64) {
        let field = &mut self.bytes[self.timestamp_at..][..24];
        let second = time_ms.div_euclid(1_000);
        if self.second != Some(second) {
            put_date_and_time(field, second);
            self.second = Some(second);
        }
        put_digits(&mut field[20..23], time_ms.rem_euclid(1_000) as u32);
    }
}

fn put_date_and_time(field: &mut [u8], second: i64) {
    let (year, month, day) = civil_date(second.div_euclid(86_400));
    let of_day = second.rem_euclid(86_400) as u32;
    field.copy_from_slice(b"0000-00-00T00:00:00.000Z");
    put_digits(&mut field[0..4], year);
    put_digits(&mut field[5..7], month);
    put_digits(&mut field[8..10], day);
    put_digits(&mut field[11..13], of_day / 3_600);
    put_digits(&mut field[14..16], of_day / 60 % 60);
    put_digits(&mut field[17..19], of_day % 60);
}

/// Year, month and day of a day number since 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn civil_date(days: i64) -> (u32, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year as u32, month as u32, day as u32)
}

fn integer_width(value: u32) -> usize {
    match value {
        0..=9 => 1,
        10..=99 => 2,
        100..=999 => 3,
        _ => 4,
    }
}

fn coordinate_width(degrees_e6: i32) -> usize {
    usize::from(degrees_e6 < 0) + integer_width(degrees_e6.unsigned_abs() / 1_000_000) + 7
}

fn put_coordinate(field: &mut [u8], degrees_e6: i32) {
    let magnitude = degrees_e6.unsigned_abs();
    let sign = usize::from(degrees_e6 < 0);
    if sign == 1 {
        field[0] = b'-';
    }
    let point = field.len() - 7;
    let (whole, decimals) = field[sign..].split_at_mut(point - sign);
    put_digits(whole, magnitude / 1_000_000);
    put_digits(&mut decimals[1..], magnitude % 1_000_000);
}

/// Fills `field` with the last digits of `value`, zeros in front.
fn put_digits(field: &mut [u8], mut value: u32) {
    for digit in field.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_fix_of_warsaw_reads_as_documented() {
        let fix = Fix {
            time_ms: 1_795_187_301_123,
            latitude_e6: 52_229_700,
            longitude_e6: 21_012_200,
            speed_dmps: 134,
            heading_deg: 271,
        };
        let expected = r#"{"latitude":52.229700,"longitude":21.012200,"timestamp":"2026-11-20T15:08:21.123Z","speed":13.4,"heading":271}"#;
        assert_eq!(std::str::from_utf8(Payload::default().render(&fix)), Ok(expected));
        assert!((100..=112).contains(&expected.len()), "{}", expected.len());
    }

    #[test]
    fn leap_days_and_ends_of_years_are_dated_right() {
        let date = |days| civil_date(days);
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(19_782), (2024, 2, 29));
        assert_eq!(date(20_088), (2024, 12, 31));
        assert_eq!(date(11_016), (2000, 2, 29));
    }

    proptest! {
        #[test]
        fn a_patched_template_equals_a_fresh_one(
            fixes in prop::collection::vec(
                (0_i64..4_000_000_000_000, -90_000_000..=90_000_000, -180_000_000..=180_000_000, 0_u16..2_000, 0_u16..360),
                1..20,
            )
        ) {
            let mut payload = Payload::default();
            for (time_ms, latitude_e6, longitude_e6, speed_dmps, heading_deg) in fixes {
                let fix = Fix { time_ms, latitude_e6, longitude_e6, speed_dmps, heading_deg };
                let patched = payload.render(&fix).to_vec();
                prop_assert_eq!(&patched, &Payload::default().render(&fix).to_vec());
                let read: serde_json::Value = serde_json::from_slice(&patched).expect("JSON");
                prop_assert_eq!((read["latitude"].as_f64().unwrap() * 1e6).round() as i32, latitude_e6);
                prop_assert_eq!((read["longitude"].as_f64().unwrap() * 1e6).round() as i32, longitude_e6);
                prop_assert_eq!((read["speed"].as_f64().unwrap() * 10.0).round() as u16, speed_dmps);
                prop_assert_eq!(read["heading"].as_u64(), Some(u64::from(heading_deg)));
            }
        }
    }
}
