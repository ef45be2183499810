//! The devices of a running engine, read again when their file changes.

use std::path::PathBuf;
use std::time::Duration;

use tokio::task::{self, JoinHandle};
use tokio::time::{self, MissedTickBehavior};

use super::watched::Watched;
use crate::auth::Authority;

/// How often the file is looked at. A change is taken over with the second look that finds it, and connections are
/// looked over several times a second: whoever is revoked is gone within one.
const FILE_LOOK: Duration = Duration::from_millis(150);

/// Takes changes of the devices file over, which `watched` saw before `authority` read it, until the task is aborted.
pub(super) fn watch(authority: Authority, data_dir: PathBuf, mut watched: Watched) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut interval = time::interval(FILE_LOOK);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            if !watched.has_changed() {
                continue;
            }
            watched.take();
            let (authority, data_dir) = (authority.clone(), data_dir.clone());
            match task::spawn_blocking(move || authority.reload_devices(&data_dir)).await {
                Ok(Ok(devices)) => tracing::info!(devices, "devices read"),
                Ok(Err(error)) => tracing::error!(%error, "devices refused, those before stay in effect"),
                Err(error) => tracing::error!(%error, "devices could not be read"),
            }
        }
    })
}
