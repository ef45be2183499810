//! How fast a client may publish: a bucket of publishes and one of bytes, which fill with time and which each publish takes
//! from.
//!
//! A publish is taken as long as there is anything in both, and may leave them in debt by one packet. Behind that the
//! connection is not read until the debt is paid, or what may be lost is dropped.

use super::config::{Config, OverRate};
use super::worker::{TICKS_PER_S, Tick};

/// What becomes of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Take,
    /// Not now: what follows it is not read either.
    Hold,
    /// It is lost, as it may be at QoS 0.
    Drop,
}

/// What one client may still publish. Counted in parts of [`TICKS_PER_S`], so that each tick adds the rate.
#[derive(Debug)]
pub(super) struct Bucket {
    publishes: i64,
    bytes: i64,
    filled_at: Tick,
    is_holding: bool,
}

impl Bucket {
    /// A full one; `None` if no rate is limited.
    pub(super) fn new(config: &Config, now: Tick) -> Option<Box<Self>> {
        let is_limited = config.publishes_per_s_max > 0 || config.publish_bytes_per_s_max > 0;
        is_limited.then(|| {
            let (publishes, bytes) = capacity(config);
            Box::new(Self { publishes, bytes, filled_at: now, is_holding: false })
        })
    }

    /// What becomes of a publish of so many bytes.
    pub(super) fn admit(&mut self, config: &Config, now: Tick, qos: u8, bytes: usize) -> Admission {
        (self.publishes, self.bytes) = self.filled(config, now);
        self.filled_at = now;
        self.is_holding = false;
        if self.has_left(config) {
            let parts = i64::from(TICKS_PER_S);
            self.publishes -= parts;
            self.bytes -= parts * bytes as i64;
            return Admission::Take;
        }
        if qos == 0 && config.over_rate == OverRate::Drop {
            return Admission::Drop;
        }
        self.is_holding = true;
        Admission::Hold
    }

    /// Whether a publish is held that would still be.
    pub(super) fn holds(&self, config: &Config, now: Tick) -> bool {
        let (publishes, bytes) = self.filled(config, now);
        self.is_holding && !Self { publishes, bytes, ..*self }.has_left(config)
    }

    fn has_left(&self, config: &Config) -> bool {
        (config.publishes_per_s_max == 0 || self.publishes > 0)
            && (config.publish_bytes_per_s_max == 0 || self.bytes > 0)
    }

    /// What is in it by now.
    fn filled(&self, config: &Config, now: Tick) -> (i64, i64) {
        let ticks = i64::from(now.saturating_sub(self.filled_at));
        let (publishes_max, bytes_max) = capacity(config);
        let fill = |level: i64, rate: u32, max: i64| level.saturating_add(ticks * i64::from(rate)).min(max);
        (
            fill(self.publishes, config.publishes_per_s_max, publishes_max),
            fill(self.bytes, config.publish_bytes_per_s_max, bytes_max),
        )
    }
}

/// What is in a full bucket.
fn capacity(config: &Config) -> (i64, i64) {
    let parts = i64::from(config.publish_burst_s) * i64::from(TICKS_PER_S);
    (parts * i64::from(config.publishes_per_s_max), parts * i64::from(config.publish_bytes_per_s_max))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(publishes: u32, bytes: u32, burst_s: u32, over_rate: OverRate) -> Config {
        Config {
            publishes_per_s_max: publishes,
            publish_bytes_per_s_max: bytes,
            publish_burst_s: burst_s,
            over_rate,
            ..Config::default()
        }
    }

    /// Publishes that are taken if as many as may be are sent in each tick.
    fn taken(config: &Config, ticks: Tick, bytes: usize) -> usize {
        let mut bucket = Bucket::new(config, 0).unwrap();
        let mut taken = 0;
        for now in 0..ticks {
            while bucket.admit(config, now, 1, bytes) == Admission::Take {
                taken += 1;
            }
        }
        taken
    }

    #[test]
    fn a_burst_is_taken_and_then_the_rate() {
        // 2 s worth at once, and 10 s at the rate, less what a tick adds.
        let expected = 7 * 2 + 7 * 10;
        let publishes = taken(&config(7, 0, 2, OverRate::Delay), 101, 1_000);
        assert!((expected..=expected + 1).contains(&publishes), "{publishes}");
        let bytes = 100 * taken(&config(0, 1_000, 2, OverRate::Delay), 101, 100);
        assert!((12_000..=12_100).contains(&bytes), "{bytes}");
        let both = taken(&config(7, 100, 1, OverRate::Delay), 101, 100);
        assert!((11..=12).contains(&both), "{both}");
    }

    #[test]
    fn without_limits_there_is_no_bucket() {
        assert!(Bucket::new(&config(0, 0, 10, OverRate::Drop), 0).is_none());
    }

    #[test]
    fn what_is_over_is_held_or_if_it_may_be_lost_dropped() {
        let delay = config(1, 0, 1, OverRate::Delay);
        let mut bucket = Bucket::new(&delay, 5).unwrap();
        assert_eq!(bucket.admit(&delay, 5, 0, 9), Admission::Take);
        assert!(!bucket.holds(&delay, 5), "nothing waits");
        assert_eq!(bucket.admit(&delay, 5, 0, 9), Admission::Hold);
        assert!(bucket.holds(&delay, 5));
        assert!(!bucket.holds(&delay, 5 + TICKS_PER_S));
        assert_eq!(bucket.admit(&delay, 5 + TICKS_PER_S, 0, 9), Admission::Take);
        assert!(!bucket.holds(&delay, 5 + TICKS_PER_S));

        let drop = config(1, 0, 1, OverRate::Drop);
        let mut bucket = Bucket::new(&drop, 0).unwrap();
        assert_eq!(bucket.admit(&drop, 0, 0, 9), Admission::Take);
        assert_eq!(bucket.admit(&drop, 0, 0, 9), Admission::Drop);
        assert!(!bucket.holds(&drop, 0), "a drop holds nothing up");
        assert_eq!(bucket.admit(&drop, 0, 1, 9), Admission::Hold);
    }

    #[test]
    fn a_packet_of_more_than_the_burst_passes_and_is_paid_for() {
        let config = config(0, 100, 1, OverRate::Delay);
        let mut bucket = Bucket::new(&config, 0).unwrap();
        assert_eq!(bucket.admit(&config, 0, 1, 1_100), Admission::Take);
        assert_eq!(bucket.admit(&config, 99, 1, 1), Admission::Hold);
        assert_eq!(bucket.admit(&config, 101, 1, 1), Admission::Take);
        assert_eq!(bucket.admit(&config, Tick::MAX, 1, 1), Admission::Take, "no overflow");
    }
}
