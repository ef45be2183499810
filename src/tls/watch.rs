//! Takes new certificates, and new lists of revoked ones, over when their files change.

use std::sync::Arc;
use std::time::Duration;

use tokio::task;
use tokio::time::{self, MissedTickBehavior};

use super::Server;
use crate::clock::Clock;

/// How often the files are looked at. A change is taken over once two looks found the same, so that no half of a file is
/// read, and no new certificate with its former key. Doors look several times a second whether a client's is revoked: it is
/// gone within one.
const FILE_LOOK: Duration = Duration::from_millis(300);

/// Looks after the files for as long as the future is polled.
pub async fn watch(server: Arc<Server>, clock: Clock) {
    let mut interval = time::interval(FILE_LOOK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Not as they are now: they may have changed since, during a long start.
    let mut read = server.loaded();
    let mut last_look = read;
    let mut is_overdue_told = false;
    loop {
        interval.tick().await;
        if !is_overdue_told && server.revocations().are_overdue(clock.now()) {
            is_overdue_told = true;
            tracing::warn!(
                file = %server.revocations_path().display(),
                "a list of revoked client certificates should have been followed by another, and goes on to hold"
            );
        }
        let found = server.look();
        let is_settled = found == std::mem::replace(&mut last_look, found);
        if !is_settled || found == read {
            continue;
        }
        read = found;
        let reloading = Arc::clone(&server);
        let reloaded = task::spawn_blocking(move || reloading.reload()).await;
        is_overdue_told = false;
        let certificate = server.certificate_path().display();
        match reloaded {
            Ok(Ok(())) => {
                let revoked = server.revocations().count();
                tracing::info!(%certificate, revoked, "certificate read again, new connections see it");
            }
            Ok(Err(error)) => {
                tracing::error!(part = error.part().key(), reason = %error, "certificate refused, the one before stays in use");
            }
            Err(error) => tracing::error!(%error, "certificate could not be read"),
        }
    }
}
