//! How many files the process may hold open, dealt out between what needs them.
//!
//! A connection takes one. Were all of them connections, the journal could not begin its next segment, and the engine would
//! end for want of a number.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::config::Config;
use crate::mqtt::OVER_LIMIT_MAX;

/// Kept for journal, listeners, event queues and for connections that are only refused, beside `store.files_open_max`.
const RESERVED: u64 = 128 + OVER_LIMIT_MAX as u64;

/// HTTP gets at most one of so many.
const HTTP_PART: u64 = 32;

/// Raises the limit as far as the system lets it go, and lowers what was configured to what it can hold.
pub(super) fn fit(config: &mut Config) {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit = raised,
            Err(error) => tracing::warn!(%error, "could not raise the limit of open files"),
        }
    }
    // No limit at all is as good as the largest.
    let files = limit.current.unwrap_or(u64::MAX);
    let shares = Shares::of(files, config.store.files_open_max as u64);
    lower("http.connections_max", &mut config.http.connections_max, shares.http);
    lower("mqtt.connections_max", &mut config.mqtt.connections_max, shares.mqtt);
}

/// Connections that a number of open files has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shares {
    http: u64,
    mqtt: u64,
}

impl Shares {
    fn of(files: u64, store: u64) -> Self {
        let free = files.saturating_sub(RESERVED).saturating_sub(store.min(files / 4));
        // Both ports of HTTP hold as many each.
        let http = free / HTTP_PART;
        Self { http: http.max(1), mqtt: (free - 2 * http).max(1) }
    }
}

fn lower(key: &str, configured: &mut usize, room: u64) {
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if *configured > room {
        tracing::info!(key, configured = *configured, room, "lowered to what the limit of open files has room for");
        *configured = room;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_the_journal_and_the_store() {
        for files in [64, 256, 1_024, 20_000, 1_048_576, u64::MAX] {
            let Shares { http, mqtt } = Shares::of(files, 256);
            assert!(http >= 1 && mqtt >= 1);
            if files >= 512 {
                assert!(mqtt + 2 * http + RESERVED + 256.min(files / 4) <= files, "{files}");
            }
        }
        assert!(Shares::of(20_000, 256).mqtt > 18_000);
    }
}
