//! Judges fixes by fences: the rules are those of the [module](super).

use std::ops::ControlFlow;
use std::sync::Arc;

use super::event::{FenceEvent, FenceEventKind};
use super::path::Path;
use super::quiet::{is_in_vain, quiet_box};
use super::set::FenceSet;
use super::spec::Fence;
use super::state::{DriverFences, NOWHERE, Stay};
use super::stretch::Stretch;
use super::way::Way;
use crate::fix::Fix;
use crate::geo::distance::distance_m;
use crate::ids::DriverId;
use crate::units::{Position, TimestampMs};

/// Between fixes that lie further apart than so many metres nothing is known of the way, whatever the time.
pub const GAP_M_MAX: f64 = 200_000.0;

/// The margin goes no further for an inaccurate fix, metres.
pub const MARGIN_M_MAX: f64 = 1_000.0;

/// Most fences that a driver is inside of.
pub const STAYS_MAX: usize = 1_000;

/// Halvings of a way to find where it left the margin: to a millisecond of most of a day.
const HALVINGS: u32 = 26;

/// By what fences are judged, beside the fences themselves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FenceRules {
    /// How far outside of a fence, in metres, a driver has left it; 0 to [`MARGIN_M_MAX`].
    pub hysteresis_m: f64,
    /// Over how many seconds between two fixes a way is assumed.
    pub gap_max_s: u32,
}

impl Default for FenceRules {
    fn default() -> Self {
        Self { hysteresis_m: 20.0, gap_max_s: 600 }
    }
}

/// Judges fixes. Keeps nothing from one to the next but room to work in.
#[derive(Debug, Default)]
pub struct Judge {
    rules: FenceRules,
    near: Vec<u32>,
    /// How many boxes of fences there were around the way.
    crowd: usize,
    stays: Vec<Stay>,
    /// Slots of fences that the driver was inside of, in order.
    known: Vec<u32>,
    passing: Passing,
}

impl Judge {
    /// One that goes by these rules.
    pub fn new(rules: FenceRules) -> Self {
        Self { rules, ..Self::default() }
    }

    /// Takes the driver's next accepted fix and appends what it shows, in the order in which it happened. `state` belongs to
    /// this driver and this set: it may go on with another set only by way of its bytes.
    pub fn judge(
        &mut self,
        set: &FenceSet,
        driver: &DriverId,
        state: &mut DriverFences,
        fix: &Fix,
        events: &mut Vec<FenceEvent>,
    ) {
        if fix.time <= state.time {
            return;
        }
        if !state.is_quiet(set.revision(), fix) {
            self.look_around(set, driver, state, fix, events);
        }
        (state.time, state.position) = (fix.time, fix.position);
    }

    fn look_around(
        &mut self,
        set: &FenceSet,
        driver: &DriverId,
        state: &mut DriverFences,
        fix: &Fix,
        events: &mut Vec<FenceEvent>,
    ) {
        let path = self.path(state, fix);
        self.passing.begin(path, fix, self.rules.hysteresis_m);
        self.stays.clear();
        self.known.clear();
        for stay in &state.stays {
            self.go_on(set, driver, stay);
        }
        self.known.sort_unstable();
        self.find_near(set, driver, fix);
        for slot in &self.near {
            if let Some(fence) = set.at(*slot) {
                let has_room = self.stays.len() < STAYS_MAX;
                self.stays.extend(self.passing.pass((*slot, fence), None, has_room));
            }
        }
        self.passing.tell(events);
        self.stays.sort_unstable_by(|one, other| one.fence.cmp(&other.fence));
        if *state.stays != *self.stays {
            state.stays = self.stays.drain(..).collect();
        }
        self.settle(set, driver, state, fix);
    }

    /// The way from the last fix, if one can be assumed.
    fn path(&self, state: &DriverFences, fix: &Fix) -> Option<Path> {
        let (time, position) = state.last()?;
        let gap_ms_max = i64::from(self.rules.gap_max_s) * 1_000;
        let is_near =
            fix.time.0.saturating_sub(time.0) <= gap_ms_max && distance_m(position, fix.position) <= GAP_M_MAX;
        is_near.then(|| Path::new((position, time), (fix.position, fix.time)))
    }

