//! A driver's newest fixes in memory: the window that duplicates are found in, and the newest end of its track.

use std::collections::VecDeque;

use super::motion::Neighbours;
use crate::fix::Fix;
use crate::units::TimestampMs;

/// The sequence of a fix that was judged and is not synced yet.
const PENDING: u64 = u64::MAX;

/// In place of the sequence of a fix that no store has and none will get: its frame went before the store began.
pub(super) const UNSTORED: u64 = 0;

/// A full window grows by this part of what it holds. There are as many windows as drivers, and doubling would leave most of
/// them half empty for good.
const GROWTH_DIVISOR: usize = 4;

/// The least that it grows by.
const GROWTH_MIN: usize = 4;

/// A window gives memory back when it has room for so many times what it is to hold. A store that lags for a moment, or a
/// backlog, must not leave it as large as it was then.
const SPARE_FACTOR_MAX: usize = 3;

/// A fix in memory.
#[derive(Clone, Copy, Debug)]
struct Kept {
    fix: Fix,
    /// The frame that made it durable, or [`PENDING`].
    sequence: u64,
}

/// Where a fix stands against the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Later than all before: it is the driver's "now".
    Newest,
    /// Older than the newest, at a time that is still free.
    Late,
    /// A fix of this time is here.
    Taken,
    /// So old that memory cannot tell: only the store knows whether the time is free.
    BelowFloor,
    /// So old that nobody can tell for sure: fixes have left memory that no store has.
    Forgotten,
}

/// Where fixes go that leave memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// To the store, which has all up to this frame.
    ToStore(u64),
    /// Nowhere: there is no store, and they may go once they are durable.
    ForGood,
}

/// Up to where fixes have left a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone {
    /// The latest time of all fixes that left for the store. None did yet: the beginning of time.
    pub(super) floor: TimestampMs,
    /// The latest time of all fixes that left for good.
    pub(super) forgotten: TimestampMs,
}

impl Gone {
    /// Nothing left yet.
    pub(super) const NOTHING: Self = Self { floor: TimestampMs(i64::MIN), forgotten: TimestampMs(i64::MIN) };

    /// What left here, or there.
    pub(super) fn and(self, other: Self) -> Self {
        Self { floor: self.floor.max(other.floor), forgotten: self.forgotten.max(other.forgotten) }
    }

    /// The same without the store that had some of it.
    pub(super) fn without_store(self) -> Self {
        Self { forgotten: self.floor.max(self.forgotten), ..self }
    }
}

/// What a window knows of the neighbours of a fix.
#[derive(Clone, Copy, Debug)]
pub(super) struct InMemory {
    /// The nearest of those that are here.
    pub(super) neighbours: Neighbours,
    /// Whether a nearer one may have left for the store.
    pub(super) store_has_nearer: bool,
}

/// Fixes of one driver by time, without two of the same. Every fix later than what is gone is here; at or below the floor,
/// one may be here (until the store has it) or in the store. The newest durable fix never leaves.
#[derive(Debug)]
pub(super) struct Window {
    kept: VecDeque<Kept>,
    gone: Gone,
}

impl Default for Window {
    fn default() -> Self {
        Self { kept: VecDeque::new(), gone: Gone::NOTHING }
    }
}

impl Window {
    /// The driver's newest fix, pending ones too.
    pub(super) fn newest(&self) -> Option<&Fix> {
        self.kept.back().map(|kept| &kept.fix)
    }

    /// How many fixes are in memory.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Where a fix of this time would stand.
    pub(super) fn place(&self, time: TimestampMs) -> Place {
        match self.kept.back() {
            Some(newest) if time <= newest.fix.time => {
                if self.find(time).is_ok() {
                    Place::Taken
                } else if time <= self.gone.forgotten {
                    Place::Forgotten
                } else if time <= self.gone.floor {
                    Place::BelowFloor
                } else {
                    Place::Late
                }
            }
            _ => Place::Newest,
        }
    }

    /// The fix in memory of exactly this time.
    pub(super) fn at(&self, time: TimestampMs) -> Option<&Fix> {
        self.find(time).ok().map(|index| &self.kept[index].fix)
    }

