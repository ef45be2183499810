//! Rules and limits of a running engine, read again when its file changes and on SIGHUP.
//!
//! All of the configuration is read and checked as at a start, the environment and `--set` over the file. If anything is
//! wrong with it, nothing of it is taken over. What the parts only look at when they start is named and left as it is.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{self, MissedTickBehavior};

use super::watched::Watched;
use crate::config::{Change, Config, Sources};
use crate::pipeline::Bounds;
use crate::telemetry::prometheus::{Exposition, Kind};

/// How often the file is looked at. A change is taken over once two looks found the same, so that no half of a file is read.
const FILE_LOOK: Duration = Duration::from_secs(1);

/// Changed keys that are named in the log; further ones are counted.
const CHANGES_TOLD_MAX: usize = 100;

/// How reloads went. Shared with the metrics.
#[derive(Debug)]
pub(super) struct ReloadStatus {
    version: AtomicU64,
    applied: AtomicU64,
    unchanged: AtomicU64,
    refused: AtomicU64,
}

impl ReloadStatus {
    pub(super) fn collect(&self, page: &mut Exposition) {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let help = "Version of the rules and limits in effect: 1 from the start, and one more with each reload that changed them.";
        page.family("rhumb_config_version", help, Kind::Gauge).sample(&[], load(&self.version));
        let help = "Times the configuration was read again since the start, by what came of it.";
        let mut reloads = page.family("rhumb_config_reloads_total", help, Kind::Counter);
        for (result, count) in [("applied", &self.applied), ("unchanged", &self.unchanged), ("refused", &self.refused)]
        {
            reloads.sample(&[("result", result)], load(count));
        }
    }
}

/// The word to reload, taken from the moment on that it would otherwise end the process.
pub(super) struct Reloads {
    hangups: Signal,
    sources: Sources,
    /// What is in effect: as it was loaded, with the live part of what came since.
    running: Config,
    file: Watched,
}

impl Reloads {
    /// Listens for SIGHUP; called within a runtime. `config` was loaded from `sources` just now.
    pub(super) fn listen(sources: Sources, config: &Config) -> io::Result<Self> {
        let file = Watched::new(sources.file.clone());
        Ok(Self { hangups: signal(SignalKind::hangup())?, sources, running: config.clone(), file })
    }

    /// Takes over what changes, until the task is aborted.
    pub(super) fn start(self, bounds: Bounds) -> (JoinHandle<()>, Arc<ReloadStatus>) {
        let status = Arc::new(ReloadStatus {
            version: AtomicU64::new(1),
            applied: AtomicU64::new(0),
            unchanged: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        });
        (tokio::spawn(self.run(bounds, Arc::clone(&status))), status)
    }

    async fn run(mut self, bounds: Bounds, status: Arc<ReloadStatus>) {
        let mut interval = time::interval(FILE_LOOK);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_told = tokio::select! {
                _ = self.hangups.recv() => true,
                _ = interval.tick() => false,
            };
            if self.file.has_changed() || is_told {
                self.file.take();
                self.reload(&bounds, &status);
            }
        }
    }

    fn reload(&mut self, bounds: &Bounds, status: &ReloadStatus) {
        let loaded = match Config::load(&self.sources) {
            Ok(loaded) => loaded,
            Err(invalid) => {
                status.refused.fetch_add(1, Ordering::Relaxed);
                tracing::error!(reason = %invalid, "configuration refused, the one before stays in effect");
                return;
            }
        };
        let changes = self.running.changes_to(&loaded);
        let (live, left): (Vec<Change>, Vec<Change>) = changes.into_iter().partition(Change::is_live);
        for change in left.iter().take(CHANGES_TOLD_MAX) {
            tracing::warn!(key = change.key, %change, "changed key left as it is until a restart");
        }
        if live.is_empty() {
            status.unchanged.fetch_add(1, Ordering::Relaxed);
            tracing::info!(left = left.len(), "configuration read again, no rule and no limit is changed");
            return;
        }
        self.running = self.running.with_live_part_of(&loaded);
        bounds.replace(self.running.rule_book(), &self.running.registry);
        let version = status.version.fetch_add(1, Ordering::Relaxed) + 1;
        status.applied.fetch_add(1, Ordering::Relaxed);
        for change in live.iter().take(CHANGES_TOLD_MAX) {
            tracing::info!(key = change.key, %change, "changed key in effect");
        }
        tracing::info!(version, changed = live.len(), left = left.len(), "configuration read again and in effect");
    }
}
