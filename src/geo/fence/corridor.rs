//! A corridor: all within half its width of a line.
//!
//! The line is straight on the map of longitude and latitude between its positions [RFC 7946, 3.1.1]. It is laid out as
//! arcs of great circles so short that they lie off it by a small part of the width at most, and what is within a
//! distance of an arc is known exactly: a band between two planes, and a circle around either end.

use super::cap::Cap;
use super::path::{Path, eastwards};
use super::spec::InvalidFence;
use super::sphere::{Vector, angle_of_m};
use super::stretch::{Quadratic, Stretch, add, join};
use crate::geo::cells::GeoBox;
use crate::units::Position;

/// Most arcs of a line.
const ARCS_MAX: usize = 2_048;

/// Longest arc, radians: some 20 km. Drivers far from it need not look at it.
const ARC_MAX: f64 = 0.003;

/// Arcs lie off the line by no more than this part of the width.
const OFF_PARTS: f64 = 200.0;

/// Arcs that are looked at together.
const GROUP_ARCS: usize = 8;

/// See the module.
#[derive(Debug)]
pub(super) struct Corridor {
    /// Half the width, radians.
    reach: f64,
    arcs: Vec<Arc>,
    /// Around each group of arcs, without the width.
    groups: Vec<Cap>,
}

/// A short arc of a great circle.
#[derive(Clone, Copy, Debug)]
struct Arc {
    from: Vector,
    to: Vector,
    /// Across the great circle.
    normal: Vector,
    /// Along it, at either end: all between both is beside the arc.
    along: [Vector; 2],
}

impl Corridor {
    /// Through places in degrees, longitude first, that are on the map.
    pub(super) fn new(line: &[[f64; 2]], width_m: f64) -> Result<Self, InvalidFence> {
        let reach = angle_of_m(width_m / 2.0);
        let mut layout = Layout { arcs: Vec::new(), off_max: 2.0 * reach / OFF_PARTS };
        for leg in line.windows(2) {
            let (from, to) = (leg[0], leg[1]);
            layout.add(from, [from[0] + eastwards(from[0], to[0]), to[1]])?;
        }
        if layout.arcs.is_empty() {
            return Err(InvalidFence::Line);
        }
        let groups = layout.arcs.chunks(GROUP_ARCS).map(around).collect();
        Ok(Self { reach, arcs: layout.arcs, groups })
    }

    /// Radians that a place lies from the line, if that is at most `limit`.
    fn angle_within(&self, place: Vector, limit: f64) -> Option<f64> {
        let near = self.groups.iter().zip(self.arcs.chunks(GROUP_ARCS)).filter(|(group, _)| {
            // A chord is no longer than its arc, and this close hardly shorter.
            let reach = group.radius + limit;
            (group.centre - place).square() <= reach * reach
        });
        let angles = near.flat_map(|(_, arcs)| arcs).map(|arc| arc.angle(place));
        angles.min_by(f64::total_cmp).filter(|angle| *angle <= limit)
    }

    /// Memory that it takes beside itself.
    pub(super) fn len_bytes(&self) -> usize {
        self.arcs.len() * size_of::<Arc>() + self.groups.len() * size_of::<Cap>()
    }

    pub(super) fn is_within(&self, position: Position, margin_m: f64) -> bool {
        self.angle_within(Vector::of(position), self.reach + angle_of_m(margin_m)).is_some()
    }

    /// Least radians to the edge, or `limit` if that is less.
    pub(super) fn clearance(&self, position: Position, limit: f64) -> f64 {
        let angle = self.angle_within(Vector::of(position), self.reach + limit);
        angle.map_or(limit, |angle| (angle - self.reach).abs().min(limit))
    }

    pub(super) fn stretches(&self, path: &Path, stretches: &mut Vec<Stretch>) {
        let half = path.chord * 0.5;
        let (middle, half_length) = (path.start + half, half.square().sqrt());
        for (group, arcs) in self.groups.iter().zip(self.arcs.chunks(GROUP_ARCS)) {
            // The middle of the chord is inside the earth, but no further from anywhere than the path is long.
            let reach = group.radius + self.reach + half_length * 1.01;
            if (group.centre - middle).square() <= reach * reach {
                arcs.iter().for_each(|arc| arc.stretches(path, self.reach, stretches));
            }
        }
        join(stretches);
    }

