//! Snapshots: files that stand for everything in the journal up to a frame, so that recovery begins behind it and the
//! segments before it can go.
//!
//! A snapshot is `{sequence, 20 digits}.snapshot`. What is in it is its writer's affair; the file sees to it that all of
//! that is read back, or nothing. All integers are little-endian.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | `RHUMBSNP` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 16 | journal id |
//! | 28 | 8 | sequence: it stands for all frames up to this one |
//! | 36 | 4 | CRC32C of the 36 bytes before |
//! | 40 | | chunks |
//!
//! | chunk: bytes | field |
//! |---|---|
//! | 4 | CRC32C of the chunk's number in the file (8 bytes, from 0), its length and its content |
//! | 4 | length of the content, at most [`CHUNK_BYTES_MAX`] |
//! | | the content |
//!
//! An empty chunk ends it, and nothing follows. A file gets its name when all of it is durable.

use std::io;
use std::sync::Arc;

use super::error::Error;
use super::storage::{Storage, StorageFile};
use super::{JournalId, JournalPosition, Malformed};

/// Longest chunk.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;

/// Snapshots that are kept: if the newest does not read, the one before it and the journal behind that still do.
pub(super) const KEPT: usize = 2;

const VERSION: u32 = 2;
const HEADER_BYTES: usize = 40;
const CHUNK_HEADER_BYTES: usize = 8;
const MAGIC: &[u8; 8] = b"RHUMBSNP";
const SUFFIX: &str = ".snapshot";
const NAME_DIGITS: usize = 20;

/// What a snapshot is called until all of it is durable.
const UNBORN_NAME: &str = "next.snapshot.unfinished";

/// Behind the name of a snapshot that did not read, from then on.
const UNUSABLE_SUFFIX: &str = ".unusable";

/// Written before it is made durable, so that the disk is never given all of a large snapshot at once while the journal
/// waits for its own syncs.
const SYNC_BYTES: u64 = 4 << 20;

/// The file name of the snapshot that stands for all up to this frame.
pub(super) fn name(sequence: u64) -> String {
    format!("{sequence:0NAME_DIGITS$}{SUFFIX}")
}

/// The sequence in the name of a snapshot; `None` if it is not one's.
pub(super) fn sequence_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX).filter(|digits| digits.len() == NAME_DIGITS)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Whether this is the name of a snapshot, or of one that is being made.
pub(super) fn is_of_snapshots(name: &str) -> bool {
    name == UNBORN_NAME || sequence_of(name).is_some()
}

/// Sequences of all snapshots, ascending.
pub(super) fn list(storage: &dyn Storage) -> Result<Vec<u64>, Error> {
    let names = storage.list().map_err(Error::io("list the snapshots"))?;
    let mut sequences: Vec<u64> = names.iter().filter_map(|name| sequence_of(name)).collect();
    sequences.sort_unstable();
    Ok(sequences)
}

/// Takes its name from a snapshot that does not read: nobody may rely on it, nor count it among those that are kept. It stays
/// for whoever wants to know why.
pub(super) fn set_aside(storage: &dyn Storage, sequence: u64) -> Result<(), Error> {
    let name = name(sequence);
    let set_aside = || {
        storage.rename(&name, &format!("{name}{UNUSABLE_SUFFIX}"))?;
        storage.sync_names()
    };
    set_aside().map_err(Error::io(format!("set {name} aside")))
}

fn header(position: JournalPosition) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..28].copy_from_slice(&position.journal.0);
    bytes[28..36].copy_from_slice(&position.sequence.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..36]);
    bytes[36..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn chunk_header(number: u64, content: &[u8]) -> [u8; CHUNK_HEADER_BYTES] {
    let length = (content.len() as u32).to_le_bytes();
    let mut crc = crc32c::crc32c(&number.to_le_bytes());
    crc = crc32c::crc32c_append(crc, &length);
    crc = crc32c::crc32c_append(crc, content);
    let mut bytes = [0; CHUNK_HEADER_BYTES];
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    bytes[4..].copy_from_slice(&length);
    bytes
}

/// A snapshot that is being written. Dropped unfinished, it leaves nothing: with the disk full, the journal needs the room.
#[derive(Debug)]
pub struct SnapshotWriter {
    storage: Arc<dyn Storage>,
    file: Box<dyn StorageFile>,
    position: JournalPosition,
    chunks: u64,
    end: u64,
    synced: u64,
    is_finished: bool,
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.is_finished {
            // What cannot be removed is overwritten by the next.
            drop(self.storage.remove(UNBORN_NAME));
        }
    }
}

