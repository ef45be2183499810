//! Great-circle distance, and the least distance from a place to a box of latitudes and longitudes.
//!
//! The earth is a sphere of its mean radius. Against the WGS84 ellipsoid that is off by at most 0.56 %, which is less
//! than roads differ from the crow's way, and an order of drivers that are near each other hardly ever depends on it.
//! In return a distance costs a dozen multiplications and the floor for a cell is provably below that of all within.
//!
//! The measure that searches compare is the haversine, `sin²(d / 2R)`: it grows with the distance, is accurate for
//! near places, and is a sum of a part of the latitudes and one of the longitudes, each of which a box bounds by
//! itself. Differences of longitude are taken in whole steps of 1e-7 degrees, so nothing happens at the antimeridian.

use std::f64::consts::PI;

use super::cells::{Cell, GeoBox, Part, Place, TURN_STEPS};
use crate::units::{E7_PER_DEGREE, Position};

/// Mean radius of the earth (IUGG R1), metres.
pub const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// Relative room for rounding between a haversine and another: far above what either can be off by, far below what
/// anybody could measure. Whoever compares haversines to leave something out adds it.
pub(super) const ROUNDING: f64 = 1e-12;

const RADIANS_PER_E7: f64 = PI / 180.0 / E7_PER_DEGREE;
const TURN_E7: i64 = 3_600_000_000;

/// Up to here, in radians, four terms of a power series are the sine and the cosine to the last digit.
const SERIES_MAX: f64 = 0.01;

/// Up to here, in radians along each axis, a cell is measured on the [`Plane`].
const PLANE_MAX: f64 = 0.1;
/// Longitudes as far apart in steps; latitudes have twice as many.
const PLANE_STEPS_MAX: i64 = (PLANE_MAX / RADIANS_PER_E7) as i64;
/// `sin² h ≥ h² (1 - h² / 3)`, for the half of [`PLANE_MAX`].
const PLANE_SHARE: f64 = 1.0 - PLANE_MAX * PLANE_MAX / 12.0;

/// In a leaf, on an average.
const LEAF_DRIVERS_USUAL: f64 = 5.0;

/// From here the other side of the earth is the better place to measure from: near `1` a haversine has no digits left.
const FAR_HAVERSINE: f64 = 0.75;

/// Great-circle distance in metres.
pub fn distance_m(from: Position, to: Position) -> f64 {
    let origin = Origin::new(from);
    origin.distance_m(to, origin.haversine(to))
}

/// The haversine of a distance on the sphere, at most 1 (half the way around).
pub(super) fn haversine_of_distance(distance_m: f64) -> f64 {
    (distance_m / (2.0 * EARTH_RADIUS_M)).min(PI / 2.0).sin().powi(2)
}

/// A place that distances are measured from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    position: Position,
    place: Place,
    latitude_sin: f64,
    latitude_cos: f64,
    plane: Plane,
}

impl Origin {
    pub(super) fn new(position: Position) -> Self {
        let (latitude_sin, latitude_cos) = (f64::from(position.latitude_e7) * RADIANS_PER_E7).sin_cos();
        let plane = Plane::new(latitude_sin, latitude_cos);
        Self { position, place: Place::new(position), latitude_sin, latitude_cos, plane }
    }

    /// Where it is on the square of cells.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// `sin²` of half the angle to `to`.
    #[inline]
    pub(super) fn haversine(&self, to: Position) -> f64 {
        let north_e7 = i64::from(to.latitude_e7) - i64::from(self.position.latitude_e7);
        let east_e7 = longitude_gap_e7(self.position.longitude_e7, to.longitude_e7);
        half_sine_squared(north_e7) + self.latitude_cos * self.cosine_at(north_e7) * half_sine_squared(east_e7)
    }

    /// Metres to `to`, whose haversine the caller has.
    pub(super) fn distance_m(&self, to: Position, haversine: f64) -> f64 {
        if haversine > FAR_HAVERSINE {
            let opposite = Self::new(opposite(self.position));
            return PI * EARTH_RADIUS_M - metres(opposite.haversine(to));
        }
        metres(haversine)
    }

