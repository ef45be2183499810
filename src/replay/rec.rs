//! Files of the OwnTracks Recorder (`rec/{user}/{device}/{year}-{month}.rec`): a message a line, its time, the part of its topic
//! behind the device (`*` if there is none) and the payload, with tabs between them.
//!
//! Locations are on the device's own topic. Messages on others, and those of other types, are no rows; the payloads are read as
//! [`owntracks`] has them. A location without a time of its own takes that of its line, which is when the Recorder had it.

use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

use super::error::Error;
use super::input::{Line, read_line};
use super::source::Row;
use crate::fix::{Element, Reason};
use crate::ids::DriverKey;
use crate::limits::PAYLOAD_FIXES_MAX;
use crate::wire::{owntracks, time};

/// Longest line that is read; a longer one is malformed.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Length of `2024-01-01T12:00:00Z`, with which every line begins.
const TIME_LEN: usize = 20;

/// A file of the Recorder being read.
pub(super) struct Rec {
    input: Box<dyn BufRead + Send>,
    driver: Arc<DriverKey>,
    line_number: u64,
    line: Vec<u8>,
    /// What the last line held and was not given yet, the next at the end.
    waiting: Vec<Element>,
    /// Messages that are no rows, since [`Rec::take_skipped`] was last asked.
    skipped: u64,
}

/// Whether a file that begins so is one of the Recorder's.
pub(super) fn begins(start: &[u8]) -> bool {
    let time = start.split_at_checked(TIME_LEN);
    time.is_some_and(|(time, rest)| rest.first() == Some(&b'\t') && time::parse_rfc3339(time).is_some())
}

/// The driver of a file by the folders that it is in, `user:device`, the name that live messages of the device have; `None`
/// if they are not the Recorder's.
pub(super) fn driver_of_folders(path: &Path) -> Option<Vec<u8>> {
    let path = std::path::absolute(path).ok()?;
    let mut folders = path.ancestors().skip(1).map_while(Path::file_name);
    let (device, user, store) = (folders.next()?, folders.next()?, folders.next()?);
    (store == "rec").then(|| [user.as_encoded_bytes(), b":", device.as_encoded_bytes()].concat())
}

impl Rec {
    pub(super) fn new(input: Box<dyn BufRead + Send>, driver: Arc<DriverKey>) -> Self {
        Self { input, driver, line_number: 0, line: Vec::new(), waiting: Vec::new(), skipped: 0 }
    }

    /// The next location, or line that cannot be read, or `None` at the end of the file.
    pub(super) fn next_row(&mut self, path: &Path) -> Result<Option<Row>, Error> {
        loop {
            if let Some(element) = self.waiting.pop() {
                return Ok(Some(Row { driver: Arc::clone(&self.driver), element }));
            }
            self.line_number += 1;
            let line = read_line(self.input.as_mut(), &mut self.line, LINE_BYTES_MAX);
            match line.map_err(|error| Error::unreadable(path, self.line_number, &error))? {
                Line::End => return Ok(None),
                Line::Read if self.line.trim_ascii().is_empty() => {}
                Line::Read => self.take_line(),
                Line::TooLong => self.waiting.push(Err(Reason::Malformed)),
            }
        }
    }

    /// The line of the last row.
    pub(super) fn raw(&self) -> &[u8] {
        &self.line
    }

