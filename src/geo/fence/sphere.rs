//! Places as vectors from the middle of the earth, of length 1: great circles are planes there, and the poles and the
//! antimeridian are places like any other.

use std::ops::{Add, Mul, Sub};

use crate::geo::distance::EARTH_RADIUS_M;
use crate::units::{E7_PER_DEGREE, Position};

/// A vector; of length 1 if it is a place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Vector {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) z: f64,
}

impl Vector {
    pub(super) fn of(position: Position) -> Self {
        Self::of_degrees(position.longitude(), position.latitude())
    }

    pub(super) fn of_degrees(longitude: f64, latitude: f64) -> Self {
        let (latitude_sin, latitude_cos) = latitude.to_radians().sin_cos();
        let (longitude_sin, longitude_cos) = longitude.to_radians().sin_cos();
        Self { x: latitude_cos * longitude_cos, y: latitude_cos * longitude_sin, z: latitude_sin }
    }

    /// Longitude and latitude in degrees of where it points.
    pub(super) fn degrees(self) -> (f64, f64) {
        let longitude = self.y.atan2(self.x).to_degrees();
        (longitude, self.z.atan2(self.x.hypot(self.y)).to_degrees())
    }

    /// The position nearest to where it points.
    pub(super) fn position(self) -> Position {
        let (longitude, latitude) = self.degrees();
        Position {
            latitude_e7: (latitude * E7_PER_DEGREE).round() as i32,
            longitude_e7: (longitude * E7_PER_DEGREE).round() as i32,
        }
    }

    pub(super) fn dot(self, other: Self) -> f64 {
        self.x * other.x + self.y * other.y + self.z * other.z
    }

    pub(super) fn cross(self, other: Self) -> Self {
        Self {
            x: self.y * other.z - self.z * other.y,
            y: self.z * other.x - self.x * other.z,
            z: self.x * other.y - self.y * other.x,
        }
    }

    pub(super) fn square(self) -> f64 {
        self.dot(self)
    }

    /// The same way, of length 1.
    pub(super) fn unit(self) -> Self {
        self * (1.0 / self.square().sqrt())
    }

    /// The angle to another place, radians.
    pub(super) fn angle(self, other: Self) -> f64 {
        2.0 * ((self - other).square().sqrt() / 2.0).min(1.0).asin()
    }
}

impl Add for Vector {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { x: self.x + other.x, y: self.y + other.y, z: self.z + other.z }
    }
}

impl Sub for Vector {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { x: self.x - other.x, y: self.y - other.y, z: self.z - other.z }
    }
}

impl Mul<f64> for Vector {
    type Output = Self;

    fn mul(self, factor: f64) -> Self {
        Self { x: self.x * factor, y: self.y * factor, z: self.z * factor }
    }
}

/// The angle, in radians, that a distance on the ground is at the middle of the earth.
pub(super) fn angle_of_m(distance_m: f64) -> f64 {
    distance_m / EARTH_RADIUS_M
}
