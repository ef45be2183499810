//! The k nearest drivers to a place, exactly: best first through the tree, by a floor of the distance to each cell.

use std::cell::Cell;
use std::mem;
use std::sync::Arc;

use super::cells::Part;
use super::distance::{Origin, ROUNDING, haversine_of_distance};
use super::fleet::Fleet;
use super::frontier::Frontier;
use super::moves::{Remainder, Watch};
use super::record::Snapshot;
use super::tree::Root;
use super::waiting::WaitingCells;
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
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour<'a> {
    /// Who.
    pub driver: &'a Arc<DriverKey>,
    /// Its latest fix.
    pub fix: Fix,
    /// Metres from the place asked for to that of the fix.
    pub distance_m: f64,
}

impl Fleet {
    /// The drivers nearest to a place, by distance, those at the same distance by id. Takes no lock.
    pub fn nearest(&self, query: &Nearest) -> Vec<Neighbour<'_>> {
        if query.limit == 0 {
            return Vec::new();
        }
        let origin = Origin::new(query.position);
        let mut best = Best::new(self, query, &origin, SCRATCH.take());
        let mut watch = self.tree.watch();
        best.search(Root::Heard, &mut watch);
        match watch.finish(best.scratch.ranked.iter().map(|ranked| ranked.slot)) {
            Remainder::These(moved) => moved.into_iter().for_each(|slot| best.offer(slot)),
            Remainder::Everything => {
                best = Best::new(self, query, &origin, best.scratch);
                self.slots().for_each(|slot| best.offer(slot));
            }
        }
        let scratch = best.scratch;
        let neighbour = |one: &Ranked| Neighbour {
            driver: self.driver(one.slot),
            fix: scratch.found[one.found_at as usize].fix(),
            distance_m: one.distance_m,
        };
        let neighbours = scratch.ranked.iter().map(neighbour).collect();
        if scratch.is_small() {
            SCRATCH.set(scratch);
        }
        neighbours
    }
}

/// Records that are asked for at once.
const BATCH_MAX: usize = 32;

/// Items of each kind that a thread keeps room for between searches.
const SCRATCH_MAX: usize = 4_096;

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// The memory of a search, which the thread's next one uses again: allocating it took as long as searching.
#[derive(Debug, Default)]
struct Scratch {
    waiting: WaitingCells,
    /// Drivers met in leaves, whose records have not been looked at.
    met: Vec<Met>,
    /// Those of them who are looked at next.
    due: Vec<Met>,
    /// The nearest so far, by distance, then by id.
    ranked: Vec<Ranked>,
    /// What their records held, each at the place that its rank names.
    found: Vec<Snapshot>,
}

impl Scratch {
    fn is_small(&self) -> bool {
        self.waiting.capacity().max(self.met.capacity()).max(self.ranked.capacity()) <= SCRATCH_MAX
    }
}

/// A driver by its entry in a leaf.
#[derive(Clone, Copy, Debug)]
struct Met {
    floor: f64,
    slot: u32,
}

/// A driver by its record.
#[derive(Clone, Copy, Debug)]
struct Ranked {
    distance_m: f64,
    haversine: f64,
    slot: u32,
    found_at: u32,
}

/// The nearest so far.
struct Best<'a> {
    fleet: &'a Fleet,
    query: &'a Nearest,
    origin: &'a Origin,
    /// Whatever is beyond is too far; never too low, by rounding rather too high.
    haversine_max: f64,
    scratch: Scratch,
}

impl<'a> Best<'a> {
    fn new(fleet: &'a Fleet, query: &'a Nearest, origin: &'a Origin, mut scratch: Scratch) -> Self {
        let haversine_max = query.radius_m.map_or(1.0, haversine_of_distance) * (1.0 + ROUNDING);
        scratch.met.clear();
        scratch.due.clear();
        scratch.ranked.clear();
        scratch.found.clear();
        Self { fleet, query, origin, haversine_max, scratch }
    }

    fn search(&mut self, root: Root, watch: &mut Watch<'_>) {
        let mut waiting = mem::take(&mut self.scratch.waiting);
        let mut frontier = Frontier::new(&self.fleet.tree, root, self.origin, &mut waiting);
        while let Some((leaf, cell)) = frontier.next_leaf(self.haversine_max) {
            let (ruler, side) = (self.origin.ruler(cell), cell.spot_side());
            let (met, haversine_max) = (&mut self.scratch.met, self.haversine_max);
            self.fleet.tree.visit(leaf, watch, |slot, spot| {
                let floor = ruler.floor(Part::of_spot(spot, side));
                if floor <= haversine_max {
                    met.push(Met { floor, slot });
                }
            });
            self.judge(frontier.floor());
        }
        self.judge(f64::INFINITY);
        self.scratch.waiting = waiting;
    }

