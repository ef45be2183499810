//! A copy of a journal into another directory, while it is written or not: what a backup consists of, and a restore.

use std::io;
use std::path::Path;

use super::error::{Damage, Error};
use super::inspect::Files;
use super::scan::{Scan, Step};
use super::storage::{Directory, Lock, Storage};
use super::{Journal, JournalPosition, segment, snapshot};

/// Bytes read and written at a time.
const COPIED_AT_ONCE_BYTES: usize = 1 << 20;

/// Told of bytes as they are written; an error from it ends the copy.
type Copied<'a> = &'a mut dyn FnMut(u64) -> io::Result<()>;

impl Journal {
    /// Copies snapshots and segments, up to what is durable now, into a journal directory of its own, durably; gives the
    /// position that the copy reaches to. `copied` is told of bytes as they are written, and ends the copy by an error.
    ///
    /// Nobody may cut the journal or finish a snapshot meanwhile. Frames go on being appended. Blocks for the disk.
    pub fn copy_to(&self, dir: &Path, copied: Copied<'_>) -> Result<JournalPosition, Error> {
        let (target, _lock) = empty(dir)?;
        let durable = self.watermark.get();
        let segments: Vec<u64> =
            segment::list(self.storage.as_ref())?.into_iter().filter(|first| *first <= durable.max(1)).collect();
        copy_snapshots(self.storage.as_ref(), &target, copied)?;
        for (index, &first) in segments.iter().enumerate() {
            let is_newest = index + 1 == segments.len();
            // What is behind the durable end may be half written: a copy of it could show a hole that never was.
            let end = if is_newest { Some(end_of(self.storage.as_ref(), first, durable)?) } else { None };
            copy_file(self.storage.as_ref(), &target, &segment::name(first), end, copied)?;
        }
        target.sync_names().map_err(Error::io("make the names of the copy durable"))?;
        Ok(JournalPosition { journal: self.id, sequence: durable })
    }
}

impl Files {
    /// As [`Journal::copy_to`], of a journal that nobody may write meanwhile: all of its segments as they are, a torn end with
    /// them.
    pub fn copy_to(&self, dir: &Path, copied: Copied<'_>) -> Result<(), Error> {
        let (target, _lock) = empty(dir)?;
        copy_snapshots(self.storage.as_ref(), &target, copied)?;
        for first in segment::list(self.storage.as_ref())? {
            copy_file(self.storage.as_ref(), &target, &segment::name(first), None, copied)?;
        }
        target.sync_names().map_err(Error::io("make the names of the copy durable"))
    }

    /// Whose journal it is and what it holds: reads every frame of the newest segment. `None` if there is none.
    pub fn extent(&self) -> Result<Option<Extent>, Error> {
        let storage = &self.storage;
        let firsts = segment::list(storage.as_ref())?;
        let (Some(&first), Some(&newest)) = (firsts.first(), firsts.last()) else { return Ok(None) };
        let mut scan = Scan::open(storage.as_ref(), newest)?;
        let mut last = newest - 1;
        while scan.step()? == Step::Frame {
            last = scan.frame().sequence;
        }
        Ok(Some(Extent { first, last: JournalPosition { journal: scan.journal(), sequence: last } }))
    }
}

/// What a journal holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Its first frame.
    pub first: u64,
    /// Its last sound frame.
    pub last: JournalPosition,
}

/// A journal directory to copy into, which must hold no journal yet.
fn empty(dir: &Path) -> Result<(Directory, Lock), Error> {
    let (target, lock) = Directory::take(dir)?;
    if segment::list(&target)?.is_empty() && snapshot::list(&target)?.is_empty() {
        return Ok((target, lock));
    }
    let there = io::Error::new(io::ErrorKind::AlreadyExists, "there is a journal already");
    Err(Error::io(format!("copy into {}", dir.display()))(there))
}

/// Where in the segment that begins with `first` the frame `last` ends; behind the header if that is before its first.
fn end_of(storage: &dyn Storage, first: u64, last: u64) -> Result<u64, Error> {
    let mut scan = Scan::open(storage, first)?;
    let mut reached = first - 1;
    while reached < last {
        match scan.step()? {
            Step::Frame => reached = scan.frame().sequence,
            Step::End => return Err(scan.damaged(scan.offset(), Damage::Missing)),
            Step::Unsound => return Err(scan.damaged(scan.offset(), Damage::Frame)),
        }
    }
    Ok(scan.offset())
}

/// Copies the snapshots that read.
fn copy_snapshots(from: &dyn Storage, to: &Directory, copied: Copied<'_>) -> Result<(), Error> {
    for sequence in snapshot::list(from)? {
        if snapshot::read(from, sequence, &mut |_| Ok(())).is_ok() {
            copy_file(from, to, &snapshot::name(sequence), None, copied)?;
        }
    }
    Ok(())
}

/// Copies a file, or its first `end` bytes, durably.
pub(super) fn copy_file(
    from: &dyn Storage,
    to: &dyn Storage,
    name: &str,
    end: Option<u64>,
    copied: Copied<'_>,
) -> Result<(), Error> {
    let mut copy = || {
        let source = from.open(name)?;
        let len = source.len_bytes()?;
        let end = end.map_or(len, |end| end.min(len));
        let target = to.create(name)?;
        let mut buffer = vec![0; COPIED_AT_ONCE_BYTES];
        let mut offset = 0;
        while offset < end {
            let wanted = buffer.len().min(usize::try_from(end - offset).unwrap_or(usize::MAX));
            let read = match source.read_at(&mut buffer[..wanted], offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            target.write_all_at(&buffer[..read], offset)?;
            offset += read as u64;
            copied(read as u64)?;
        }
        target.sync()
    };
    copy().map_err(Error::io(format!("copy {name}")))
}
