//! A bound listener: what is spoken on its connections, how many there may be, and how fast they may come.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::transport::Transport;

/// Where the door listens.
#[derive(Debug)]
pub struct Listener {
    /// Bound, and not blocking.
    pub socket: TcpListener,
    /// What is spoken there.
    pub transport: Transport,
    /// What it takes.
    pub limits: Limits,
}

/// What a listener takes. 0 is no limit of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Most connections. One more is refused in its CONNACK.
    pub connections_max: usize,
    /// Most new connections in a second. One more waits in the system's backlog.
    pub connections_per_s_max: u32,
}

/// Lets so many pass in a second, and a second's worth at once.
#[derive(Debug)]
pub(super) struct Rate {
    /// Time that each takes; zero: no limit.
    interval: Duration,
    /// When all that passed so far would have, each in its time.
    paid_until: Instant,
}

/// What may pass at once after a pause, as the time that it would take.
const BURST: Duration = Duration::from_secs(1);

impl Rate {
    pub(super) fn new(per_s_max: u32, now: Instant) -> Self {
        let interval = BURST.checked_div(per_s_max).unwrap_or(Duration::ZERO);
        Self { interval, paid_until: now }
    }

    /// How long the next one has to wait; zero: it may pass.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        (self.paid_until + self.interval).saturating_duration_since(now + BURST)
    }

    /// One passes.
    pub(super) fn pass(&mut self, now: Instant) {
        self.paid_until = self.paid_until.max(now) + self.interval;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many pass within so many milliseconds, if there is always one more.
    fn passed(rate: &mut Rate, begin: Instant, milliseconds: u64) -> u32 {
        let mut passed = 0;
        for millisecond in 0..milliseconds {
            let now = begin + Duration::from_millis(millisecond);
            while rate.wait(now).is_zero() && passed < 1_000_000 {
                rate.pass(now);
                passed += 1;
            }
        }
        passed
    }

    #[test]
    fn a_second_passes_at_once_and_then_as_many_in_each() {
        let now = Instant::now();
        for per_s_max in [1, 3, 50, 1_000] {
            let mut rate = Rate::new(per_s_max, now);
            assert_eq!(passed(&mut rate, now, 1), per_s_max);
            let wait = rate.wait(now);
            assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1) / per_s_max, "{wait:?}");
            let next = passed(&mut rate, now, 10_001);
            assert!(next.abs_diff(10 * per_s_max) <= 1, "{next} of {per_s_max}");
            // What is saved up in a pause is a second's worth, however long it was.
            assert_eq!(passed(&mut rate, now + Duration::from_secs(100), 1), per_s_max);
        }
    }

    #[test]
    fn none_is_no_limit() {
        let now = Instant::now();
        assert_eq!(passed(&mut Rate::new(0, now), now, 1), 1_000_000);
    }
}
