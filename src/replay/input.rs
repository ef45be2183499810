//! A recording's bytes: opened, counted for the progress bar, and unpacked if they are gzip.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

const BUFFER_BYTES: usize = 64 * 1024;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Opens a file for reading, unpacked, whatever its name says. `bytes_read` grows by what is taken from the disk.
pub(super) fn open(path: &Path, bytes_read: Arc<AtomicU64>) -> io::Result<Box<dyn BufRead + Send>> {
    let file = File::open(path)?;
    let mut packed = BufReader::with_capacity(BUFFER_BYTES, Counted { file, bytes_read });
    if packed.fill_buf()?.starts_with(&GZIP_MAGIC) {
        return Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(packed))));
    }
    Ok(Box::new(packed))
}

struct Counted {
    file: File,
    bytes_read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.bytes_read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// What became of reading a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// It is in the buffer, without its end.
    Read,
    /// It was longer than allowed and was skipped to its end; the buffer holds its start.
    TooLong,
    /// There are no more.
    End,
}

/// Reads the next line into `line`, of which it never holds more than `bytes_max`.
pub(super) fn read_line(input: &mut dyn BufRead, line: &mut Vec<u8>, bytes_max: usize) -> io::Result<Line> {
    line.clear();
    let mut is_empty = true;
    let mut is_too_long = false;
    loop {
        let available = match input.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if available.is_empty() {
            return Ok(if is_empty { Line::End } else { ended(line, is_too_long) });
        }
        is_empty = false;
        let end = available.iter().position(|byte| *byte == b'\n');
        let piece = &available[..end.unwrap_or(available.len())];
        let room = bytes_max - line.len();
        is_too_long |= piece.len() > room;
        line.extend_from_slice(&piece[..piece.len().min(room)]);
        let used = piece.len() + usize::from(end.is_some());
        input.consume(used);
        if end.is_some() {
            return Ok(ended(line, is_too_long));
        }
    }
}

fn ended(line: &mut Vec<u8>, is_too_long: bool) -> Line {
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    if is_too_long { Line::TooLong } else { Line::Read }
}

/// A reader that counts lines and refuses to give more than `allowance` bytes between two calls of [`Fenced::renew`], so
/// that a parser above it cannot be made to collect without end.
pub(super) struct Fenced {
    input: Box<dyn BufRead + Send>,
    allowance: usize,
    left: usize,
    lines: u64,
}

impl Fenced {
    pub(super) fn new(input: Box<dyn BufRead + Send>, allowance: usize) -> Self {
        Self { input, allowance, left: allowance, lines: 1 }
    }

    pub(super) fn renew(&mut self) {
        self.left = self.allowance;
    }

    /// The line that was reached, from 1.
    pub(super) fn line(&self) -> u64 {
        self.lines
    }
}

impl Read for Fenced {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Fenced {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let available = self.input.fill_buf()?;
        if self.left == 0 && !available.is_empty() {
            return Err(io::Error::other(format!("more than {} bytes without an end of one piece", self.allowance)));
        }
        Ok(&available[..available.len().min(self.left)])
    }

    fn consume(&mut self, count: usize) {
        // What is consumed was filled before, so that this reads nothing and cannot fail.
        if let Ok(seen) = self.input.fill_buf() {
            let seen = &seen[..count.min(seen.len())];
            self.lines += seen.iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        self.left -= count.min(self.left);
        self.input.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_long_ones_skipped() {
        let mut input = &b"one\r\ntoo long to keep\n\nlast"[..];
        let mut line = Vec::new();
        let mut next = |line: &mut Vec<u8>| read_line(&mut input, line, 6).unwrap();
        assert_eq!((next(&mut line), &line[..]), (Line::Read, &b"one"[..]));
        assert_eq!((next(&mut line), &line[..]), (Line::TooLong, &b"too lo"[..]));
        assert_eq!((next(&mut line), &line[..]), (Line::Read, &b""[..]));
        assert_eq!((next(&mut line), &line[..]), (Line::Read, &b"last"[..]));
        assert_eq!(next(&mut line), Line::End);
    }

    #[test]
    fn a_fence_stops_what_does_not_end() {
        let mut fenced = Fenced::new(Box::new(&b"ab\ncd\nef"[..]), 4);
        let mut text = [0; 4];
        fenced.read_exact(&mut text).unwrap();
        assert!(fenced.read(&mut text).is_err());
        fenced.renew();
        assert_eq!(fenced.read(&mut text).unwrap(), 4);
        assert_eq!(fenced.line(), 3);
        assert_eq!(fenced.read(&mut text).unwrap(), 0);
    }
}
