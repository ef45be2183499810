//! Pauses between attempts: each twice the last up to a bound, and jittered, so that sinks that failed together do not
//! come back together.

use std::hash::BuildHasher;
use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Counts attempts that failed in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    jitter: foldhash::quality::RandomState,
}

impl Backoff {
    /// An attempt failed: how long to wait before the next.
    pub(super) fn pause(&mut self, pause_max: Duration) -> Duration {
        let pause = pause(self.failures, self.jitter.hash_one(self.failures), pause_max);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// An attempt succeeded.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Attempts that failed since the last that did not.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }
}

/// Half of the doubled pause for sure, the other half by chance.
fn pause(failures: u32, random: u64, pause_max: Duration) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX)).min(pause_max);
    doubled / 2 + (doubled / 2).mul_f64(random as f64 / u64::MAX as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_bound_and_never_leave_it() {
        let max = Duration::from_secs(30);
        for (failures, longest_ms) in
            [(0, 100), (1, 200), (2, 400), (8, 25_600), (9, 30_000), (31, 30_000), (99, 30_000)]
        {
            let longest = Duration::from_millis(longest_ms);
            assert_eq!(pause(failures, u64::MAX, max), longest);
            assert_eq!(pause(failures, 0, max), longest / 2);
        }
    }

    #[test]
    fn a_success_begins_anew() {
        let mut backoff = Backoff::default();
        for _ in 0..40 {
            assert!(backoff.pause(Duration::from_secs(1)) <= Duration::from_secs(1));
        }
        assert_eq!(backoff.failures(), 40);
        backoff.reset();
        assert!(backoff.pause(Duration::from_secs(1)) <= FIRST_PAUSE);
    }
}
