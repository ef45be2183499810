//! History of every driver in an embedded database: what was journalled, kept as blocks of fixes that a track reads in
//! order of time.
//!
//! Fixes come in batches, each with the journal position it reaches to, and a batch and its position are one atomic
//! write. Reading and writing go on side by side. Everything here blocks on the disk at times: async callers move it to
//! a thread that may.

mod apply;
mod block;
mod copy;
mod embedded;
mod key;
#[cfg(test)]
mod model;
mod stretch;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::embedded::Store;
pub use self::stretch::Stretch;
use crate::fix::Fix;
use crate::journal::JournalId;

/// The `[store]` section: the embedded store and what it may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether there is one. Without it, tracks end at what memory holds and older fixes are refused as `past`, also
    /// after it is switched on again.
    pub enabled: bool,
    /// Memory for blocks read from disk, in bytes. Reads are rare beside writes, and the system caches files as well: taking in
    /// fixes cost the same with 4 MiB as with 64 MiB.
    pub cache_bytes: u64,
    /// Disk for the database's own journals, in bytes, at least [`JOURNAL_BYTES_MIN`]. More makes an open after a crash
    /// slower.
    pub journal_bytes_max: u64,
    /// Threads that flush and compact, at least 1. With 1 a long compaction holds up flushes, and so the sink.
    pub worker_threads: usize,
    /// Files held open, at least [`FILES_OPEN_MIN`].
    pub files_open_max: usize,
}

/// Least that [`Config::journal_bytes_max`] may be, in bytes: one journal file of the database.
pub const JOURNAL_BYTES_MIN: u64 = 64 << 20;

/// Least that [`Config::files_open_max`] may be.
pub const FILES_OPEN_MIN: usize = 16;

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            cache_bytes: 16 << 20,
            journal_bytes_max: 128 << 20,
            worker_threads: 2,
            files_open_max: 256,
        }
    }
}

impl Config {
    /// Names the first key whose value cannot be, and what it wants.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        if self.journal_bytes_max < JOURNAL_BYTES_MIN {
            return Err(InvalidConfig { key: "journal_bytes_max", wants: "at least 67108864 (64 MiB)" });
        }
        if self.worker_threads < 1 {
            return Err(InvalidConfig { key: "worker_threads", wants: "at least 1" });
        }
        if self.files_open_max < FILES_OPEN_MIN {
            return Err(InvalidConfig { key: "files_open_max", wants: "at least 16" });
        }
        Ok(())
    }
}

/// A value in `[store]` that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} has to be {wants}")]
pub struct InvalidConfig {
    /// The key within the section.
    pub key: &'static str,
    /// What its value has to be.
    pub wants: &'static str,
}

/// New fixes of one driver, in any order. Times that are there already are not stored again.
#[derive(Clone, Copy, Debug)]
pub struct DriverFixes<'a> {
    /// Whose driver.
    pub tenant: &'a str,
    /// The driver's name within its tenant.
    pub driver: &'a str,
    /// What to add.
    pub fixes: &'a [Fix],
}

/// Why the store could not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A bound in the configuration is out of range.
    #[error("[store] {0}")]
    Config(#[from] InvalidConfig),
    /// Another process has the directory.
    #[error("the store in {} is in use by another process", dir.display())]
    Locked {
        /// Where the store is.
        dir: PathBuf,
    },
    /// A copy was to go where there is a store.
    #[error("there is a store in {} already", dir.display())]
    Occupied {
        /// Where.
        dir: PathBuf,
    },
    /// Written by a version whose form this one does not know: run that version, or move the directory away and let
    /// the store be made anew from the journal.
    #[error("the store has form {found}, this version reads form {known}")]
    Form {
        /// What the store says.
        found: u8,
        /// What this version writes.
        known: u8,
    },
    /// The store was filled from another journal, so that positions of this one mean nothing to it.
    #[error("the store follows journal {held}, not journal {asked}")]
    OtherJournal {
        /// Whose position it holds.
        held: JournalId,
        /// Whose position was to be written.
        asked: JournalId,
    },
    /// A name that is no id of a tenant or driver was to be written.
    #[error("{tenant:?} and {driver:?} are not the ids of a tenant and a driver")]
    Id {
        /// The tenant's.
        tenant: String,
        /// The driver's.
        driver: String,
    },
    /// A value passed the database's checksums and is still no block or position: a fault of the program.
    #[error("the value at {key} is not what the store writes")]
    Malformed {
        /// The key, unprintable bytes escaped.
        key: String,
    },
    /// A write failed earlier and the database takes no more until the process starts again.
    #[error("the store takes no more writes after one that failed: see to the disk, then restart")]
    Poisoned,
    /// The disk or the database failed.
    #[error("the store failed: {0}")]
    Database(#[source] fjall::Error),
}

impl Error {
    /// Whether the same call may succeed later with nothing done about it but waiting.
    pub fn is_retryable(&self) -> bool {
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
