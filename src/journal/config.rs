//! `[journal]` of the configuration.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::Retention;

/// Shortest segment that may be configured.
pub(super) const SEGMENT_BYTES_MIN: u64 = 1 << 20;

/// Longest segment that may be configured: recovery may have to look through one as a whole, in memory.
const SEGMENT_BYTES_MAX: u64 = 4 << 30;

/// Segments that a budget has room for, at least.
const BUDGET_SEGMENTS_MIN: u64 = 4;

/// How the journal is written, and what it may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Length at which a segment is ended and the next begun, 1 MiB to 4 GiB.
    #[serde(deserialize_with = "segment_bytes")]
    pub segment_bytes: u64,
    /// What is waited for before an acknowledgement.
    pub sync: SyncWhen,
    /// With [`SyncWhen::Interval`], the longest that what was acknowledged goes without a sync, in milliseconds: what a
    /// crash of the machine may lose.
    pub sync_interval_ms: u64,
    /// What the journal may take on the disk, snapshots too; at least [`Config::bytes_min`]. The last tenth is a brake.
    pub bytes_max: u64,
    /// How long a segment stays after it was last written though nobody needs it. It stays no longer once three quarters of
    /// the budget are used.
    pub retention: Retention,
    /// What happens at the end of the budget.
    pub on_full: OnFull,
}

/// When a turn counts as safe enough to acknowledge it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncWhen {
    /// Once it is synced: it survives a crash of the machine.
    Always,
    /// Once it is written: it survives the end of the process, however sudden. It is synced within
    /// [`Config::sync_interval_ms`], and what was acknowledged since the last sync is lost if the machine crashes. Who
    /// follows the journal still sees only what is synced, so that no store is ever ahead of it.
    Interval,
}

/// What happens when the journal has no room left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFull {
    /// Nothing more is taken in until there is room again.
    Refuse,
    /// The sink that holds on to the oldest segments is given up until somebody sees to it; the embedded store never is,
    /// because without it nobody can tell what is new. Where that gives no room, nothing more is taken in.
    AbandonSink,
}

impl Config {
    /// What is written where nothing is configured.
    pub(super) const DEFAULT: Self = Self {
        segment_bytes: 256 << 20,
        sync: SyncWhen::Always,
        sync_interval_ms: 100,
        bytes_max: 64 << 30,
        retention: Retention::from_s(3_600),
        on_full: OnFull::Refuse,
    };

    /// The smallest `bytes_max` for segments of this length: room is made by whole segments and never by the newest.
    pub fn bytes_min(&self) -> u64 {
        self.segment_bytes.saturating_mul(BUDGET_SEGMENTS_MIN)
    }

    /// How long written frames may go without a sync after they were acknowledged; `None`: not at all.
    pub(super) fn unsynced_max(&self) -> Option<Duration> {
        (self.sync == SyncWhen::Interval).then(|| Duration::from_millis(self.sync_interval_ms))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::DEFAULT
    }
}

fn segment_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let bytes = u64::deserialize(deserializer)?;
    if (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes) {
        return Ok(bytes);
    }
    let wanted = format!("{SEGMENT_BYTES_MIN} (1 MiB) to {SEGMENT_BYTES_MAX} (4 GiB)");
    Err(de::Error::invalid_value(de::Unexpected::Unsigned(bytes), &wanted.as_str()))
}
