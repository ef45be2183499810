//! Boxes on the map, found by place.
//!
//! The map is cut into cells of [`LEVELS`] sizes, each side eight times as long as that of the level below. A box stands in
//! the cells that it meets on the lowest level whose cells are no smaller than itself: four at most. Only cells that hold
//! something are kept, and each knows which of its 64 parts do. So a search looks at a few cells of each level, however
//! large or empty the area is, and a box comes and goes in the time of some lookups.

use std::collections::HashMap;
use std::ops::ControlFlow;

use foldhash::fast::RandomState;

use crate::geo::cells::GeoBox;

/// Sizes of cells.
const LEVELS: usize = 8;

/// Cells of the lowest level have sides of two to this many steps of 1e-7 degrees, 91 m on the equator.
const SIDE_BITS: u32 = 13;

/// A cell's side is two to this many sides of the level below. One of the highest level holds the whole map.
const PARTS_BITS: u32 = 3;

/// Boxes, and whose each is.
#[derive(Debug, Default)]
pub(super) struct Grid {
    cells: HashMap<u64, Cell, RandomState>,
    /// How many boxes stand on each level, each as often as it stands there.
    standing: [usize; LEVELS],
}

/// What stands in a cell. Kept while there is something.
#[derive(Debug, Default)]
struct Cell {
    boxes: Vec<(GeoBox, u32)>,
    /// Which of its parts are kept, row by row.
    parts: u64,
}

/// A cell's place in its level, counted from the south-west.
#[derive(Clone, Copy, Debug)]
struct At {
    level: usize,
    x: u32,
    y: u32,
}

/// Cells of a level, from the first to the last of both.
#[derive(Clone, Copy, Debug)]
struct Range {
    level: usize,
    x: (u32, u32),
    y: (u32, u32),
}

impl Grid {
    pub(super) fn insert(&mut self, area: GeoBox, owner: u32) {
        for at in Range::of(&area, level_of(&area)).cells() {
            self.standing[at.level] += 1;
            let cell = self.cells.entry(at.key()).or_default();
            let was_kept = !cell.is_empty();
            cell.boxes.push((area, owner));
            if !was_kept {
                self.tell_above(at);
            }
        }
    }

    /// Takes away what was inserted.
    pub(super) fn remove(&mut self, area: &GeoBox, owner: u32) {
        for at in Range::of(area, level_of(area)).cells() {
            let Some(cell) = self.cells.get_mut(&at.key()) else { continue };
            let Some(index) = cell.boxes.iter().position(|entry| *entry == (*area, owner)) else { continue };
            cell.boxes.swap_remove(index);
            self.standing[at.level] -= 1;
            self.forget_empty(at);
        }
    }

