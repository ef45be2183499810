//! Where on the map a way lies, so that fences are left out which it cannot meet.

use super::cap::boxes;
use super::judge::GAP_M_MAX;
use super::path::{eastwards, off_map_m, poleward_m};
use super::quiet::{METRES_PER_E7, NARROW};
use crate::geo::cells::GeoBox;
use crate::geo::distance::EARTH_RADIUS_M;
use crate::units::Position;

/// Added to how far a way lies off the straight line on the map, metres: for rounding.
const ROOM_M: f64 = 1.0;

/// A way between two places.
#[derive(Debug)]
pub(super) struct Way {
    /// Together around all of it.
    pub(super) boxes: Vec<GeoBox>,
    line: Option<Line>,
}

/// A straight line on the map, in steps of 1e-7 degrees.
#[derive(Clone, Copy, Debug)]
struct Line {
    from: (f64, f64),
    along: (f64, f64),
    /// How far the way lies off it at most, to the east or west and to the north or south.
    off: (f64, f64),
}

impl Way {
    pub(super) fn new(from: Position, to: Position) -> Self {
        Self { boxes: boxes_of_way(from, to), line: Line::new(from, to) }
    }

    /// Whether it may come into a box, which meets one of its own.
    pub(super) fn may_meet(&self, area: &GeoBox) -> bool {
        self.line.is_none_or(|line| line.may_meet(area))
    }
}

impl Line {
    /// `None` if the way crosses the antimeridian or comes near a pole.
    fn new(from: Position, to: Position) -> Option<Self> {
        let narrow = from.latitude().abs().max(to.latitude().abs()).to_radians().cos();
        let along = (
            f64::from(to.longitude_e7) - f64::from(from.longitude_e7),
            f64::from(to.latitude_e7) - f64::from(from.latitude_e7),
        );
        let radians = |e7: f64| (e7 / 1e7).to_radians();
        let off_m = 2.0 * off_map_m(radians(along.0), radians(along.1)) + ROOM_M;
        if narrow < NARROW || along.0.abs() > 1.8e9 || off_m > GAP_M_MAX / 100.0 {
            return None;
        }
        let off = off_m / METRES_PER_E7;
        // Twice: what lies off it to the pole is narrower still.
        let off = (2.0 * off / narrow, off);
        Some(Self { from: (f64::from(from.longitude_e7), f64::from(from.latitude_e7)), along, off })
    }

    /// By the distances of the box's corners from the line: all on one side is apart.
    fn may_meet(self, area: &GeoBox) -> bool {
        let [west, east, south, north] = [area.west_e7, area.east_e7, area.south_e7, area.north_e7].map(f64::from);
        let (x, y) = ((west + east) / 2.0 - self.from.0, (south + north) / 2.0 - self.from.1);
        let (half_x, half_y) = ((east - west) / 2.0 + self.off.0, (north - south) / 2.0 + self.off.1);
        let apart = (x * self.along.1 - y * self.along.0).abs();
        apart <= half_x * self.along.1.abs() + half_y * self.along.0.abs()
    }
}

/// The boxes that the way between two places lies in.
fn boxes_of_way(from: Position, to: Position) -> Vec<GeoBox> {
    let (south, north) = (from.latitude().min(to.latitude()), from.latitude().max(to.latitude()));
    let east = eastwards(from.longitude(), to.longitude());
    let poleward_m = poleward_m(east.to_radians());
    if poleward_m > GAP_M_MAX {
        let (south, north) = if north > 0.0 { (south, 90.0) } else { (-90.0, north) };
        return boxes((-180.0, 180.0), (south, north));
    }
    let (west, east) = (from.longitude() + east.min(0.0), from.longitude() + east.max(0.0));
    let poleward = (poleward_m / EARTH_RADIUS_M).to_degrees();
    boxes((west, east), (south - poleward, north + poleward))
}
