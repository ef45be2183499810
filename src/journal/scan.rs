//! Walking through a segment frame by frame, with buffered reads.

use super::JournalId;
use super::error::{Damage, Error};
use super::frame::{Announced, FRAME_BYTES_MAX, Frame, announced};
use super::segment;
use super::storage::{Storage, StorageFile};

/// First read after a jump or at the journal's end, where little is to be expected; doubled with every further one.
const READ_BYTES_MIN: usize = 16 << 10;

/// Largest read, unless a frame is longer.
const READ_BYTES_MAX: usize = 256 << 10;

/// What stands at a place in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A sound frame, which [`Scan::frame`] gives; the scan stands behind it.
    Frame,
    /// No frame, nor part of one.
    End,
    /// Something that is no sound frame.
    Unsound,
}

/// A place in a segment, and the bytes around it.
#[derive(Debug)]
pub(super) struct Scan {
    file: Box<dyn StorageFile>,
    first: u64,
    journal: JournalId,
    buffer: Vec<u8>,
    /// Offset in the file of `buffer[0]`.
    buffer_offset: u64,
    /// Bytes of the buffer that hold what was read.
    filled: usize,
    /// Where in the buffer the scan stands.
    at: usize,
    /// Where in the buffer the last frame began.
    frame_at: usize,
    read_bytes: usize,
}

impl Scan {
    /// Opens the segment whose first frame is `first`, checks its header and stands behind it.
    pub(super) fn open(storage: &dyn Storage, first: u64) -> Result<Self, Error> {
        let name = segment::name(first);
        let file = storage.open(&name).map_err(Error::io(format!("open {name}")))?;
        let mut scan = Self::of(file, first);
        scan.fill(segment::HEADER_BYTES)?;
        scan.journal = segment::check_header(&scan.buffer[..scan.filled], first)?;
        scan.at = segment::HEADER_BYTES;
        Ok(scan)
    }

    /// Stands at the beginning of a file that is a segment by its name.
    pub(super) fn of(file: Box<dyn StorageFile>, first: u64) -> Self {
        Self {
            file,
            first,
            journal: JournalId([0; 16]),
            buffer: Vec::new(),
            buffer_offset: 0,
            filled: 0,
            at: 0,
            frame_at: 0,
            read_bytes: READ_BYTES_MIN,
        }
    }

    /// The id in the segment's header.
    pub(super) fn journal(&self) -> JournalId {
        self.journal
    }

    /// Offset in the file where the scan stands.
    pub(super) fn offset(&self) -> u64 {
        self.buffer_offset + self.at as u64
    }

    /// Offset in the file of the last frame.
    pub(super) fn frame_offset(&self) -> u64 {
        self.buffer_offset + self.frame_at as u64
    }

    /// Says that this segment is damaged.
    pub(super) fn damaged(&self, offset: u64, reason: Damage) -> Error {
        Error::Damaged { segment: segment::name(self.first), offset, reason }
    }

    /// Reads what stands here; moves behind it if it is a sound frame.
    pub(super) fn step(&mut self) -> Result<Step, Error> {
        self.fill(8)?;
        let rest = &self.buffer[self.at..self.filled];
        let Some(start) = rest.first_chunk::<8>() else {
            return Ok(if rest.iter().all(|byte| *byte == 0) { Step::End } else { Step::Unsound });
        };
        let length = match announced(start) {
            Announced::Frame(length) => length,
            Announced::End => return Ok(Step::End),
            Announced::Unsound => return Ok(Step::Unsound),
        };
        self.fill(length)?;
        match self.buffer[..self.filled].get(self.at..self.at + length) {
            Some(bytes) if Frame::is_sound(bytes) => {
                self.frame_at = self.at;
                self.at += length;
                Ok(Step::Frame)
            }
            _ => Ok(Step::Unsound),
        }
    }

    /// The frame behind which the scan stands after [`Step::Frame`].
    pub(super) fn frame(&self) -> Frame<'_> {
        Frame::parse(self.frame_bytes())
    }

    /// The bytes of that frame.
    pub(super) fn frame_bytes(&self) -> &[u8] {
        &self.buffer[self.frame_at..self.at]
    }

    /// Drops what was read ahead, so that it is read anew.
    pub(super) fn forget(&mut self) {
        self.go_to(self.offset());
    }

    /// Goes to another place in the file, and reads there anew.
    pub(super) fn go_to(&mut self, offset: u64) {
        self.buffer_offset = offset;
        self.at = 0;
        self.frame_at = 0;
        self.filled = 0;
        self.read_bytes = READ_BYTES_MIN;
    }

    /// Everything from here to the end of the file.
    pub(super) fn rest(&self) -> Result<Vec<u8>, Error> {
        self.bytes(self.offset(), u64::MAX)
    }

    /// What the file holds from `offset` to below `end`.
    pub(super) fn bytes(&self, offset: u64, end: u64) -> Result<Vec<u8>, Error> {
        let len = self.file.len_bytes().map_err(self.cannot_read())?.min(end).saturating_sub(offset);
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        let filled = self.read(&mut bytes, offset, usize::MAX)?;
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Sees that `len` bytes from here are in the buffer, if the file has them.
    fn fill(&mut self, len: usize) -> Result<(), Error> {
        debug_assert!(len <= FRAME_BYTES_MAX);
        if self.filled - self.at >= len {
            return Ok(());
        }
        self.buffer.copy_within(self.at..self.filled, 0);
        self.filled -= self.at;
        self.buffer_offset += self.at as u64;
        self.at = 0;
        let wanted = len.max(self.filled + self.read_bytes);
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let offset = self.buffer_offset + self.filled as u64;
        let read = self.read(&mut buffer[self.filled..wanted], offset, len - self.filled);
        self.buffer = buffer;
        self.filled += read?;
        self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
        Ok(())
    }

    /// Reads until `buffer` is full or the file ends, and no further than needed once there are `enough` bytes.
    fn read(&self, buffer: &mut [u8], offset: u64, enough: usize) -> Result<usize, Error> {
        let mut filled = 0;
        while filled < buffer.len().min(enough) {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.cannot_read()(error)),
            }
        }
        Ok(filled)
    }

    fn cannot_read(&self) -> impl FnOnce(std::io::Error) -> Error + use<> {
        Error::io(format!("read {}", segment::name(self.first)))
    }
}