    /// The fixes in memory right before and right after a time that none of them has, pending ones too, and whether the store
    /// may have nearer ones. With those the answer does not depend on how far the store is behind, as verdicts must not.
    pub(super) fn neighbours(&self, time: TimestampMs) -> InMemory {
        let after = match self.kept.back() {
            Some(newest) if time < newest.fix.time => self.kept.partition_point(|kept| kept.fix.time < time),
            _ => self.kept.len(),
        };
        let fix = |index: usize| self.kept.get(index).map(|kept| kept.fix);
        let neighbours = Neighbours { before: after.checked_sub(1).and_then(fix), after: fix(after) };
        // What left for the store is at the floor or below it.
        let from = neighbours.before.map_or(TimestampMs(i64::MIN), |before| before.time);
        InMemory { neighbours, store_has_nearer: from < self.gone.floor }
    }

    /// The first time from `time` on that no fix in memory has.
    pub(super) fn next_free(&self, time: TimestampMs) -> TimestampMs {
        let Ok(taken) = self.find(time) else { return time };
        // Times are whole and rise, so that those which follow without a gap are the ones as far off as their place.
        let is_in_row = |index: usize| self.kept[index].fix.time.0 - time.0 == (index - taken) as i64;
        let (mut in_row, mut beyond) = (taken, self.kept.len());
        while beyond - in_row > 1 {
            let middle = in_row + (beyond - in_row) / 2;
            if is_in_row(middle) {
                in_row = middle;
            } else {
                beyond = middle;
            }
        }
        self.kept[in_row].fix.time.saturating_add_ms(1)
    }

    /// The first time that is free beyond what memory cannot tell of.
    pub(super) fn next_free_in_memory(&self) -> TimestampMs {
        self.next_free(self.gone.floor.max(self.gone.forgotten).saturating_add_ms(1))
    }

    /// Takes in a fix that was judged new, as pending.
    pub(super) fn insert(&mut self, fix: Fix) {
        if self.kept.len() == self.kept.capacity() {
            self.kept.reserve_exact((self.kept.len() / GROWTH_DIVISOR).max(GROWTH_MIN));
        }
        match self.kept.back() {
            Some(newest) if fix.time <= newest.fix.time => {
                if let Err(index) = self.find(fix.time) {
                    self.kept.insert(index, Kept { fix, sequence: PENDING });
                }
            }
            _ => self.kept.push_back(Kept { fix, sequence: PENDING }),
        }
    }

    /// The fix of this time became durable with this frame.
    pub(super) fn mark_durable(&mut self, time: TimestampMs, sequence: u64) {
        // Turns end in the order they began, so that the fix is near the end, mostly at it.
        if let Ok(index) = self.find(time) {
            self.kept[index].sequence = sequence;
        }
    }

    /// Lets the oldest fixes go while more than `fixes_max` are here and they may leave.
    pub(super) fn trim(&mut self, fixes_max: usize, leave: Leave) {
        while self.kept.len() > fixes_max {
            let Some(Kept { fix, sequence }) = self.kept.front() else { break };
            let may_leave = match leave {
                Leave::ToStore(stored) => *sequence <= stored,
                Leave::ForGood => true,
            };
            // One that is followed by a durable fix, so that a driver always has one: that is where it is, and a snapshot
            // has nothing else to tell of it.
            let is_followed = self.kept.get(1).is_some_and(|next| next.sequence != PENDING);
            if *sequence == PENDING || !may_leave || !is_followed {
                break;
            }
            let gone = match leave {
                Leave::ToStore(_) if *sequence != UNSTORED => &mut self.gone.floor,
                _ => &mut self.gone.forgotten,
            };
            *gone = fix.time.max(*gone);
            self.kept.pop_front();
        }
        let wanted = self.kept.len().max(fixes_max);
        if self.kept.capacity() > SPARE_FACTOR_MAX * wanted {
            self.kept.shrink_to(wanted);
        }
    }

    /// The durable fixes in memory from `from` on and before `to`, oldest first.
    pub(super) fn durable_between(&self, from: TimestampMs, to: TimestampMs) -> impl Iterator<Item = &Fix> {
        let start = self.kept.partition_point(|kept| kept.fix.time < from);
        self.kept
            .range(start..)
            .take_while(move |kept| kept.fix.time < to)
            .filter(|kept| kept.sequence != PENDING)
            .map(|kept| &kept.fix)
    }

