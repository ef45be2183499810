//! The words of the trade: what a tracker reports, what the engine keeps of it, and how it was judged.

use std::fmt;
use std::str::FromStr;

use crate::units::{Position, TimestampMs};

/// What a tracker said of one position, decoded but not judged. Anything may be wrong with it.
///
/// An optional field that the tracker left out, or that cannot be (a speed below zero), is a NaN or `None`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// When the tracker says it was there; `None` if it did not say.
    pub time: Option<TimestampMs>,
    /// Degrees north. A NaN or a value out of range is for the judge to refuse.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// Metres a second over ground.
    pub speed_mps: f32,
    /// Degrees clockwise from north, 0 to 360.
    pub heading_deg: f32,
    /// Metres above the sea (or the ellipsoid: trackers do not say which).
    pub altitude_m: f32,
    /// Radius in metres, as the tracker estimates it.
    pub accuracy_m: f32,
    /// Horizontal dilution of precision, no unit.
    pub hdop: f32,
    /// The tracker's own counter.
    pub seq: Option<u32>,
    /// Percent, 0 to 100.
    pub battery_percent: Option<u8>,
    /// Satellites used. 0 says that the position is not a fix, whether the tracker says so by that number or in words.
    pub satellites: Option<u8>,
}

impl Report {
    /// A report of a place and a time and nothing else.
    pub fn at(time: Option<TimestampMs>, latitude: f64, longitude: f64) -> Self {
        Self {
            time,
            latitude,
            longitude,
            speed_mps: f32::NAN,
            heading_deg: f32::NAN,
            altitude_m: f32::NAN,
            accuracy_m: f32::NAN,
            hdop: f32::NAN,
            seq: None,
            battery_percent: None,
            satellites: None,
        }
    }
}

/// One judged position of one driver, in the fixed-point units that the journal and the stores keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fix {
    /// When the driver was there. With tenant and driver, the identity of a fix.
    pub time: TimestampMs,
    /// When the engine received it.
    pub received_at: TimestampMs,
    /// Where.
    pub position: Position,
    /// Speed over ground in mm/s.
    pub speed_mmps: Option<u32>,
    /// Hundredths of a degree clockwise from north, 0 to 35,999.
    pub heading_cdeg: Option<u16>,
    /// Centimetres above the sea or the ellipsoid.
    pub altitude_cm: Option<i32>,
    /// Radius in centimetres.
    pub accuracy_cm: Option<u32>,
    /// Horizontal dilution of precision in hundredths.
    pub hdop_centi: Option<u16>,
    /// The tracker's own counter.
    pub seq: Option<u32>,
    /// Percent, 0 to 100.
    pub battery_percent: Option<u8>,
    /// Satellites used. 0 of a position that the tracker itself did not call a fix, which is stored if `rules.no_fix` is off.
    pub satellites: Option<u8>,
}

impl Fix {
    /// A fix of a place and a time and nothing else, received at that time.
    pub fn at(time: TimestampMs, position: Position) -> Self {
        Self {
            time,
            received_at: time,
            position,
            speed_mmps: None,
            heading_cdeg: None,
            altitude_cm: None,
            accuracy_cm: None,
            hdop_centi: None,
            seq: None,
            battery_percent: None,
            satellites: None,
        }
    }

    /// The fix of a report at a known place and time; values beyond a field's range become unknown.
    pub fn from_report(report: &Report, position: Position, time: TimestampMs, received_at: TimestampMs) -> Self {
        Self {
            time,
            received_at,
            position,
            speed_mmps: scaled(report.speed_mps, 1_000.0, 0.0, u32::MAX as f64).map(|value| value as u32),
            heading_cdeg: scaled(report.heading_deg, 100.0, 0.0, 36_000.0).map(|value| (value as u32 % 36_000) as u16),
            altitude_cm: scaled(report.altitude_m, 100.0, i32::MIN as f64, i32::MAX as f64).map(|value| value as i32),
            accuracy_cm: scaled(report.accuracy_m, 100.0, 0.0, u32::MAX as f64).map(|value| value as u32),
            hdop_centi: scaled(report.hdop, 100.0, 0.0, u16::MAX as f64).map(|value| value as u16),
            seq: report.seq,
            battery_percent: report.battery_percent,
            satellites: report.satellites,
        }
    }

    /// Speed over ground in m/s.
    pub fn speed_mps(&self) -> Option<f64> {
        self.speed_mmps.map(|value| f64::from(value) / 1_000.0)
    }

