//! When to look whether a driver fell silent: a hashed wheel of ticks, each with a list of drivers that goes through
//! their records, so that it takes no memory of its own.
//!
//! A driver stands in the list of the tick in which its fix was received. A later fix does not touch the wheel: when the
//! tick comes, the record tells whether the driver is silent or is to stand in a later list. (G. Varghese, T. Lauck,
//! "Hashed and hierarchical timing wheels", 1987; scheme 6, with lazy renewal.)

use std::sync::atomic::Ordering;

use super::record::Record;
use super::slab::Slab;
use crate::units::TimestampMs;

/// Length of a tick, and so how late a driver may be found silent.
pub(super) const TICK_MS: i64 = 1_000;

/// Lists. Drivers that are silent later than the wheel is long are looked at once a turn.
const TICKS: usize = 512;

/// Of a record that stands in no list, as it is at first.
const UNLISTED: u32 = 0;
/// Of the last record of a list, and the head of an empty one.
const END: u32 = 1;
/// The next record has its slot and this.
const FIRST: u32 = 2;

/// See the module.
#[derive(Debug)]
pub(super) struct Wheel {
    heads: Box<[u32]>,
    /// The list that is gone through at present.
    due: u32,
    /// The tick whose list is next; none before the first turn.
    tick: Option<i64>,
}

impl Default for Wheel {
    fn default() -> Self {
        Self { heads: vec![END; TICKS].into_boxed_slice(), due: END, tick: None }
    }
}

impl Wheel {
    /// Has a driver looked at when the tick comes that its fix was received in, unless it stands in a list already.
    pub(super) fn arm(&mut self, slot: u32, record: &Record, received_at: TimestampMs) {
        if record.next.load(Ordering::Relaxed) != UNLISTED {
            return;
        }
        let tick = received_at.0.div_euclid(TICK_MS).max(self.tick.unwrap_or(i64::MIN));
        let head = &mut self.heads[tick.rem_euclid(TICKS as i64) as usize];
        record.next.store(*head, Ordering::Relaxed);
        *head = slot + FIRST;
    }

    /// The next driver to look at of those that stand in lists of ticks before `end`; it stands in none from then on.
    pub(super) fn pop(&mut self, records: &Slab<Record>, end: i64) -> Option<u32> {
        // Further back than its length the wheel holds nothing.
        let mut tick = self.tick.unwrap_or(i64::MIN).max(end.saturating_sub(TICKS as i64));
        while self.due == END {
            if tick >= end {
                self.tick = Some(tick);
                return None;
            }
            self.due = std::mem::replace(&mut self.heads[tick.rem_euclid(TICKS as i64) as usize], END);
            tick += 1;
        }
        self.tick = Some(tick);
        let slot = self.due - FIRST;
        self.due = records.at(slot).next.swap(UNLISTED, Ordering::Relaxed);
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn popped(wheel: &mut Wheel, records: &Slab<Record>, end: i64) -> Vec<u32> {
        let mut slots: Vec<_> = std::iter::from_fn(|| wheel.pop(records, end)).collect();
        slots.sort_unstable();
        slots
    }

    #[test]
    fn drivers_come_in_their_tick_once() {
        let (mut wheel, records) = (Wheel::default(), Slab::<Record>::default());
        let arm = |wheel: &mut Wheel, slot: u32, tick: i64| {
            wheel.arm(slot, records.grown_to(slot), TimestampMs(tick * TICK_MS + 999));
        };
        for (slot, tick) in [(0, 1_000), (1, 1_001), (2, 1_001), (3, 1_000 + TICKS as i64), (4, -5)] {
            arm(&mut wheel, slot, tick);
        }
        arm(&mut wheel, 1, 1_400);
        // The first turn looks at all, whatever their tick.
        assert_eq!(popped(&mut wheel, &records, 1_001), [0, 1, 2, 3, 4]);
        arm(&mut wheel, 5, 1_001);
        arm(&mut wheel, 6, 1_002);
        arm(&mut wheel, 7, 900);
        assert_eq!(popped(&mut wheel, &records, 1_001), [0; 0]);
        assert_eq!(popped(&mut wheel, &records, 1_002), [5, 7], "what is in the past comes next");
        assert_eq!(popped(&mut wheel, &records, 1_000), [0; 0], "a clock that was set back");
        assert_eq!(popped(&mut wheel, &records, 1_000_000), [6], "one that jumped");
    }
}