    pub(super) fn boxes(&self) -> Vec<GeoBox> {
        let grown = self.groups.iter().map(|group| Cap::of_angle(group.centre, group.radius + self.reach));
        grown.flat_map(|group| group.boxes()).collect()
    }
}

/// A circle around some arcs.
fn around(arcs: &[Arc]) -> Cap {
    let sum = arcs.iter().fold(Vector { x: 0.0, y: 0.0, z: 0.0 }, |sum, arc| sum + arc.from + arc.to);
    let centre = sum.unit();
    let ends = arcs.iter().flat_map(|arc| [arc.from, arc.to]);
    Cap::of_angle(centre, ends.map(|end| end.angle(centre)).fold(0.0, f64::max))
}

/// Lays a line out.
struct Layout {
    arcs: Vec<Arc>,
    /// Radians.
    off_max: f64,
}

impl Layout {
    /// What is straight on the map between two places, the second of which may lie beyond ±180.
    fn add(&mut self, from: [f64; 2], to: [f64; 2]) -> Result<(), InvalidFence> {
        let middle = [(from[0] + to[0]) / 2.0, (from[1] + to[1]) / 2.0];
        let [start, on_map, end] =
            [from, middle, to].map(|[longitude, latitude]| Vector::of_degrees(longitude, latitude));
        // What is halved keeps its ends, so that even a line half around a pole shows where it leads.
        let is_wide = (to[0] - from[0]).abs() > 90.0;
        let length = start.angle(end);
        if is_wide || length > ARC_MAX || on_map.angle((start + end).unit()) > self.off_max {
            if self.arcs.len() >= ARCS_MAX {
                return Err(InvalidFence::LineTooLong);
            }
            self.add(from, middle)?;
            return self.add(middle, to);
        }
        if length > 0.0 {
            if self.arcs.len() >= ARCS_MAX {
                return Err(InvalidFence::LineTooLong);
            }
            self.arcs.push(Arc::new(start, end));
        }
        Ok(())
    }
}

impl Arc {
    fn new(from: Vector, to: Vector) -> Self {
        let normal = from.cross(to - from).unit();
        Self { from, to, normal, along: [normal.cross(from), normal.cross(to)] }
    }

    /// Radians to a place.
    fn angle(&self, place: Vector) -> f64 {
        let (from_start, from_end) = (place - self.from, place - self.to);
        if from_start.dot(self.along[0]) >= 0.0 && from_end.dot(self.along[1]) <= 0.0 {
            return from_start.dot(self.normal).abs().min(1.0).asin();
        }
        let nearer = from_start.square().min(from_end.square());
        2.0 * (nearer.sqrt() / 2.0).min(1.0).asin()
    }

    fn stretches(&self, path: &Path, reach: f64, stretches: &mut Vec<Stretch>) {
        for end in [self.from, self.to] {
            stretches.extend(Cap::of_angle(end, reach).stretch(path));
        }
        let scale = reach.sin().powi(2);
        let (across, towards) = ((path.start - self.from).dot(self.normal), path.chord.dot(self.normal));
        let band = Quadratic {
            a2: towards * towards - scale * path.chord.square(),
            a1: 2.0 * (across * towards - scale * path.start.dot(path.chord)),
            a0: across * across - scale,
        };
        let behind_start = not_before((path.start - self.from).dot(self.along[0]), path.chord.dot(self.along[0]));
        let before_end = not_before(-(path.start - self.to).dot(self.along[1]), -path.chord.dot(self.along[1]));
        let (Some(behind), Some(before)) = (behind_start, before_end) else { return };
        for stretch in band.at_most_zero().into_iter().flatten() {
            let begin = stretch.begin.max(behind.begin).max(before.begin);
            add(stretches, begin, stretch.end.min(behind.end).min(before.end));
        }
    }
}

/// The shares where a straight line from `value`, changing by `change`, is not negative.
fn not_before(value: f64, change: f64) -> Option<Stretch> {
    let [stretch, _] = Quadratic { a2: 0.0, a1: -change, a0: -value }.at_most_zero();
    stretch
}
