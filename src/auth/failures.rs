//! Who was not let in: counted by reason, and told in the log a few times a second at most. No credentials, nor names that go
//! with them: people put passwords there.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Refusal;
use crate::telemetry::prometheus::{Exposition, Kind};

/// Lines in one interval; further failures are only counted.
const LINES_MAX: u32 = 10;

/// The interval of [`LINES_MAX`].
const LINES_INTERVAL: Duration = Duration::from_secs(1);

/// What failed since the start.
#[derive(Debug, Default)]
pub(super) struct Failures {
    counts: [AtomicU64; Refusal::ALL.len()],
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    interval: Option<Instant>,
    count: u32,
    suppressed: u64,
}

impl Failures {
    pub(super) fn count(&self, refusal: Refusal, address: Option<IpAddr>, now: Instant) {
        if let Some(count) = Refusal::ALL.iter().position(|other| *other == refusal).and_then(|at| self.counts.get(at))
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.interval.is_none_or(|begun| now.saturating_duration_since(begun) >= LINES_INTERVAL) {
            if lines.suppressed > 0 {
                tracing::warn!(count = lines.suppressed, "further authentications failed, not logged one by one");
            }
            *lines = Lines { interval: Some(now), ..Lines::default() };
        }
        if lines.count == LINES_MAX {
            lines.suppressed += 1;
            return;
        }
        lines.count += 1;
        let address = address.map(tracing::field::display);
        tracing::warn!(reason = refusal.as_str(), address, "authentication failed");
    }

    pub(super) fn collect(&self, page: &mut Exposition) {
        let help = "Connections and requests that did not show who they are since the start, by reason.";
        let mut family = page.family("rhumb_auth_failures_total", help, Kind::Counter);
        for (refusal, count) in Refusal::ALL.iter().zip(&self.counts) {
            family.sample(&[("reason", refusal.as_str())], count.load(Ordering::Relaxed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_counted_under_its_name() {
        let failures = Failures::default();
        for refusal in Refusal::ALL {
            failures.count(refusal, None, Instant::now());
        }
        failures.count(Refusal::BadPassword, Some("192.0.2.1".parse().unwrap()), Instant::now());
        let mut page = Exposition::default();
        failures.collect(&mut page);
        let page = page.finish();
        for refusal in Refusal::ALL {
            let count = if refusal == Refusal::BadPassword { 2 } else { 1 };
            let line = format!("rhumb_auth_failures_total{{reason=\"{}\"}} {count}\n", refusal.as_str());
            assert!(page.contains(&line), "{line}{page}");
        }
    }
}
