//! How often a worker looks at its connections: the more it finds at once, the less each publish costs.
//!
//! At full load a round takes longer than the next publishes take to come. Well below, each wakes the worker, and its one
//! fix the shard, the journal and the worker again: with 50,000 single publishes a second on two processors that is 20 µs of
//! CPU a publish, 9 at full load, and leaves no room for anything else. A worker that rests to half a millisecond a round
//! needs 16, and acknowledges 57,000 a second in 4.7 ms (p99) instead of 8. One with little to do does not rest: a
//! client alone gets its acknowledgements as fast as the disk has them.

use std::time::{Duration, Instant};

/// A round in so much time is what a busy worker may do for long.
const ROUND: Duration = Duration::from_micros(500);

/// Time saved up by rounds that came later than that, and spent by those that come sooner. Also how long it is looked how
/// busy the worker is.
const SAVED_MAX: Duration = Duration::from_millis(8);

/// A worker is busy that works for one in so many parts of the time, and until it does for half of that.
const BUSY_PART: u32 = 8;

/// A bucket of time that each round takes [`ROUND`] of.
#[derive(Debug)]
pub(super) struct Pace {
    /// When the next round may begin if nothing is saved up.
    next: Instant,
    looked: Instant,
    /// Of the time since.
    worked: Duration,
    is_busy: bool,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { next: now, looked: now, worked: Duration::ZERO, is_busy: false }
    }

    /// Counts a round that is to begin now, behind one that `worked` so long, and gives how long it had better wait.
    pub(super) fn begin(&mut self, now: Instant, worked: Duration) -> Duration {
        self.worked += worked;
        let looked_for = now.saturating_duration_since(self.looked);
        if looked_for >= SAVED_MAX {
            let part = if self.is_busy { 2 * BUSY_PART } else { BUSY_PART };
            self.is_busy = self.worked * part >= looked_for;
            (self.looked, self.worked) = (now, Duration::ZERO);
        }
        let earliest = now.checked_sub(SAVED_MAX).unwrap_or(now);
        // No debt for what was done while it was not busy.
        let begins = self.next.clamp(earliest, now + ROUND);
        self.next = begins + ROUND;
        if self.is_busy { begins.saturating_duration_since(now) } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROSECOND: Duration = Duration::from_micros(1);

    /// How much a worker rests in a tenth of a second, if each of its rounds waits so long for something and then works.
    fn rested(waits: Duration, works: Duration) -> Duration {
        let began = Instant::now() + SAVED_MAX;
        let (mut now, mut rested, mut pace) = (began, Duration::ZERO, Pace::new(began));
        while now < began + Duration::from_millis(100) {
            let rest = pace.begin(now, works);
            assert!(rest <= ROUND);
            rested += rest;
            now += rest + waits + works;
        }
        rested
    }

    #[test]
    fn only_who_is_busy_and_often_interrupted_rests() {
        assert_eq!(rested(115 * MICROSECOND, 10 * MICROSECOND), Duration::ZERO, "a client alone");
        assert_eq!(rested(ROUND, 400 * MICROSECOND), Duration::ZERO, "few long rounds");
        assert_eq!(rested(Duration::ZERO, ROUND), Duration::ZERO, "full load");
        let resting = rested(60 * MICROSECOND, 40 * MICROSECOND);
        assert!(resting > Duration::from_millis(60), "{resting:?}");
    }
}