    /// How many messages were no rows since this was last asked.
    pub(super) fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped)
    }

    fn take_line(&mut self) {
        let mut parts = self.line.splitn(3, |byte| *byte == b'\t');
        let (Some(time), Some(topic), Some(payload)) = (parts.next(), parts.next(), parts.next()) else {
            self.waiting.push(Err(Reason::Malformed));
            return;
        };
        if topic.trim_ascii() != b"*" {
            self.skipped += 1;
            return;
        }
        let decoded = owntracks::decode(payload, PAYLOAD_FIXES_MAX, &mut self.waiting);
        self.skipped += decoded.skipped as u64;
        if decoded.is_over {
            self.waiting.push(Err(Reason::TooLarge));
        }
        for report in self.waiting.iter_mut().flatten() {
            report.time = report.time.or_else(|| time::parse_rfc3339(time));
        }
        self.waiting.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DriverId, TenantId};

    /// Time, latitude, or why there is none, of each row.
    fn read(text: &str) -> Vec<Result<(i64, f64), Reason>> {
        let driver = DriverKey::new(TenantId::new("t").unwrap(), DriverId::new("d").unwrap());
        let mut rec = Rec::new(Box::new(std::io::Cursor::new(text.to_owned())), Arc::new(driver));
        let rows = std::iter::from_fn(|| rec.next_row(Path::new("x.rec")).unwrap());
        rows.map(|row| row.element.map(|report| (report.time.map_or(-1, |time| time.0), report.latitude))).collect()
    }

    #[test]
    fn lines_are_messages() {
        let text = "2024-02-16T14:17:04Z\t*                 \t{\"_type\":\"location\",\"lat\":1,\"lon\":2,\"tst\":1708093023}\n\
                    2024-02-16T14:17:05Z\tlwt               \t{\"_type\":\"lwt\",\"tst\":1708093000}\n\
                    2024-02-16T14:17:05Z\tevent             \t{\"_type\":\"transition\",\"lat\":9,\"lon\":9}\n\
                    2024-02-16T14:17:06Z\t*                 \t{\"_type\":\"steps\",\"steps\":7}\n\
                    \r\n\
                    2024-02-16T14:17:07Z\t*                 \t{\"_type\":\"location\",\"lat\":3,\"lon\":4}\r\n\
                    2024-02-16T14:17:08Z\t*\n\
                    2024-02-16T14:17:09Z\t*\tnot JSON\n\
                    2024-02-16T14:17:10Z\t*\t[{\"_type\":\"location\",\"lat\":5,\"lon\":6},{\"_type\":\"location\",\"lat\":7,\"lon\":8,\"tst\":0}]\n\
                    never\t*\t{\"_type\":\"location\",\"lat\":9,\"lon\":9}";
        assert_eq!(
            read(text),
            [
                Ok((1_708_093_023_000, 1.0)),
                Ok((1_708_093_027_000, 3.0)),
                Err(Reason::Malformed),
                Err(Reason::Malformed),
                Ok((1_708_093_030_000, 5.0)),
                Ok((0, 7.0)),
                Ok((-1, 9.0)),
            ]
        );
        let long = format!(
            "{}\n2024-02-16T14:17:07Z\t*\t{{\"_type\":\"location\",\"lat\":3,\"lon\":4}}",
            "x".repeat(2 * LINE_BYTES_MAX)
        );
        let many = format!("2024-02-16T14:17:07Z\t*\t[{}]", vec!["1"; PAYLOAD_FIXES_MAX + 1].join(","));
        assert_eq!(read(&many), [Err(Reason::TooLarge)]);
        assert_eq!(read(&long), [Err(Reason::Malformed), Ok((1_708_093_027_000, 3.0))]);
    }

    #[test]
    fn a_file_is_known_by_its_first_line() {
        assert!(begins(b"2024-02-16T14:17:04Z\t*                 \t{}"));
        for other in
            [&b"2024-02-16T14:17:04Z"[..], b"2024-02-16T14:17:04Z,1,2", b"vehicle_id,timestamp\t", b"<gpx>", b""]
        {
            assert!(!begins(other), "{other:?}");
        }
    }

    #[test]
    fn folders_name_the_driver_if_they_are_the_recorders() {
        let driver = |path: &str| driver_of_folders(Path::new(path)).map(|name| String::from_utf8(name).unwrap());
        assert_eq!(
            driver("/var/spool/owntracks/recorder/store/rec/anna/phone/2024-02.rec").as_deref(),
            Some("anna:phone")
        );
        assert_eq!(driver("rec/anna/phone/2024-02.rec.gz").as_deref(), Some("anna:phone"));
        assert_eq!(driver("/home/anna/2024-02.rec"), None);
        assert_eq!(driver("/rec/2024-02.rec"), None);
    }
}
