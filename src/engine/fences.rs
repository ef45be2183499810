//! The follower that judges geofences, and what others need of it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::clock::Clock;
use crate::config::Config;
use crate::follow::{Changes, FollowStatus, Followed, Follower, Outbox, Tables};
use crate::journal::Journal;
use crate::live::Feed;
use crate::sink::{self, SinkHandle, SinkState, SinkStatus};

/// The directory in the data directory with what is kept of geofences.
const DIRECTORY: &str = "follow";

/// What a start waits for until fences and states are what they were.
const CATCH_UP_MAX: Duration = Duration::from_secs(10);

/// What it waits for until the rules of the journal's end are known: if they are not by then, they are journalled once more.
const RULES_KNOWN_MAX: Duration = Duration::from_millis(500);

/// How often it is looked meanwhile.
const CATCH_UP_LOOK: Duration = Duration::from_millis(5);

/// Geofences of a running engine.
pub(super) struct Fences {
    sink: SinkHandle,
    follow: Arc<FollowStatus>,
    changes: Changes,
    outbox: Outbox,
}

/// The follower at work, before anybody may change fences.
pub(super) struct Judging {
    sink: SinkHandle,
    follow: Arc<FollowStatus>,
    outbox: Outbox,
    registry: Arc<crate::follow::Registry>,
    committed: u64,
}

/// Opens what is kept of geofences; `None` if they are off.
pub(super) fn open(config: &Config) -> anyhow::Result<Option<Tables>> {
    let open = |dir: &Path| Tables::open(dir).context("cannot open what is kept of geofences");
    config.fences.enabled.then(|| open(&config.data_dir.join(DIRECTORY))).transpose()
}

impl Judging {
    /// Starts the follower on a thread of its own.
    pub(super) fn start(
        tables: Tables,
        config: &Config,
        feed: &Feed,
        journal: &Arc<Journal>,
        followed: Followed,
    ) -> anyhow::Result<Self> {
        let outbox = Outbox::new(tables.clone());
        let follower = Follower::new(tables, &config.fences, feed.clone(), followed);
        let follower = follower.context("cannot read what is kept of geofences")?;
        let (follow, registry, committed) = (follower.status(), follower.registry(), follower.committed());
        let fed = sink::Config {
            batch_age_ms_max: config.fences.batch_age_ms_max,
            sync_interval_ms: config.fences.sync_interval_ms,
            ..config.sink
        };
        let sink = sink::start(follower, fed, Arc::clone(journal)).context("cannot start the thread of geofences")?;
        Ok(Self { sink, follow, outbox, registry, committed })
    }

    /// Lets fences be changed, once they are what they were before the last end. To be called when the shards have their
    /// appenders. Blocks for that, [`CATCH_UP_MAX`] at most.
    pub(super) fn open(self, config: &Config, journal: &Journal) -> Fences {
        let Self { sink, follow, outbox, registry, committed } = self;
        let status = Arc::clone(sink.status());
        if !catches_up(&status, committed, CATCH_UP_MAX) {
            tracing::warn!(
                frames = status.lag_frames(),
                "geofences are behind: until they have caught up, older ones are shown"
            );
        }
        catches_up(&status, journal.watermark().get(), RULES_KNOWN_MAX);
        let changes = Changes::new(journal, registry, status, &config.fences, config.registry.tenants_max);
        changes.keep_rules(Clock::System.now());
        Fences { sink, follow, changes, outbox }
    }

    pub(super) fn status(&self) -> Arc<SinkStatus> {
        Arc::clone(self.sink.status())
    }
}

impl Fences {
    /// Its state as a sink.
    pub(super) fn status(&self) -> Arc<SinkStatus> {
        Arc::clone(self.sink.status())
    }

    /// Its numbers.
    pub(super) fn follow(&self) -> Arc<FollowStatus> {
        Arc::clone(&self.follow)
    }

    /// The way to change fences.
    pub(super) fn changes(&self) -> Changes {
        self.changes.clone()
    }

    /// The events that are kept.
    pub(super) fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    /// Judges what is durable, for as long as `within`, and ends.
    pub(super) fn stop(self, within: Duration) {
        self.sink.stop(within);
    }
}

/// Waits until the follower is past a frame; false if it is not within this time, or has stopped.
fn catches_up(status: &SinkStatus, sequence: u64, within: Duration) -> bool {
    let began = Instant::now();
    while status.written().load(Ordering::Acquire) < sequence {
        if matches!(status.state(), SinkState::Stopped { .. }) || began.elapsed() > within {
            return false;
        }
        thread::park_timeout(CATCH_UP_LOOK);
    }
    true
}
