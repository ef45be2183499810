//! What the engine has to tell on its way to MQTT subscribers: accepted fixes, one native-JSON message each, whatever the tracker
//! spoke; and events of geofences.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::router::Router;
use super::topic::{geofence_topic, location_topic};
use crate::live::{Feed, LiveEvent, LiveFix};
use crate::wire::native;

/// The quality of service that fixes are told with; a subscription may lower it.
const QOS: u8 = 1;

/// How long an event waits for a router that is full; one that has no room even then is not told.
const EVENT_WAIT_MAX: Duration = Duration::from_secs(1);

/// How often it is tried meanwhile.
const EVENT_LOOK: Duration = Duration::from_millis(1);

/// Starts the threads that feed the router. They end when the last sender of the feed is gone; if one has to before, it sets
/// `has_failed`.
pub(super) fn start(feed: &Feed, router: &Router, has_failed: &Arc<AtomicBool>) -> io::Result<()> {
    let subscriptions = router.clone();
    let fixes = feed.listen(move || subscriptions.subscriptions() > 0);
    let to = router.clone();
    spawn("mqtt-fanout", Arc::clone(has_failed), move || tell(fixes, &to))?;
    let (events, to) = (feed.listen_to_events(), router.clone());
    spawn("mqtt-events", Arc::clone(has_failed), move || tell_events(events, &to))
}

fn spawn(name: &'static str, has_failed: Arc<AtomicBool>, tell: impl FnOnce() + Send + 'static) -> io::Result<()> {
    // It ends by itself, with the feed.
    let _thread = thread::Builder::new().name(name.into()).spawn(move || {
        if panic::catch_unwind(AssertUnwindSafe(tell)).is_err() {
            tracing::error!(thread = name, "a fan-out panicked, which is a fault of the program's");
            has_failed.store(true, Ordering::Release);
        }
    })?;
    Ok(())
}

fn tell_events(mut events: Receiver<Arc<[LiveEvent]>>, router: &Router) {
    let mut untold = 0_u64;
    loop {
        match events.blocking_recv() {
            Ok(batch) => {
                // Whoever made one wait in vain will not have room for the others, which would wait for all tenants.
                let mut wait = EVENT_WAIT_MAX;
                for event in batch.iter() {
                    if !tell_event(event, router, wait) {
                        untold += 1;
                        wait = Duration::ZERO;
                    }
                }
            }
            Err(RecvError::Lagged(batches)) => {
                tracing::warn!(batches, "events of geofences came too fast: some were not told over mqtt");
            }
            Err(RecvError::Closed) => return,
        }
        if untold > 0 && events.is_empty() {
            tracing::warn!(events = untold, "events of geofences were not told over mqtt: its router has no room");
            untold = 0;
        }
    }
}

/// Whether an event was told within `wait`, or there is nobody to tell.
fn tell_event(event: &LiveEvent, router: &Router, wait: Duration) -> bool {
    let mount = router.mount_of(&event.tenant);
    if !router.has_subscribers(&mount) {
        return true;
    }
    let topic = geofence_topic(event.tenant.as_str(), event.fence.as_str(), event.kind);
    let began = Instant::now();
    while router.publish(mount.clone(), &topic, QOS, event.body.clone()).is_err() {
        if began.elapsed() >= wait {
            return false;
        }
        thread::park_timeout(EVENT_LOOK);
    }
    true
}

fn tell(mut fixes: Receiver<Arc<[LiveFix]>>, router: &Router) {
    let mut payload = Vec::new();
    loop {
        match fixes.blocking_recv() {
            Ok(batch) => {
                for live in batch.iter() {
                    let (tenant, driver) = (live.driver.tenant(), live.driver.driver().as_str());
                    let mount = router.mount_of(tenant);
                    if !router.has_subscribers(&mount) {
                        continue;
                    }
                    payload.clear();
                    native::encode(driver, &live.fix, &mut payload);
                    let topic = location_topic(tenant.as_str(), driver);
                    router.publish_fix(mount, &topic, QOS, Bytes::copy_from_slice(&payload));
                }
            }
            Err(RecvError::Lagged(batches)) => {
                tracing::warn!(batches, "subscribers were too slow: some accepted fixes were not told over mqtt");
            }
            Err(RecvError::Closed) => return,
        }
    }
}
