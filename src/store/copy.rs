//! A copy of the store as of one instant, into a directory of its own, while it is read and written.

use std::io;
use std::path::Path;

use fjall::{PersistMode, Readable};

use super::embedded::{BEGAN_KEY, POSITION_KEY};
use super::{Config, Error, Store};
use crate::journal::JournalPosition;

impl Store {
    /// Writes what the store holds now into a new store in `dir`, durably; gives the position that it reaches to.
    /// `copied` is told of bytes as they are written, and ends the copy by an error. Batches that are applied meanwhile are
    /// not in it. Blocks for the disk.
    ///
    /// # Errors
    /// The disk's, or [`Error::Occupied`] if there is a store in `dir`.
    pub fn copy_to(
        &self,
        dir: &Path,
        config: &Config,
        copied: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> Result<Option<JournalPosition>, Error> {
        let copy = Store::open(dir, config)?;
        let (from, to) = (self.tables(), copy.tables());
        if to.position()?.is_some() || !to.blocks.is_empty()? {
            return Err(Error::Occupied { dir: dir.to_owned() });
        }
        // One snapshot of both tables, so that the position is that of the blocks.
        let snapshot = from.database.snapshot();
        let mut ingestion = to.blocks.start_ingestion()?;
        for guard in snapshot.iter(&from.blocks) {
            let (key, value) = guard.into_inner()?;
            copied((key.len() + value.len()) as u64).map_err(fjall::Error::Io)?;
            ingestion.write(key, value)?;
        }
        ingestion.finish()?;
        for key in [BEGAN_KEY, POSITION_KEY] {
            if let Some(value) = snapshot.get(&from.meta, key)? {
                to.meta.insert(key, value)?;
            }
        }
        to.database.persist(PersistMode::SyncAll)?;
        to.position()
    }
}
