//! The tree of cells: which drivers are in which part of the map.
//!
//! An inner node has a link to each quarter of its cell: to nothing, an inner node, or a leaf of up to
//! [`LEAF_DRIVERS_MAX`] drivers. A leaf that overflows becomes an inner node; siblings that have thinned out become a
//! leaf again; empty quarters have no node, so that empty space costs neither memory nor time.
//!
//! Invariants that searches rely on:
//! - At every instant a driver is in the leaf whose cell its record's position is in: a move enters the new leaf, then
//!   writes the record, then leaves the old one. In between it may be in two.
//! - An entry of a leaf stays where it is while its driver stays. Each change of an entry or a link is one store.
//! - Every driver whose leaf changes is announced first (see [`moves`](super::moves)). So nodes can be used again at
//!   once: whatever a search finds in a node by a link that is no longer there was announced since it began.

use std::array;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::cells::{DEPTH_MAX, Place};
use super::moves::{MoveLog, Watch};
use super::record::{Home, Record};
use super::slab::Slab;

/// Drivers in a leaf, which then is one cache line.
pub(super) const LEAF_DRIVERS_MAX: usize = 16;
/// Siblings with this many drivers together become one leaf. Half, lest a driver to and fro split and merge each time.
const MERGE_DRIVERS_MAX: usize = LEAF_DRIVERS_MAX / 2;
/// A leaf thinned out to this many is worth a look at its siblings.
const THIN_DRIVERS_MAX: usize = MERGE_DRIVERS_MAX / 4;

const ROOT: u32 = 0;
const EMPTY: u32 = u32::MAX;

/// What is in a quarter of an inner node's cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Nothing,
    Inner(u32),
    Leaf(u32),
}

impl Link {
    /// Even is an inner node, odd a leaf. Zero would be the root, which is nobody's quarter.
    fn unpack(word: u32) -> Self {
        match (word >> 1, word & 1) {
            (ROOT, 0) => Self::Nothing,
            (node, 0) => Self::Inner(node),
            (node, _) => Self::Leaf(node),
        }
    }

