//! Quantities with their units: instants and positions as the engine stores them.

use std::fmt;

/// An instant: milliseconds since the Unix epoch, UTC, leap seconds not counted. Negative before 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimestampMs(pub i64);

impl TimestampMs {
    /// The instant `ms` milliseconds later, at the ends of the range the end itself.
    pub fn saturating_add_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Seconds from `earlier` to `self`, negative if `self` is the earlier one.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        self.0.saturating_sub(earlier.0) as f64 / 1_000.0
    }
}

impl fmt::Display for TimestampMs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Steps of [`Position`] in one degree.
pub const E7_PER_DEGREE: f64 = 1e7;

/// A place on the earth in steps of 1e-7 degrees (WGS84), 1.1 cm on the equator: the resolution of the journal, of
/// the stores and of every answer, so that a position reads back as it was judged, to the digit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    /// -900,000,000 (south pole) to 900,000,000.
    pub latitude_e7: i32,
    /// -1,800,000,000 to 1,800,000,000; both ends are the antimeridian.
    pub longitude_e7: i32,
}

impl Position {
    /// The position nearest to these degrees, or `None` out of ±90 and ±180 or not a number.
    pub fn from_degrees(latitude: f64, longitude: f64) -> Option<Self> {
        // Written so that a NaN fails both.
        if !(latitude.abs() <= 90.0 && longitude.abs() <= 180.0) {
            return None;
        }
        Some(Self {
            latitude_e7: (latitude * E7_PER_DEGREE).round() as i32,
            longitude_e7: (longitude * E7_PER_DEGREE).round() as i32,
        })
    }

    /// Latitude in degrees, -90 to 90.
    pub fn latitude(self) -> f64 {
        f64::from(self.latitude_e7) / E7_PER_DEGREE
    }

    /// Longitude in degrees, -180 to 180.
    pub fn longitude(self) -> f64 {
        f64::from(self.longitude_e7) / E7_PER_DEGREE
    }
}
