//! Fences by brute force: the way is sampled, and each sample is asked for its place by the geo crate and by distances.

use ::geo::{Haversine, InterpolatePoint as _, Point};

use super::*;
use crate::geo::fence::path::eastwards;
use crate::geo::{Area, distance_m};

/// Samples of a way.
pub(super) const SAMPLES: usize = 600;

/// What a place may be off by where an edge is laid out in pieces: this much, and this part of a corridor's width.
const OFF_M: f64 = 0.35;
const OFF_WIDTH: f64 = 0.006;

/// A fence as its description has it.
pub(super) struct Model {
    shape: Shape,
}

enum Shape {
    Circle(Position, f64),
    /// The polygon, and its rings.
    Polygon(Area, Vec<Vec<[f64; 2]>>),
    /// The line and half its width.
    Corridor(Vec<[f64; 2]>, f64),
}

impl Model {
    pub(super) fn new(spec: &FenceSpec) -> Self {
        let shape = match &spec.geometry {
            Geometry::Point(Vertex([longitude, latitude])) => {
                Shape::Circle(at(*latitude, *longitude), spec.radius_m.unwrap())
            }
            Geometry::LineString(line) => {
                Shape::Corridor(line.iter().map(|place| place.0).collect(), spec.width_m.unwrap() / 2.0)
            }
            Geometry::Polygon(rings) => {
                let rings: Vec<Vec<_>> = rings.iter().map(|ring| ring.iter().map(|place| place.0).collect()).collect();
                Shape::Polygon(Area::polygon(&rings).unwrap(), rings)
            }
            Geometry::MultiPolygon(_) => unreachable!("not of a scene"),
        };
        Self { shape }
    }

    /// Metres outside of the fence, below 0 inside.
    pub(super) fn outside_m(&self, place: Position) -> f64 {
        match &self.shape {
            Shape::Circle(centre, radius_m) => distance_m(*centre, place) - radius_m,
            Shape::Corridor(line, half_m) => line_m(line, place) - half_m,
            Shape::Polygon(area, rings) => {
                let edge_m = rings.iter().map(|ring| line_m(ring, place)).fold(f64::INFINITY, f64::min);
                if area.contains(place) { -edge_m } else { edge_m }
            }
        }
    }

    /// By how much [`Model::outside_m`] may differ from what the fence says.
    pub(super) fn off_m(&self) -> f64 {
        match &self.shape {
            Shape::Circle(..) => 0.02,
            Shape::Polygon(..) => OFF_M,
            Shape::Corridor(_, half_m) => 0.02 + half_m * 2.0 * OFF_WIDTH,
        }
    }
}

/// Metres to a line that is straight on the map: the nearest of places on it, and then of those around that one.
fn line_m(line: &[[f64; 2]], place: Position) -> f64 {
    const STEPS: usize = 24;
    let leg_m = |leg: &[[f64; 2]]| {
        let east = if (leg[1][0] - leg[0][0]).abs() > 180.0 && leg[0][0].abs() < 180.0 {
            eastwards(leg[0][0], leg[1][0])
        } else {
            leg[1][0] - leg[0][0]
        };
        let share_m = |share: f64| {
            let longitude = leg[0][0] + east * share;
            let longitude = longitude - 360.0 * (longitude / 360.0).round();
            let latitude = leg[0][1] + (leg[1][1] - leg[0][1]) * share;
            distance_m(place, at(latitude.clamp(-90.0, 90.0), longitude.clamp(-180.0, 180.0)))
        };
        let (mut low, mut high) = (0.0, 1.0);
        let mut nearest_m = f64::INFINITY;
        for _ in 0..9 {
            let shares = (0..=STEPS).map(|step| low + (high - low) * step as f64 / STEPS as f64);
            let (nearest, metres) =
                shares.map(|share| (share, share_m(share))).min_by(|one, other| one.1.total_cmp(&other.1)).unwrap();
            nearest_m = f64::min(nearest_m, metres);
            let step = (high - low) / STEPS as f64;
            (low, high) = ((nearest - step).max(0.0), (nearest + step).min(1.0));
        }
        nearest_m
    };
    line.windows(2).map(leg_m).fold(f64::INFINITY, f64::min)
}

/// The place at a share of the shortest way.
pub(super) fn on_way(from: Position, to: Position, share: f64) -> Position {
    if distance_m(from, to) < 0.001 {
        return from;
    }
    let point = |position: Position| Point::new(position.longitude(), position.latitude());
    let place = Haversine.point_at_ratio_between(point(from), point(to), share);
    let longitude = place.x() - 360.0 * (place.x() / 360.0).round();
    at(place.y().clamp(-90.0, 90.0), longitude.clamp(-180.0, 180.0))
}
