//! A recording as a stream of rows, whatever its format. Memory stays bounded whatever the file's size.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::csv::Csv;
use super::drivers::{Drivers, name_of_file};
use super::error::Error;
use super::gpx::Gpx;
use super::input;
use super::rec::{self, Rec};
use crate::fix::{Element, Reason};
use crate::ids::DriverKey;

/// One row of a recording.
#[derive(Clone, Debug)]
pub struct Row {
    /// Whose.
    pub driver: Arc<DriverKey>,
    /// What it says, or why it says nothing. A row without a time is [`Reason::NoTime`]: a recording has no receive time
    /// to give it.
    pub element: Element,
}

/// An opened recording.
pub(super) struct Source {
    path: PathBuf,
    bytes_read: Arc<AtomicU64>,
    format: Format,
}

enum Format {
    Csv(Box<Csv>),
    Gpx(Box<Gpx>),
    Rec(Box<Rec>),
}

impl Source {
    /// Opens a file: GPX if its first character is `<`, the OwnTracks Recorder's if its first line begins as those do, else
    /// CSV; any of them may be packed by gzip. With `driver` all rows are that driver's; else a CSV names the driver in each
    /// row, a file in the Recorder's folders is of the user and device that they name, and any other named after its file.
    pub(super) fn open(path: &Path, driver: Option<&str>, drivers: &mut Drivers) -> Result<Self, Error> {
        let unopened = |reason| Error::Unopened { file: path.to_owned(), reason };
        let bytes_read = Arc::new(AtomicU64::new(0));
        let mut bytes = input::open(path, Arc::clone(&bytes_read)).map_err(unopened)?;
        let no_driver = || Error::NoDriver { file: path.to_owned() };
        let kind = kind_of(bytes.as_mut()).map_err(|error| Error::unreadable(path, 1, &error))?;
        let mut driver_or = |name: Vec<u8>| {
            let name = driver.map_or(name, |driver| driver.as_bytes().to_vec());
            drivers.of_name(&name).ok_or_else(no_driver)
        };
        let format = match kind {
            Kind::Gpx => Format::Gpx(Box::new(Gpx::new(bytes, driver_or(name_of_file(path))?))),
            Kind::Rec => {
                let name = rec::driver_of_folders(path).unwrap_or_else(|| name_of_file(path));
                Format::Rec(Box::new(Rec::new(bytes, driver_or(name)?)))
            }
            Kind::Csv => {
                let driver = driver.map(|_| driver_or(Vec::new())).transpose()?;
                Format::Csv(Box::new(Csv::new(path, bytes, driver)?))
            }
        };
        Ok(Self { path: path.to_owned(), bytes_read, format })
    }

    /// The next row, or `None` after the last.
    pub(super) fn next_row(&mut self, drivers: &mut Drivers) -> Result<Option<Row>, Error> {
        let row = match &mut self.format {
            Format::Csv(csv) => csv.next_row(&self.path, drivers)?,
            Format::Gpx(gpx) => gpx.next_row(&self.path)?,
            Format::Rec(rec) => rec.next_row(&self.path)?,
        };
        Ok(row.map(|row| Row { element: needs_time(row.element), ..row }))
    }

    /// The text of the last row: its line, or the beginning of one that is too long. A GPX point has none.
    pub(super) fn raw(&self) -> &[u8] {
        match &self.format {
            Format::Csv(csv) => csv.raw(),
            Format::Gpx(_) => b"",
            Format::Rec(rec) => rec.raw(),
        }
    }

    /// Messages since this was last asked that hold no fix and are no rows. Only the OwnTracks Recorder has such.
    pub(super) fn take_skipped(&mut self) -> u64 {
        match &mut self.format {
            Format::Csv(_) | Format::Gpx(_) => 0,
            Format::Rec(rec) => rec.take_skipped(),
        }
    }

    /// Bytes taken from the file so far, packed as they are.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }
}

fn needs_time(element: Element) -> Element {
    match element {
        Ok(report) if report.time.is_none() => Err(Reason::NoTime),
        _ => element,
    }
}

/// What a recording looks like.
enum Kind {
    Csv,
    Gpx,
    Rec,
}

fn kind_of(bytes: &mut dyn BufRead) -> std::io::Result<Kind> {
    let start = bytes.fill_buf()?;
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    Ok(match start.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'<') => Kind::Gpx,
        _ if rec::begins(start) => Kind::Rec,
        _ => Kind::Csv,
    })
}
