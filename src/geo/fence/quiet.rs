//! The box around a driver within which it comes to no edge of any fence.

use std::ops::ControlFlow;

use super::path::poleward_m;
use super::set::FenceSet;
use super::spec::Fence;
use super::state::{NOWHERE, Stay};
use crate::geo::cells::GeoBox;
use crate::geo::distance::EARTH_RADIUS_M;
use crate::units::Position;

/// Half the sides of the boxes that are tried, metres. A larger one is tried only while nothing has cut the one before:
/// where fences are far a box lasts for hours, where they stand close it is found among a few.
const HALF_SIDES_M: [f64; 4] = [60.0, 500.0, 4_000.0, 64_000.0];

/// So many boxes of fences are looked at for one.
const BOXES_MAX: usize = 48;

/// Around a way with more boxes than this, there will be one before the next is done.
const CROWD_MAX: usize = 2;

/// Left to every edge: far more than ways and edges are off by rounding or by being cut into pieces.
const ROOM_M: f64 = 0.3;

/// Half the side of a square whose corners are nearer than `1`, even where its far side is a tenth wider than its middle,
/// and a tenth less for the map's own error over the longest clearance.
const HALF_SIDE_SHARE: f64 = 0.6;

/// The corners of a square are nearer than this times half its side.
const DIAGONAL: f64 = 1.5;

pub(super) const METRES_PER_E7: f64 = EARTH_RADIUS_M * std::f64::consts::PI / 180.0 / 1e7;

/// Cosine of the latitude beyond which there are no boxes, 84 degrees: meridians that near a box's width no longer lie side
/// by side.
pub(super) const NARROW: f64 = 0.1;

const EVERYWHERE: GeoBox =
    GeoBox { south_e7: -900_000_000, north_e7: 900_000_000, west_e7: -1_800_000_000, east_e7: 1_800_000_000 };

/// Whether no box is worth looking for: the driver leaves a small one with its next fix, for `next` if it goes on, and there
/// were so many boxes around its last way (`crowd`) that a large one will be cut.
pub(super) fn is_in_vain(position: Position, next: Position, crowd: usize) -> bool {
    crowd > CROWD_MAX && !square(position, 1.0, HALF_SIDES_M[0]).contains(next)
}

/// A box around a place for a driver with these stays, of which each that is not spent is of a fence that the place lies
/// inside of. `own` are the fences of that driver alone. If the box does not reach to `next`, where the driver will be with
/// its next fix if it goes on, none is looked for: it would be left at once.
pub(super) fn quiet_box(set: &FenceSet, own: &[u32], stays: &[Stay], position: Position, next: Position) -> GeoBox {
    if set.is_empty() {
        return EVERYWHERE;
    }
    let narrow = position.latitude().to_radians().cos();
    if narrow < NARROW {
        return NOWHERE;
    }
    let mut found = NOWHERE;
    for half_side_m in HALF_SIDES_M {
        let area = square(position, narrow, half_side_m);
        if !area.contains(next) {
            continue;
        }
        let mut growing = Growing { position, next, narrow, half_side_m, area };
        let Some(is_cut) = growing.cut_by_all(set, own, stays) else { break };
        found = growing.with_room();
        if is_cut {
            break;
        }
    }
    found
}

/// The box from so far south and west to so far north and east.
fn square(position: Position, narrow: f64, half_side_m: f64) -> GeoBox {
    let north_e7 = (half_side_m / METRES_PER_E7) as i32;
    // Below a turn, by `NARROW`.
    let east_e7 = (half_side_m / METRES_PER_E7 / narrow) as i64;
    let longitude_e7 = i64::from(position.longitude_e7);
    GeoBox {
        south_e7: (position.latitude_e7 - north_e7).max(EVERYWHERE.south_e7),
        north_e7: (position.latitude_e7 + north_e7).min(EVERYWHERE.north_e7),
        west_e7: (longitude_e7 - east_e7).max(i64::from(EVERYWHERE.west_e7)) as i32,
        east_e7: (longitude_e7 + east_e7).min(i64::from(EVERYWHERE.east_e7)) as i32,
    }
}

struct Growing {
    position: Position,
    next: Position,
    /// How wide a step is here beside one on the equator.
    narrow: f64,
    half_side_m: f64,
    area: GeoBox,
}

