//! Leaves of the tree, the nearest first: what a search has still before it.
//!
//! The way begins at the cell of the place asked for, which the bits of the place lead to, and goes up from there only
//! as far as needed: as long as nothing outside the cell can be nearer than what waits inside, the rest of the map is
//! not looked at. A cell waits under a floor of the distance to it.

use super::cells::{Cell, DEPTH_OF_PLACE, Place};
use super::distance::Origin;
use super::nodes::Link;
use super::tree::{Root, Tree};
use super::waiting::{Waiting, WaitingCells};

/// Inner nodes to look into before the first leaf: where the guess is far off, as on the shore of an empty sea, they
/// would be very many.
const LOOK_AHEAD_MAX: usize = 12;

/// See the module.
#[derive(Debug)]
pub(super) struct Frontier<'a> {
    tree: &'a Tree,
    origin: &'a Origin,
    place: Place,
    /// Inner nodes around the place, by depth.
    around: [u32; DEPTH_OF_PLACE as usize],
    /// What is within the cell of this depth around the place has been looked at or waits.
    depth: u8,
    /// A floor of the haversine to all else.
    outside: f64,
    waiting: &'a mut WaitingCells,
}

impl<'a> Frontier<'a> {
    /// All leaves below a root. `waiting` is for the memory that it has, whatever it holds.
    pub(super) fn new(tree: &'a Tree, root: Root, origin: &'a Origin, waiting: &'a mut WaitingCells) -> Self {
        let place = origin.place();
        let (mut around, mut link, mut depth) = ([0; DEPTH_OF_PLACE as usize], Link::Inner(root.node()), 0);
        while let Link::Inner(node) = link
            && depth < DEPTH_OF_PLACE
        {
            around[usize::from(depth)] = node;
            link = tree.quarter(node, place.quarter(0, depth));
            depth += 1;
        }
        let cell = Cell::around(place, depth);
        waiting.clear();
        waiting.push(0.0, Waiting { link, cell });
        Self { tree, origin, place, around, depth, outside: origin.haversine_floor_outside(cell), waiting }
    }

    /// The cell around the place that the way began at, as long as it has not gone up from there.
    pub(super) fn cell(&self) -> Cell {
        Cell::around(self.place, self.depth)
    }

    /// Takes in all cells within a haversine, which is a guess of how far the search will go, and asks memory for their
    /// leaves: so the waits for them overlap, and it does not matter if the guess was wrong.
    pub(super) fn look_ahead(&mut self, reach: f64, haversine_max: f64) {
        let reach = if reach < haversine_max { reach } else { haversine_max };
        for _ in 0..LOOK_AHEAD_MAX {
            if self.outside <= reach {
                self.climb(haversine_max);
            } else if let Some(Waiting { link: Link::Inner(inner), cell }) = self.waiting.pop_inner(reach) {
                self.wait_for(self.tree.quarters(inner), cell, haversine_max);
            } else {
                break;
            }
        }
        self.waiting.leaves_within(reach).for_each(|leaf| self.tree.touch(leaf));
    }

    /// A floor of the haversine to all that is left.
    pub(super) fn floor(&self) -> f64 {
        let floor = self.waiting.floor();
        if floor < self.outside { floor } else { self.outside }
    }

    /// The next leaf and its cell, unless all that is left is further than a haversine.
    pub(super) fn next_leaf(&mut self, haversine_max: f64) -> Option<(u32, Cell)> {
        loop {
            if self.floor() > haversine_max {
                return None;
            }
            if self.outside < self.waiting.floor() {
                self.climb(haversine_max);
                continue;
            }
            let Waiting { link, cell } = self.waiting.pop()?;
            match link {
                Link::Nothing => {}
                Link::Inner(inner) => self.wait_for(self.tree.quarters(inner), cell, haversine_max),
                Link::Leaf(leaf) => return Some((leaf, cell)),
            }
        }
    }

    /// Takes in the three quarters around the cell that has been taken in so far.
    fn climb(&mut self, haversine_max: f64) {
        self.depth -= 1;
        let mut links = self.tree.quarters(self.around[usize::from(self.depth)]);
        links[self.place.quarter(0, self.depth)] = Link::Nothing;
        let cell = Cell::around(self.place, self.depth);
        self.outside = if self.depth == 0 { f64::INFINITY } else { self.origin.haversine_floor_outside(cell) };
        self.wait_for(links, cell, haversine_max);
    }

    fn wait_for(&mut self, links: [Link; 4], cell: Cell, haversine_max: f64) {
        let (ruler, parts) = (self.origin.ruler(cell), cell.quarter_parts());
        for quarter in 0..links.len() {
            if links[quarter] == Link::Nothing {
                continue;
            }
            let floor = ruler.floor(parts[quarter]);
            if floor <= haversine_max {
                self.waiting.push(floor, Waiting { link: links[quarter], cell: cell.quarter(quarter) });
            }
        }
    }
}