    fn pack(self) -> u32 {
        match self {
            Self::Nothing => ROOT,
            Self::Inner(node) => node << 1,
            Self::Leaf(node) => node << 1 | 1,
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    quarters: [AtomicU32; 4],
}

impl Inner {
    fn links(&self) -> [Link; 4] {
        self.quarters.each_ref().map(|word| Link::unpack(word.load(Ordering::Acquire)))
    }

    fn link(&self, quarter: usize) -> Link {
        Link::unpack(self.quarters[quarter].load(Ordering::Relaxed))
    }

    fn set(&self, quarter: usize, link: Link) {
        self.quarters[quarter].store(link.pack(), Ordering::Release);
    }
}

#[derive(Debug)]
#[repr(align(64))]
struct Leaf {
    entries: [AtomicU32; LEAF_DRIVERS_MAX],
}

impl Default for Leaf {
    fn default() -> Self {
        Self { entries: array::from_fn(|_| AtomicU32::new(EMPTY)) }
    }
}

impl Leaf {
    fn drivers(&self) -> impl Iterator<Item = u32> + '_ {
        self.entries.iter().map(|entry| entry.load(Ordering::Acquire)).filter(|slot| *slot != EMPTY)
    }

    /// Puts `new` in place of the first `old`, if there is one.
    fn replace(&self, old: u32, new: u32) -> bool {
        let entry = self.entries.iter().find(|entry| entry.load(Ordering::Relaxed) == old);
        entry.map(|entry| entry.store(new, Ordering::Release)).is_some()
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
        tree.inners.grown_to(ROOT);
        tree.numbers.lock().unwrap_or_else(PoisonError::into_inner).inners = ROOT + 1;
        tree
    }

    /// Where every search begins.
    pub(super) fn root(&self) -> [Link; 4] {
        self.quarters(ROOT)
    }

    /// The quarters of an inner node.
    pub(super) fn quarters(&self, inner: u32) -> [Link; 4] {
        self.inners.at(inner).links()
    }

    /// The drivers that a search has to look at in a leaf; it will look at those on the move by itself.
    pub(super) fn drivers<'a>(&self, leaf: u32, watch: &'a mut Watch<'_>) -> impl Iterator<Item = u32> + use<'a> {
        let slots = self.leaves.at(leaf).entries.each_ref().map(|entry| entry.load(Ordering::Acquire));
        watch.catch_up();
        let watch = &*watch;
        slots.into_iter().filter(|slot| *slot != EMPTY && !watch.has(*slot))
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
    /// Enters a driver, whose record exists, in the leaf for `place`.
    pub(super) fn enter(&mut self, slot: u32, place: Place) -> Home {
        self.tree.log.announce(slot);
        let (mut node, mut depth) = (ROOT, 0);
        loop {
            let quarter = place.quarter(slot, depth);
            depth += 1;
            let inner = self.tree.inners.at(node);
            match inner.link(quarter) {
                Link::Inner(below) => node = below,
                Link::Leaf(leaf) if self.tree.leaves.at(leaf).replace(EMPTY, slot) => return Home { leaf, depth },
                Link::Leaf(leaf) => {
                    node = self.split(leaf, depth);
                    inner.set(quarter, Link::Inner(node));
                    self.free_leaf(leaf);
                }
                Link::Nothing => {
                    let leaf = self.new_leaf();
                    self.tree.leaves.at(leaf).replace(EMPTY, slot);
                    inner.set(quarter, Link::Leaf(leaf));
                    return Home { leaf, depth };
                }
            }
        }
    }

    /// Takes a driver, which was entered elsewhere, out of the leaf that it was in at `place`.
    pub(super) fn leave(&mut self, slot: u32, place: Place, home: Home) {
        let leaf = self.tree.leaves.at(home.leaf);
        let was_there = leaf.replace(slot, EMPTY);
        debug_assert!(was_there, "a record names the leaf that its driver is in");
        if leaf.drivers().count() <= THIN_DRIVERS_MAX {
            self.thin_out(slot, place, home);
        }
    }

    /// Makes an inner node that takes the place of a full leaf of this depth.
    fn split(&mut self, leaf: u32, depth: u8) -> u32 {
        let node = self.new_inner();
        let (tree, records) = (self.tree, self.records);
        let inner = tree.inners.at(node);
        tree.leaves.at(leaf).drivers().for_each(|slot| tree.log.announce(slot));
        for slot in tree.leaves.at(leaf).drivers() {
            records.at(slot).rehome(|position| {
                let quarter = Place::new(position).quarter(slot, depth);
                let below = match inner.link(quarter) {
                    Link::Leaf(below) => below,
                    _ => self.new_leaf(),
                };
                tree.leaves.at(below).replace(EMPTY, slot);
                inner.set(quarter, Link::Leaf(below));
                Home { leaf: below, depth: depth + 1 }
            });
        }
        node
    }

    /// Takes nodes out of the tree, from a leaf that has few drivers left upwards, as far as they can be done without.
    fn thin_out(&mut self, slot: u32, place: Place, home: Home) {
        let tree = self.tree;
        let mut path = [ROOT; DEPTH_MAX as usize];
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
            let Some(merged) = self.merge(node, depth) else { return };
            tree.inners.at(path[usize::from(depth) - 1]).set(place.quarter(slot, depth - 1), merged);
            self.free_inner(node);
        }
    }

    /// What can take the place of an inner node of this depth, if that is a leaf or nothing.
    fn merge(&mut self, node: u32, depth: u8) -> Option<Link> {
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
            tree.leaves.at(merged).replace(EMPTY, *slot);
            self.records.at(*slot).rehome(|_| Home { leaf: merged, depth });
        }
        Some(Link::Leaf(merged))
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
        self.tree.leaves.at(leaf).entries.iter().for_each(|entry| entry.store(EMPTY, Ordering::Release));
        self.numbers.leaves_free.push(leaf);
    }
}

#[cfg(test)]
impl Tree {
    /// Checks that the tree holds `drivers` in the leaves of their records and positions, and no node too many.
    pub(super) fn check(&self, records: &Slab<Record>, drivers: u32) {
        let numbers = self.numbers.lock().unwrap();
        let (mut inners, mut leaves, mut seen) = (1, 0, vec![false; drivers as usize]);
        let mut rest: Vec<_> = (0..4).map(|quarter| (ROOT, quarter, super::cells::Cell::ROOT, 0_u8)).collect();
        while let Some((node, quarter, cell, depth)) = rest.pop() {
            let (cell, depth) = (cell.quarter(quarter), depth + 1);
            match self.inners.at(node).link(quarter) {
                Link::Nothing => {}
                Link::Inner(below) => {
                    inners += 1;
                    assert_ne!(self.quarters(below), [Link::Nothing; 4]);
                    rest.extend((0..4).map(|quarter| (below, quarter, cell, depth)));
                }
                Link::Leaf(leaf) => {
                    leaves += 1;
                    assert_ne!(self.leaves.at(leaf).drivers().count(), 0);
                    for slot in self.leaves.at(leaf).drivers() {
                        assert!(!std::mem::replace(&mut seen[slot as usize], true));
                        assert_eq!(records.at(slot).home(), Home { leaf, depth });
                        assert!(cell.bounds().contains(records.at(slot).position()));
                    }
                }
            }
        }
        assert!(seen.into_iter().all(|seen| seen));
        assert_eq!(inners, numbers.inners - numbers.inners_free.len() as u32);
        assert_eq!(leaves, numbers.leaves - numbers.leaves_free.len() as u32);
    }
}
