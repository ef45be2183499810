//! The log of moves: how a search that races with drivers on the move loses none and reports none twice.
//!
//! A search walks the tree while drivers change leaves, so one that moves from where the search has yet to look to
//! where it has looked already would be lost, and the other way round be seen twice. Therefore everything that
//! changes the leaf of a driver (a join, a move, a split, a merge) *announces* the driver here before the first store
//! of the change, and *settles* after the last. Changes are made one at a time, under the tree's lock.
//!
//! A search takes what was settled when it began and collects what is announced from there until it ends.
//! - A driver that was not announced in that time was all the time in one leaf, in one entry of it, below the same
//!   inner nodes, and its position was in that leaf's cell: it is seen once if the search comes to that leaf, and if
//!   it does not, the driver is further away than what was found.
//! - A driver that was announced is taken from its record, where its position always is, wherever it is in the tree.
//!
//! Entries and links are stored with release and loaded with acquire, after the announcement and before the log is
//! read: whoever sees any part of a change sees its announcement. So what a search meets in a leaf is either of the
//! first kind or known to be of the second, even if the leaf was taken out of the tree and serves elsewhere by now.
//!
//! A leaf's entry holds two words, a slot and where in the cell its driver is. The second changes by itself while the driver
//! stays in the cell: its writer stores the record, then the entry, both within the record's sequence, so that it can be
//! no other leaf's entry by then. A search may read the entry before that and the record after it, or pass over the driver
//! by where it was: then the update had not returned when the search began (what returned before, the search sees), and
//! either place is one that the driver had while the search went on. A slot read with the place of another driver, who
//! took over the entry, is of the second kind: both are announced before either word is stored.
//!
//! The log is a ring. A search that slept while it went around knows it, and looks through all records instead.

use std::array;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::steps::step;

/// Announcements that a search may be behind; at 100,000 moves a second a sleep of 10 ms.
const RING: usize = 1_024;

/// See the module.
#[derive(Debug)]
pub(super) struct MoveLog {
    announced: AtomicU64,
    settled: AtomicU64,
    ring: Box<[AtomicU32; RING]>,
}

impl Default for MoveLog {
    fn default() -> Self {
        Self {
            announced: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            ring: Box::new(array::from_fn(|_| AtomicU32::new(0))),
        }
    }
}

impl MoveLog {
    /// Says that the driver of `slot` is about to change its leaf. Only for whoever holds the tree's lock.
    pub(super) fn announce(&self, slot: u32) {
        let number = self.announced.load(Ordering::Relaxed);
        // Release: who reads this entry knows of all announcements before, and so how far the ring has come.
        self.ring[number as usize % RING].store(slot, Ordering::Release);
        self.announced.store(number + 1, Ordering::Release);
        step();
    }

    /// Says that all that was announced is done. Only for whoever holds the tree's lock.
    pub(super) fn settle(&self) {
        step();
        self.settled.store(self.announced.load(Ordering::Relaxed), Ordering::Release);
    }

    /// Collects announcements from now on.
    pub(super) fn watch(&self) -> Watch<'_> {
        Watch { log: self, next: self.settled.load(Ordering::Acquire), moved: HashSet::default(), overrun: false }
    }
}

/// The drivers that changed their leaf since a search began.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    log: &'a MoveLog,
    next: u64,
    moved: HashSet<u32, foldhash::fast::RandomState>,
    overrun: bool,
}

impl Watch<'_> {
    /// Reads what was announced since the last time.
    pub(super) fn catch_up(&mut self) {
        while self.next < self.log.announced.load(Ordering::Acquire) && !self.overrun {
            let slot = self.log.ring[self.next as usize % RING].load(Ordering::Acquire);
            self.overrun = self.log.announced.load(Ordering::Relaxed) - self.next >= RING as u64;
            self.moved.insert(slot);
            self.next += 1;
        }
    }

    /// Whether a driver that was met in a leaf is to be passed over there, because its record will be looked at.
    pub(super) fn has(&self, slot: u32) -> bool {
        !self.moved.is_empty() && self.moved.contains(&slot)
    }

    /// Ends the watch: what is left to look at in the records, besides what was `found`.
    pub(super) fn finish(mut self, found: impl Iterator<Item = u32>) -> Remainder {
        step();
        self.catch_up();
        step();
        if self.overrun {
            return Remainder::Everything;
        }
        if !self.moved.is_empty() {
            for slot in found {
                self.moved.remove(&slot);
            }
        }
        Remainder::These(self.moved)
    }
}

/// What a search has not seen in the tree.
#[derive(Debug)]
pub(super) enum Remainder {
    /// Drivers that moved meanwhile.
    These(HashSet<u32, foldhash::fast::RandomState>),
    /// The log went around: what was found is void, and every record is to be looked at.
    Everything,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_holds_what_was_not_settled_before_it() {
        let log = MoveLog::default();
        log.announce(1);
        log.settle();
        log.announce(2);
        let mut watch = log.watch();
        watch.catch_up();
        log.announce(3);
        log.announce(4);
        assert!(!watch.has(1) && watch.has(2) && !watch.has(3));
        let Remainder::These(rest) = watch.finish([3].into_iter()) else { panic!("not that many") };
        assert_eq!(rest, HashSet::from_iter([2, 4]));
    }

    #[test]
    fn a_watch_knows_when_the_ring_went_around() {
        for (announced, overrun) in [(RING - 1, false), (RING, true), (5 * RING, true)] {
            let log = MoveLog::default();
            let watch = log.watch();
            (0..announced as u32).for_each(|slot| log.announce(slot));
            assert_eq!(matches!(watch.finish([].into_iter()), Remainder::Everything), overrun, "{announced}");
        }
    }
}
