//! Who is heard of and who fell silent, and what else is known of drivers besides their fixes.
//!
//! Drivers that fell silent are in a tree of their own, so that a depot full of trackers that are switched off costs a
//! search for those on the road nothing. Whoever is in it was last heard of before [`Presence::silent_before`]; so a search
//! for drivers that were heard of since leaves it out, and any other looks into both trees. The filters of a search look
//! at the receive time in the record, so none depends on how far the wheel has come.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::cells::Place;
use super::fleet::Fleet;
use super::profiles::TooManyTagSets;
use super::record::{Record, Traits};
use super::tree::Root;
use super::wheel::{TICK_MS, Wheel};
use crate::ids::{DriverId, DriverKey};
use crate::units::TimestampMs;

/// Drivers that one [`Fleet::advance`] looks at, at most: about a millisecond.
pub const LOOKS_MAX: usize = 4_096;

/// What one call of [`Fleet::advance`] found.
#[derive(Clone, Debug, Default)]
pub struct Silenced {
    /// Drivers that have fallen silent since the last call, in no order.
    pub drivers: Vec<Arc<DriverKey>>,
    /// Whether all that was due has been looked at; if not, call again.
    pub is_done: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Presence {
    wheel: Mutex<Wheel>,
    /// Milliseconds; only ever grows.
    silent_before: AtomicI64,
    returns: AtomicU64,
    /// Of drivers that have not joined yet.
    expected: Mutex<HashMap<DriverId, Traits>>,
}

impl Default for Presence {
    fn default() -> Self {
        Self {
            wheel: Mutex::default(),
            silent_before: AtomicI64::new(i64::MIN),
            returns: AtomicU64::new(0),
            expected: Mutex::default(),
        }
    }
}

impl Presence {
    /// The tree for a driver whose latest fix was received then.
    pub(super) fn root_of(&self, received_at: TimestampMs) -> Root {
        if received_at < self.silent_before() { Root::Silent } else { Root::Heard }
    }

    /// All in the tree of the silent were received before; read after a watch began.
    pub(super) fn silent_before(&self) -> TimestampMs {
        TimestampMs(self.silent_before.load(Ordering::Acquire))
    }

    pub(super) fn arm(&self, slot: u32, record: &Record, received_at: TimestampMs) {
        self.wheel.lock().unwrap_or_else(PoisonError::into_inner).arm(slot, record, received_at);
    }

    pub(super) fn came_back(&self, slot: u32, record: &Record, received_at: TimestampMs) {
        self.returns.fetch_add(1, Ordering::Relaxed);
        self.arm(slot, record, received_at);
    }
}

impl Fleet {
    /// Lets drivers fall silent whose latest fix was received before `online_since`, up to a second late; each returns
    /// with its next fix. For the engine, about once a second. Looks at [`LOOKS_MAX`] drivers at most.
    ///
    /// A driver whose fix was old when it came (a replayed one) is silent from the start, and is not told here. If the
    /// clock is set back, drivers count as silent until it has caught up: searches stay exact, but look into both trees.
    pub fn advance(&self, online_since: TimestampMs) -> Silenced {
        let end = online_since.0.div_euclid(TICK_MS);
        // Before the first record is looked at: who writes one afterwards knows of it (see `Record::heard_at`).
        self.presence.silent_before.fetch_max(end.saturating_mul(TICK_MS), Ordering::AcqRel);
        let mut silenced = Silenced::default();
        for _ in 0..LOOKS_MAX {
            let next = self.presence.wheel.lock().unwrap_or_else(PoisonError::into_inner).pop(&self.records, end);
            let Some(slot) = next else {
                silenced.is_done = true;
                break;
            };
            let record = self.records.at(slot);
            match record.heard_at() {
                (_, Root::Silent) => {}
                (received_at, Root::Heard) if self.presence.root_of(received_at) == Root::Heard => {
                    self.presence.arm(slot, record, received_at);
                }
                _ => {
                    if self.silence(slot, record) {
                        silenced.drivers.push(Arc::clone(self.driver(slot)));
                    }
                }
            }
        }
        silenced
    }

    /// Moves a driver to the tree of the silent, unless it was heard of meanwhile.
    fn silence(&self, slot: u32, record: &Record) -> bool {
        let mut edit = self.tree.edit(&self.records);
        let moved = record.resettle(|received_at, position, home| {
            let is_due = home.root == Root::Heard && self.presence.root_of(received_at) == Root::Silent;
            is_due.then(|| edit.enter(slot, Place::new(position), Root::Silent))
        });
        if let Some((position, home)) = moved {
            edit.leave(slot, Place::new(position), home);
            return true;
        }
        drop(edit);
        let (received_at, root) = record.heard_at();
        if root == Root::Heard {
            self.presence.arm(slot, record, received_at);
        }
        false
    }

    /// How often drivers came back after a silence, since the process began.
    pub fn returns(&self) -> u64 {
        self.presence.returns.load(Ordering::Relaxed)
    }

