//! Reads what was recorded, also while an engine writes it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::Refusal;
use super::files::list;
use super::line::LINE_BYTES_MAX;

/// Why nothing can be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Nothing was ever recorded there.
    #[error("there is no {}: no engine has recorded refusals there. See `data_dir`, and whether `rejected.bytes_max` is 0", .0.display())]
    NoDirectory(PathBuf),
    /// The operating system refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// What was read.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// Recorded refusals in the order in which they were written, which for those of one driver is the order in which they came.
#[derive(Debug)]
pub struct Reader {
    files: VecDeque<PathBuf>,
    open: Option<(PathBuf, BufReader<File>)>,
    line: Vec<u8>,
    unreadable_lines: u64,
}

impl Reader {
    /// All that is there now.
    ///
    /// # Errors
    /// The directory is not there, or cannot be read.
    pub fn open(directory: &Path) -> Result<Self, Unreadable> {
        Self::of_newest(directory, u64::MAX)
    }

    /// As [`Reader::open`], of the newest files as many as have so many bytes.
    pub(super) fn of_newest(directory: &Path, bytes: u64) -> Result<Self, Unreadable> {
        let entries = list(directory).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Unreadable::NoDirectory(directory.to_owned()),
            _ => Unreadable::Io { path: directory.to_owned(), source },
        })?;
        let mut files = VecDeque::new();
        let mut bytes_left = bytes;
        for entry in entries.into_iter().rev() {
            if bytes_left == 0 {
                break;
            }
            files.push_front(entry.path(directory));
            bytes_left = bytes_left.saturating_sub(entry.bytes);
        }
        Ok(Self { files, open: None, line: Vec::new(), unreadable_lines: 0 })
    }

    /// Lines that were passed over so far because they do not read. One that is still being written is none of them.
    pub fn unreadable_lines(&self) -> u64 {
        self.unreadable_lines
    }

    fn next_refusal(&mut self) -> Result<Option<Refusal>, Unreadable> {
        loop {
            let Some((path, file)) = &mut self.open else {
                let Some(path) = self.files.pop_front() else { return Ok(None) };
                match File::open(&path) {
                    Ok(file) => self.open = Some((path, BufReader::new(file))),
                    // It made room for newer ones.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(source) => return Err(Unreadable::Io { path, source }),
                }
                continue;
            };
            match read_line(file, &mut self.line) {
                Ok(true) => {}
                Ok(false) => {
                    self.open = None;
                    continue;
                }
                Err(source) => return Err(Unreadable::Io { path: path.clone(), source }),
            }
            let has_end = self.line.pop_if(|last| *last == b'\n').is_some();
            match Refusal::read_json(&self.line) {
                Some(refusal) => return Ok(Some(refusal)),
                None => self.unreadable_lines += u64::from(has_end),
            }
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Refusal, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_refusal().transpose()
    }
}

/// Reads the next line with its end; false after the last. Of one that is too long the beginning, which does not read.
fn read_line(file: &mut BufReader<File>, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    file.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', line)?;
    if line.len() == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
        file.skip_until(b'\n')?;
        line.push(b'\n');
    }
    Ok(!line.is_empty())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::rejected::testing::refusal;

    fn line(time: i64) -> Vec<u8> {
        let mut line = Vec::new();
        refusal("d1", time, b"x").write_json(&mut line);
        line.push(b'\n');
        line
    }

    #[test]
    fn what_does_not_read_is_passed_over_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        let long = [vec![b'x'; LINE_BYTES_MAX + 7], vec![b'\n']].concat();
        let torn = &line(4)[..30];
        let bytes = [&line(1)[..], b"\n", &long, &line(2), b"{}\n", &line(3), torn].concat();
        fs::write(dir.path().join(format!("{:020}.jsonl", 5)), bytes).unwrap();
        let mut reader = Reader::open(dir.path()).unwrap();
        let times: Vec<i64> = reader.by_ref().map(|refusal| refusal.unwrap().received_at.0).collect();
        assert_eq!((times, reader.unreadable_lines()), (vec![1, 2, 3], 3));
    }

    #[test]
    fn files_are_read_oldest_first_and_the_newest_alone_on_demand() {
        let dir = tempfile::tempdir().unwrap();
        for (number, time) in [(30, 3), (10, 1), (20, 2)] {
            fs::write(dir.path().join(format!("{number:020}.jsonl")), line(time)).unwrap();
        }
        let times = |reader: Reader| reader.map(|refusal| refusal.unwrap().received_at.0).collect::<Vec<_>>();
        assert_eq!(times(Reader::open(dir.path()).unwrap()), [1, 2, 3]);
        let bytes = line(1).len() as u64;
        for (wanted, expected) in [(0, &[][..]), (1, &[3]), (bytes, &[3]), (bytes + 1, &[2, 3])] {
            assert_eq!(times(Reader::of_newest(dir.path(), wanted).unwrap()), expected);
        }
        let reader = Reader::open(dir.path()).unwrap();
        fs::remove_file(dir.path().join(format!("{:020}.jsonl", 10))).unwrap();
        assert_eq!(times(reader), [2, 3], "one that made room");
    }

    #[test]
    fn a_directory_that_is_not_there_is_told() {
        let error = Reader::open(Path::new("no/such/rejected")).unwrap_err();
        assert!(error.to_string().starts_with("there is no no/such/rejected: "), "{error}");
    }
}
