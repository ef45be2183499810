//! The trees of cells: which drivers are in which part of the map. There are two with the same nodes, log and lock, one
//! of the drivers that are heard of and one of the silent (see [`presence`](super::presence)).
//!
//! An inner node has a link to each quarter of its cell: to nothing, an inner node, or a leaf of up to
//! [`LEAF_DRIVERS_MAX`] drivers. A leaf that overflows becomes an inner node; siblings that have thinned out become a
//! leaf again; empty quarters have no node, so that empty space costs neither memory nor time.
//!
//! Invariants that searches rely on:
//! - At every instant a driver is in the leaf whose cell its record's position is in: a move enters the new leaf, then
//!   writes the record, then leaves the old one. In between it may be in two.
//! - An entry of a leaf stays where it is while its driver stays. A change of a link, or of who has an entry, is one store;
//!   where in the cell that driver is is stored before it.
//! - Every driver whose leaf changes is announced first (see [`moves`](super::moves)). So nodes can be used again at
//!   once: whatever a search finds in a node by a link that is no longer there was announced since it began.

use std::hint;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::cells::{DEPTH_MAX, Place};
use super::moves::{MoveLog, Watch};
use super::nodes::{EMPTY, Inner, LEAF_DRIVERS_MAX, Leaf, Link};
use super::record::{Home, Record};
use super::slab::Slab;
use super::steps::step;

/// Siblings with this many drivers together become one leaf. Half, lest a driver to and fro split and merge each time.
const MERGE_DRIVERS_MAX: usize = LEAF_DRIVERS_MAX / 2;
/// A leaf thinned out to this many is worth a look at its siblings.
const THIN_DRIVERS_MAX: usize = MERGE_DRIVERS_MAX / 2;

/// A tree of the two that share nodes, log and lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Root {
    /// Of drivers that are heard of.
    #[default]
    Heard,
    /// Of drivers that fell silent.
    Silent,
}

impl Root {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::Heard, Self::Silent];

    /// The inner node of depth 0.
    pub(super) fn node(self) -> u32 {
        self as u32
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Tree {
    inners: Slab<Inner>,
    leaves: Slab<Leaf>,
    log: MoveLog,
    numbers: Mutex<Numbers>,
}

/// Nodes in use and to be used again.
#[derive(Debug, Default)]
struct Numbers {
    inners: u32,
    inners_free: Vec<u32>,
    leaves: u32,
    leaves_free: Vec<u32>,
}

impl Tree {
    pub(super) fn new() -> Self {
        let tree = Self::default();
        for root in Root::ALL {
            tree.inners.grown_to(root.node());
        }
        tree.numbers.lock().unwrap_or_else(PoisonError::into_inner).inners = Root::ALL.len() as u32;
        tree
    }

    /// The quarters of an inner node.
    pub(super) fn quarters(&self, inner: u32) -> [Link; 4] {
        step();
        self.inners.at(inner).links()
    }

    /// One quarter of an inner node.
    pub(super) fn quarter(&self, inner: u32, quarter: usize) -> Link {
        Link::unpack(self.inners.at(inner).quarters[quarter].load(Ordering::Acquire))
    }

    /// Asks memory for a leaf, without waiting for it.
    #[inline]
    pub(super) fn touch(&self, leaf: u32) {
        hint::black_box(self.leaves.at(leaf).slots[0].load(Ordering::Relaxed));
    }

    /// Shows a search the drivers of a leaf, each with its [`Place::spot`]; it will look at those on the move by itself.
    #[inline]
    pub(super) fn visit(&self, leaf: u32, watch: &mut Watch<'_>, mut show: impl FnMut(u32, u16)) {
        let leaf = self.leaves.at(leaf);
        step();
        let slots = leaf.slots.each_ref().map(|slot| slot.load(Ordering::Acquire));
        let spots = leaf.spots.each_ref().map(|spot| spot.load(Ordering::Acquire));
        step();
        watch.catch_up();
        step();
        // Free entries are where nobody can predict them, so they are written over and not branched on.
        let (mut taken, mut count) = ([(0, 0); LEAF_DRIVERS_MAX], 0);
        for (slot, spot) in slots.into_iter().zip(spots) {
            taken[count % LEAF_DRIVERS_MAX] = (slot, spot);
            count += usize::from(slot != EMPTY);
        }
        for (slot, spot) in &taken[..count] {
            if !watch.has(*slot) {
                show(*slot, *spot);
            }
        }
    }

    /// Tells the entry of a driver, whose record the caller is writing, where in the cell it is now.
    pub(super) fn respot(&self, home: Home, spot: u16) {
        self.leaves.at(home.leaf).spots[usize::from(home.entry)].store(spot, Ordering::Release);
    }

    /// Collects the moves that a search races with.
    pub(super) fn watch(&self) -> Watch<'_> {
        self.log.watch()
    }

    /// The right to change the tree; waits while another writer has it.
    pub(super) fn edit<'a>(&'a self, records: &'a Slab<Record>) -> Edit<'a> {
        let numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        Edit { tree: self, records, numbers }
    }
}