    /// Says which tags a driver has, in place of those before, and whether it is on a shipment. Of a driver without a
    /// fix that is kept until its first one, so speak of registered drivers only. Waits for others who do the same.
    pub fn set_traits(&self, driver: &DriverId, tags: &[&str], on_shipment: bool) -> Result<(), TooManyTagSets> {
        let traits = Traits::new(self.profiles.number(tags)?, on_shipment);
        // Under the lock, so that of two who speak of one driver the later is heard.
        let mut expected = self.presence.expected.lock().unwrap_or_else(PoisonError::into_inner);
        match self.slot(driver.as_str()) {
            Some(slot) => {
                expected.remove(driver);
                self.records.at(slot).set_traits(traits);
            }
            None => {
                expected.insert(driver.clone(), traits);
            }
        }
        Ok(())
    }

    /// Gives a driver that has just joined what was said of it before.
    pub(super) fn take_expected(&self, driver: &str, slot: u32) {
        if let Some(traits) = self.presence.expected.lock().unwrap_or_else(PoisonError::into_inner).remove(driver) {
            self.records.at(slot).set_traits(traits);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fix::Fix;
    use crate::geo::testing::{bare, key, mixed_key};
    use crate::geo::{Area, Nearest};
    use crate::units::Position;

    fn fix_of(index: usize, received_at_s: i64) -> Fix {
        let step = index as i32 * 1_000;
        let position = Position { latitude_e7: 520_000_000 + step, longitude_e7: 210_000_000 + step };
        bare(position, received_at_s * 1_000)
    }

    fn gone(fleet: &Fleet, online_since_s: i64) -> Vec<String> {
        let mut names = Vec::new();
        loop {
            let silenced = fleet.advance(TimestampMs(online_since_s * 1_000));
            names.extend(silenced.drivers.iter().map(|key| key.driver().to_string()));
            if silenced.is_done {
                names.sort_unstable();
                return names;
            }
        }
    }

    fn online(fleet: &Fleet, since_s: i64) -> usize {
        let query =
            Nearest { received_since: Some(TimestampMs(since_s * 1_000)), ..Nearest::new(fix_of(0, 0).position, 9) };
        fleet.nearest(&query).len()
    }

    #[test]
    fn drivers_fall_silent_once_and_come_back() {
        let fleet = Fleet::default();
        let slots: Vec<_> =
            (0..3).map(|index| fleet.join(key(&format!("d{index}")), &fix_of(index, 1_000 + index as i64))).collect();
        assert!(gone(&fleet, 1_000).is_empty());
        assert_eq!(gone(&fleet, 1_001), ["d0"]);
        assert_eq!(gone(&fleet, 1_001), [""; 0], "told once");
        fleet.update(slots[1], &fix_of(1, 1_005));
        assert_eq!(gone(&fleet, 1_004), ["d2"], "the wheel looks at the record, not at when it was armed");
        assert_eq!((online(&fleet, 1_004), online(&fleet, 900), fleet.returns()), (1, 3, 0));
        fleet.update(slots[0], &fix_of(0, 1_100));
        assert_eq!((online(&fleet, 1_004), fleet.returns()), (2, 1));
        fleet.tree.check(&fleet.records, 3);
        assert_eq!(gone(&fleet, 1_100), ["d1"]);
        assert_eq!(gone(&fleet, 1_101), ["d0"], "who came back falls silent again");
        fleet.update(slots[2], &fix_of(2, 1_050));
        assert_eq!(fleet.returns(), 1, "a fix that is old itself brings nobody back");
        assert_eq!(gone(&fleet, 2_000), [""; 0]);
        fleet.join(key("late"), &fix_of(5, 1_999));
        assert_eq!((gone(&fleet, 2_000).len(), online(&fleet, 1_999)), (0, 1));
        fleet.tree.check(&fleet.records, 4);
    }

    #[test]
    fn a_call_does_no_more_than_it_may() {
        let fleet = Fleet::default();
        let count = 2 * LOOKS_MAX + 5;
        for index in 0..count {
            fleet.join(mixed_key(index), &fix_of(index, 1_000));
        }
        let since = TimestampMs(2_000_000);
        let calls: Vec<_> = (0..3).map(|_| fleet.advance(since)).collect();
        assert_eq!(calls.iter().map(|call| call.drivers.len()).collect::<Vec<_>>(), [LOOKS_MAX, LOOKS_MAX, 5]);
        assert_eq!(calls.iter().map(|call| call.is_done).collect::<Vec<_>>(), [false, false, true]);
        let world = Area::bounding_box(-180.0, -90.0, 180.0, 90.0).unwrap();
        assert_eq!(fleet.count_within(&world), count);
        fleet.tree.check(&fleet.records, count as u32);
    }

    #[test]
    fn a_search_for_the_heard_of_does_not_look_at_the_silent() {
        let fleet = Fleet::default();
        for index in 0..1_000 {
            fleet.join(mixed_key(index), &fix_of(index, 1_000));
        }
        assert_eq!(gone(&fleet, 1_500).len(), 1_000);
        assert_eq!(fleet.tree.quarters(Root::Heard.node()), [super::super::nodes::Link::Nothing; 4]);
    }
}
