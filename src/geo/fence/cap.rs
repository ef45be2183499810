//! A circle on the sphere.

use std::f64::consts::{FRAC_PI_2, PI};

use super::path::Path;
use super::sphere::{Vector, angle_of_m};
use super::stretch::{Quadratic, Stretch};
use crate::geo::cells::GeoBox;
use crate::units::E7_PER_DEGREE;

/// All within an angle of a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cap {
    pub(super) centre: Vector,
    /// Radians, below a quarter turn.
    pub(super) radius: f64,
    radius_sin_squared: f64,
}

impl Cap {
    pub(super) fn new(centre: Vector, radius_m: f64) -> Self {
        Self::of_angle(centre, angle_of_m(radius_m))
    }

    pub(super) fn of_angle(centre: Vector, radius: f64) -> Self {
        let radius = radius.min(FRAC_PI_2);
        Self { centre, radius, radius_sin_squared: radius.sin().powi(2) }
    }

    /// The stretch of a path inside. From `|v × c| ≤ sin r |v|` of the places `v` on the chord, whose difference to the
    /// centre `c` is taken first, so that a circle of a metre has its digits.
    pub(super) fn stretch(&self, path: &Path) -> Option<Stretch> {
        let from_centre = path.start - self.centre;
        if from_centre.square() > 2.0 {
            // On the other half of the earth, where the same circle lies once more.
            return None;
        }
        let (at_start, along) = (from_centre.cross(self.centre), path.chord.cross(self.centre));
        let scale = self.radius_sin_squared;
        let [stretch, _] = Quadratic {
            a2: along.square() - scale * path.chord.square(),
            a1: 2.0 * (at_start.dot(along) - scale * path.start.dot(path.chord)),
            a0: at_start.square() - scale,
        }
        .at_most_zero();
        stretch
    }

    /// The boxes that it lies in.
    pub(super) fn boxes(&self) -> Vec<GeoBox> {
        let (longitude, latitude) = self.centre.degrees();
        let (south, north) = (latitude - self.radius.to_degrees(), latitude + self.radius.to_degrees());
        let half_width = if south <= -90.0 || north >= 90.0 {
            180.0
        } else {
            let sine = self.radius.sin() / latitude.to_radians().cos();
            if sine < 1.0 { sine.asin().to_degrees() } else { PI.to_degrees() }
        };
        boxes((longitude - half_width, longitude + half_width), (south, north))
    }
}

/// The boxes between these longitudes, which may lie beyond ±180, and latitudes, degrees: one, or one on either side of
/// the antimeridian. Rounded outwards, by a little more than a step.
pub(super) fn boxes((west, east): (f64, f64), (south, north): (f64, f64)) -> Vec<GeoBox> {
    let low = |degrees: f64| (degrees * E7_PER_DEGREE).floor() as i64 - 1;
    let high = |degrees: f64| (degrees * E7_PER_DEGREE).ceil() as i64 + 1;
    let latitudes = (low(south).max(-900_000_000) as i32, high(north).min(900_000_000) as i32);
    crate::geo::area::around((low(west), high(east)), latitudes)
}
