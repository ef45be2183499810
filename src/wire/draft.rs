//! A report in the making: the fields of a fix by name, and the rules for values that cannot be, shared by the codecs
//! of text formats.

use super::decimal;
use crate::fix::{Element, Reason, Report};
use crate::units::TimestampMs;

/// km/h in one m/s.
pub(super) const KMH_PER_MPS: f64 = 3.6;

/// m/s in one knot: the international nautical mile of 1,852 metres an hour.
pub(super) const MPS_PER_KNOT: f64 = 1_852.0 / 3_600.0;

/// The values that a fix can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Degrees north.
    Latitude,
    /// Degrees east.
    Longitude,
    /// When; see [`Draft::set_time`].
    Timestamp,
    /// m/s, from 0.
    Speed,
    /// Degrees clockwise from north, 0 to 360.
    Heading,
    /// Metres.
    Altitude,
    /// Metres, from 0.
    Accuracy,
    /// Percent, 0 to 100, rounded.
    Battery,
    /// Whole, 0 to 255.
    Satellites,
    /// From 0.
    Hdop,
    /// Whole, 0 to 4,294,967,295.
    Seq,
}

/// What a payload has said so far of one fix.
#[derive(Debug)]
pub struct Draft {
    report: Report,
    faults: u8,
}

const NO_LATITUDE: u8 = 1;
const NO_LONGITUDE: u8 = 2;
const UNREADABLE_TIME: u8 = 4;
const NO_FIX: u8 = 8;
const NO_FIX_AND_NO_PLACE: u8 = NO_FIX | NO_LATITUDE | NO_LONGITUDE;

impl Default for Draft {
    fn default() -> Self {
        Self { report: Report::at(None, f64::NAN, f64::NAN), faults: NO_LATITUDE | NO_LONGITUDE }
    }
}

impl Draft {
    /// Sets any field but the timestamp; `None` for a value that is absent or unreadable. Of the optional fields, a value
    /// that cannot be is unknown; coordinates are kept whatever they are, for the judge.
    #[inline]
    pub fn set_number(&mut self, field: Field, value: Option<f64>) {
        let report = &mut self.report;
        match field {
            Field::Latitude => {
                report.latitude = value.unwrap_or(f64::NAN);
                set_fault(&mut self.faults, NO_LATITUDE, value.is_none());
            }
            Field::Longitude => {
                report.longitude = value.unwrap_or(f64::NAN);
                set_fault(&mut self.faults, NO_LONGITUDE, value.is_none());
            }
            Field::Timestamp => {}
            Field::Speed => report.speed_mps = within(value, 0.0, f32::MAX),
            Field::Heading => report.heading_deg = within(value, 0.0, 360.0),
            Field::Altitude => report.altitude_m = within(value, f32::MIN, f32::MAX),
            Field::Accuracy => report.accuracy_m = within(value, 0.0, f32::MAX),
            Field::Hdop => report.hdop = within(value, 0.0, f32::MAX),
            Field::Battery => {
                let percent = value.filter(|value| (0.0..=100.0).contains(value));
                report.battery_percent = percent.map(|value| value.round() as u8);
            }
            Field::Satellites => report.satellites = whole(value, f64::from(u8::MAX)).map(|value| value as u8),
            Field::Seq => report.seq = whole(value, f64::from(u32::MAX)).map(|value| value as u32),
        }
    }

    /// Sets both coordinates by a text, `latitude,longitude` in degrees.
    pub(super) fn set_place(&mut self, text: &[u8]) {
        let comma = text.iter().position(|byte| *byte == b',');
        let (latitude, longitude) = text.split_at(comma.unwrap_or(text.len()));
        self.set_number(Field::Latitude, decimal::number(latitude.trim_ascii()));
        self.set_number(Field::Longitude, longitude.get(1..).and_then(|text| decimal::number(text.trim_ascii())));
    }

    /// Whether the tracker calls its position a fix; `None` if it does not say. One that is none was made of 0 satellites, however
    /// many the tracker hears.
    pub(super) fn set_valid(&mut self, is_valid: Option<bool>) {
        set_fault(&mut self.faults, NO_FIX, is_valid == Some(false));
    }

    /// The timestamp is there; `None` says that it cannot be read, which makes the fix malformed.
    #[inline]
    pub fn set_time(&mut self, time: Option<TimestampMs>) {
        self.report.time = time;
        set_fault(&mut self.faults, UNREADABLE_TIME, time.is_none());
    }

    /// The timestamp says nothing.
    pub fn clear_time(&mut self) {
        self.report.time = None;
        set_fault(&mut self.faults, UNREADABLE_TIME, false);
    }

    /// The report; or malformed, with a time that cannot be read or without both coordinates; or no fix, without any coordinate
    /// and where the tracker says that it has none to give.
    #[inline]
    pub fn finish(&self) -> Element {
        match self.faults {
            0 => Ok(self.report),
            NO_FIX => Ok(Report { satellites: Some(0), ..self.report }),
            NO_FIX_AND_NO_PLACE => Err(Reason::NoFix),
            _ => Err(Reason::Malformed),
        }
    }
}

fn set_fault(faults: &mut u8, fault: u8, is_there: bool) {
    *faults = (*faults & !fault) | if is_there { fault } else { 0 };
}

fn within(value: Option<f64>, min: f32, max: f32) -> f32 {
    match value {
        Some(value) if (f64::from(min)..=f64::from(max)).contains(&value) => value as f32,
        _ => f32::NAN,
    }
}

fn whole(value: Option<f64>, max: f64) -> Option<f64> {
    value.filter(|value| (0.0..=max).contains(value) && value.fract() == 0.0)
}