    /// A haversine that no place within `area` is below of.
    ///
    /// Both parts of the haversine are at least what the nearest latitude, the nearest longitude and the smallest
    /// circle of latitude in the box make of them. The three need not meet in one place, so the floor may be too low
    /// for a box the size of a country; for one the size of a town it is the distance to it.
    pub(super) fn haversine_floor(&self, area: &GeoBox) -> f64 {
        let Position { latitude_e7, longitude_e7 } = self.position;
        let north_e7 = i64::from((area.south_e7.saturating_sub(latitude_e7)).max(latitude_e7 - area.north_e7).max(0));
        let mut floor = half_sine_squared(north_e7);
        if !(area.west_e7..=area.east_e7).contains(&longitude_e7) {
            let east_e7 =
                longitude_gap_e7(longitude_e7, area.west_e7).min(longitude_gap_e7(longitude_e7, area.east_e7));
            let polar_e7 = if area.south_e7.abs() > area.north_e7.abs() { area.south_e7 } else { area.north_e7 };
            let least_cosine = self.cosine_at(i64::from(polar_e7) - i64::from(latitude_e7));
            floor += self.latitude_cos * least_cosine * half_sine_squared(east_e7);
        }
        floor * (1.0 - ROUNDING)
    }

    /// A haversine that no place outside `cell`, in which this one lies, is below of.
    ///
    /// Such a place is on another latitude than all of the cell, or beyond one of the two meridians.
    pub(super) fn haversine_floor_outside(&self, cell: Cell) -> f64 {
        let (x, y) = (i64::from(self.place.x), i64::from(self.place.y));
        let (west, south) = (i64::from(cell.x), i64::from(cell.y));
        let north_e7 = (y - south).min(south + cell.side() - y) / 2;
        let east_e7 = (x - west).min((west + cell.side()).min(TURN_STEPS) - x);
        let bounds = cell.bounds();
        let polar_e7 = if bounds.south_e7.abs() > bounds.north_e7.abs() { bounds.south_e7 } else { bounds.north_e7 };
        let least_cosine = self.cosine_at(i64::from(polar_e7) - i64::from(self.position.latitude_e7));
        let beside = self.latitude_cos * least_cosine * half_sine_squared(east_e7);
        half_sine_squared(north_e7).min(beside) * (1.0 - ROUNDING)
    }

    /// The haversine within which some drivers are, if a leaf of such a cell is about half full: a guess.
    pub(super) fn reach_of(&self, drivers: usize, cell: Cell) -> f64 {
        let side = cell.side() as f64;
        let area = side * side * (self.plane.east_scale * self.plane.north_scale).sqrt();
        area * drivers as f64 / (PI * LEAF_DRIVERS_USUAL)
    }

    /// Measures parts of a cell.
    #[inline]
    pub(super) fn ruler(&self, cell: Cell) -> Ruler<'_> {
        let side = cell.side();
        let south = i64::from(cell.y) - i64::from(self.place.y);
        let mut west = i64::from(cell.x) - i64::from(self.place.x);
        if west > TURN_STEPS / 2 {
            west -= TURN_STEPS;
        } else if west < -TURN_STEPS / 2 {
            west += TURN_STEPS;
        }
        let is_near = |from: i64, steps_max: i64| from >= -steps_max && from + side <= steps_max;
        let is_near = is_near(west, PLANE_STEPS_MAX) && is_near(south, 2 * PLANE_STEPS_MAX);
        Ruler { origin: self, cell, corner: is_near.then_some((west as f64, south as f64)) }
    }

    /// Cosine of the latitude `north_e7` north of here.
    fn cosine_at(&self, north_e7: i64) -> f64 {
        let north = north_e7 as f64 * RADIANS_PER_E7;
        let cosine = if north.abs() < SERIES_MAX {
            let square = north * north;
            let north_cos = 1.0 - square / 2.0 * (1.0 - square / 12.0 * (1.0 - square / 30.0));
            self.latitude_cos * north_cos - self.latitude_sin * sine_of_small(north)
        } else {
            ((i64::from(self.position.latitude_e7) + north_e7) as f64 * RADIANS_PER_E7).cos()
        };
        // At a pole rounding may leave it a hair below.
        cosine.max(0.0)
    }
}

