//! The cells: quarters of quarters of the map, by bits of the fixed-point position alone.
//!
//! Longitude and latitude are laid over a square of 2³² by 2³² steps, the latitude's steps being half as high, so that
//! a cell is as high as wide near 60 degrees and twice as wide on the equator. A cell of depth `d` is what shares the
//! first `d` bits of both. Below [`DEPTH_OF_PLACE`] the position no longer decides: cells are then told apart by bits
//! of the driver's slot, so that any number of drivers on one spot still spreads over cells of bounded size.

use crate::units::Position;

/// Cells of this depth are 45 m wide on the equator and 23 m high. Smaller ones would have a parked driver change its
/// cell with the noise of its receiver.
pub(super) const DEPTH_OF_PLACE: u8 = 20;

/// Here the bits of a slot are used up, and a cell holds one driver.
pub(super) const DEPTH_MAX: u8 = DEPTH_OF_PLACE + 16;

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
    x: u32,
    y: u32,
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
    x: u32,
    y: u32,
    depth: u8,
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

    /// The latitudes and longitudes of the cell.
    pub(super) fn bounds(self) -> GeoBox {
        let side = 1_i64 << (32 - self.depth.min(DEPTH_OF_PLACE));
        let (west, south) = (i64::from(self.x), i64::from(self.y));
        GeoBox {
            south_e7: (south / 2 - LATITUDE_E7_MAX) as i32,
            north_e7: ((south + side - 1) / 2 - LATITUDE_E7_MAX).min(LATITUDE_E7_MAX) as i32,
            west_e7: (west - LONGITUDE_E7_MAX) as i32,
            east_e7: (west + side - 1 - LONGITUDE_E7_MAX).min(LONGITUDE_E7_MAX) as i32,
        }
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
                if depth < DEPTH_MAX {
                    cell = cell.quarter(place.quarter(slot, depth));
                }
            }
        }
    }
}
