//! Drivers of a running engine fall silent: the geo index is told once a second how late it is.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{self, JoinHandle};
use tokio::time::{self, MissedTickBehavior};

use crate::clock::Clock;
use crate::geo::GeoIndex;

/// How often. Nothing that is answered depends on it: receive times are looked at with every question.
const TURN: Duration = Duration::from_secs(1);

/// Lets drivers fall silent whose latest fix was received more than `offline_after_ms` ago, until the task is aborted.
pub(super) fn keep(geo: Arc<GeoIndex>, clock: Clock, offline_after_ms: i64) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut interval = time::interval(TURN);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let online_since = clock.now().saturating_add_ms(-offline_after_ms);
            for fleet in geo.tenants().iter().filter_map(|tenant| geo.fleet(tenant.as_str())) {
                // Some thousand drivers at a time, so that no other task waits long.
                while !fleet.advance(online_since).is_done {
                    task::yield_now().await;
                }
            }
        }
    })
}