    /// Calls `each` with every box that meets the area, once, until that breaks.
    pub(super) fn meeting(
        &self,
        area: &GeoBox,
        mut each: impl FnMut(&GeoBox, u32) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let level = level_of(area);
        for above in (level + 1..LEVELS).filter(|above| self.standing[*above] > 0) {
            for at in Range::of(area, above).cells() {
                if let Some(cell) = self.cells.get(&at.key()) {
                    cell.look(at, area, &mut each)?;
                }
            }
        }
        if self.standing[..=level].iter().any(|standing| *standing > 0) {
            for at in Range::of(area, level).cells() {
                self.descend(at, area, &mut each)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn descend(
        &self,
        at: At,
        area: &GeoBox,
        each: &mut impl FnMut(&GeoBox, u32) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Some(cell) = self.cells.get(&at.key()) else { return ControlFlow::Continue(()) };
        cell.look(at, area, each)?;
        if cell.parts == 0 {
            return ControlFlow::Continue(());
        }
        for part in Range::of(area, at.level - 1).within(at).cells() {
            if cell.parts & part.bit() != 0 {
                self.descend(part, area, each)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// All cells around one that is new know of it.
    fn tell_above(&mut self, mut at: At) {
        while let Some(above) = at.above() {
            let cell = self.cells.entry(above.key()).or_default();
            let was_kept = !cell.is_empty();
            cell.parts |= at.bit();
            if was_kept {
                return;
            }
            at = above;
        }
    }

    fn forget_empty(&mut self, mut at: At) {
        while self.cells.get(&at.key()).is_some_and(Cell::is_empty) {
            self.cells.remove(&at.key());
            let Some(above) = at.above() else { return };
            if let Some(cell) = self.cells.get_mut(&above.key()) {
                cell.parts &= !at.bit();
            }
            at = above;
        }
    }
}

impl Cell {
    fn is_empty(&self) -> bool {
        self.boxes.is_empty() && self.parts == 0
    }

    fn look(&self, at: At, area: &GeoBox, each: &mut impl FnMut(&GeoBox, u32) -> ControlFlow<()>) -> ControlFlow<()> {
        let is_here = |other: &GeoBox| {
            // What both have in common begins in one cell.
            let (west_e7, south_e7) = (area.west_e7.max(other.west_e7), area.south_e7.max(other.south_e7));
            other.meets(area) && column(west_e7, at.level) == at.x && row(south_e7, at.level) == at.y
        };
        self.boxes.iter().filter(|(other, _)| is_here(other)).try_for_each(|(other, owner)| each(other, *owner))
    }
}

impl At {
    fn key(self) -> u64 {
        (self.level as u64) << 60 | u64::from(self.x) << 30 | u64::from(self.y)
    }

    fn above(self) -> Option<Self> {
        let level = self.level + 1;
        (level < LEVELS).then_some(Self { level, x: self.x >> PARTS_BITS, y: self.y >> PARTS_BITS })
    }

    /// Which part of the cell above it is.
    fn bit(self) -> u64 {
        let part_max = (1 << PARTS_BITS) - 1;
        1 << ((self.y & part_max) << PARTS_BITS | self.x & part_max)
    }
}

impl Range {
    /// The cells of a level that an area meets.
    fn of(area: &GeoBox, level: usize) -> Self {
        let (x, y) = ([area.west_e7, area.east_e7], [area.south_e7, area.north_e7]);
        let ([west, east], [south, north]) = (x.map(|e7| column(e7, level)), y.map(|e7| row(e7, level)));
        Self { level, x: (west, east), y: (south, north) }
    }

    /// Those that are parts of a cell above.
    fn within(self, above: At) -> Self {
        let part = |of: u32, (first, last): (u32, u32)| {
            let begin = of << PARTS_BITS;
            (first.max(begin), last.min(begin + (1 << PARTS_BITS) - 1))
        };
        Self { x: part(above.x, self.x), y: part(above.y, self.y), ..self }
    }

    fn cells(self) -> impl Iterator<Item = At> {
        let Self { level, x, y } = self;
        (y.0..=y.1).flat_map(move |y| (x.0..=x.1).map(move |x| At { level, x, y }))
    }
}

fn column(longitude_e7: i32, level: usize) -> u32 {
    cells_from(-1_800_000_000, longitude_e7, level)
}

fn row(latitude_e7: i32, level: usize) -> u32 {
    cells_from(-900_000_000, latitude_e7, level)
}

/// Beyond the map are no cells.
fn cells_from(begin_e7: i32, e7: i32, level: usize) -> u32 {
    ((i64::from(e7) - i64::from(begin_e7)).max(0) >> side_bits(level)) as u32
}

fn side_bits(level: usize) -> u32 {
    SIDE_BITS + PARTS_BITS * level as u32
}

/// The lowest level whose cells are no smaller than the area.
fn level_of(area: &GeoBox) -> usize {
    let width = i64::from(area.east_e7) - i64::from(area.west_e7);
    let side = width.max(i64::from(area.north_e7) - i64::from(area.south_e7));
    (0..LEVELS - 1).find(|level| side <= 1_i64 << side_bits(*level)).unwrap_or(LEVELS - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn area() -> impl Strategy<Value = GeoBox> {
        let side = || (0..32_u32, 0.0..1.0_f64).prop_map(|(bits, share)| (share * f64::from(1_u32 << bits)) as i64);
        let start = prop_oneof![
            (-900_000_000..=900_000_000_i32, -1_800_000_000..=1_800_000_000_i32),
            (-100_000..100_000_i32, -100_000..100_000_i32),
            Just((900_000_000, 1_800_000_000)),
        ];
        (start, side(), side()).prop_map(|((south_e7, west_e7), height, width)| GeoBox {
            south_e7,
            north_e7: (i64::from(south_e7) + height).min(900_000_000) as i32,
            west_e7,
            east_e7: (i64::from(west_e7) + width).min(1_800_000_000) as i32,
        })
    }

    fn found(grid: &Grid, area: &GeoBox) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        let end = grid.meeting(area, |_, owner| {
            assert!(found.insert(owner), "a box comes once");
            ControlFlow::Continue(())
        });
        assert!(end.is_continue());
        found
    }

    proptest! {
        #[test]
        fn finds_what_meets(boxes in proptest::collection::vec((area(), any::<bool>()), 0..60), asked in proptest::collection::vec(area(), 1..20)) {
            let mut grid = Grid::default();
            let mut kept = Vec::new();
            for (owner, (area, goes)) in (0..).zip(&boxes) {
                grid.insert(*area, owner);
                kept.push((*area, owner));
                if *goes {
                    let (gone, owner) = kept.swap_remove(kept.len() / 2);
                    grid.remove(&gone, owner);
                }
            }
            for area in asked.iter().chain(boxes.iter().map(|(area, _)| area)) {
                let expected: BTreeSet<u32> = kept.iter().filter(|(other, _)| other.meets(area)).map(|(_, owner)| *owner).collect();
                prop_assert_eq!(found(&grid, area), expected);
            }
            for (area, owner) in kept {
                grid.remove(&area, owner);
            }
            prop_assert!(grid.cells.is_empty() && grid.standing == [0; LEVELS]);
        }
    }
}