    /// Degrees clockwise from north, 0 to below 360.
    pub fn heading_deg(&self) -> Option<f64> {
        self.heading_cdeg.map(|value| f64::from(value) / 100.0)
    }

    /// Metres above the sea or the ellipsoid.
    pub fn altitude_m(&self) -> Option<f64> {
        self.altitude_cm.map(|value| f64::from(value) / 100.0)
    }

    /// Radius in metres.
    pub fn accuracy_m(&self) -> Option<f64> {
        self.accuracy_cm.map(|value| f64::from(value) / 100.0)
    }

    /// Horizontal dilution of precision.
    pub fn hdop(&self) -> Option<f64> {
        self.hdop_centi.map(|value| f64::from(value) / 100.0)
    }
}

/// `value * scale` rounded, if it is a number in the range.
fn scaled(value: f32, scale: f64, min: f64, max: f64) -> Option<f64> {
    if value.is_nan() {
        return None;
    }
    let scaled = (f64::from(value) * scale).round();
    (min..=max).contains(&scaled).then_some(scaled)
}

/// Why a fix was refused. Checks run in the order of the list, but that `TooLarge` comes before all others, and the
/// first that matches wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reason {
    /// The payload, or this element of it, could not be read.
    Malformed = 0,
    /// It has no time and none can be given to it.
    NoTime = 1,
    /// Latitude beyond ±90, longitude beyond ±180, or not a number.
    OutOfRange = 2,
    /// The tracker says itself that it had no fix: no satellites, or a position that it calls invalid.
    NoFix = 3,
    /// Exactly 0, 0: what receivers report when they know nothing.
    NullIsland = 4,
    /// Older than `rules.past_s`, or below what the engine can still tell from a duplicate.
    Past = 5,
    /// Further ahead of the receive time than `rules.future_s`.
    Future = 6,
    /// The registry is closed or full, and the driver is not in it.
    UnknownDriver = 7,
    /// Less accurate than `rules.accuracy_m_max`.
    Accuracy = 8,
    /// Too far from its neighbours for the time between.
    ImpliedSpeed = 9,
    /// The payload is larger than `rules.payload_bytes_max`, or it came over MQTT and holds more fixes than
    /// [`PAYLOAD_FIXES_MAX`](crate::limits::PAYLOAD_FIXES_MAX), which counts as one. (Over HTTP that is a 413 and no fix at all.)
    TooLarge = 10,
    /// Too near to the fix before it to say that the driver moved.
    Stationary = 11,
    /// Too soon after the fix before it.
    Thinned = 12,
}

impl Reason {
    /// How many there are.
    pub const COUNT: usize = 13;

    /// All of them, each at its number.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Malformed,
        Self::NoTime,
        Self::OutOfRange,
        Self::NoFix,
        Self::NullIsland,
        Self::Past,
        Self::Future,
        Self::UnknownDriver,
        Self::Accuracy,
        Self::ImpliedSpeed,
        Self::TooLarge,
        Self::Stationary,
        Self::Thinned,
    ];

    /// The name in answers, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NoTime => "no_time",
            Self::OutOfRange => "out_of_range",
            Self::NoFix => "no_fix",
            Self::NullIsland => "null_island",
            Self::Past => "past",
            Self::Future => "future",
            Self::UnknownDriver => "unknown_driver",
            Self::Accuracy => "accuracy",
            Self::ImpliedSpeed => "implied_speed",
            Self::TooLarge => "too_large",
            Self::Stationary => "stationary",
            Self::Thinned => "thinned",
        }
    }
}

/// No reason has this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownReason;

impl fmt::Display for UnknownReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "no such reason; there are {}", Reason::ALL.map(Reason::as_str).join(", "))
    }
}

impl std::error::Error for UnknownReason {}

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(name: &str) -> Result<Self, UnknownReason> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name).ok_or(UnknownReason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What became of one received fix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Stored, and the driver's newest.
    Accepted,
    /// Stored in history; older than the driver's newest, so "now" stays.
    Late,
    /// A fix of this driver and time was stored before; not stored again.
    Duplicate,
    /// A duplicate at another position than the fix that is stored: the first wins.
    Conflict,
    /// Refused.
    Rejected(Reason),
}

/// One element of a payload: a report to judge, or why the codec could not make one.
pub type Element = Result<Report, Reason>;
