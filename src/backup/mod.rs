//! Backups: a copy of the data directory that a new engine can start on, taken while the old one runs or stands.
//!
//! | in a backup | is |
//! |---|---|
//! | `store/` | the embedded store as of one instant |
//! | `follow/` | geofences, their events, and where drivers stand to them, as of another |
//! | `journal/` | snapshots and segments, up to what was durable after those instants |
//! | `backup.json` | the [`Manifest`], written when everything else is durable: without it a backup is unfinished |
//!
//! What was refused is not copied: it is evidence, and nothing is made from it.
//!
//! The journal is copied last: nothing is ahead of it, and what the others lack it has.

mod files;
mod live;
mod manifest;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

pub use files::{back_up, restore};
pub use live::{Backups, Copied, Progress, Refused};
pub use manifest::Manifest;

use crate::{follow, journal, store};

/// Directory of the journal, in a data directory and in a backup.
const JOURNAL_DIR: &str = "journal";

/// Directory of the store, likewise.
const STORE_DIR: &str = "store";

/// Directory of the geofences, likewise.
const FOLLOW_DIR: &str = "follow";

/// There in a data directory while a restore writes it.
const UNFINISHED: &str = "restoring";

/// Whether a restore into this data directory was begun and not finished: what is there may look whole and is not.
pub fn is_half_restored(data_dir: &Path) -> bool {
    data_dir.join(UNFINISHED).exists()
}

/// Why there is no backup, or nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A backup or a data directory was to be written where something is.
    #[error("{} is not empty: name a directory that is, or that does not exist yet", .0.display())]
    Occupied(PathBuf),
    /// A restore from what is no backup, or not all of one.
    #[error("{} is not a finished backup: it has no backup.json that reads ({reason})", directory.display())]
    Unfinished {
        /// What was named.
        directory: PathBuf,
        /// Why its manifest does not do.
        reason: String,
    },
    /// The copy does not hold what its manifest says.
    #[error("the backup in {} cannot be used: {what}", directory.display())]
    Changed {
        /// What was named.
        directory: PathBuf,
        /// What is missing or different.
        what: String,
    },
    /// There is nothing to take a backup of.
    #[error("there is no journal in {}: start the engine there once", .0.display())]
    Nothing(PathBuf),
    /// The journal could not be read, or its copy not written.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// The store could not be read, or its copy not written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The geofences could not be read, or their copy not written.
    #[error(transparent)]
    Follow(#[from] follow::Error),
    /// The operating system refused.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried.
        action: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    /// Says what was tried when the operating system refused; for `map_err`.
    fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }
}
