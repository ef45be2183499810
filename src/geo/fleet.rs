//! One tenant's drivers: joined once, then moved by the shard that each belongs to, and read by anybody.

use std::hint;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::cells::Place;
use super::names::Names;
use super::presence::Presence;
use super::profiles::Profiles;
use super::record::{Home, Record};
use super::slab::Slab;
use super::tree::{Root, Tree};
use crate::fix::Fix;
use crate::ids::DriverKey;

/// Drivers that a fleet can have, by the numbers that its slots have.
const DRIVERS_MAX: u32 = 1 << 31;

/// A driver's place in its fleet. It means nothing in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(u32);

/// See the module.
#[derive(Debug)]
pub struct Fleet {
    names: Names,
    pub(super) records: Slab<Record>,
    pub(super) tree: Tree,
    pub(super) profiles: Profiles,
    pub(super) presence: Presence,
    drivers: AtomicU32,
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            names: Names::default(),
            records: Slab::default(),
            tree: Tree::new(),
            profiles: Profiles::default(),
            presence: Presence::default(),
            drivers: AtomicU32::new(0),
        }
    }
}

impl Fleet {
    /// Takes a driver into the fleet, or moves it there if it is in it already. Waits for other joins, and for readers
    /// who look up a name.
    ///
    /// # Panics
    /// With two thousand million drivers.
    pub fn join(&self, driver: Arc<DriverKey>, fix: &Fix) -> Slot {
        let name = Arc::clone(&driver);
        let (slot, is_new) = self.names.slot_or_place(name.driver().as_str(), || self.place(driver, fix));
        if is_new {
            self.take_expected(name.driver().as_str(), slot);
        } else {
            self.update(Slot(slot), fix);
        }
        Slot(slot)
    }

    fn place(&self, driver: Arc<DriverKey>, fix: &Fix) -> u32 {
        let mut edit = self.tree.edit(&self.records);
        let slot = self.drivers.load(Ordering::Relaxed);
        assert!(slot < DRIVERS_MAX, "a fleet is full");
        self.names.set(slot, driver);
        let record = self.records.grown_to(slot);
        let root = self.presence.root_of(fix.received_at);
        record.write(fix, Home { root, ..Home::default() });
        let home = edit.enter(slot, Place::new(fix.position), root);
        record.rehome(|_| home);
        // Before the lock is given back: the next to join takes the number behind.
        self.drivers.store(slot + 1, Ordering::Release);
        drop(edit);
        if root == Root::Heard {
            self.presence.arm(slot, record, fix.received_at);
        }
        slot
    }

    /// Makes this the driver's latest fix. Never waits for readers; for other writers only if the driver changes its
    /// cell, or comes back after a silence. Whether the fix is newer than the one before is the caller's to know.
    pub fn update(&self, slot: Slot, fix: &Fix) {
        let record = self.records.at(slot.0);
        if !self.write_in_cell(record, fix, || self.presence.root_of(fix.received_at)) {
            self.relocate(slot.0, record, fix);
        }
    }

    fn write_in_cell(&self, record: &Record, fix: &Fix, root: impl FnOnce() -> Root) -> bool {
        record.write_in_cell(fix, root, |home, spot| self.tree.respot(home, spot))
    }

    fn relocate(&self, slot: u32, record: &Record, fix: &Fix) {
        let mut edit = self.tree.edit(&self.records);
        // Asked once: between two answers a driver may have come to count as silent, and would enter the leaf it is in.
        let root = self.presence.root_of(fix.received_at);
        // The cell may have become another since; under the lock it stays.
        if self.write_in_cell(record, fix, || root) {
            return;
        }
        let (old_home, old_place) = (record.home(), Place::new(record.position()));
        let home = edit.enter(slot, Place::new(fix.position), root);
        record.write(fix, home);
        edit.leave(slot, old_place, old_home);
        drop(edit);
        if (old_home.root, root) == (Root::Silent, Root::Heard) {
            self.presence.came_back(slot, record, fix.received_at);
        }
    }

    /// A driver's latest fix; `None` if it never joined.
    pub fn latest(&self, driver: &str) -> Option<Fix> {
        self.names.slot(driver).map(|slot| self.records.at(slot).fix())
    }