/// One change of the tree, settled when dropped.
#[derive(Debug)]
pub(super) struct Edit<'a> {
    tree: &'a Tree,
    records: &'a Slab<Record>,
    numbers: MutexGuard<'a, Numbers>,
}

impl Drop for Edit<'_> {
    fn drop(&mut self) {
        self.tree.log.settle();
    }
}

impl Edit<'_> {
    /// Enters a driver, whose record exists, in the leaf for `place` below a root.
    pub(super) fn enter(&mut self, slot: u32, place: Place, root: Root) -> Home {
        self.tree.log.announce(slot);
        let (mut node, mut depth) = (root.node(), 0);
        loop {
            let quarter = place.quarter(slot, depth);
            depth += 1;
            let inner = self.tree.inners.at(node);
            let leaf = match inner.link(quarter) {
                Link::Inner(below) => {
                    node = below;
                    continue;
                }
                Link::Leaf(leaf) => leaf,
                Link::Nothing => self.new_leaf(),
            };
            if let Some(entry) = self.tree.leaves.at(leaf).put(slot, place.spot(depth)) {
                inner.set(quarter, Link::Leaf(leaf));
                return Home { leaf, depth, entry, root };
            }
            node = self.split(leaf, depth, root);
            inner.set(quarter, Link::Inner(node));
            self.free_leaf(leaf);
        }
    }

    /// Takes a driver, which was entered elsewhere, out of the leaf that it was in at `place`.
    pub(super) fn leave(&mut self, slot: u32, place: Place, home: Home) {
        let leaf = self.tree.leaves.at(home.leaf);
        let entry = &leaf.slots[usize::from(home.entry)];
        debug_assert_eq!(entry.load(Ordering::Relaxed), slot, "a record names the entry that its driver is in");
        entry.store(EMPTY, Ordering::Release);
        step();
        if leaf.drivers().count() <= THIN_DRIVERS_MAX {
            self.thin_out(slot, place, home);
        }
    }

    /// Makes an inner node that takes the place of a full leaf of this depth.
    fn split(&mut self, leaf: u32, depth: u8, root: Root) -> u32 {
        let node = self.new_inner();
        let (tree, records) = (self.tree, self.records);
        let inner = tree.inners.at(node);
        tree.leaves.at(leaf).drivers().for_each(|slot| tree.log.announce(slot));
        for slot in tree.leaves.at(leaf).drivers() {
            records.at(slot).rehome(|position| {
                let place = Place::new(position);
                let quarter = place.quarter(slot, depth);
                let below = match inner.link(quarter) {
                    Link::Leaf(below) => below,
                    _ => self.new_leaf(),
                };
                let home = self.settle(slot, place, Home { leaf: below, depth: depth + 1, entry: 0, root });
                inner.set(quarter, Link::Leaf(below));
                home
            });
        }
        node
    }

    /// Takes nodes out of the tree, from a leaf that has few drivers left upwards, as far as they can be done without.
    fn thin_out(&mut self, slot: u32, place: Place, home: Home) {
        let tree = self.tree;
        let mut path = [home.root.node(); DEPTH_MAX as usize];
        for depth in 0..home.depth - 1 {
            let Link::Inner(below) = tree.inners.at(path[usize::from(depth)]).link(place.quarter(slot, depth)) else {
                debug_assert!(false, "a leaf has an inner node at every depth above it");
                return;
            };
            path[usize::from(depth) + 1] = below;
        }
        if tree.leaves.at(home.leaf).drivers().next().is_none() {
            let depth = home.depth - 1;
            tree.inners.at(path[usize::from(depth)]).set(place.quarter(slot, depth), Link::Nothing);
            self.free_leaf(home.leaf);
        }
        for depth in (1..home.depth).rev() {
            let node = path[usize::from(depth)];
            let Some(merged) = self.merge(node, depth, home.root) else { return };
            tree.inners.at(path[usize::from(depth) - 1]).set(place.quarter(slot, depth - 1), merged);
            self.free_inner(node);
        }
    }

    /// What can take the place of an inner node of this depth, if that is a leaf or nothing.
    fn merge(&mut self, node: u32, depth: u8, root: Root) -> Option<Link> {
        let tree = self.tree;
        let mut slots = [EMPTY; MERGE_DRIVERS_MAX];
        let mut count = 0;
        let links = tree.inners.at(node).links();
        for link in links {
            match link {
                Link::Inner(_) => return None,
                Link::Nothing => {}
                Link::Leaf(leaf) => {
                    for slot in tree.leaves.at(leaf).drivers() {
                        *slots.get_mut(count)? = slot;
                        count += 1;
                    }
                }
            }
        }
        if count == 0 {
            return Some(Link::Nothing);
        }
        slots[..count].iter().for_each(|slot| tree.log.announce(*slot));
        let merged = self.new_leaf();
        for slot in &slots[..count] {
            self.records.at(*slot).rehome(|position| {
                self.settle(*slot, Place::new(position), Home { leaf: merged, depth, entry: 0, root })
            });
        }
        Some(Link::Leaf(merged))
    }

    /// Puts a driver in a leaf that has room for it, in the first entry that is free.
    fn settle(&self, slot: u32, place: Place, home: Home) -> Home {
        let entry = self.tree.leaves.at(home.leaf).put(slot, place.spot(home.depth));
        debug_assert!(entry.is_some(), "as many as were in one leaf have room in another");
        Home { entry: entry.unwrap_or_default(), ..home }
    }

    fn new_inner(&mut self) -> u32 {
        self.numbers.inners_free.pop().unwrap_or_else(|| {
            let node = self.numbers.inners;
            self.numbers.inners += 1;
            self.tree.inners.grown_to(node);
            node
        })
    }

    fn new_leaf(&mut self) -> u32 {
        self.numbers.leaves_free.pop().unwrap_or_else(|| {
            let leaf = self.numbers.leaves;
            self.numbers.leaves += 1;
            self.tree.leaves.grown_to(leaf);
            leaf
        })
    }

    /// Keeps a node that no link leads to any more, and the leaves below it, for use again.
    fn free_inner(&mut self, node: u32) {
        let inner = self.tree.inners.at(node);
        for (quarter, link) in inner.links().into_iter().enumerate() {
            if let Link::Leaf(leaf) = link {
                self.free_leaf(leaf);
            }
            inner.set(quarter, Link::Nothing);
        }
        self.numbers.inners_free.push(node);
    }

    fn free_leaf(&mut self, leaf: u32) {
        self.tree.leaves.at(leaf).slots.iter().for_each(|entry| entry.store(EMPTY, Ordering::Release));
        step();
        self.numbers.leaves_free.push(leaf);
    }
}