    /// What becomes of a stay, if its fence is still there and of this driver's concern.
    fn go_on(&mut self, set: &FenceSet, driver: &DriverId, stay: &Stay) {
        let Some((slot, fence)) = set.find(stay.slot, &stay.fence) else { return };
        self.known.push(slot);
        if !fence.concerns(driver) {
            return;
        }
        let is_spent = stay.spent && fence.version == stay.version;
        // A shot was told by the version before, so this one has its own.
        let is_armed = stay.spent || fence.once;
        if is_spent {
            self.stays.push(Stay { slot, ..stay.clone() });
        } else {
            let stay = (!is_armed).then(|| stay.clone());
            self.stays.extend(self.passing.pass((slot, fence), stay, true));
        }
    }

    /// The fences that the way may meet.
    fn find_near(&mut self, set: &FenceSet, driver: &DriverId, fix: &Fix) {
        self.near.clear();
        self.crowd = 0;
        let from = self.passing.path.as_ref().map_or(fix.position, Path::from);
        let way = Way::new(from, fix.position);
        for area in &way.boxes {
            let _ = set.meeting(area, |other, slot| {
                self.crowd += 1;
                if way.may_meet(other) {
                    self.near.push(slot);
                }
                ControlFlow::Continue(())
            });
        }
        self.near.extend(set.of_driver(driver));
        // A fence has several boxes.
        self.near.sort_unstable();
        self.near.dedup();
        if !self.known.is_empty() {
            self.near.retain(|slot| self.known.binary_search(slot).is_err());
        }
        if self.stays.len() + self.near.len() > STAYS_MAX {
            // Some may find no room, and which must not depend on the slots.
            self.near.sort_by_key(|slot| set.at(*slot).map(|fence| &fence.id));
        }
    }

    /// Finds out for how long there will be nothing to do.
    fn settle(&self, set: &FenceSet, driver: &DriverId, state: &mut DriverFences, fix: &Fix) {
        state.revision = set.revision();
        state.due = TimestampMs(i64::MAX);
        state.quiet = NOWHERE;
        let next = self.passing.path.as_ref().map_or(fix.position, Path::next);
        if is_in_vain(fix.position, next, self.crowd) {
            return;
        }
        for stay in state.stays.iter().filter(|stay| !stay.spent) {
            let Some(fence) = set.at(stay.slot) else { return };
            if !fence.contains(fix.position) {
                // On the margin, where every fix counts.
                return;
            }
            if let Some(dwell_ms) = fence.dwell_ms.filter(|_| !stay.dwell_told) {
                state.due = state.due.min(stay.since.saturating_add_ms(dwell_ms));
            }
        }
        if state.stays.len() < STAYS_MAX {
            state.quiet = quiet_box(set, set.of_driver(driver), &state.stays, fix.position, next);
        }
    }
}

/// A fence and its slot in the set.
type Found<'a> = (u32, &'a Arc<Fence>);

/// One way, or one place after a gap, and what it brings.
#[derive(Debug, Default)]
struct Passing {
    path: Option<Path>,
    time: TimestampMs,
    position: Position,
    margin_m: f64,
    stretches: Vec<Stretch>,
    told: Vec<Told>,
}

/// An event and where on the way it was.
#[derive(Debug)]
struct Told {
    share: f64,
    event: FenceEvent,
}

impl Passing {
    fn begin(&mut self, path: Option<Path>, fix: &Fix, hysteresis_m: f64) {
        let margin_m = fix.accuracy_m().unwrap_or_default().max(hysteresis_m).min(MARGIN_M_MAX);
        (self.path, self.time, self.position, self.margin_m) = (path, fix.time, fix.position, margin_m);
        self.told.clear();
    }

    /// What the way does to a driver who is inside (`stay`, which is not spent) or outside of the fence; the stay at its end,
    /// if there is one.
    fn pass(&mut self, fence: Found<'_>, stay: Option<Stay>, has_room: bool) -> Option<Stay> {
        let Some(path) = self.path else { return self.appear(fence, stay, has_room) };
        let mut stretches = std::mem::take(&mut self.stretches);
        fence.1.shape.stretches(&path, &mut stretches);
        let stay = self.walk(fence, stay, &path, &stretches, has_room);
        self.stretches = stretches;
        stay
    }

    /// Nothing is known but the fix.
    fn appear(&mut self, found: Found<'_>, stay: Option<Stay>, has_room: bool) -> Option<Stay> {
        let (_, fence) = found;
        match stay {
            None if has_room && fence.contains(self.position) => Some(self.enter(found, 1.0)),
            Some(_) if !fence.shape.is_within(self.position, self.margin_m) => {
                self.tell_at(FenceEventKind::Exit, fence, 1.0);
                None
            }
            stay => stay.map(|stay| self.dwell(fence, stay, 1.0)),
        }
    }