impl Growing {
    /// Cuts off whatever an edge may lie in. Whether anything did; `None` if there is too much to look at, or what is left
    /// does not reach far enough.
    fn cut_by_all(&mut self, set: &FenceSet, own: &[u32], stays: &[Stay]) -> Option<bool> {
        let whole = self.area;
        let mut looked_at = 0;
        let own = own.iter().filter_map(|slot| set.at(*slot));
        for (fence, area) in own.flat_map(|fence| fence.shape.boxes().into_iter().map(move |area| (fence, area))) {
            looked_at += 1;
            if looked_at > BOXES_MAX {
                return None;
            }
            if area.contains(self.position) {
                self.cut_by(fence, stays);
            } else {
                self.keep_apart(&area);
            }
        }
        if !self.area.contains(self.next) {
            return None;
        }
        let end = set.meeting(&whole, |area, slot| {
            looked_at += 1;
            if looked_at > BOXES_MAX {
                return ControlFlow::Break(());
            }
            if area.contains(self.position) {
                if let Some(fence) = set.at(slot) {
                    self.cut_by(fence, stays);
                }
            } else {
                self.keep_apart(area);
            }
            if self.area.contains(self.next) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        end.is_continue().then_some(self.area != whole)
    }

    fn cut_by(&mut self, fence: &Fence, stays: &[Stay]) {
        let is_spent = |stay: &Stay| stay.spent && stay.fence == fence.id;
        if fence.once && stays.iter().any(is_spent) {
            return;
        }
        let diagonal_m = self.half_side_m * DIAGONAL;
        let clear_m = fence.shape.clearance_m(self.position, diagonal_m);
        if clear_m < diagonal_m {
            let square = square(self.position, self.narrow, (clear_m * HALF_SIDE_SHARE - ROOM_M).max(0.0));
            self.area = intersection(&self.area, &square);
        }
    }

    /// Cuts at the side where the most is left.
    fn keep_apart(&mut self, other: &GeoBox) {
        if !other.meets(&self.area) {
            return;
        }
        let east = |steps: i32| f64::from(steps) * self.narrow;
        // The less of what is left to here and to the next place.
        let sides = |from: Position| {
            [
                f64::from(other.south_e7.saturating_sub(from.latitude_e7)),
                f64::from(from.latitude_e7.saturating_sub(other.north_e7)),
                east(other.west_e7.saturating_sub(from.longitude_e7)),
                east(from.longitude_e7.saturating_sub(other.east_e7)),
            ]
        };
        let (here, next) = (sides(self.position), sides(self.next));
        let sides: [f64; 4] = std::array::from_fn(|side| here[side].min(next[side]));
        let widest = (0..sides.len()).max_by(|one, other| sides[*one].total_cmp(&sides[*other]));
        match widest {
            Some(0) => self.area.north_e7 = self.area.north_e7.min(other.south_e7),
            Some(1) => self.area.south_e7 = self.area.south_e7.max(other.north_e7),
            Some(2) => self.area.east_e7 = self.area.east_e7.min(other.west_e7),
            _ => self.area.west_e7 = self.area.west_e7.max(other.east_e7),
        }
    }

    /// A way between two places of the box leaves it towards the pole.
    fn with_room(&self) -> GeoBox {
        let GeoBox { south_e7, north_e7, west_e7, east_e7 } = self.area;
        let width = (f64::from(east_e7) - f64::from(west_e7)) / 1e7;
        let room_m = ROOM_M + poleward_m(width.to_radians());
        if room_m >= self.half_side_m {
            return NOWHERE;
        }
        let (room_e7, side_room_e7) = (steps(room_m), steps(ROOM_M / self.narrow));
        let area = GeoBox {
            south_e7: south_e7.saturating_add(room_e7),
            north_e7: north_e7.saturating_sub(room_e7),
            west_e7: west_e7.saturating_add(side_room_e7),
            east_e7: east_e7.saturating_sub(side_room_e7),
        };
        if area.contains(self.position) { area } else { NOWHERE }
    }
}

fn steps(distance_m: f64) -> i32 {
    (distance_m / METRES_PER_E7).ceil() as i32
}

fn intersection(one: &GeoBox, other: &GeoBox) -> GeoBox {
    GeoBox {
        south_e7: one.south_e7.max(other.south_e7),
        north_e7: one.north_e7.min(other.north_e7),
        west_e7: one.west_e7.max(other.west_e7),
        east_e7: one.east_e7.min(other.east_e7),
    }
}
