//! A stretch of a driver's history, as the store had it when it was read: enough to tell of each time within it what is there
//! and what is right before and after.

use crate::fix::Fix;
use crate::units::TimestampMs;

/// All fixes of a driver from one time to another, both included.
#[derive(Clone, Debug)]
pub struct Stretch {
    from: TimestampMs,
    to: TimestampMs,
    /// By time.
    pub(super) fixes: Vec<Fix>,
}

impl Stretch {
    /// Without any time in it.
    pub fn nothing() -> Self {
        Self { from: TimestampMs(i64::MAX), to: TimestampMs(i64::MIN), fixes: Vec::new() }
    }

    /// Begins anew, with all of time in it and no fix.
    pub(super) fn begin(&mut self) {
        self.fixes.clear();
        (self.from, self.to) = (TimestampMs(i64::MIN), TimestampMs(i64::MAX));
    }

    /// It tells nothing of what is earlier.
    pub(super) fn begins_at(&mut self, from: TimestampMs) {
        self.from = from;
    }

    /// It tells nothing of what is later.
    pub(super) fn ends_at(&mut self, to: TimestampMs) {
        self.to = to;
    }

    /// Whether this time is in it.
    pub fn covers(&self, time: TimestampMs) -> bool {
        (self.from..=self.to).contains(&time)
    }

    /// The fix of exactly this time, which is in it.
    pub fn at(&self, time: TimestampMs) -> Option<&Fix> {
        debug_assert!(self.covers(time), "asked for what it does not tell");
        self.fixes.binary_search_by_key(&time, |fix| fix.time).ok().map(|index| &self.fixes[index])
    }

    /// The fixes right before and right after a time that is in it and that no fix has.
    pub fn beside(&self, time: TimestampMs) -> [Option<&Fix>; 2] {
        debug_assert!(self.covers(time), "asked for what it does not tell");
        let after = self.fixes.partition_point(|fix| fix.time < time);
        [after.checked_sub(1).map(|before| &self.fixes[before]), self.fixes.get(after)]
    }
}
