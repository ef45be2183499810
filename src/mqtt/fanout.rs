//! Accepted fixes on their way to MQTT subscribers: one native-JSON message each, whatever the tracker spoke.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::router::Router;
use super::topic::location_topic;
use crate::live::{Feed, LiveFix};
use crate::wire::native;

/// The quality of service that fixes are told with; a subscription may lower it.
const QOS: u8 = 1;

/// Starts the thread that feeds the router. It ends when the last sender of the feed is gone; if it has to before, it sets
/// `has_failed`.
pub(super) fn start(feed: &Feed, router: Router, has_failed: Arc<AtomicBool>) -> io::Result<JoinHandle<()>> {
    let subscriptions = router.clone();
    let fixes = feed.listen(move || subscriptions.subscriptions() > 0);
    thread::Builder::new().name("mqtt-fanout".into()).spawn(move || {
        if panic::catch_unwind(AssertUnwindSafe(|| tell(fixes, &router))).is_err() {
            tracing::error!("the fan-out of fixes panicked, which is a fault of the program's");
            has_failed.store(true, Ordering::Release);
        }
    })
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
