//! A backup of a data directory that no engine uses, and the way back.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::{Error, FOLLOW_DIR, JOURNAL_DIR, Manifest, STORE_DIR, UNFINISHED};
use crate::follow::Tables;
use crate::journal::inspect::{Files, verify};
use crate::journal::{self, Extent};
use crate::store::{self, Store};

/// Copies the data directory `from`, which no engine uses, into `to`. Blocks for the disk.
pub fn back_up(from: &Path, to: &Path, store: &store::Config) -> Result<Manifest, Error> {
    let journal = journal_of(from)?;
    let Some(Extent { first, last }) = journal.extent()? else { return Err(Error::Nothing(from.to_owned())) };
    prepare(to)?;
    let store_sequence = if has(from, STORE_DIR) {
        let store_dir = to.join(STORE_DIR);
        Store::open(&from.join(STORE_DIR), store)?.copy_to(&store_dir, store, &mut |_| Ok(()))?
    } else {
        None
    };
    let follow_sequence = if has(from, FOLLOW_DIR) {
        Tables::open(&from.join(FOLLOW_DIR))?.copy_to(&to.join(FOLLOW_DIR), &mut |_| Ok(()))?
    } else {
        None
    };
    journal.copy_to(&to.join(JOURNAL_DIR), &mut |_| Ok(()))?;
    check(to)?;
    let manifest = Manifest::new(first, last, store_sequence.map(|position| position.sequence), follow_sequence);
    manifest.write(to)?;
    Ok(manifest)
}

/// Makes a data directory in `to`, which must be empty or not there, of the backup in `from`. Blocks for the disk.
pub fn restore(from: &Path, to: &Path) -> Result<Manifest, Error> {
    let manifest = Manifest::read(from)?;
    let changed = |what: String| Error::Changed { directory: from.to_owned(), what };
    let journal = journal_of(from)?;
    let Some(Extent { first, last }) = journal.extent()? else {
        return Err(changed("its journal is missing".to_owned()));
    };
    let found = Manifest::new(first, last, manifest.store_sequence, manifest.follow_sequence);
    if (&found.journal, found.first_sequence, found.last_sequence)
        != (&manifest.journal, manifest.first_sequence, manifest.last_sequence)
    {
        return Err(changed(format!(
            "its journal {} holds frames {first} to {}, and should be {} with {} to {}",
            found.journal, last.sequence, manifest.journal, manifest.first_sequence, manifest.last_sequence
        )));
    }
    check(from)?;
    let parts = [(STORE_DIR, manifest.store_sequence, "store"), (FOLLOW_DIR, manifest.follow_sequence, "geofences")];
    for (directory, sequence, name) in parts {
        if sequence.is_some() && !has(from, directory) {
            return Err(changed(format!("its {name}, `{directory}`, is missing")));
        }
    }
    prepare(to)?;
    let unfinished = to.join(UNFINISHED);
    let mark = || File::create(&unfinished)?.sync_all().and_then(|()| File::open(to)?.sync_all());
    mark().map_err(Error::io(format!("write {}", unfinished.display())))?;
    for (directory, _, name) in parts.into_iter().filter(|(directory, ..)| has(from, directory)) {
        let action = format!("copy the {name} into {}", to.display());
        copy_tree(&from.join(directory), &to.join(directory)).map_err(Error::io(action))?;
    }
    journal.copy_to(&to.join(JOURNAL_DIR), &mut |_| Ok(()))?;
    let finish = || {
        File::open(to)?.sync_all()?;
        fs::remove_file(&unfinished)?;
        File::open(to)?.sync_all()
    };
    finish().map_err(Error::io(format!("make {} durable", to.display())))?;
    Ok(manifest)
}

/// Makes a directory to write into; [`Error::Occupied`] if something is in it.
pub(super) fn prepare(directory: &Path) -> Result<(), Error> {
    let action = || format!("make {}", directory.display());
    fs::create_dir_all(directory).map_err(Error::io(action()))?;
    let mut entries = fs::read_dir(directory).map_err(Error::io(action()))?;
    if entries.next().is_some() { Err(Error::Occupied(directory.to_owned())) } else { Ok(()) }
}

/// The journal in a data directory or a backup.
fn journal_of(directory: &Path) -> Result<Files, Error> {
    Files::of(&directory.join(JOURNAL_DIR)).map_err(|error| match error {
        journal::Error::NoJournal { .. } => Error::Nothing(directory.to_owned()),
        other => other.into(),
    })
}

/// Reads the whole journal of a backup: one that is damaged cannot be started on.
pub(super) fn check(backup: &Path) -> Result<(), Error> {
    match verify(&journal_of(backup)?, &mut |_| {})?.damages {
        0 => Ok(()),
        damages => Err(Error::Changed {
            directory: backup.to_owned(),
            what: format!("its journal is damaged in {damages} places, which `rhumb journal verify --dir` names"),
        }),
    }
}

fn has(directory: &Path, part: &str) -> bool {
    directory.join(part).is_dir()
}

/// Copies a directory and everything below it, durably.
fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
            File::open(&target)?.sync_all()?;
        }
    }
    File::open(to)?.sync_all()
}
