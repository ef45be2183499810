//! Leaves of the tree, the nearest first: what a search has still before it.
//!
//! The way begins at the cell of the place asked for, which the bits of the place lead to, and goes up from there only
//! as far as needed: as long as nothing outside the cell can be nearer than what waits inside, the rest of the map is
//! not looked at. A cell waits under a floor of the distance to it.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::cells::{Cell, DEPTH_OF_PLACE, Place};
use super::distance::Origin;
use super::tree::{Link, Root, Tree};

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
    waiting: &'a mut BinaryHeap<Waiting>,
}

impl<'a> Frontier<'a> {
    /// All leaves below a root. `waiting` is for the memory that it has, whatever it holds.
    pub(super) fn new(tree: &'a Tree, root: Root, origin: &'a Origin, waiting: &'a mut BinaryHeap<Waiting>) -> Self {
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
        waiting.push(Waiting { floor: 0.0, link, cell });
        Self { tree, origin, place, around, depth, outside: origin.haversine_floor_outside(cell), waiting }
    }

    /// A floor of the haversine to all that is left.
    pub(super) fn floor(&self) -> f64 {
        self.waiting
            .peek()
            .map_or(self.outside, |first| if first.floor < self.outside { first.floor } else { self.outside })
    }

    /// The next leaf and its cell, unless all that is left is further than a haversine.
    pub(super) fn next_leaf(&mut self, haversine_max: f64) -> Option<(u32, Cell)> {
        while self.floor() <= haversine_max {
            let Some(Waiting { link, cell, .. }) = self.pop_before_outside() else {
                self.climb(haversine_max);
                continue;
            };
            match link {
                Link::Nothing => {}
                Link::Inner(inner) => self.wait_for(self.tree.quarters(inner), cell, haversine_max),
                Link::Leaf(leaf) => return Some((leaf, cell)),
            }
        }
        None
    }

    fn pop_before_outside(&mut self) -> Option<Waiting> {
        if self.waiting.peek()?.floor <= self.outside { self.waiting.pop() } else { None }
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
        let floors = self.origin.ruler(cell).floors(cell.quarter_parts());
        for quarter in 0..links.len() {
            let (link, floor) = (links[quarter], floors[quarter]);
            if link != Link::Nothing && floor <= haversine_max {
                self.waiting.push(Waiting { floor, link, cell: cell.quarter(quarter) });
            }
        }
    }
}

/// A part of the tree, the greater the lower the floor of its haversine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    floor: f64,
    link: Link,
    cell: Cell,
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        // Floors are never below zero, and so ordered as their bits are.
        other.floor.to_bits().cmp(&self.floor.to_bits())
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Waiting {}
