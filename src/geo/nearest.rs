//! The k nearest drivers to a place, exactly: best first through the tree, by a floor of the distance to each cell.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::cells::Cell;
use super::distance::{Origin, ROUNDING, haversine_of_distance};
use super::fleet::Fleet;
use super::moves::{Remainder, Watch};
use super::tree::{LEAF_DRIVERS_MAX, Link};
use crate::fix::Fix;
use crate::ids::DriverKey;
use crate::units::{Position, TimestampMs};

/// Who is near?
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nearest {
    /// To where.
    pub position: Position,
    /// How many at most. Memory and time are in proportion to it.
    pub limit: usize,
    /// Nobody further away than this; a driver at exactly this distance is in.
    pub radius_m: Option<f64>,
    /// Nobody whose latest fix was received before.
    pub received_since: Option<TimestampMs>,
    /// Nobody whose latest fix was received then or later: with it, those are found who fell silent.
    pub received_before: Option<TimestampMs>,
}

/// A driver that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbour {
    /// Who.
    pub driver: Arc<DriverKey>,
    /// Its latest fix.
    pub fix: Fix,
    /// Metres from the place asked for to that of the fix.
    pub distance_m: f64,
}

impl Fleet {
    /// The drivers nearest to a place, by distance, those at the same distance by id. Takes no lock.
    pub fn nearest(&self, query: &Nearest) -> Vec<Neighbour> {
        if query.limit == 0 {
            return Vec::new();
        }
        let mut best = Best::new(self, query);
        let mut watch = self.tree.watch();
        best.search(&mut watch);
        match watch.finish(best.candidates.iter().map(|candidate| candidate.slot)) {
            Remainder::These(moved) => moved.into_iter().for_each(|slot| best.offer(slot)),
            Remainder::Everything => {
                best = Best::new(self, query);
                self.slots().for_each(|slot| best.offer(slot));
            }
        }
        best.into_neighbours()
    }
}

/// The nearest so far.
struct Best<'a> {
    fleet: &'a Fleet,
    query: &'a Nearest,
    origin: Origin,
    /// Whatever is beyond is too far; never too low, by rounding rather too high.
    haversine_max: f64,
    candidates: BinaryHeap<Candidate<'a>>,
}

impl<'a> Best<'a> {
    fn new(fleet: &'a Fleet, query: &'a Nearest) -> Self {
        let haversine_max = query.radius_m.map_or(1.0, haversine_of_distance) * (1.0 + ROUNDING);
        Self { fleet, query, origin: Origin::new(query.position), haversine_max, candidates: BinaryHeap::new() }
    }

    fn search(&mut self, watch: &mut Watch<'_>) {
        let mut waiting = BinaryHeap::with_capacity(64);
        self.wait_for(&mut waiting, Cell::ROOT, self.fleet.tree.root());
        while let Some(Reverse(Waiting { floor, link, cell })) = waiting.pop() {
            if floor > self.haversine_max {
                break;
            }
            match link {
                Link::Nothing => {}
                Link::Inner(inner) => self.wait_for(&mut waiting, cell, self.fleet.tree.quarters(inner)),
                Link::Leaf(leaf) => self.offer_leaf(leaf, watch),
            }
        }
    }

    fn wait_for(&self, waiting: &mut BinaryHeap<Reverse<Waiting>>, cell: Cell, links: [Link; 4]) {
        for (quarter, link) in links.into_iter().enumerate().filter(|(_, link)| *link != Link::Nothing) {
            let cell = cell.quarter(quarter);
            let floor = self.origin.haversine_floor(&cell.bounds());
            if floor <= self.haversine_max {
                waiting.push(Reverse(Waiting { floor, link, cell }));
            }
        }
    }

    /// Offers the drivers of a leaf. All their records are asked for before the first is judged, so that the waits for
    /// memory overlap: they are most of what a search takes.
    fn offer_leaf(&mut self, leaf: u32, watch: &mut Watch<'_>) {
        let mut drivers = [(0, 0.0); LEAF_DRIVERS_MAX];
        let mut count = 0;
        for (driver, slot) in drivers.iter_mut().zip(self.fleet.tree.drivers(leaf, watch)) {
            *driver = (slot, self.origin.haversine(self.fleet.records.at(slot).position()));
            count += 1;
        }
        for (slot, haversine) in &drivers[..count] {
            if *haversine <= self.haversine_max {
                self.offer(*slot);
            }
        }
    }

    /// Takes the driver among the nearest if it belongs there.
    fn offer(&mut self, slot: u32) {
        let record = self.fleet.records.at(slot);
        if self.origin.haversine(record.position()) > self.haversine_max {
            return;
        }
        let fix = record.fix();
        let haversine = self.origin.haversine(fix.position);
        let distance_m = self.origin.distance_m(fix.position, haversine);
        if self.query.received_since.is_some_and(|since| fix.received_at < since)
            || self.query.received_before.is_some_and(|before| fix.received_at >= before)
            || !self.query.radius_m.is_none_or(|radius_m| distance_m <= radius_m)
        {
            return;
        }
        let candidate = Candidate { distance_m, haversine, slot, fix, fleet: self.fleet };
        if self.candidates.len() < self.query.limit {
            self.candidates.push(candidate);
        } else if let Some(mut furthest) = self.candidates.peek_mut()
            && candidate < *furthest
        {
            *furthest = candidate;
        }
        if self.candidates.len() == self.query.limit
            && let Some(furthest) = self.candidates.peek()
        {
            self.haversine_max = self.haversine_max.min(furthest.haversine * (1.0 + ROUNDING));
        }
    }

