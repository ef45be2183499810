//! Fences and drivers in one place of the earth: a city, the equator, the antimeridian, both poles.

use ::geo::{Destination as _, Haversine, Point};
use proptest::prelude::*;

use super::*;
use crate::geo::fence::path::eastwards;

/// Fences and the fixes of one driver around them.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) specs: Vec<FenceSpec>,
    pub(super) fixes: Vec<Fix>,
}

/// Degrees.
#[derive(Clone, Copy, Debug)]
struct Middle {
    latitude: f64,
    longitude: f64,
}

impl Middle {
    /// Longitude and latitude of what lies so far off.
    fn off(self, bearing_deg: f64, distance_m: f64) -> [f64; 2] {
        let place = Haversine.destination(Point::new(self.longitude, self.latitude), bearing_deg, distance_m);
        [eastwards(0.0, eastwards(0.0, place.x())), place.y().clamp(-90.0, 90.0)]
    }

    /// As [`Middle::off`], with a longitude that may go on beyond ±180.
    fn off_unbroken(self, bearing_deg: f64, distance_m: f64) -> [f64; 2] {
        let [longitude, latitude] = self.off(bearing_deg, distance_m);
        [self.longitude + eastwards(self.longitude, longitude), latitude]
    }
}

fn middle() -> impl Strategy<Value = Middle> {
    prop_oneof![
        Just((52.1, 21.0)),
        Just((0.0, 0.0)),
        Just((-17.0, 180.0)),
        Just((66.0, -179.999)),
        Just((89.9, 33.0)),
        Just((89.99, -120.0)),
        Just((90.0, 0.0)),
        Just((-90.0, 0.0)),
        Just((-89.999, 10.0)),
    ]
    .prop_map(|(latitude, longitude)| Middle { latitude, longitude })
}

/// A ring around a middle, star-shaped.
fn ring(middle: Middle, points: &[f64], size_m: f64) -> Vec<[f64; 2]> {
    let vertex = |(index, share): (usize, &f64)| {
        let bearing_deg = index as f64 * 360.0 / points.len() as f64;
        middle.off_unbroken(bearing_deg, size_m * share)
    };
    let mut ring: Vec<_> = points.iter().enumerate().map(vertex).collect();
    ring.push(ring[0]);
    ring
}

/// All from a distance of a pole on, or a sector of that.
fn polar(middle: Middle, size_m: f64, is_whole: bool) -> FenceSpec {
    let pole = 90.0_f64.copysign(middle.latitude);
    let edge = pole - (size_m / 111_195.0).copysign(pole);
    let (west, east) = if is_whole { (-180.0, 180.0) } else { (-60.0, 100.0) };
    polygon(&[vec![[west, edge], [east, edge], [east, pole], [west, pole], [west, edge]]])
}

fn spec(middle: Middle, size_m: f64) -> impl Strategy<Value = FenceSpec> {
    let place = (0.0..360.0_f64, 0.0..2.0_f64).prop_map(move |(bearing_deg, share)| Middle {
        latitude: middle.off(bearing_deg, share * size_m)[1],
        longitude: middle.off(bearing_deg, share * size_m)[0],
    });
    let points = || proptest::collection::vec(0.3..1.0_f64, 3..9);
    let line = proptest::collection::vec((0.0..360.0_f64, 0.0..2.5_f64), 2..6);
    let is_polar = middle.latitude.abs() > 89.95;
    let shape = prop_oneof![
        (place.clone(), 0.05..1.0_f64).prop_map(move |(place, share)| circle(
            place.latitude,
            place.longitude,
            (share * size_m).max(1.0)
        )),
        (place, points(), points(), 0.2..1.0_f64).prop_map(move |(place, outer, inner, share)| {
            if is_polar {
                return polar(middle, size_m * share, share < 0.6);
            }
            polygon(&[ring(place, &outer, size_m * share), ring(place, &inner, size_m * share * 0.1)])
        }),
        (line, 0.05..0.6_f64).prop_map(move |(line, share)| {
            let line: Vec<_> =
                line.iter().map(|(bearing_deg, distance)| middle.off(*bearing_deg, distance * size_m)).collect();
            corridor(&line, (share * size_m).max(1.0))
        }),
    ];
    (shape, proptest::option::weighted(0.4, 1..300_u32), proptest::bool::weighted(0.1))
        .prop_map(|(shape, dwell_s, once)| FenceSpec { dwell_s, once, ..shape })
        // A ring around a pole crosses itself on the map.
        .prop_filter("not a fence", |spec| Fence::new(FenceId::new("f").unwrap(), 1, spec).is_ok())
}

/// A way of long legs, with times at which the driver stands and its receiver scatters, and with gaps.
fn fixes(middle: Middle, size_m: f64) -> impl Strategy<Value = Vec<Fix>> {
    let leg = (0.0..360.0_f64, 0.0..3.0_f64, 1..8_usize, proptest::option::weighted(0.3, 0.0..60.0_f64));
    let step = prop_oneof![6 => 1_000..120_000_i64, 1 => 500_000..4_000_000_i64, 1 => -5_000..=0_i64];
    let scatter = proptest::collection::vec((0.0..360.0_f64, 0.0..30.0_f64, step), 60);
    (proptest::collection::vec(leg, 1..8), scatter).prop_map(move |(legs, scatter)| {
        let mut fixes = Vec::new();
        let mut time_ms = 1_700_000_000_000;
        for (leg, (bearing_deg, distance, stands, accuracy_m)) in legs.into_iter().enumerate() {
            let [longitude, latitude] = middle.off(bearing_deg, distance * size_m);
            let stop = Middle { latitude, longitude };
            for (off_bearing_deg, off_m, step_ms) in scatter.iter().skip(leg * 7).take(stands) {
                let [longitude, latitude] = stop.off(*off_bearing_deg, *off_m);
                time_ms += step_ms;
                let accuracy_cm = accuracy_m.map(|metres: f64| (metres * 100.0) as u32);
                fixes.push(Fix { accuracy_cm, ..Fix::at(TimestampMs(time_ms), at(latitude, longitude)) });
            }
        }
        fixes
    })
}

pub(super) fn scene() -> impl Strategy<Value = Scene> {
    let size_m = prop_oneof![20.0..100.0_f64, 200.0..3_000.0_f64, 10_000.0..30_000.0_f64];
    (middle(), size_m).prop_flat_map(|(middle, size_m)| {
        (proptest::collection::vec(spec(middle, size_m), 1..8), fixes(middle, size_m))
            .prop_map(|(specs, fixes)| Scene { specs, fixes })
    })
}
