//! Drivers, places and fixes for the tests of this module.

use std::sync::Arc;

use proptest::prelude::*;

use crate::fix::Fix;
use crate::ids::{DriverId, DriverKey, TenantId};
use crate::units::{Position, TimestampMs};

pub(super) fn key(driver: &str) -> Arc<DriverKey> {
    Arc::new(DriverKey::new(TenantId::new("acme").unwrap(), DriverId::new(driver).unwrap()))
}

pub(super) fn bare(position: Position, time_ms: i64) -> Fix {
    Fix::at(TimestampMs(time_ms), position)
}

pub(super) fn fix_at(latitude: f64, longitude: f64) -> Fix {
    bare(Position::from_degrees(latitude, longitude).unwrap(), 1_700_000_000_000)
}

/// Anywhere on the earth, in a city, on one car park, at the poles, at the antimeridian.
pub(super) fn position() -> impl Strategy<Value = Position> {
    prop_oneof![
        (-900_000_000..=900_000_000, -1_800_000_000..=1_800_000_000),
        (520_000_000..=524_000_000, 208_000_000..=212_000_000),
        (521_000_000..=521_000_300, 209_000_000..=209_000_300),
        (prop_oneof![899_990_000..=900_000_000, -900_000_000..=-899_990_000], -1_800_000_000..=1_800_000_000),
        (-200_000_000..=-190_000_000, prop_oneof![1_799_000_000..=1_800_000_000, -1_800_000_000..=-1_799_000_000]),
    ]
    .prop_map(|(latitude_e7, longitude_e7)| Position { latitude_e7, longitude_e7 })
}

pub(super) fn fix() -> impl Strategy<Value = Fix> {
    let motion = (any::<Option<u32>>(), any::<Option<u16>>(), any::<Option<i32>>(), any::<Option<u32>>());
    let rest = (any::<Option<u16>>(), any::<Option<u32>>(), any::<Option<u8>>(), any::<Option<u8>>());
    (position(), any::<i64>(), any::<i64>(), motion, rest).prop_map(|(position, time, received_at, motion, rest)| Fix {
        time: TimestampMs(time),
        received_at: TimestampMs(received_at),
        position,
        speed_mmps: motion.0,
        heading_cdeg: motion.1,
        altitude_cm: motion.2,
        accuracy_cm: motion.3,
        hdop_centi: rest.0,
        seq: rest.1,
        battery_percent: rest.2,
        satellites: rest.3,
    })
}

/// Names whose order is not that of their numbers.
pub(super) fn mixed_key(index: usize) -> Arc<DriverKey> {
    key(&format!("{:08x}", (index as u32).wrapping_mul(0x9e37_79b1)))
}
