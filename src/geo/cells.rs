//! The cells: quarters of quarters of the map, by bits of the fixed-point position alone.
//!
//! Longitude and latitude are laid over a square of 2³² by 2³² steps, the latitude's steps being half as high, so that
//! a cell is as high as wide near 60 degrees and twice as wide on the equator. A cell of depth `d` is what shares the
//! first `d` bits of both. Below [`DEPTH_OF_PLACE`] the position no longer decides: cells are then told apart by bits
//! of the driver's slot, so that any number of drivers on one spot still spreads over cells of bounded size.

use crate::units::Position;

/// Cells of this depth are 2.8 m wide on the equator and 1.4 m high, and only where drivers stand as close as in a depot is
/// the tree so deep: elsewhere no parked driver changes its cell with the noise of its receiver.
pub(super) const DEPTH_OF_PLACE: u8 = 24;

/// Here the bits of a slot are used up, and a cell holds one driver.
pub(super) const DEPTH_MAX: u8 = DEPTH_OF_PLACE + 16;

/// Steps of longitude around the earth; one step is 1e-7 degrees.
pub(super) const TURN_STEPS: i64 = 2 * LONGITUDE_E7_MAX;

/// Parts of a cell's side that a [`Place::spot`] tells apart, as a power of two.
const SPOT_BITS: u8 = 8;

const LONGITUDE_E7_MAX: i64 = 1_800_000_000;
const LATITUDE_E7_MAX: i64 = 900_000_000;

/// Latitudes and longitudes from one to another, both included; never across the antimeridian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GeoBox {
    pub(super) south_e7: i32,
    pub(super) north_e7: i32,
    pub(super) west_e7: i32,
    pub(super) east_e7: i32,
}

impl GeoBox {
    pub(super) fn contains(&self, position: Position) -> bool {
        (self.south_e7..=self.north_e7).contains(&position.latitude_e7)
            && (self.west_e7..=self.east_e7).contains(&position.longitude_e7)
    }

    pub(super) fn covers(&self, other: &Self) -> bool {
        self.south_e7 <= other.south_e7
            && other.north_e7 <= self.north_e7
            && self.west_e7 <= other.west_e7
            && other.east_e7 <= self.east_e7
    }

    pub(super) fn meets(&self, other: &Self) -> bool {
        self.south_e7 <= other.north_e7
            && other.south_e7 <= self.north_e7
            && self.west_e7 <= other.east_e7
            && other.west_e7 <= self.east_e7
    }
}

/// A position on the square.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Steps east of the antimeridian, of 1e-7 degrees.
    pub(super) x: u32,
    /// Steps north of the south pole, of half of that.
    pub(super) y: u32,
}

impl Place {
    pub(super) fn new(position: Position) -> Self {
        Self {
            x: (i64::from(position.longitude_e7) + LONGITUDE_E7_MAX) as u32,
            y: ((i64::from(position.latitude_e7) + LATITUDE_E7_MAX) as u32) << 1,
        }
    }

    /// Whether `other` lies in the cell of this depth that this place lies in.
    pub(super) fn shares_cell(self, other: Self, depth: u8) -> bool {
        let differing = u64::from((self.x ^ other.x) | (self.y ^ other.y));
        differing >> (32 - depth.min(DEPTH_OF_PLACE)) == 0
    }

    /// Where in its cell of this depth the place is, in 256ths of the sides: east in the low byte, north in the high one.
    pub(super) fn spot(self, depth: u8) -> u16 {
        let part = |steps: u32| (steps << depth.min(DEPTH_OF_PLACE) >> (u32::BITS - u32::from(SPOT_BITS))) as u16;
        part(self.x) | part(self.y) << SPOT_BITS
    }

    /// Which quarter of its cell of this depth holds the driver of `slot` here.
    pub(super) fn quarter(self, slot: u32, depth: u8) -> usize {
        let quarter = if depth < DEPTH_OF_PLACE {
            let bit = 31 - depth;
            (self.x >> bit & 1) | (self.y >> bit & 1) << 1
        } else {
            slot >> (2 * (depth - DEPTH_OF_PLACE)) & 3
        };
        quarter as usize
    }
}

