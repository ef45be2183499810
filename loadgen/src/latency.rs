//! Acknowledgement latency: how long after its intended moment a publish was acknowledged.

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest latency told apart; anything above counts as this.
const MICROSECONDS_MAX: u64 = 3_600_000_000;

/// Latencies in microseconds with three significant digits.
///
/// In an open loop the clock of a publish starts when it was meant to leave, so that a broker that stalls is charged
/// for everything that had to wait: there is no coordinated omission to correct. In a closed loop the stall itself
/// holds the load back; [`Latency::corrected`] puts back the measurements that were never taken.
#[derive(Clone, Debug)]
pub struct Latency(Histogram<u64>);

/// Percentiles in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Percentiles {
    /// Measurements, those that were put back included.
    pub count: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p999: u64,
    /// The largest.
    pub max: u64,
}

impl Default for Latency {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, MICROSECONDS_MAX, 3);
        Self(histogram.expect("the bounds are constants that the histogram allows"))
    }
}

impl Latency {
    /// Takes a measurement.
    pub fn record_ns(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds / 1_000);
    }

    /// Adds the measurements of another thread.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// With the measurements that a stall prevented, where one was due every `interval_us`.
    pub fn corrected(&self, interval_us: u64) -> Self {
        Self(self.0.clone_correct(interval_us))
    }

    /// `None` without a measurement.
    pub fn percentiles(&self) -> Option<Percentiles> {
        let at = |quantile| self.0.value_at_quantile(quantile);
        (!self.0.is_empty()).then(|| Percentiles {
            count: self.0.len(),
            mean: (self.0.mean() * 10.0).round() / 10.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: self.0.max(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_measurements() {
        let mut latency = Latency::default();
        assert!(latency.percentiles().is_none());
        (1..=1_000_u64).for_each(|us| latency.record_ns(us * 1_000));
        let found = latency.percentiles().unwrap();
        assert_eq!((found.count, found.p50, found.p90, found.p99, found.max), (1_000, 500, 900, 990, 1_000));
    }

    #[test]
    fn a_stall_in_a_closed_loop_is_charged_for_what_it_kept_from_being_measured() {
        let mut latency = Latency::default();
        (0..99).for_each(|_| latency.record_ns(1_000_000));
        latency.record_ns(1_000_000_000);
        assert_eq!(latency.percentiles().unwrap().p90, 1_000);
        let corrected = latency.corrected(1_000).percentiles().unwrap();
        assert!((1_090..=1_100).contains(&corrected.count), "{corrected:?}");
        assert!(corrected.p90 > 800_000, "{corrected:?}");
    }

    #[test]
    fn endless_latencies_count_as_the_longest() {
        let mut latency = Latency::default();
        latency.record_ns(u64::MAX);
        assert!(latency.percentiles().unwrap().max >= 3_599_000_000);
    }
}
