//! The k nearest drivers to a place, exactly: best first through the tree, by a floor of the distance to each cell.

use std::cell::Cell;
use std::mem;
use std::sync::Arc;

use super::cells::Part;
use super::distance::{Origin, ROUNDING, haversine_of_distance};
use super::fleet::Fleet;
use super::frontier::Frontier;
use super::moves::{Remainder, Watch};
use super::profiles::TagSets;
use super::record::Snapshot;
use super::tree::Root;
use super::waiting::WaitingCells;
use crate::fix::Fix;
use crate::ids::DriverKey;
use crate::units::{Position, TimestampMs};

/// Who is near?
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nearest<'a> {
    /// To where.
    pub position: Position,
    /// How many at most. Memory and time are in proportion to it.
    pub limit: usize,
    /// Nobody further away than this; a driver at exactly this distance is in.
    pub radius_m: Option<f64>,
    /// Nobody whose latest fix was received before.
    pub received_since: Option<TimestampMs>,
    /// Nobody whose latest fix was received then or later: with it, those are found who fell silent. As all who are
    /// heard of are passed over one by one, it takes long where the silent are few and the others many.
    pub received_before: Option<TimestampMs>,
    /// Only drivers on a shipment, or only those on none.
    pub on_shipment: Option<bool>,
    /// Only drivers that have all of these.
    pub tags: &'a [&'a str],
    /// Only what comes after this in the order of the answer. Those before are still passed over one by one.
    pub after: Option<After<'a>>,
}

impl Nearest<'_> {
    /// The drivers nearest to a place, whoever they are.
    pub fn new(position: Position, limit: usize) -> Self {
        Self {
            position,
            limit,
            radius_m: None,
            received_since: None,
            received_before: None,
            on_shipment: None,
            tags: &[],
            after: None,
        }
    }
}

/// Where in the order of an answer its last driver stood.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct After<'a> {
    /// [`Neighbour::distance_m`], to the last bit.
    pub distance_m: f64,
    /// The driver's id.
    pub driver: &'a str,
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
    /// Whether it is on a shipment.
    pub on_shipment: bool,
}

impl Fleet {
    /// The drivers nearest to a place, by distance, those at the same distance by id. Takes no lock, but
    /// for a moment where tags are asked for.
    pub fn nearest(&self, query: &Nearest<'_>) -> Vec<Neighbour<'_>> {
        if query.limit == 0 {
            return Vec::new();
        }
        let origin = Origin::new(query.position);
        let filter = Filter { query, tag_sets: (!query.tags.is_empty()).then(|| self.profiles.with(query.tags)) };
        let mut best = Best::new(self, &filter, &origin, SCRATCH.take());
        let mut watch = self.tree.watch();
        best.search(Root::Heard, &mut watch);
        if query.received_since.is_none_or(|since| since < self.presence.silent_before()) {
            best.search(Root::Silent, &mut watch);
        }
        match watch.finish(best.scratch.ranked.iter().map(|ranked| ranked.slot)) {
            Remainder::These(moved) => moved.into_iter().for_each(|slot| best.offer(slot)),
            Remainder::Everything => {
                best = Best::new(self, &filter, &origin, best.scratch);
                self.slots().for_each(|slot| best.offer(slot));
            }
        }
        let scratch = best.scratch;
        let neighbour = |one: &Ranked| {
            let found = &scratch.found[one.found_at as usize];
            Neighbour {
                driver: self.driver(one.slot),
                fix: found.fix(),
                distance_m: one.distance_m,
                on_shipment: found.traits.on_shipment(),
            }
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

/// A query as it is put to each record.
struct Filter<'a> {
    query: &'a Nearest<'a>,
    /// Those that have the tags asked for.
    tag_sets: Option<TagSets>,
}

impl Filter<'_> {
    fn admits<'n>(&self, found: &Snapshot, distance_m: f64, driver: impl FnOnce() -> &'n str) -> bool {
        let query = self.query;
        query.received_since.is_none_or(|since| found.received_at() >= since)
            && query.received_before.is_none_or(|before| found.received_at() < before)
            && query.radius_m.is_none_or(|radius_m| distance_m <= radius_m)
            && query.on_shipment.is_none_or(|on_shipment| found.traits.on_shipment() == on_shipment)
            && self.tag_sets.as_ref().is_none_or(|sets| sets.has(found.traits.tag_set()))
            && query.after.is_none_or(|after| {
                distance_m > after.distance_m || distance_m == after.distance_m && driver() > after.driver
            })
    }
}

/// The nearest so far.
struct Best<'a> {
    fleet: &'a Fleet,
    filter: &'a Filter<'a>,
    limit: usize,
    origin: &'a Origin,
    /// Whatever is beyond is too far; never too low, by rounding rather too high.
    haversine_max: f64,
    scratch: Scratch,
}

impl<'a> Best<'a> {
    fn new(fleet: &'a Fleet, filter: &'a Filter<'a>, origin: &'a Origin, mut scratch: Scratch) -> Self {
        let haversine_max = filter.query.radius_m.map_or(1.0, haversine_of_distance) * (1.0 + ROUNDING);
        scratch.met.clear();
        scratch.due.clear();
        scratch.ranked.clear();
        scratch.found.clear();
        Self { fleet, filter, limit: filter.query.limit, origin, haversine_max, scratch }
    }

    fn search(&mut self, root: Root, watch: &mut Watch<'_>) {
        let mut waiting = mem::take(&mut self.scratch.waiting);
        let mut frontier = Frontier::new(&self.fleet.tree, root, self.origin, &mut waiting);
        let reach = self.origin.reach_of(self.limit.min(BATCH_MAX), frontier.cell());
        frontier.look_ahead(reach, self.haversine_max);
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
        let wanted = (self.limit - self.scratch.ranked.len()).clamp(1, BATCH_MAX);
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
            batch.iter().for_each(|one| self.fleet.touch_record(one.slot));
            batch.iter().for_each(|one| self.fleet.touch_name(one.slot));
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
        let fleet = self.fleet;
        let driver = |slot| fleet.driver(slot).driver().as_str();
        if !self.filter.admits(&found, distance_m, || driver(slot)) {
            return;
        }
        let Scratch { ranked, found: all_found, .. } = &mut self.scratch;
        let rank = ranked.partition_point(|other| {
            other.distance_m < distance_m || other.distance_m == distance_m && driver(other.slot) < driver(slot)
        });
        if rank == self.limit {
            return;
        }
        let found_at = if ranked.len() < self.limit {
            all_found.push(found);
            all_found.len() as u32 - 1
        } else {
            let last = ranked.remove(ranked.len() - 1);
            all_found[last.found_at as usize] = found;
            last.found_at
        };
        // They come nearly in order, so that those to make room are few.
        ranked.insert(rank, Ranked { distance_m, haversine, slot, found_at });
        if ranked.len() == self.limit
            && let Some(furthest) = ranked.last()
        {
            self.haversine_max = self.haversine_max.min(furthest.haversine * (1.0 + ROUNDING));
        }
    }
}

#[cfg(test)]
mod tests;
