//! What follows from fixes: which geofences drivers enter, leave and dwell in.
//!
//! Geofences are changed through the journal ([`Changes`]): what stands in it before a change is judged without it, what
//! stands behind with it, in every replay alike; a fence's version is the sequence of its frame. A [`Follower`], which is a
//! sink of the journal, judges each fix by the fences of its tenant as they were at its place, and keeps the events in the
//! [`Outbox`], each with a sequence of its own. From there they go to the live feed, and through it to MQTT.
//!
//! # Exactly once
//! Drivers' states are in memory and written only at a *checkpoint*, as often as the sink syncs. Events are written with the
//! position that they reach to (*committed*) in one atomic write. A restart begins at the checkpoint and judges anew what was
//! journalled since; up to the committed position what it finds is known to be in the outbox, and passed over. The same
//! fixes and changes in the same order make the same events, so that this is exact over a kill at any instant: the events
//! in the outbox, their sequences too, are what one run without a restart would have made. The live feed hears of each
//! event once at most, and does not hear of those that were committed by a process that ended before it told them.
//!
//! # What is kept, and for how long
//! Events stay until there are [`Config::outbox_max`]; then the oldest go. Fences and states are kept for tenants that have
//! fences, and for no others: with no fence anywhere the journal's frames are passed by unread. The first fix of a driver
//! behind the first fence of its tenant is its first to the follower: it shows where the driver is, and not where it came
//! from.
//!
//! A driver's state takes 64 bytes in memory, about 60 beside it for its name and its place in a table, and about 80 for each
//! fence that it is inside of.

mod changes;
mod copy;
mod event;
mod follower;
mod judging;
mod outbox;
mod registry;
mod rules;
mod status;
mod tables;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::changes::{Applied, Changes, Condition, Refused, Ticket};
pub use self::event::Event;
pub use self::follower::{Followed, Follower};
pub use self::outbox::{Outbox, Page};
pub use self::registry::{Kept, Registry};
pub use self::status::FollowStatus;
pub use self::tables::Tables;
use crate::geo::fence::FenceRules;

/// The `[fences]` section: geofences and their events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether there are any. While it is off the journal is cut without regard to them, and they cannot be judged on where it
    /// no longer reaches back.
    pub enabled: bool,
    /// Most fences of a tenant.
    pub per_tenant_max: usize,
    /// Most bytes of the descriptions of all fences of all tenants, which are kept in memory.
    pub bytes_max: usize,
    /// How far outside of a fence, in metres, a driver has left it. As journalled: a change holds for a tenant from its next
    /// change of a fence on, or from the next start.
    pub hysteresis_m: u32,
    /// Over how many seconds between two fixes a way is assumed; likewise.
    pub gap_max_s: u32,
    /// Age of the oldest fix, in milliseconds, when it is judged however few there are: what an event waits for, beside the
    /// look at the journal that a sink takes each 20 ms.
    pub batch_age_ms_max: u64,
    /// Longest that drivers' states go without being written, in milliseconds. What was journalled since is judged again
    /// at a start after a crash.
    pub sync_interval_ms: u64,
    /// Most events that are kept.
    pub outbox_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            per_tenant_max: 100_000,
            bytes_max: 256 << 20,
            hysteresis_m: 20,
            gap_max_s: 600,
            batch_age_ms_max: 50,
            sync_interval_ms: 10_000,
            outbox_max: 1_000_000,
        }
    }
}

impl Config {
    /// By what fences are judged from now on.
    pub fn rules(&self) -> FenceRules {
        FenceRules { hysteresis_m: f64::from(self.hysteresis_m), gap_max_s: self.gap_max_s }
    }
}

/// Why geofences cannot be judged on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has the directory.
    #[error("what is kept of geofences in {} is in use by another process", dir.display())]
    Locked {
        /// Where.
        dir: PathBuf,
    },
    /// A copy was to go where there is something.
    #[error("{} holds something already", dir.display())]
    Occupied {
        /// Where.
        dir: PathBuf,
    },
    /// Written by a version whose form this one does not know: run that version.
    #[error("what is kept of geofences has form {found}, this version reads form {known}")]
    Form {
        /// What it says.
        found: u8,
        /// What this version writes.
        known: u8,
    },
    /// A value passed the database's checksums and is still not what is written there: a fault of the program.
    #[error("the value at {key} is not what is written there")]
    Malformed {
        /// The key, unprintable bytes escaped.
        key: String,
    },
    /// A change in the journal that this version does not understand.
    #[error(
        "frame {sequence} of the journal changes a geofence in a way that this version does not read: run the one that wrote it"
    )]
    Change {
        /// The frame.
        sequence: u64,
    },
    /// Events were kept of frames that the journal does not have.
    #[error(
        "events of geofences are kept up to frame {committed}, and the journal beside them ends with frame {last}: it has lost \
         its end, or is another. Put those together that belong together, or stop the engine and move `follow` in `data_dir` \
         away: fences and events are then made anew, as far as the journal reaches back"
    )]
    Ahead {
        /// Up to where there are events.
        committed: crate::journal::JournalPosition,
        /// Where the journal ends.
        last: u64,
    },
    /// A write failed earlier and the database takes no more until the process starts again.
    #[error("geofences take no more writes after one that failed: see to the disk, then restart")]
    Poisoned,
    /// The disk or the database failed.
    #[error("what is kept of geofences failed: {0}")]
    Database(#[source] fjall::Error),
}

impl Error {
    /// Whether the same call may succeed later with nothing done about it but waiting.
    fn is_retryable(&self) -> bool {
        matches!(self, Self::Database(fjall::Error::Io(_)))
    }
}

impl From<fjall::Error> for Error {
    fn from(error: fjall::Error) -> Self {
        match error {
            fjall::Error::Poisoned => Self::Poisoned,
            other => Self::Database(other),
        }
    }
}

impl From<Error> for crate::sink::Error {
    fn from(error: Error) -> Self {
        if error.is_retryable() { Self::Retry(error.into()) } else { Self::Stop(error.into()) }
    }
}