    fn into_neighbours(self) -> Vec<Neighbour> {
        let fleet = self.fleet;
        let neighbour = |Candidate { slot, fix, distance_m, .. }: Candidate<'_>| Neighbour {
            driver: Arc::clone(fleet.driver(slot)),
            fix,
            distance_m,
        };
        self.candidates.into_sorted_vec().into_iter().map(neighbour).collect()
    }
}

/// Ordered by distance, then by id.
struct Candidate<'a> {
    distance_m: f64,
    haversine: f64,
    slot: u32,
    fix: Fix,
    fleet: &'a Fleet,
}

impl Ord for Candidate<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let driver = |candidate: &Self| candidate.fleet.driver(candidate.slot).driver();
        self.distance_m.total_cmp(&other.distance_m).then_with(|| driver(self).cmp(driver(other)))
    }
}

impl PartialOrd for Candidate<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Candidate<'_> {}

/// A part of the tree that is still to be searched, ordered by the floor of its distance.
struct Waiting {
    floor: f64,
    link: Link,
    cell: Cell,
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        self.floor.total_cmp(&other.floor)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::geo::distance::distance_m;
    use crate::geo::testing::{bare, fix_at, key, mixed_key, position};

    fn brute_force(fixes: &[Fix], query: &Nearest) -> Vec<Neighbour> {
        let mut all: Vec<_> = fixes
            .iter()
            .enumerate()
            .map(|(index, fix)| Neighbour {
                driver: mixed_key(index),
                fix: *fix,
                distance_m: distance_m(query.position, fix.position),
            })
            .filter(|one| query.radius_m.is_none_or(|radius_m| one.distance_m <= radius_m))
            .filter(|one| query.received_since.is_none_or(|since| one.fix.received_at >= since))
            .filter(|one| query.received_before.is_none_or(|before| one.fix.received_at < before))
            .collect();
        all.sort_by(|one, other| {
            one.distance_m.total_cmp(&other.distance_m).then_with(|| one.driver.driver().cmp(other.driver.driver()))
        });
        all.truncate(query.limit);
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn nearest_is_what_brute_force_finds(
            drivers in proptest::collection::vec(position(), 0..150),
            moves in proptest::collection::vec((any::<prop::sample::Index>(), position()), 0..200),
            queries in proptest::collection::vec(
                (
                    position(),
                    0..30_usize,
                    proptest::option::of(0.0..2e7_f64),
                    proptest::option::of(0..200_i64),
                    proptest::option::of(0..200_i64),
                ),
                1..8,
            ),
        ) {
            let fleet = Fleet::default();
            let mut fixes: Vec<_> = drivers.into_iter().map(|position| bare(position, 0)).collect();
            let slots: Vec<_> = fixes.iter().enumerate().map(|(index, fix)| fleet.join(mixed_key(index), fix)).collect();
            for (time_ms, (index, position)) in moves.into_iter().enumerate().filter(|_| !slots.is_empty()) {
                let index = index.index(slots.len());
                fixes[index] = bare(position, time_ms as i64);
                fleet.update(slots[index], &fixes[index]);
            }
            fleet.tree.check(&fleet.records, slots.len() as u32);
            for (position, limit, radius_m, since, before) in queries {
                let (received_since, received_before) = (since.map(TimestampMs), before.map(TimestampMs));
                let query = Nearest { position, limit, radius_m, received_since, received_before };
                prop_assert_eq!(fleet.nearest(&query), brute_force(&fixes, &query));
            }
        }
    }

    #[test]
    fn across_the_antimeridian_and_over_the_pole() {
        let fleet = Fleet::default();
        fleet.join(key("suva"), &fix_at(-18.14, 178.44));
        fleet.join(key("apia"), &fix_at(-13.83, -171.77));
        fleet.join(key("svalbard"), &fix_at(78.22, 15.65));
        fleet.join(key("wrangel"), &fix_at(71.0, 179.9));
        let nearest = |latitude, longitude| {
            let position = Position::from_degrees(latitude, longitude).unwrap();
            fleet.nearest(&Nearest { position, limit: 1, radius_m: None, received_since: None, received_before: None })
                [0]
            .driver
            .driver()
            .to_string()
        };
        assert_eq!(nearest(-18.0, -179.9), "suva");
        assert_eq!(nearest(-14.0, 179.9), "suva");
        assert_eq!(nearest(-14.0, -176.0), "apia");
        assert_eq!(nearest(90.0, 0.0), "svalbard");
        assert_eq!(nearest(85.0, -170.0), "wrangel");
        assert_eq!(nearest(71.0, -179.9), "wrangel");
    }

    #[test]
    fn a_radius_that_is_none_finds_nobody() {
        let fleet = Fleet::default();
        let fix = fix_at(52.0, 21.0);
        fleet.join(key("d1"), &fix);
        for (radius_m, count) in [(0.0, 1), (-1.0, 0), (f64::NAN, 0), (f64::INFINITY, 1)] {
            let query = Nearest {
                position: fix.position,
                limit: 10,
                radius_m: Some(radius_m),
                received_since: None,
                received_before: None,
            };
            assert_eq!(fleet.nearest(&query).len(), count, "{radius_m}");
        }
    }

    #[test]
    fn ten_thousand_on_one_spot_come_by_id() {
        let fleet = Fleet::default();
        let fix = fix_at(52.0, 21.0);
        for index in 0..10_000 {
            fleet.join(mixed_key(index), &fix);
        }
        fleet.tree.check(&fleet.records, 10_000);
        let query =
            Nearest { position: fix.position, limit: 20, radius_m: None, received_since: None, received_before: None };
        assert_eq!(fleet.nearest(&query), brute_force(&vec![fix; 10_000], &query));
    }
}
