//! The files of a journal, to read and nothing else: an engine may be writing them.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::journal::error::Error;
use crate::journal::salvage::refuse_unfinished;
use crate::journal::storage::{Storage, StorageFile};
use crate::journal::{JournalId, JournalPosition, Unusable, segment, snapshot};

/// What is read one by one where a longer read fails: a sector of most disks, a page of the system.
const BLOCK_BYTES: u64 = 4_096;

/// What the system says of a place on the disk that does not read.
const EIO: i32 = 5;

/// A journal's directory, to look into without taking it.
#[derive(Clone, Debug)]
pub struct Files {
    directory: PathBuf,
    pub(in crate::journal) storage: Arc<dyn Storage>,
}

/// What there is at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::journal) struct Listing {
    /// First sequences of all segments, ascending.
    pub(in crate::journal) firsts: Vec<u64>,
    /// Sequences of all snapshots, ascending.
    pub(in crate::journal) snapshots: Vec<u64>,
}

impl Listing {
    /// Whether a snapshot stands for all before this sequence.
    pub(in crate::journal) fn covers(&self, first: u64) -> bool {
        self.snapshots.last().is_some_and(|snapshot| snapshot.saturating_add(1) >= first)
    }
}

impl Files {
    /// The journal in a directory.
    ///
    /// # Errors
    /// [`Error::NoJournal`] if there is none, [`Error::Unfinished`] if it may be a part of one, or the directory cannot be
    /// read.
    pub fn of(directory: &Path) -> Result<Self, Error> {
        let storage = Arc::new(ReadOnly(directory.to_owned()));
        let files = Self { directory: directory.to_owned(), storage };
        match files.list() {
            Ok(listing) if !listing.firsts.is_empty() => {
                refuse_unfinished(files.storage.as_ref())?;
                Ok(files)
            }
            Err(Error::Io { source, .. }) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::io(format!("look into {}", directory.display()))(source))
            }
            _ => Err(Error::NoJournal { directory: directory.display().to_string() }),
        }
    }

    /// The same directory, looked at through another storage.
    #[cfg(test)]
    pub(in crate::journal) fn through(self, storage: Arc<dyn Storage>) -> Self {
        Self { storage, ..self }
    }

    /// Whether a process has it open to write.
    ///
    /// # Errors
    /// The lock cannot be asked for.
    pub fn is_in_use(&self) -> Result<bool, Error> {
        match self.hold() {
            Ok(_) => Ok(false),
            Err(Error::InUse { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Keeps everybody from writing until dropped, without changing anything.
    pub(in crate::journal) fn hold(&self) -> Result<Option<File>, Error> {
        let path = self.directory.join("lock");
        let io = |source| Error::Io { action: format!("ask for {}", path.display()), source };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Err(Error::InUse { directory: self.directory.display().to_string() }),
            Err(TryLockError::Error(error)) => Err(io(error)),
        }
    }

    pub(in crate::journal) fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.storage.open(name)
    }

    pub(in crate::journal) fn list(&self) -> Result<Listing, Error> {
        // In this order: a snapshot is there before the segments go that it stands for.
        let firsts = segment::list(self.storage.as_ref())?;
        Ok(Listing { firsts, snapshots: snapshot::list(self.storage.as_ref())? })
    }

    /// Reads a snapshot, and gives whether it is whole and of this journal; `None` if it is gone meanwhile. What is in it
    /// its writer has to know.
    pub(in crate::journal) fn check_snapshot(
        &self,
        sequence: u64,
        journal: Option<JournalId>,
    ) -> Option<Result<(), Unusable>> {
        match snapshot::read(self.storage.as_ref(), sequence, &mut |_| Ok(())) {
            Err(Unusable::Io(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Ok(JournalPosition { journal: found, .. }) if Some(found) != journal => {
                Some(Err(Unusable::Damaged { offset: 0 }))
            }
            read => Some(read.map(drop)),
        }
    }
}

/// A directory in which nothing can be changed.
#[derive(Debug)]
struct ReadOnly(PathBuf);

#[derive(Debug)]
struct ReadOnlyFile(File);

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Storage for ReadOnly {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = std::fs::read_dir(&self.0)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(io::Result::transpose).collect()
    }

    fn create(&self, _: &str) -> io::Result<Box<dyn StorageFile>> {
        refused()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(ReadOnlyFile(File::open(self.0.join(name))?)))
    }

    fn open_for_write(&self, _: &str) -> io::Result<Box<dyn StorageFile>> {
        refused()
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        refused()
    }

    fn sync_names(&self) -> io::Result<()> {
        refused()
    }
}

impl StorageFile for ReadOnlyFile {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn written_at(&self) -> io::Result<SystemTime> {
        self.0.metadata()?.modified()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        read_around(|buffer, offset| FileExt::read_at(&self.0, buffer, offset), buffer, offset)
    }

    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        refused()
    }

    fn set_len_bytes(&self, _: u64) -> io::Result<()> {
        refused()
    }

    fn sync(&self) -> io::Result<()> {
        refused()
    }
}

/// Reads with `read`; where the disk cannot, up to the next block, which is given as zeros if it is what does not read:
/// the place shows as damage, and what is around it is there.
fn read_around(
    read: impl Fn(&mut [u8], u64) -> io::Result<usize>,
    buffer: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    match read(buffer, offset) {
        Err(error) if error.raw_os_error() == Some(EIO) => {
            let block = usize::try_from(BLOCK_BYTES - offset % BLOCK_BYTES).unwrap_or(usize::MAX).min(buffer.len());
            match read(&mut buffer[..block], offset) {
                Err(error) if error.raw_os_error() == Some(EIO) => {
                    buffer[..block].fill(0);
                    Ok(block)
                }
                other => other,
            }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_does_not_read_is_zeros_and_its_neighbours_are_there() {
        let bad = 8_192..12_288;
        let read = |buffer: &mut [u8], offset: u64| {
            if offset < bad.end && offset + buffer.len() as u64 > bad.start {
                return Err(io::Error::from_raw_os_error(EIO));
            }
            let len = buffer.len().min((20_000 - offset) as usize);
            buffer[..len].fill(7);
            Ok(len)
        };
        let mut found = Vec::new();
        while found.len() < 20_000 {
            let mut buffer = [1; 9_000];
            let len = read_around(read, &mut buffer, found.len() as u64).unwrap();
            found.extend_from_slice(&buffer[..len]);
        }
        let expected: Vec<u8> = (0..20_000).map(|at| if bad.contains(&at) { 0 } else { 7 }).collect();
        assert_eq!(found, expected);
    }
}