    /// Looks at the records of those met who are nearer than anybody that is still to be met, once they are as many as
    /// are wanted.
    ///
    /// All records are asked for before the first is looked at, so that the waits for memory overlap: they are most of
    /// what a search takes. What can hardly be predicted is counted and not branched on, which is most of the rest.
    fn judge(&mut self, floor_of_rest: f64) {
        let haversine_max = self.haversine_max;
        let is_due = |met: &Met| met.floor <= floor_of_rest && met.floor <= haversine_max;
        let wanted = (self.query.limit - self.scratch.ranked.len()).clamp(1, BATCH_MAX);
        let Scratch { met, due, .. } = &mut self.scratch;
        if met.iter().map(|one| usize::from(is_due(one))).sum::<usize>() < wanted && floor_of_rest < f64::INFINITY {
            return;
        }
        due.clear();
        due.extend_from_slice(met);
        let (mut due_count, mut kept_count) = (0, 0);
        for at in 0..met.len() {
            let one = met[at];
            due[due_count] = one;
            due_count += usize::from(is_due(&one));
            met[kept_count] = one;
            kept_count += usize::from(one.floor > floor_of_rest && one.floor <= haversine_max);
        }
        met.truncate(kept_count);
        due.truncate(due_count);
        let mut due = mem::take(due);
        for batch in due.chunks(BATCH_MAX) {
            batch.iter().for_each(|one| self.fleet.touch(one.slot));
            for one in batch {
                if one.floor <= self.haversine_max {
                    self.offer(one.slot);
                }
            }
        }
        due.clear();
        self.scratch.due = due;
    }

    /// Takes the driver among the nearest if it belongs there.
    fn offer(&mut self, slot: u32) {
        let found = self.fleet.records.at(slot).snapshot();
        let haversine = self.origin.haversine(found.position());
        if haversine > self.haversine_max {
            return;
        }
        let distance_m = self.origin.distance_m(found.position(), haversine);
        if self.query.received_since.is_some_and(|since| found.received_at() < since)
            || self.query.received_before.is_some_and(|before| found.received_at() >= before)
            || !self.query.radius_m.is_none_or(|radius_m| distance_m <= radius_m)
        {
            return;
        }
        let driver = |slot| self.fleet.driver(slot).driver();
        let Scratch { ranked, found: all_found, .. } = &mut self.scratch;
        let rank = ranked.partition_point(|other| {
            other.distance_m < distance_m || other.distance_m == distance_m && driver(other.slot) < driver(slot)
        });
        if rank == self.query.limit {
            return;
        }
        let found_at = if ranked.len() < self.query.limit {
            all_found.push(found);
            all_found.len() as u32 - 1
        } else {
            let last = ranked.remove(ranked.len() - 1);
            all_found[last.found_at as usize] = found;
            last.found_at
        };
        // They come nearly in order, so that those to make room are few.
        ranked.insert(rank, Ranked { distance_m, haversine, slot, found_at });
        if ranked.len() == self.query.limit
            && let Some(furthest) = ranked.last()
        {
            self.haversine_max = self.haversine_max.min(furthest.haversine * (1.0 + ROUNDING));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::geo::distance::distance_m;
    use crate::geo::testing::{bare, fix_at, key, mixed_key, position};

    /// A neighbour by name.
    type Named = (Arc<DriverKey>, Fix, f64);

    fn named(found: Vec<Neighbour<'_>>) -> Vec<Named> {
        found.into_iter().map(|one| (Arc::clone(one.driver), one.fix, one.distance_m)).collect()
    }

    fn brute_force(fixes: &[Fix], query: &Nearest) -> Vec<Named> {
        let mut all: Vec<_> = fixes
            .iter()
            .enumerate()
            .map(|(index, fix)| (mixed_key(index), *fix, distance_m(query.position, fix.position)))
            .filter(|(_, _, distance_m)| query.radius_m.is_none_or(|radius_m| *distance_m <= radius_m))
            .filter(|(_, fix, _)| query.received_since.is_none_or(|since| fix.received_at >= since))
            .filter(|(_, fix, _)| query.received_before.is_none_or(|before| fix.received_at < before))
            .collect();
        all.sort_by(|one, other| one.2.total_cmp(&other.2).then_with(|| one.0.driver().cmp(other.0.driver())));
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
                prop_assert_eq!(named(fleet.nearest(&query)), brute_force(&fixes, &query));
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
        assert_eq!(named(fleet.nearest(&query)), brute_force(&vec![fix; 10_000], &query));
    }
}
