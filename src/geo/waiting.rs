//! The cells that a search has still to look at, the nearest first.
//!
//! They are a dozen or two in nearly every search, and then the nearest is found fastest by looking at all: a heap
//! branches on what nobody can predict. Only where they are many the further ones go to a heap.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::cells::Cell;
use super::nodes::Link;

/// Cells to look at one by one.
const NEAR_MAX: usize = 64;

/// A part of the tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) link: Link,
    pub(super) cell: Cell,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct WaitingCells {
    /// Floors of the haversines to the cells in `near`.
    floors: Vec<f64>,
    near: Vec<Waiting>,
    far: BinaryHeap<Far>,
}

impl WaitingCells {
    /// The lowest floor; infinite if none waits.
    pub(super) fn floor(&self) -> f64 {
        let far = self.far.peek().map_or(f64::INFINITY, |far| far.floor);
        self.floors.iter().fold(far, |lowest, floor| if *floor < lowest { *floor } else { lowest })
    }

    pub(super) fn push(&mut self, floor: f64, waiting: Waiting) {
        if self.floors.len() == NEAR_MAX {
            self.move_to_far();
        }
        self.floors.push(floor);
        self.near.push(waiting);
    }

    /// The one with the lowest floor.
    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let (mut lowest, mut at) = (f64::INFINITY, 0);
        for (index, floor) in self.floors.iter().enumerate() {
            (lowest, at) = if *floor < lowest { (*floor, index) } else { (lowest, at) };
        }
        if self.far.peek().is_some_and(|far| far.floor < lowest) {
            return self.far.pop().map(|far| far.waiting);
        }
        if self.floors.is_empty() {
            return None;
        }
        self.floors.swap_remove(at);
        Some(self.near.swap_remove(at))
    }

    /// Any inner node among the near with a floor up to `reach`.
    pub(super) fn pop_inner(&mut self, reach: f64) -> Option<Waiting> {
        let is_due = |(floor, waiting): (&f64, &Waiting)| *floor <= reach && matches!(waiting.link, Link::Inner(_));
        let at = self.floors.iter().zip(&self.near).position(is_due)?;
        self.floors.swap_remove(at);
        Some(self.near.swap_remove(at))
    }

    /// Leaves among the near with a floor up to `reach`.
    pub(super) fn leaves_within(&self, reach: f64) -> impl Iterator<Item = u32> + '_ {
        self.floors.iter().zip(&self.near).filter_map(move |(floor, waiting)| match waiting.link {
            Link::Leaf(leaf) if *floor <= reach => Some(leaf),
            _ => None,
        })
    }

    fn move_to_far(&mut self) {
        let far = self.floors.drain(..).zip(self.near.drain(..)).map(|(floor, waiting)| Far { floor, waiting });
        self.far.extend(far);
    }

    pub(super) fn clear(&mut self) {
        self.floors.clear();
        self.near.clear();
        self.far.clear();
    }

    /// Cells that there is memory for.
    pub(super) fn capacity(&self) -> usize {
        self.near.capacity() + self.far.capacity()
    }
}

/// The greater the lower its floor.
#[derive(Clone, Copy, Debug)]
struct Far {
    floor: f64,
    waiting: Waiting,
}

impl Ord for Far {
    fn cmp(&self, other: &Self) -> Ordering {
        other.floor.total_cmp(&self.floor)
    }
}

impl PartialOrd for Far {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Far {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Far {}
