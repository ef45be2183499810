//! Fixes and reports as native JSON.

use std::io::Write;

use super::decimal::{put_fixed, put_whole};
use super::time::write_rfc3339;
use crate::fix::{Fix, Report};
use crate::units::{Position, TimestampMs};

/// Decimals of a position in degrees.
const POSITION_DECIMALS: u32 = 7;

/// Appends a fix as the `location` object that subscribers, dispatch apps and Redis readers get. Fields that the fix does
/// not have are left out; decimals end with the last digit that is not 0.
pub fn encode(driver: &str, fix: &Fix, out: &mut Vec<u8>) {
    // A driver id has no character that JSON would escape.
    out.extend_from_slice(b"{\"driver_id\":\"");
    out.extend_from_slice(driver.as_bytes());
    out.push(b'"');
    put_position(fix.position, out);
    put_time(b",\"timestamp\":\"", fix.time, out);
    put_time(b",\"received_at\":\"", fix.received_at, out);
    put_optional(b",\"speed\":", fix.speed_mmps.map(i64::from), 3, out);
    put_optional(b",\"heading\":", fix.heading_cdeg.map(i64::from), 2, out);
    put_optional(b",\"altitude\":", fix.altitude_cm.map(i64::from), 2, out);
    put_optional(b",\"accuracy\":", fix.accuracy_cm.map(i64::from), 2, out);
    put_optional(b",\"battery\":", fix.battery_percent.map(i64::from), 0, out);
    put_optional(b",\"satellites\":", fix.satellites.map(i64::from), 0, out);
    put_optional(b",\"hdop\":", fix.hdop_centi.map(i64::from), 2, out);
    put_optional(b",\"seq\":", fix.seq.map(i64::from), 0, out);
    out.push(b'}');
}

fn put_position(position: Position, out: &mut Vec<u8>) {
    put_optional(b",\"latitude\":", Some(i64::from(position.latitude_e7)), POSITION_DECIMALS, out);
    put_optional(b",\"longitude\":", Some(i64::from(position.longitude_e7)), POSITION_DECIMALS, out);
}

fn put_time(key: &[u8], time: TimestampMs, out: &mut Vec<u8>) {
    out.extend_from_slice(key);
    write_rfc3339(time, out);
    out.push(b'"');
}

fn put_optional(key: &[u8], value: Option<i64>, decimals: u32, out: &mut Vec<u8>) {
    if let Some(value) = value {
        out.extend_from_slice(key);
        put_fixed(out, value, decimals);
    }
}

/// Appends a report as a tracker would send it: what [`super::native::decode`] reads back as the same report, to the last
/// bit. A coordinate that is not finite, which JSON cannot say, is left out, so that the reader finds it malformed.
pub fn encode_report(report: &Report, out: &mut Vec<u8>) {
    let mut object = ObjectWriter { out, is_empty: true };
    object.put_float("latitude", report.latitude);
    object.put_float("longitude", report.longitude);
    if let Some(time) = report.time {
        let out = object.key("timestamp");
        out.push(b'"');
        write_rfc3339(time, out);
        out.push(b'"');
    }
    object.put_float("speed", report.speed_mps);
    object.put_float("heading", report.heading_deg);
    object.put_float("altitude", report.altitude_m);
    object.put_float("accuracy", report.accuracy_m);
    object.put_whole("battery", report.battery_percent.map(u32::from));
    object.put_whole("satellites", report.satellites.map(u32::from));
    object.put_float("hdop", report.hdop);
    object.put_whole("seq", report.seq);
    object.finish();
}

struct ObjectWriter<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl ObjectWriter<'_> {
    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        self.out.extend_from_slice(if self.is_empty { b"{\"" } else { b",\"" });
        self.is_empty = false;
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// Writes the shortest digits that read back as the same number; never an exponent.
    fn put_float<F: Into<f64> + std::fmt::Display + Copy>(&mut self, key: &str, value: F) {
        if value.into().is_finite() {
            write!(self.key(key), "{value}").expect("writing to memory cannot fail");
        }
    }

    fn put_whole(&mut self, key: &str, value: Option<u32>) {
        if let Some(value) = value {
            put_whole(self.key(key), value);
        }
    }

    fn finish(self) {
        self.out.extend_from_slice(if self.is_empty { b"{}" } else { b"}" });
    }
}