    /// The driver that joined as the `number`th, counted from 0, with its latest fix; `None` if there are not so many.
    pub fn nth(&self, number: usize) -> Option<(Arc<DriverKey>, Fix)> {
        let slot = u32::try_from(number).ok().filter(|slot| self.slots().contains(slot))?;
        Some((Arc::clone(self.driver(slot)), self.records.at(slot).fix()))
    }

    /// How many drivers have joined.
    pub fn len(&self) -> usize {
        self.slots().len()
    }

    /// Whether nobody has joined.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The slot of a driver that joined.
    pub(super) fn slot(&self, driver: &str) -> Option<u32> {
        self.names.slot(driver)
    }

    pub(super) fn slots(&self) -> std::ops::Range<u32> {
        0..self.drivers.load(Ordering::Acquire)
    }

    /// Asks memory for a driver's record, without waiting for it.
    #[inline]
    pub(super) fn touch_record(&self, slot: u32) {
        hint::black_box(self.records.at(slot).position());
    }

    /// Asks memory for a driver's name, without waiting for it.
    #[inline]
    pub(super) fn touch_name(&self, slot: u32) {
        self.names.touch(slot);
    }

    pub(super) fn driver(&self, slot: u32) -> &Arc<DriverKey> {
        self.names.driver(slot)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
    use std::thread;
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;
    use crate::geo::testing::{bare, fix, fix_at, key, mixed_key};
    use crate::geo::{Area, Nearest};
    use crate::units::{Position, TimestampMs};

    #[test]
    fn whoever_joins_again_keeps_the_slot() {
        let fleet = Fleet::default();
        assert!(fleet.is_empty() && fleet.latest("d1").is_none());
        let slot = fleet.join(key("d1"), &fix_at(1.0, 2.0));
        assert_eq!(fleet.join(key("d1"), &fix_at(-50.0, 2.0)), slot);
        assert_eq!((fleet.len(), fleet.latest("d1")), (1, Some(fix_at(-50.0, 2.0))));
        assert_eq!(fleet.latest("d2"), None);
    }

    #[test]
    fn who_joins_at_the_same_time_gets_another_slot() {
        const EACH: usize = 5_000;
        let fleet = Fleet::default();
        thread::scope(|scope| {
            for half in 0..2 {
                let fleet = &fleet;
                scope.spawn(move || {
                    for driver in half * EACH..(half + 1) * EACH {
                        fleet.join(mixed_key(driver), &fix_at(52.0, driver as f64 / 1_000.0));
                    }
                });
            }
        });
        assert_eq!(fleet.len(), 2 * EACH);
        for driver in 0..2 * EACH {
            let key = mixed_key(driver);
            assert_eq!(fleet.latest(key.driver().as_str()), Some(fix_at(52.0, driver as f64 / 1_000.0)));
        }
        fleet.tree.check(&fleet.records, 2 * EACH as u32);
    }

    proptest! {
        #[test]
        fn the_latest_fix_comes_back_equal(first in fix(), second in fix()) {
            let fleet = Fleet::default();
            let slot = fleet.join(key("d1"), &first);
            prop_assert_eq!(fleet.latest("d1"), Some(first));
            fleet.update(slot, &second);
            prop_assert_eq!(fleet.latest("d1"), Some(second));
        }
    }

    const DRIVERS: usize = 300;
    const STANDING: usize = 40;

    /// The place of a driver at a time, of no other driver or time: on the move through a small town, with some jumps
    /// to another continent.
    fn place_at(driver: usize, step: i64) -> Position {
        let mixed = (step as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) ^ (driver as u64) << 32;
        let mixed = mixed.wrapping_mul(0xff51_afd7_ed55_8ccd);
        let (north, east) = ((mixed >> 20) as i32 & 0xf_ffff, (mixed >> 42) as i32 & 0xf_ffff);
        let far = if mixed & 0x1f == 0 { -900_000_000 } else { 0 };
        Position { latitude_e7: 520_000_000 + far + north, longitude_e7: 210_000_000 + far + east }
    }

    fn fix_of(driver: usize, step: i64) -> Fix {
        if driver < STANDING {
            return bare(place_at(driver, 0), 0);
        }
        let received_at = TimestampMs(step * 1_000);
        Fix { seq: Some(step as u32), received_at, ..bare(place_at(driver, step), step) }
    }

    /// Two writers hammer their halves of the fleet, and drivers fall silent and come back, while readers look: whoever is
    /// in the fleet is found, once, with a place and a time that belong together.
    #[test]
    fn no_reader_loses_a_driver_or_tears_a_fix() {
        let fleet = Fleet::default();
        let slots: Vec<_> = (0..DRIVERS).map(|driver| fleet.join(mixed_key(driver), &fix_of(driver, 0))).collect();
        let numbers: std::collections::HashMap<_, _> =
            (0..DRIVERS).map(|driver| (mixed_key(driver).driver().clone(), driver)).collect();
        let checked = |found: Vec<(Arc<DriverKey>, Fix)>, count: Option<usize>| {
            let mut seen = HashSet::new();
            for (key, fix) in &found {
                let driver = numbers[key.driver()];
                assert_eq!(*fix, fix_of(driver, fix.time.0), "torn");
                assert!(seen.insert(driver), "{driver} twice");
            }
            assert!(count.is_none_or(|count| count == seen.len()), "{} of {count:?}", seen.len());
            seen
        };
        let (stopped, writes, reads) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        let (latest_step, silenced) = (AtomicI64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for writer in 0..2 {
                let (slots, fleet, stopped, writes) = (&slots, &fleet, &stopped, &writes);
                let (latest_step, silenced) = (&latest_step, &silenced);
                scope.spawn(move || {
                    for step in 1.. {
                        for driver in (STANDING..DRIVERS).filter(|driver| driver % 2 == writer) {
                            fleet.update(slots[driver], &fix_of(driver, step));
                            writes.fetch_add(1, Ordering::Relaxed);
                        }
                        latest_step.fetch_max(step, Ordering::Relaxed);
                        if writer == 0 {
                            // All fall silent, and return with their next fix.
                            let online_since = TimestampMs((step + 1) * 1_000);
                            silenced.fetch_add(fleet.advance(online_since).drivers.len() as u64, Ordering::Relaxed);
                        }
                        if stopped.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                });
            }
            let readers: Vec<_> = (0..2)
                .map(|reader| {
                    let (fleet, reads, checked, latest_step) = (&fleet, &reads, &checked, &latest_step);
                    scope.spawn(move || {
                        let end = Instant::now() + Duration::from_millis(1_200);
                        let world = Area::bounding_box(-180.0, -90.0, 180.0, 90.0).unwrap();
                        for turn in reader.. {
                            if Instant::now() > end {
                                break;
                            }
                            let standing = turn % STANDING;
                            let position = place_at(standing, 0);
                            let query = |limit| Nearest::new(position, limit);
                            let nearest = |limit| -> Vec<_> {
                                let found = fleet.nearest(&query(limit));
                                assert!(found.is_sorted_by(|one, other| one.distance_m <= other.distance_m));
                                found.into_iter().map(|one| (Arc::clone(one.driver), one.fix)).collect()
                            };
                            assert!(checked(nearest(3), Some(3)).contains(&standing), "a driver that stands is lost");
                            checked(nearest(DRIVERS), Some(DRIVERS));
                            let since = TimestampMs(latest_step.load(Ordering::Relaxed) * 1_000);
                            let online = fleet.nearest(&Nearest { received_since: Some(since), ..query(DRIVERS) });
                            assert!(online.iter().all(|one| one.fix.received_at >= since));
                            assert_eq!(fleet.count_within(&world), DRIVERS);
                            let within = fleet.within(&world, usize::MAX);
                            checked(within.into_iter().map(|one| (one.driver, one.fix)).collect(), Some(DRIVERS));
                            let driver = mixed_key(turn % DRIVERS);
                            let latest = fleet.latest(driver.driver().as_str()).unwrap();
                            checked(vec![(driver, latest)], Some(1));
                            reads.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            let results: Vec<_> = readers.into_iter().map(|reader| reader.join()).collect();
            stopped.store(true, Ordering::Relaxed);
            assert!(results.into_iter().all(|result| result.is_ok()));
        });
        fleet.tree.check(&fleet.records, DRIVERS as u32);
        assert!(reads.into_inner() > 10 && writes.into_inner() > 1_000);
        assert!(silenced.into_inner() > 100 && fleet.returns() > 100);
    }
}