/// Measures floors of the distance to parts of one cell.
#[derive(Debug)]
pub(super) struct Ruler<'a> {
    origin: &'a Origin,
    cell: Cell,
    /// Steps from the origin to the cell's south-west corner, if the cell is near enough for the plane.
    corner: Option<(f64, f64)>,
}

impl Ruler<'_> {
    /// A haversine that no place within the part is below of.
    #[inline]
    pub(super) fn floor(&self, part: Part) -> f64 {
        match self.corner {
            Some((west, south)) => self.origin.plane.floor(west + part.east, south + part.north, part.side),
            None => self.origin.haversine_floor(&self.cell.part_bounds(part)),
        }
    }
}

/// The surroundings of an origin as a plane, for floors that cost a handful of multiplications.
///
/// Where both differences of angle are small, the sine of a half angle `h` squared is at least `h² (1 - h² / 3)`, and
/// the cosine of a latitude `d` away at least `cos - d (|sin| + d / 2)`. What that gives away is below a thousandth of the
/// distance, and far above what rounding could be off by.
#[derive(Clone, Copy, Debug)]
struct Plane {
    /// Haversine to a square step of longitude, at the origin's latitude; and how much less a step further north or south.
    east_scale: f64,
    east_slope: f64,
    /// Haversine to a square step of latitude.
    north_scale: f64,
}

impl Plane {
    fn new(latitude_sin: f64, latitude_cos: f64) -> Self {
        let per_step = RADIANS_PER_E7 / 2.0;
        let scale = PLANE_SHARE * per_step * per_step;
        Self {
            east_scale: scale * latitude_cos * latitude_cos,
            east_slope: scale * latitude_cos * (latitude_sin.abs() + PLANE_MAX / 2.0) * per_step,
            north_scale: scale / 4.0,
        }
    }

    /// Of a square so many steps to the east and north of the origin.
    #[inline]
    fn floor(&self, west: f64, south: f64, side: f64) -> f64 {
        let (east, north) = (west + side, south + side);
        let gap = |low: f64, high: f64| greater(greater(low, 1.0 - high), 0.0);
        let (east_gap, north_gap) = (gap(west, east), gap(south, north));
        let east_scale = greater(self.east_scale - self.east_slope * greater(north, -south), 0.0);
        east_scale * east_gap * east_gap + self.north_scale * north_gap * north_gap
    }
}

/// The greater of two numbers, neither of which is a NaN: one instruction, which `f64::max` is not.
fn greater(one: f64, other: f64) -> f64 {
    if one > other { one } else { other }
}

/// The other end of the earth's diameter.
fn opposite(position: Position) -> Position {
    let half_turn = (TURN_E7 / 2) as i32;
    let longitude_e7 =
        if position.longitude_e7 > 0 { position.longitude_e7 - half_turn } else { position.longitude_e7 + half_turn };
    Position { latitude_e7: -position.latitude_e7, longitude_e7 }
}

/// The shorter way around between two longitudes.
fn longitude_gap_e7(one: i32, other: i32) -> i64 {
    let gap = (i64::from(one) - i64::from(other)).abs();
    gap.min(TURN_E7 - gap)
}

/// `sin²(angle / 2)`.
fn half_sine_squared(angle_e7: i64) -> f64 {
    let half = angle_e7 as f64 * (RADIANS_PER_E7 / 2.0);
    let sine = if half.abs() < SERIES_MAX { sine_of_small(half) } else { half.sin() };
    sine * sine
}

fn sine_of_small(angle: f64) -> f64 {
    let square = angle * angle;
    angle * (1.0 - square / 6.0 * (1.0 - square / 20.0 * (1.0 - square / 42.0)))
}