impl SnapshotWriter {
    pub(super) fn create(storage: &Arc<dyn Storage>, position: JournalPosition) -> Result<Self, Error> {
        let begin = || {
            let file = storage.create(UNBORN_NAME)?;
            file.write_all_at(&header(position), 0)?;
            io::Result::Ok(file)
        };
        let file = begin().map_err(Error::io("begin a snapshot"))?;
        let (end, synced) = (HEADER_BYTES as u64, 0);
        Ok(Self { storage: Arc::clone(storage), file, position, chunks: 0, end, synced, is_finished: false })
    }

    /// Adds a chunk, at most [`CHUNK_BYTES_MAX`] long; an empty one is none. Blocks for the disk at times.
    pub fn put(&mut self, content: &[u8]) -> Result<(), Error> {
        debug_assert!(content.len() <= CHUNK_BYTES_MAX);
        if content.is_empty() { Ok(()) } else { self.write(content).map_err(Error::io("write a snapshot")) }
    }

    /// Makes it durable, gives it its name, and takes all but the newest two away. Gives its length in bytes.
    pub fn finish(mut self) -> Result<u64, Error> {
        let finish = |writer: &mut Self| {
            writer.write(&[])?;
            writer.file.sync()?;
            writer.storage.rename(UNBORN_NAME, &name(writer.position.sequence))?;
            writer.storage.sync_names()
        };
        finish(&mut self).map_err(Error::io("finish a snapshot"))?;
        self.is_finished = true;
        let kept = list(self.storage.as_ref())?;
        for outdated in &kept[..kept.len().saturating_sub(KEPT)] {
            self.storage.remove(&name(*outdated)).map_err(Error::io("remove an old snapshot"))?;
        }
        Ok(self.end)
    }

    fn write(&mut self, content: &[u8]) -> io::Result<()> {
        self.file.write_all_at(&chunk_header(self.chunks, content), self.end)?;
        self.file.write_all_at(content, self.end + CHUNK_HEADER_BYTES as u64)?;
        self.chunks += 1;
        self.end += (CHUNK_HEADER_BYTES + content.len()) as u64;
        if self.end - self.synced >= SYNC_BYTES {
            self.file.sync()?;
            self.synced = self.end;
        }
        Ok(())
    }
}

/// Why a snapshot cannot be used. Nothing is lost as long as an older one and the journal behind it are there.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Not whole, not sound, or not of its name.
    #[error("its bytes from {offset} on are not what was written")]
    Damaged {
        /// Where in the file.
        offset: u64,
    },
    /// Written by a version of Rhumb that this one does not read.
    #[error("it has format version {found}; this program reads version {VERSION}")]
    Version {
        /// Its version.
        found: u32,
    },
    /// Whole, and its content does not read.
    #[error("its content does not read")]
    Content(#[from] Malformed),
    /// The operating system refused.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Reads the snapshot that stands for all up to `sequence` chunk by chunk; gives whose it is. What `take` was given
/// before an error is to be thrown away.
pub(super) fn read(
    storage: &dyn Storage,
    sequence: u64,
    take: &mut dyn FnMut(&[u8]) -> Result<(), Malformed>,
) -> Result<JournalPosition, Unusable> {
    let file = storage.open(&name(sequence))?;
    let len = file.len_bytes()?;
    let mut bytes = vec![0; HEADER_BYTES];
    read_exact(file.as_ref(), &mut bytes, 0, len)?;
    if !bytes.starts_with(MAGIC) {
        return Err(Unusable::Damaged { offset: 0 });
    }
    let found = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    if found != VERSION {
        return Err(Unusable::Version { found });
    }
    let mut id = [0; 16];
    id.copy_from_slice(&bytes[12..28]);
    let position = JournalPosition { journal: JournalId(id), sequence };
    if bytes != header(position) {
        return Err(Unusable::Damaged { offset: 0 });
    }
    let mut offset = HEADER_BYTES as u64;
    for number in 0.. {
        let mut head = [0; CHUNK_HEADER_BYTES];
        read_exact(file.as_ref(), &mut head, offset, len)?;
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if length > CHUNK_BYTES_MAX {
            return Err(Unusable::Damaged { offset });
        }
        bytes.resize(length, 0);
        read_exact(file.as_ref(), &mut bytes, offset + CHUNK_HEADER_BYTES as u64, len)?;
        if chunk_header(number, &bytes) != head {
            return Err(Unusable::Damaged { offset });
        }
        offset += (CHUNK_HEADER_BYTES + length) as u64;
        if length == 0 {
            break;
        }
        take(&bytes)?;
    }
    if offset == len { Ok(position) } else { Err(Unusable::Damaged { offset }) }
}

/// Fills `buffer` from a file of `len` bytes, or says that the file is cut short.
fn read_exact(file: &dyn StorageFile, buffer: &mut [u8], offset: u64, len: u64) -> Result<(), Unusable> {
    if offset + buffer.len() as u64 > len {
        return Err(Unusable::Damaged { offset });
    }
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => return Err(Unusable::Damaged { offset }),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