    fn walk(
        &mut self,
        found: Found<'_>,
        mut stay: Option<Stay>,
        path: &Path,
        stretches: &[Stretch],
        has_room: bool,
    ) -> Option<Stay> {
        let (_, fence) = found;
        let ends_inside = fence.contains(self.position);
        if stay.is_none() && (!has_room || stretches.is_empty() && !ends_inside) {
            return None;
        }
        let mut left = None;
        let mut stretches = stretches.iter().peekable();
        if stay.is_none() && fence.contains(path.from()) {
            // The fence came while the driver was there: by its next fix it is inside, or never was.
            stretches.next_if(|first| first.begin <= 0.0);
            if ends_inside && stretches.peek().is_none() {
                return Some(self.enter(found, 1.0));
            }
        }
        for stretch in stretches {
            if let (Some(inside), Some(left)) = (&stay, left) {
                let middle = path.at((left + stretch.begin) / 2.0);
                if !fence.shape.is_within(middle, self.margin_m) {
                    self.exit(fence, inside.clone(), left);
                    stay = None;
                }
            }
            left = Some(stretch.end);
            if stay.is_none() {
                let entered = self.enter(found, stretch.begin);
                if entered.spent {
                    return Some(entered);
                }
                stay = Some(entered);
            }
        }
        match stay {
            // Rounding took the stretch; the fix is what counts.
            None => ends_inside.then(|| self.enter(found, 1.0)),
            Some(stay) if !ends_inside && !fence.shape.is_within(self.position, self.margin_m) => {
                let share = left.unwrap_or_else(|| self.leaves_margin(fence, path));
                self.exit(fence, stay, share);
                None
            }
            Some(stay) => Some(self.dwell(fence, stay, 1.0)),
        }
    }

    /// Where a way that meets the fence nowhere, and ends outside the margin, left the margin.
    fn leaves_margin(&self, fence: &Fence, path: &Path) -> f64 {
        if !fence.shape.is_within(path.from(), self.margin_m) {
            // It was outside already, by a fix that claims more or by a fence that was changed: this fix shows it.
            return 1.0;
        }
        let (mut within, mut beyond) = (0.0, 1.0);
        for _ in 0..HALVINGS {
            let middle = (within + beyond) / 2.0;
            if fence.shape.is_within(path.at(middle), self.margin_m) { within = middle } else { beyond = middle }
        }
        beyond
    }

    fn enter(&mut self, (slot, fence): Found<'_>, share: f64) -> Stay {
        let since = self.tell_at(FenceEventKind::Enter, fence, share);
        Stay { fence: fence.id.clone(), slot, version: fence.version, since, dwell_told: false, spent: fence.once }
    }

    fn exit(&mut self, fence: &Fence, stay: Stay, share: f64) {
        self.dwell(fence, stay, share);
        self.tell_at(FenceEventKind::Exit, fence, share);
    }

    /// Tells that a stay that goes on to a share of the way has lasted, if it has.
    fn dwell(&mut self, fence: &Fence, stay: Stay, until: f64) -> Stay {
        let stay = Stay { version: fence.version, ..stay };
        let Some(dwell_ms) = fence.dwell_ms.filter(|_| !stay.dwell_told) else { return stay };
        let due = stay.since.saturating_add_ms(dwell_ms);
        if due > self.time_at(until) {
            return stay;
        }
        let share = self.path.as_ref().and_then(|path| path.share_at(due));
        self.tell_at(FenceEventKind::Dwell, fence, share.unwrap_or(until).min(until));
        Stay { dwell_told: true, ..stay }
    }

    fn time_at(&self, share: f64) -> TimestampMs {
        self.path.as_ref().map_or(self.time, |path| path.time(share))
    }

    fn tell_at(&mut self, kind: FenceEventKind, fence: &Fence, share: f64) -> TimestampMs {
        let time = self.time_at(share);
        let position = self.path.as_ref().map_or(self.position, |path| path.at(share));
        let event = FenceEvent { kind, fence: fence.id.clone(), version: fence.version, time, position };
        self.told.push(Told { share, event });
        time
    }

    /// Gives the events out, in the order of the way.
    fn tell(&mut self, events: &mut Vec<FenceEvent>) {
        // Stable: events of one fence are in order.
        self.told.sort_by(|one, other| {
            one.share.total_cmp(&other.share).then_with(|| one.event.fence.cmp(&other.event.fence))
        });
        events.extend(self.told.drain(..).map(|told| told.event));
    }
}
