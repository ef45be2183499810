//! Takes a new certificate over when its files change.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{self, MissedTickBehavior};

use super::Server;

/// How often the files are looked at. A change is taken over once two looks found the same, so that no half of a file is
/// read, and no new certificate with its former key.
const FILE_LOOK: Duration = Duration::from_millis(500);

/// Looks after the files for as long as the future is polled. It blocks for no longer than reading three small files takes.
pub async fn watch(server: Arc<Server>) {
    let mut interval = time::interval(FILE_LOOK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Not as they are now: they may have changed since, during a long start.
    let mut read = server.loaded();
    let mut last_look = read;
    loop {
        interval.tick().await;
        let found = server.look();
        let is_settled = found == std::mem::replace(&mut last_look, found);
        if !is_settled || found == read {
            continue;
        }
        read = found;
        let certificate = server.certificate_path().display();
        match server.reload() {
            Ok(()) => tracing::info!(%certificate, "certificate read again, new connections see it"),
            Err(error) => {
                tracing::error!(part = error.part().key(), reason = %error, "certificate refused, the one before stays in use");
            }
        }
    }
}
