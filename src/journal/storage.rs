//! The files under a journal, as a seam: what the journal asks of a disk, and the directory that answers.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::error::Error;

/// A flat set of named files. Names become durable with [`Storage::sync_names`] and not before.
pub trait Storage: fmt::Debug + Send + Sync {
    /// All names, in no order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// A new empty file to read and write, in place of one that has the name.
    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>>;
    /// An existing file, to read.
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>>;
    /// An existing file, to read and write.
    fn open_for_write(&self, name: &str) -> io::Result<Box<dyn StorageFile>>;
    /// Gives a file another name, in place of one that has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Takes a file away. Whoever has it open can still read it.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes durable which names there are.
    fn sync_names(&self) -> io::Result<()>;
    /// What the disk under it has; unbounded unless it says otherwise.
    fn space(&self) -> io::Result<Space> {
        Ok(Space::UNBOUNDED)
    }
}

/// What a disk has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What this process may still fill.
    pub free_bytes: u64,
    /// All of it.
    pub total_bytes: u64,
}

impl Space {
    /// More than anybody fills.
    pub const UNBOUNDED: Self = Self { free_bytes: u64::MAX, total_bytes: u64::MAX };
}

/// One file of a [`Storage`].
pub trait StorageFile: fmt::Debug + Send {
    /// Its length in bytes.
    fn len_bytes(&self) -> io::Result<u64>;
    /// When it was last written.
    fn written_at(&self) -> io::Result<SystemTime>;
    /// Reads at most `buffer.len()` bytes at `offset`; 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts the file, or lengthens it with zeros.
    fn set_len_bytes(&self, len: u64) -> io::Result<()>;
    /// Makes durable what was written, and the length. Blocks for the disk. After an error nobody knows what is on the
    /// disk, and a second call that succeeds says nothing.
    fn sync(&self) -> io::Result<()>;
}

/// The real thing: a directory.
#[derive(Debug)]
pub(super) struct Directory(PathBuf);

/// The right to write in a directory, until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Directory {
    /// Makes the directory where missing and takes the right to write in it.
    pub(super) fn take(path: &Path) -> Result<(Self, Lock), Error> {
        let io = |source| Error::Io { action: format!("prepare {}", path.display()), source };
        make_durably(path).map_err(io)?;
        let lock = path.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(lock).map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok((Self(path.to_owned()), Lock { _file: file })),
            Err(TryLockError::WouldBlock) => Err(Error::InUse { directory: path.display().to_string() }),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }
}

/// Makes a directory, and those above it, so that they outlast a crash.
fn make_durably(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_durably(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(parent)?.sync_all(),
    }
}

impl Storage for Directory {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.0)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(io::Result::transpose).collect()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(self.0.join(name))?;
        Ok(Box::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(File::open(self.0.join(name))?))
    }

    fn open_for_write(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).open(self.0.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }

    fn space(&self) -> io::Result<Space> {
        let disk = rustix::fs::statvfs(&self.0)?;
        // Some file systems do not count.
        if disk.f_blocks == 0 {
            return Ok(Space::UNBOUNDED);
        }
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        Ok(Space { free_bytes: bytes(disk.f_bavail), total_bytes: bytes(disk.f_blocks) })
    }
}

impl StorageFile for File {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn written_at(&self) -> io::Result<SystemTime> {
        self.metadata()?.modified()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn set_len_bytes(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