#[cfg(test)]
impl Tree {
    /// Checks that the tree holds `drivers` in the leaves of their records and positions, and no node too many.
    pub(super) fn check(&self, records: &Slab<Record>, drivers: u32) {
        let numbers = self.numbers.lock().unwrap();
        let (mut inners, mut leaves, mut seen) = (2, 0, vec![false; drivers as usize]);
        let quarters = Root::ALL.into_iter().flat_map(|root| (0..4).map(move |quarter| (root, quarter)));
        let mut rest: Vec<_> =
            quarters.map(|(root, quarter)| (root, root.node(), quarter, super::cells::Cell::ROOT, 0_u8)).collect();
        while let Some((root, node, quarter, cell, depth)) = rest.pop() {
            let (cell, depth) = (cell.quarter(quarter), depth + 1);
            match self.inners.at(node).link(quarter) {
                Link::Nothing => {}
                Link::Inner(below) => {
                    inners += 1;
                    assert_ne!(self.quarters(below), [Link::Nothing; 4]);
                    rest.extend((0..4).map(|quarter| (root, below, quarter, cell, depth)));
                }
                Link::Leaf(leaf) => {
                    leaves += 1;
                    assert_ne!(self.leaves.at(leaf).drivers().count(), 0);
                    for slot in self.leaves.at(leaf).drivers() {
                        assert!(!std::mem::replace(&mut seen[slot as usize], true));
                        let (home, position) = (records.at(slot).home(), records.at(slot).position());
                        assert_eq!((home.leaf, home.depth, home.root), (leaf, depth, root));
                        let entry = usize::from(home.entry);
                        assert_eq!(self.leaves.at(leaf).slots[entry].load(Ordering::Relaxed), slot);
                        let spot = self.leaves.at(leaf).spots[entry].load(Ordering::Relaxed);
                        assert_eq!(spot, Place::new(position).spot(depth));
                        assert!(cell.bounds().contains(position));
                    }
                }
            }
        }
        assert!(seen.into_iter().all(|seen| seen));
        assert_eq!(inners, numbers.inners - numbers.inners_free.len() as u32);
        assert_eq!(leaves, numbers.leaves - numbers.leaves_free.len() as u32);
    }
}