fn metres(haversine: f64) -> f64 {
    let half_chord = haversine.sqrt();
    let half_angle = if half_chord < SERIES_MAX {
        let square = haversine;
        half_chord * (1.0 + square * (1.0 / 6.0 + square * (3.0 / 40.0 + square * (15.0 / 336.0))))
    } else {
        half_chord.min(1.0).asin()
    };
    2.0 * EARTH_RADIUS_M * half_angle
}

#[cfg(test)]
mod tests {
    use ::geo::{Distance as _, Haversine, Point};
    use proptest::prelude::*;

    use super::*;
    use crate::geo::testing::position;

    fn at(latitude: f64, longitude: f64) -> Position {
        Position::from_degrees(latitude, longitude).unwrap()
    }

    #[test]
    fn known_distances() {
        let quarter_m = PI / 2.0 * EARTH_RADIUS_M;
        for (from, to, expected_m) in [
            (at(0.0, 0.0), at(0.0, 90.0), quarter_m),
            (at(0.0, 0.0), at(90.0, 0.0), quarter_m),
            (at(0.0, 0.0), at(0.0, 180.0), 2.0 * quarter_m),
            (at(90.0, 12.0), at(-90.0, -77.0), 2.0 * quarter_m),
            (at(52.0, 180.0), at(52.0, -180.0), 0.0),
            (at(90.0, 0.0), at(90.0, 123.0), 0.0),
            (at(0.0, 179.9999999), at(0.0, -179.9999999), 2.0 * RADIANS_PER_E7 * EARTH_RADIUS_M),
            (
                at(10.0, 20.0),
                at(-10.0, -159.9999999),
                2.0 * quarter_m - RADIANS_PER_E7 * at(10.0, 0.0).latitude().to_radians().cos() * EARTH_RADIUS_M,
            ),
            // Warsaw to Rome.
            (at(52.2296756, 21.0122287), at(41.8919300, 12.5113300), 1_315_512.0),
        ] {
            let error_m = (distance_m(from, to) - expected_m).abs();
            assert!(error_m < 1e-6 || expected_m == 1_315_512.0 && error_m < 10.0, "{from:?} {to:?} {error_m}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_geo_crate(from in position(), to in position()) {
            let theirs = Haversine.distance(
                Point::new(from.longitude(), from.latitude()),
                Point::new(to.longitude(), to.latitude()),
            );
            // Theirs is the weak one on the far side.
            let allowed_m = if theirs > 15e6 { 0.5 } else { 1e-6 + theirs * 1e-9 };
            prop_assert!((distance_m(from, to) - theirs).abs() <= allowed_m, "{} {}", distance_m(from, to), theirs);
        }

        #[test]
        fn no_place_is_nearer_than_its_box(from in position(), one in position(), other in position(), share in (0.0..=1.0, 0.0..=1.0)) {
            let area = GeoBox {
                south_e7: one.latitude_e7.min(other.latitude_e7),
                north_e7: one.latitude_e7.max(other.latitude_e7),
                west_e7: one.longitude_e7.min(other.longitude_e7),
                east_e7: one.longitude_e7.max(other.longitude_e7),
            };
            let between = |low: i32, high: i32, share: f64| (f64::from(low) + (f64::from(high) - f64::from(low)) * share).round() as i32;
            let inside = Position {
                latitude_e7: between(area.south_e7, area.north_e7, share.0),
                longitude_e7: between(area.west_e7, area.east_e7, share.1),
            };
            let origin = Origin::new(from);
            for place in [inside, one, other] {
                prop_assert!(origin.haversine_floor(&area) <= origin.haversine(place));
            }
        }

        #[test]
        fn haversine_and_distance_grow_together(from in position(), radius_m in 0.0..2.1e7_f64, to in position()) {
            let haversine = Origin::new(from).haversine(to);
            let limit = haversine_of_distance(radius_m);
            if distance_m(from, to) <= radius_m {
                prop_assert!(haversine <= limit * (1.0 + ROUNDING));
            }
        }
    }
}
