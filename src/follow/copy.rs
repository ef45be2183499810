//! A copy of what the follower keeps as of one instant, into a directory of its own, while it goes on.

use std::io;
use std::path::Path;

use fjall::Readable;

use super::Error;
use super::tables::{CHECKPOINT_KEY, COMMITTED_KEY, Tables};

impl Tables {
    /// Writes what is kept now into a new database in `dir`, durably; gives the frame of the checkpoint, behind which the journal
    /// is needed beside it. `copied` is told of bytes as they are written, and ends the copy by an error. Blocks for the disk.
    ///
    /// # Errors
    /// The disk's, or [`Error::Occupied`] if there is something in `dir`.
    pub fn copy_to(&self, dir: &Path, copied: &mut dyn FnMut(u64) -> io::Result<()>) -> Result<Option<u64>, Error> {
        let to = Self::open(dir)?;
        if to.checkpoint()?.is_some() || to.committed()?.is_some() {
            return Err(Error::Occupied { dir: dir.to_owned() });
        }
        let snapshot = self.database.snapshot();
        let both = [
            (&self.fences, &to.fences),
            (&self.drivers, &to.drivers),
            (&self.events, &to.events),
            (&self.of_tenant, &to.of_tenant),
        ];
        for (from, to) in both {
            let mut ingestion = to.start_ingestion()?;
            for guard in snapshot.iter(from) {
                let (key, value) = guard.into_inner()?;
                copied((key.len() + value.len()) as u64).map_err(fjall::Error::Io)?;
                ingestion.write(key, value)?;
            }
            ingestion.finish()?;
        }
        for key in [CHECKPOINT_KEY, COMMITTED_KEY] {
            if let Some(value) = snapshot.get(&self.meta, key)? {
                to.meta.insert(key, value)?;
            }
        }
        to.persist()?;
        Ok(to.checkpoint()?.map(|position| position.sequence))
    }
}
