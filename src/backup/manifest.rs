//! What a backup says of itself, in `backup.json`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Error;
use crate::journal::JournalPosition;

/// The form of backups that this version writes and reads.
const FORM: u32 = 1;

const NAME: &str = "backup.json";

/// What a finished backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of the backup.
    form: u32,
    /// The version of Rhumb that made it.
    pub rhumb: String,
    /// The journal's id.
    pub journal: String,
    /// First frame in its journal.
    pub first_sequence: u64,
    /// Last frame in its journal: everything acknowledged up to there is in the backup.
    pub last_sequence: u64,
    /// The frame up to which its store has everything; `None` if there is no store.
    pub store_sequence: Option<u64>,
    /// The frame of which its geofences are; `None` if there are none.
    #[serde(default)]
    pub follow_sequence: Option<u64>,
}

impl Manifest {
    pub(super) fn new(
        first_sequence: u64,
        last: JournalPosition,
        store_sequence: Option<u64>,
        follow_sequence: Option<u64>,
    ) -> Self {
        Self {
            form: FORM,
            rhumb: env!("CARGO_PKG_VERSION").to_owned(),
            journal: last.journal.to_string(),
            first_sequence,
            last_sequence: last.sequence,
            store_sequence,
            follow_sequence,
        }
    }

    /// Marks the backup in `directory` as finished.
    pub(super) fn write(&self, directory: &Path) -> Result<(), Error> {
        let write = || {
            let unfinished = directory.join("backup.json.new");
            let mut file = File::create(&unfinished)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_all()?;
            fs::rename(unfinished, directory.join(NAME))?;
            File::open(directory)?.sync_all()
        };
        write().map_err(Error::io(format!("write {NAME} in {}", directory.display())))
    }

    /// Reads that of a backup; [`Error::Unfinished`] if there is none of this form.
    pub(super) fn read(directory: &Path) -> Result<Self, Error> {
        let read = || -> io::Result<Self> {
            let manifest: Self = serde_json::from_slice(&fs::read(directory.join(NAME))?)?;
            let is_known = manifest.form == FORM;
            let unknown = || io::Error::other(format!("it has form {}, this version reads {FORM}", manifest.form));
            if is_known { Ok(manifest) } else { Err(unknown()) }
        };
        read().map_err(|error| Error::Unfinished { directory: directory.to_owned(), reason: error.to_string() })
    }
}
