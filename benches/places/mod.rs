//! Where the drivers of the benches are.

use rhumb::fix::Fix;
use rhumb::units::{Position, TimestampMs};

/// A sequence of numbers that look random and are the same in every run (splitmix64).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    /// The next one.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below 1.
    pub(crate) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A place in degrees.
pub(crate) fn at(latitude: f64, longitude: f64) -> Position {
    Position::from_degrees(latitude, longitude).expect("the benches stay on the map")
}

/// A square of one degree, evenly.
pub(crate) fn in_degree_square(numbers: &mut Numbers) -> Position {
    at(52.0 + numbers.share(), 20.5 + numbers.share())
}

/// All of the earth, evenly.
pub(crate) fn worldwide(numbers: &mut Numbers) -> Position {
    at((numbers.share() * 2.0 - 1.0).asin().to_degrees(), numbers.share() * 360.0 - 180.0)
}

/// A fix as most trackers send them.
pub(crate) fn fix(position: Position, time_ms: i64) -> Fix {
    Fix {
        time: TimestampMs(time_ms),
        received_at: TimestampMs(time_ms),
        position,
        speed_mmps: Some(8_300),
        heading_cdeg: Some(27_000),
        altitude_cm: None,
        accuracy_cm: Some(500),
        hdop_centi: None,
        seq: None,
        battery_percent: Some(80),
        satellites: Some(9),
    }
}