/// A cell by its south-west corner on the square, and its depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) depth: u8,
}

impl Cell {
    /// The one that holds all.
    pub(super) const ROOT: Self = Self { x: 0, y: 0, depth: 0 };

    /// One of the four, as [`Place::quarter`] counts them.
    pub(super) fn quarter(self, quarter: usize) -> Self {
        // A search that follows links which have changed meanwhile may come deeper than the tree.
        let depth = self.depth.saturating_add(1);
        if self.depth >= DEPTH_OF_PLACE {
            return Self { depth, ..self };
        }
        let side = 1_u32 << (32 - depth);
        Self { x: self.x + side * (quarter as u32 & 1), y: self.y + side * (quarter as u32 >> 1), depth }
    }

    /// The one of this depth that a place lies in.
    pub(super) fn around(place: Place, depth: u8) -> Self {
        let kept = |steps: u32| {
            if depth == 0 { 0 } else { steps >> (32 - depth.min(DEPTH_OF_PLACE)) << (32 - depth.min(DEPTH_OF_PLACE)) }
        };
        Self { x: kept(place.x), y: kept(place.y), depth }
    }

    /// Steps along a side.
    pub(super) fn side(self) -> i64 {
        1 << (32 - self.depth.min(DEPTH_OF_PLACE))
    }

    /// The quarters as parts of the cell.
    pub(super) fn quarter_parts(self) -> [Part; 4] {
        let (side, step) =
            if self.depth < DEPTH_OF_PLACE { (self.side() / 2, self.side() / 2) } else { (self.side(), 0) };
        let (side, step) = (side as f64, step as f64);
        [(0.0, 0.0), (step, 0.0), (0.0, step), (step, step)].map(|(east, north)| Part { east, north, side })
    }

    /// Steps along a side of what a [`Place::spot`] stands for.
    pub(super) fn spot_side(self) -> f64 {
        (self.side() >> SPOT_BITS) as f64
    }

    /// The latitudes and longitudes of the cell.
    pub(super) fn bounds(self) -> GeoBox {
        self.part_bounds(Part { east: 0.0, north: 0.0, side: self.side() as f64 })
    }

    /// The latitudes and longitudes of a part of the cell.
    pub(super) fn part_bounds(self, part: Part) -> GeoBox {
        let (west, south, side) =
            (i64::from(self.x) + part.east as i64, i64::from(self.y) + part.north as i64, part.side as i64);
        GeoBox {
            south_e7: (south / 2 - LATITUDE_E7_MAX) as i32,
            north_e7: ((south + side - 1) / 2 - LATITUDE_E7_MAX).min(LATITUDE_E7_MAX) as i32,
            west_e7: (west - LONGITUDE_E7_MAX) as i32,
            east_e7: (west + side - 1 - LONGITUDE_E7_MAX).min(LONGITUDE_E7_MAX) as i32,
        }
    }
}

/// A square within a cell, in whole steps from its south-west corner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) east: f64,
    pub(super) north: f64,
    pub(super) side: f64,
}

impl Part {
    /// All places at a [`Place::spot`] of a cell with this [`Cell::spot_side`].
    #[inline]
    pub(super) fn of_spot(spot: u16, side: f64) -> Self {
        let (east, north) = (spot & ((1 << SPOT_BITS) - 1), spot >> SPOT_BITS);
        Self { east: side * f64::from(east), north: side * f64::from(north), side }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::geo::testing::position;

    proptest! {
        #[test]
        fn a_place_lies_in_its_cell_at_every_depth(here in position(), there in position(), slot: u32) {
            let (place, other) = (Place::new(here), Place::new(there));
            let mut cell = Cell::ROOT;
            for depth in 0..=DEPTH_MAX {
                prop_assert!(cell.bounds().contains(here));
                prop_assert_eq!(cell.bounds().contains(there), place.shares_cell(other, depth));
                prop_assert!(cell.part_bounds(Part::of_spot(place.spot(depth), cell.spot_side())).contains(here));
                prop_assert_eq!(Cell::around(place, depth), cell);
                if depth < DEPTH_MAX {
                    cell = cell.quarter(place.quarter(slot, depth));
                }
            }
        }
    }
}