    /// The durable fixes in memory from `from` on, oldest first, each with the frame that made it durable or [`UNSTORED`].
    pub(super) fn durable_from(&self, from: TimestampMs) -> impl Iterator<Item = (&Fix, u64)> {
        let start = self.kept.partition_point(|kept| kept.fix.time < from);
        let kept = self.kept.range(start..).filter(|kept| kept.sequence != PENDING);
        kept.map(|kept| (&kept.fix, kept.sequence))
    }

    /// The time of the newest durable fix; `None` if there has never been one.
    pub(super) fn newest_durable(&self) -> Option<TimestampMs> {
        self.kept.iter().rev().find(|kept| kept.sequence != PENDING).map(|kept| kept.fix.time)
    }

    /// Up to where fixes have left.
    pub(super) fn gone(&self) -> Gone {
        self.gone
    }

    /// Takes over what had left before a snapshot.
    pub(super) fn recover_gone(&mut self, gone: Gone) {
        self.gone = self.gone.and(gone);
    }

    fn find(&self, time: TimestampMs) -> Result<usize, usize> {
        match self.kept.back() {
            Some(newest) if newest.fix.time == time => Ok(self.kept.len() - 1),
            _ => self.kept.binary_search_by_key(&time, |kept| kept.fix.time),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::fix::Report;
    use crate::units::Position;

    fn fix(time_ms: i64) -> Fix {
        let time = TimestampMs(time_ms);
        Fix::from_report(&Report::at(Some(time), 1.0, 2.0), Position::default(), time, time)
    }

    fn times(window: &Window) -> Vec<i64> {
        window.durable_between(TimestampMs(i64::MIN), TimestampMs(i64::MAX)).map(|fix| fix.time.0).collect()
    }

    #[test]
    fn pending_fixes_are_taken_but_not_shown() {
        let mut window = Window::default();
        window.insert(fix(10));
        assert_eq!(window.place(TimestampMs(10)), Place::Taken);
        assert_eq!(times(&window), [0i64; 0]);
        window.mark_durable(TimestampMs(10), 1);
        assert_eq!(times(&window), [10]);
    }

    #[test]
    fn a_fix_leaves_only_once_the_store_has_it() {
        let mut window = Window::default();
        for time in 1..=4 {
            window.insert(fix(time));
            window.mark_durable(TimestampMs(time), time as u64);
        }
        window.trim(2, Leave::ToStore(1));
        assert_eq!(times(&window), [2, 3, 4]);
        window.trim(2, Leave::ToStore(9));
        assert_eq!(times(&window), [3, 4]);
        assert_eq!(window.place(TimestampMs(2)), Place::BelowFloor);
        assert_eq!(window.place(TimestampMs(1)), Place::BelowFloor);
    }

    #[test]
    fn neighbours_in_memory_tell_whether_the_store_may_have_nearer_ones() {
        let mut window = Window::default();
        for time in [10, 20, 30, 40] {
            window.insert(fix(time));
            window.mark_durable(TimestampMs(time), 1);
        }
        let check = |window: &Window, cases: &[(i64, Option<i64>, Option<i64>, bool)]| {
            for (time, before, after, store_has_nearer) in cases {
                let found = window.neighbours(TimestampMs(*time));
                let times = [found.neighbours.before, found.neighbours.after].map(|fix| fix.map(|fix| fix.time.0));
                assert_eq!((times, found.store_has_nearer), ([*before, *after], *store_has_nearer), "{time}");
            }
        };
        check(&window, &[(5, None, Some(10), false), (25, Some(20), Some(30), false), (45, Some(40), None, false)]);
        window.trim(2, Leave::ToStore(1));
        check(&window, &[(5, None, Some(30), true), (25, None, Some(30), true), (35, Some(30), Some(40), false)]);
        window.insert(fix(15));
        check(&window, &[(17, Some(15), Some(30), true), (25, Some(15), Some(30), true), (45, Some(40), None, false)]);
    }

    #[test]
    fn a_window_that_was_long_for_a_moment_gives_its_memory_back() {
        let mut window = Window::default();
        for time in 1..=10_000 {
            window.insert(fix(time));
            window.mark_durable(TimestampMs(time), 7);
        }
        window.trim(64, Leave::ToStore(6));
        assert_eq!(window.len(), 10_000, "the store has none of them yet");
        window.trim(64, Leave::ToStore(7));
        assert_eq!(window.len(), 64);
        assert!(window.kept.capacity() <= 64 * SPARE_FACTOR_MAX, "{}", window.kept.capacity());
        assert_eq!(times(&window), (9_937..=10_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_window_takes_little_more_than_its_fixes() {
        let mut window = Window::default();
        for time in 1..=1_000 {
            window.insert(fix(time));
            window.mark_durable(TimestampMs(time), 1);
            window.trim(64, Leave::ToStore(1));
        }
        let bytes = window.kept.capacity() * size_of::<Kept>();
        assert!(window.len() == 64 && bytes < 64 * 80 * 3 / 2, "{bytes}");
    }

    #[test]
    fn a_pending_fix_never_leaves() {
        let mut window = Window::default();
        window.insert(fix(1));
        window.insert(fix(2));
        window.trim(0, Leave::ForGood);
        assert_eq!(window.len(), 2);
    }

    #[test]
    fn the_newest_durable_fix_stays_while_those_behind_it_are_pending() {
        let mut window = Window::default();
        for time in 1..=2 {
            window.insert(fix(time));
            window.mark_durable(TimestampMs(time), 1);
        }
        (3..=9).for_each(|time| window.insert(fix(time)));
        window.trim(2, Leave::ToStore(1));
        assert_eq!(times(&window), [2]);
        assert_eq!(window.newest_durable(), Some(TimestampMs(2)));
        (3..=9).for_each(|time| window.mark_durable(TimestampMs(time), 2));
        window.trim(0, Leave::ToStore(2));
        assert_eq!(times(&window), [9], "however small windows are to be");
    }

    #[test]
    fn what_left_without_a_store_is_forgotten() {
        let mut window = Window::default();
        for (time, sequence) in [(10, UNSTORED), (20, 1), (30, 2), (40, 3)] {
            window.insert(fix(time));
            window.mark_durable(TimestampMs(time), sequence);
        }
        let places = |window: &Window| [10, 15, 20, 25, 30].map(|time| window.place(TimestampMs(time)));
        window.trim(2, Leave::ToStore(1));
        let expected = [Place::Forgotten, Place::BelowFloor, Place::BelowFloor, Place::Late, Place::Taken];
        assert_eq!(places(&window), expected);
        window.trim(1, Leave::ForGood);
        assert_eq!(places(&window), [Place::Forgotten; 5]);
        assert_eq!(window.next_free_in_memory(), TimestampMs(31));
    }

    #[test]
    fn a_late_fix_below_the_floor_is_remembered_until_stored() {
        let mut window = Window::default();
        for time in [10, 20, 30] {
            window.insert(fix(time));
            window.mark_durable(TimestampMs(time), 1);
        }
        window.trim(1, Leave::ToStore(1));
        assert_eq!(window.place(TimestampMs(5)), Place::BelowFloor);
        window.insert(fix(5));
        assert_eq!(window.place(TimestampMs(5)), Place::Taken);
        assert_eq!(window.place(TimestampMs(25)), Place::Late);
    }

    #[test]
    fn the_next_free_millisecond_is_after_a_run_of_taken_ones() {
        let mut window = Window::default();
        for time in [10, 11, 12, 14] {
            window.insert(fix(time));
        }
        assert_eq!(window.next_free(TimestampMs(9)), TimestampMs(9));
        assert_eq!(window.next_free(TimestampMs(10)), TimestampMs(13));
        assert_eq!(window.next_free(TimestampMs(14)), TimestampMs(15));
    }

    proptest! {
        /// With a store that holds what left, the window and the store together know every time exactly.
        #[test]
        fn the_window_and_the_store_tell_every_duplicate(times in prop::collection::vec(0i64..60, 1..200), max in 1usize..8) {
            let mut window = Window::default();
            let mut seen = BTreeSet::new();
            for (sequence, time) in (1..).zip(times) {
                let known = match window.place(TimestampMs(time)) {
                    Place::Newest | Place::Late => false,
                    Place::Taken => true,
                    Place::BelowFloor => seen.contains(&time),
                    Place::Forgotten => unreachable!("the store has what left"),
                };
                prop_assert_eq!(known, seen.contains(&time));
                if seen.insert(time) {
                    window.insert(fix(time));
                    window.mark_durable(TimestampMs(time), sequence);
                }
                window.trim(max, Leave::ToStore(sequence));
                prop_assert!(window.len() <= max);
            }
        }
    }
}
