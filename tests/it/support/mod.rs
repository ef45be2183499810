//! What the scenarios share: processes, clients, and the patience to wait for them.

pub(crate) mod http;
pub(crate) mod journal;
pub(crate) mod loadgen;
pub(crate) mod mqtt;
pub(crate) mod payloads;
pub(crate) mod process;
pub(crate) mod publisher;
pub(crate) mod recordings;
pub(crate) mod rhumb;
pub(crate) mod servers;
pub(crate) mod tls;
pub(crate) mod tools;

use std::time::{Duration, Instant};

/// How long anything may take that a user would wait for; generous, for machines that are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Asks until there is an answer.
pub(crate) fn wait_for<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A fix in the native format, `n` seconds and `n` metres or so from where the tests begin.
pub(crate) fn native_fix(n: u64) -> String {
    let latitude = 52.0 + n as f64 * 1e-5;
    format!(r#"{{"latitude":{latitude:.5},"longitude":21.0,"timestamp":{}}}"#, fix_time_ms(n))
}

/// The time of [`native_fix`].
pub(crate) fn fix_time_ms(n: u64) -> u64 {
    1_700_000_000_000 + n * 1_000
}

/// Where a driver's fixes are published.
pub(crate) fn topic(tenant: &str, driver: &str) -> String {
    format!("tenant/{tenant}/driver/{driver}/location")
}
