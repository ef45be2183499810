//! How many drivers are in each tile of the web map: what a map shows when it is zoomed out too far for single ones.
//!
//! A tile is that of Web Mercator (as in OpenStreetMap's `zoom/x/y`): x from the antimeridian eastwards, y from 85.05
//! degrees north southwards; who is nearer to a pole counts in the last row.

use std::collections::HashMap;
use std::f64::consts::PI;

use super::area::Area;
use super::cells::GeoBox;
use super::fleet::Fleet;
use super::tree::Root;
use crate::units::Position;

/// The deepest zoom: a tile is then 10 m wide on the equator.
pub const ZOOM_MAX: u8 = 22;

/// Most tiles that an area may have.
pub const DENSITY_CELLS_MAX: u64 = 65_536;

/// Why something is not a grid to count in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGrid {
    /// Above [`ZOOM_MAX`].
    #[error("a zoom is from 0 to 22")]
    Zoom,
    /// More than [`DENSITY_CELLS_MAX`].
    #[error("the area has more than 65536 tiles at this zoom: ask for a smaller area or a lower zoom")]
    TooManyCells,
}

/// A tile with drivers in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DensityCell {
    /// From west to east.
    pub x: u32,
    /// From north to south.
    pub y: u32,
    /// How many.
    pub drivers: u32,
}

impl Fleet {
    /// The drivers in an area by tile, tiles without any left out, by y and then x. Of a tile across the edge only those
    /// inside count. Those who fell silent count only if asked for, which [`Fleet::advance`] decides: up to a second
    /// late. Takes no lock.
    pub fn density(&self, area: &Area, zoom: u8, with_silent: bool) -> Result<Vec<DensityCell>, InvalidGrid> {
        let grid = Grid::new(zoom).ok_or(InvalidGrid::Zoom)?;
        if area.boxes().iter().map(|bounds| grid.tiles(bounds)).sum::<u64>() > DENSITY_CELLS_MAX {
            return Err(InvalidGrid::TooManyCells);
        }
        let roots = if with_silent { &Root::ALL[..] } else { &[Root::Heard] };
        let tiles =
            self.inside(area, roots, usize::MAX, |cell| grid.only_tile(cell), |found| grid.tile(found.position()));
        let mut counts = HashMap::<_, u32>::new();
        for (_, tile) in tiles {
            *counts.entry(tile).or_default() += 1;
        }
        let mut cells: Vec<_> = counts.into_iter().map(|((y, x), drivers)| DensityCell { x, y, drivers }).collect();
        cells.sort_unstable_by_key(|cell| (cell.y, cell.x));
        Ok(cells)
    }
}

/// The tiles of a zoom.
#[derive(Clone, Copy, Debug)]
struct Grid {
    side: u32,
}

impl Grid {
    fn new(zoom: u8) -> Option<Self> {
        (zoom <= ZOOM_MAX).then(|| Self { side: 1 << zoom })
    }

    /// The tile of a place: y, x.
    fn tile(self, position: Position) -> (u32, u32) {
        let side = f64::from(self.side);
        let x = (position.longitude() + 180.0) / 360.0 * side;
        let y = (1.0 - position.latitude().to_radians().tan().asinh() / PI) / 2.0 * side;
        let within = |value: f64| (value.max(0.0) as u32).min(self.side - 1);
        (within(y), within(x))
    }

    fn corners(self, bounds: &GeoBox) -> [(u32, u32); 2] {
        let GeoBox { south_e7, north_e7, west_e7, east_e7 } = *bounds;
        [(north_e7, west_e7), (south_e7, east_e7)]
            .map(|(latitude_e7, longitude_e7)| self.tile(Position { latitude_e7, longitude_e7 }))
    }

    /// The tile that a box lies in as a whole. It is enough to look at two corners, as tiles grow with both angles.
    fn only_tile(self, bounds: &GeoBox) -> Option<(u32, u32)> {
        let [north_west, south_east] = self.corners(bounds);
        (north_west == south_east).then_some(north_west)
    }

    /// How many tiles a box has part in.
    fn tiles(self, bounds: &GeoBox) -> u64 {
        let [(north, west), (south, east)] = self.corners(bounds);
        u64::from(south - north + 1) * u64::from(east - west + 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::geo::testing::{bare, fix_at, key, mixed_key, position};
    use crate::units::TimestampMs;

    fn world() -> Area {
        Area::bounding_box(-180.0, -90.0, 180.0, 90.0).unwrap()
    }

    #[test]
    fn tiles_are_those_of_the_web_map() {
        // Worked out by the other form of the formula, ln(tan + 1 / cos); and the corners.
        for (zoom, latitude, longitude, tile) in [
            (0, 52.0, 21.0, (0, 0)),
            (17, 51.510_57, -0.116_73, (43_582, 65_493)),
            (19, 52.229_68, 21.012_23, (172_635, 292_745)),
            (14, -33.868_8, 151.209_3, (9_831, 15_073)),
            (3, 90.0, -180.0, (0, 0)),
            (3, -90.0, 180.0, (7, 7)),
        ] {
            let place = Position::from_degrees(latitude, longitude).unwrap();
            assert_eq!(Grid::new(zoom).unwrap().tile(place), tile, "{zoom} {latitude} {longitude}");
        }
    }

    #[test]
    fn a_grid_has_bounds() {
        let fleet = Fleet::default();
        assert_eq!(fleet.density(&world(), 23, false), Err(InvalidGrid::Zoom));
        assert_eq!(fleet.density(&world(), 8, false), Err(InvalidGrid::TooManyCells));
        assert_eq!(fleet.density(&world(), 7, false), Ok(Vec::new()));
    }

    #[test]
    fn the_silent_count_only_if_asked_for() {
        let fleet = Fleet::default();
        fleet.join(key("d1"), &fix_at(52.0, 21.0));
        assert_eq!(fleet.density(&world(), 0, false).unwrap(), [DensityCell { x: 0, y: 0, drivers: 1 }]);
        while !fleet.advance(TimestampMs(1_800_000_000_000)).is_done {}
        assert_eq!(fleet.density(&world(), 0, false), Ok(Vec::new()));
        assert_eq!(fleet.density(&world(), 0, true).unwrap().len(), 1);
    }

    proptest! {
        #[test]
        fn density_is_what_brute_force_counts(
            drivers in proptest::collection::vec(position(), 0..300),
            zoom in 0..=ZOOM_MAX,
            corners in (position(), position()),
        ) {
            let fleet = Fleet::default();
            for (index, position) in drivers.iter().enumerate() {
                fleet.join(mixed_key(index), &bare(*position, 0));
            }
            let (one, other) = corners;
            let (south, north) = (one.latitude().min(other.latitude()), one.latitude().max(other.latitude()));
            let area = Area::bounding_box(one.longitude(), south, other.longitude(), north).unwrap();
            let grid = Grid::new(zoom).unwrap();
            let mut counts = std::collections::BTreeMap::new();
            for position in drivers.into_iter().filter(|position| area.contains(*position)) {
                *counts.entry(grid.tile(position)).or_default() += 1;
            }
            let expected: Vec<_> =
                counts.into_iter().map(|((y, x), drivers)| DensityCell { x, y, drivers }).collect();
            match fleet.density(&area, zoom, false) {
                Ok(cells) => prop_assert_eq!(cells, expected),
                Err(error) => prop_assert!(error == InvalidGrid::TooManyCells && zoom > 7),
            }
        }
    }
}
