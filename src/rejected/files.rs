//! The files of a directory of refusals: appended to, rotated by size, the oldest removed for the newest.
//!
//! A file is named after the millisecond in which it was begun, in 20 digits, so that names sort by time; a clock that was set
//! back makes the next name one higher than the last.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::Refusal;
use crate::units::TimestampMs;

/// What a file's name ends with.
const EXTENSION: &str = "jsonl";

/// Digits of a file's number.
const NUMBER_DIGITS: usize = 20;

/// Into how many files what may be taken is cut, so that the oldest sixteenth goes at a time.
const FILES: u64 = 16;

/// Longest file, unless one line is longer.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Lines that are gathered for one write.
const WRITE_BYTES: usize = 64 << 10;

/// A file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    number: u64,
    /// Its length.
    pub(super) bytes: u64,
}

impl Entry {
    /// Where it is.
    pub(super) fn path(self, directory: &Path) -> PathBuf {
        directory.join(format!("{:0NUMBER_DIGITS$}.{EXTENSION}", self.number))
    }
}

/// The files of a directory, oldest first. What else is there is passed over.
pub(super) fn list(directory: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for found in fs::read_dir(directory)? {
        let found = found?;
        let name = found.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(EXTENSION)?.strip_suffix('.'));
        let is_ours = |stem: &&str| stem.len() == NUMBER_DIGITS && stem.bytes().all(|byte| byte.is_ascii_digit());
        let Some(number) = stem.filter(is_ours).and_then(|stem| stem.parse().ok()) else { continue };
        match found.metadata() {
            Ok(metadata) => entries.push(Entry { number, bytes: metadata.len() }),
            // It went while it was looked at.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    entries.sort_unstable_by_key(|entry| entry.number);
    Ok(entries)
}

/// The files that one engine writes.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    bytes_max: u64,
    file_bytes_max: u64,
    /// Oldest first; what is appended goes to the last.
    entries: VecDeque<Entry>,
    /// The last, open.
    open: Option<File>,
    /// The last takes no more.
    is_last_full: bool,
    lines: Vec<u8>,
}

impl Files {
    /// Those of a directory, which is made where missing. They never take more than `bytes_max` together.
    pub(super) fn new(directory: &Path, bytes_max: u64) -> Self {
        Self {
            directory: directory.to_owned(),
            bytes_max,
            file_bytes_max: (bytes_max / FILES).clamp(1, FILE_BYTES_MAX),
            entries: VecDeque::new(),
            open: None,
            is_last_full: false,
            lines: Vec::new(),
        }
    }

    /// Makes the directory where missing, looks at what is there, and removes of it what is too much. Before the first write,
    /// and again after each that failed.
    pub(super) fn look(&mut self) -> io::Result<()> {
        self.open = None;
        fs::create_dir_all(&self.directory)?;
        self.entries = list(&self.directory)?.into();
        self.make_room(0)
    }

    /// What they take together.
    pub(super) fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }

    /// Appends a line for each, and returns how many of them were written before an error. One that is longer than all files
    /// may be is passed over, and not counted. `now` names a file that is begun.
    pub(super) fn append(&mut self, refusals: &[Refusal], now: TimestampMs) -> (u64, io::Result<()>) {
        let (mut rest, mut fixes) = (refusals, 0);
        while !rest.is_empty() {
            let (taken, taken_fixes) = self.gather(rest);
            if taken == 0 {
                // It does not fit into what is left of the last file.
                self.open = None;
                self.is_last_full = true;
                continue;
            }
            if self.lines.len() as u64 <= self.bytes_max {
                if let Err(error) = self.write(now) {
                    return (fixes, Err(error));
                }
                fixes += taken_fixes;
            }
            rest = &rest[taken..];
        }
        (fixes, Ok(()))
    }

    /// Makes lines of the first refusals, for one write into the last file: none if that has no room. How many, and of how
    /// many fixes.
    fn gather(&mut self, refusals: &[Refusal]) -> (usize, u64) {
        self.lines.clear();
        let in_file = self.entries.back().filter(|_| !self.is_last_full).map_or(0, |entry| entry.bytes);
        let (mut taken, mut fixes) = (0, 0);
        for refusal in refusals {
            let before = self.lines.len();
            refusal.write_json(&mut self.lines);
            self.lines.push(b'\n');
            // A file holds one line however long.
            let is_first = in_file == 0 && before == 0;
            if !is_first && in_file + self.lines.len() as u64 > self.file_bytes_max {
                self.lines.truncate(before);
                break;
            }
            taken += 1;
            fixes += u64::from(refusal.fixes);
            if self.lines.len() >= WRITE_BYTES {
                break;
            }
        }
        (taken, fixes)
    }

    /// Writes what was gathered.
    fn write(&mut self, now: TimestampMs) -> io::Result<()> {
        // With the end of line that a torn one may need.
        self.make_room(self.lines.len() as u64 + 1)?;
        let file = match &mut self.open {
            Some(file) => file,
            open @ None => {
                let last = self.entries.back().copied().filter(|_| !self.is_last_full);
                let (file, entry) = match last {
                    Some(entry) => (reopen(&entry.path(&self.directory))?, entry),
                    None => {
                        fs::create_dir_all(&self.directory)?;
                        let after_last = self.entries.back().map_or(0, |entry| entry.number + 1);
                        let number = u64::try_from(now.0).unwrap_or_default().max(after_last);
                        let entry = Entry { number, bytes: 0 };
                        let file = File::options().create_new(true).append(true).open(entry.path(&self.directory))?;
                        self.entries.push_back(entry);
                        self.is_last_full = false;
                        (file, entry)
                    }
                };
                debug_assert_eq!(self.entries.back(), Some(&entry));
                open.insert(file)
            }
        };
        file.write_all(&self.lines)?;
        let bytes = file.metadata()?.len();
        self.entries.back_mut().into_iter().for_each(|entry| entry.bytes = bytes);
        Ok(())
    }

    /// Removes the oldest until there is room for so many bytes.
    fn make_room(&mut self, bytes: u64) -> io::Result<()> {
        while self.bytes() + bytes > self.bytes_max
            && let Some(oldest) = self.entries.front()
        {
            match fs::remove_file(oldest.path(&self.directory)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => self.entries.pop_front(),
            };
            if self.entries.is_empty() {
                self.open = None;
            }
        }
        Ok(())
    }
}

/// Opens a file to go on at its end. What a crash left there without an end of line becomes a line of its own.
fn reopen(path: &Path) -> io::Result<File> {
    let mut file = File::options().read(true).append(true).open(path)?;
    if file.metadata()?.len() > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rejected::Reader;
    use crate::rejected::testing::refusal;

    fn opened(directory: &Path, bytes_max: u64) -> Files {
        let mut files = Files::new(directory, bytes_max);
        files.look().unwrap();
        files
    }

    fn read(directory: &Path) -> Vec<i64> {
        Reader::open(directory).unwrap().map(|refusal| refusal.unwrap().received_at.0).collect()
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn bytes_on_disk(directory: &Path) -> u64 {
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    }

    #[test]
    fn files_rotate_and_the_oldest_goes_so_that_the_bound_holds() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = opened(dir.path(), 16_000);
        for time in 0..1_000 {
            let (fixes, written) = files.append(&[refusal("d1", time, &[b'x'; 200])], TimestampMs(5_000 + time));
            assert!(written.is_ok() && fixes == 1);
            let bytes = bytes_on_disk(dir.path());
            assert!(bytes <= 16_000, "{bytes} after {time}");
            assert_eq!(bytes, files.bytes());
        }
        let kept = read(dir.path());
        assert_eq!(kept.last(), Some(&999));
        assert!(kept.is_sorted() && kept.len() > 30, "the newest, in order: {kept:?}");
        assert_eq!(kept.len() as i64, 1_000 - kept[0], "none is missing between");
        assert!(names(dir.path()).len() >= 12, "{:?}", names(dir.path()));
        assert!(names(dir.path())[0].starts_with("000000000000000"), "{:?}", names(dir.path()));
    }

    #[test]
    fn many_at_once_are_cut_into_files_too() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = opened(dir.path(), 320_000);
        let many: Vec<_> = (0..500).map(|time| refusal("d1", time, &[b'x'; 200])).collect();
        let (fixes, written) = files.append(&many, TimestampMs(1));
        written.unwrap();
        assert_eq!(fixes, 500);
        assert_eq!(read(dir.path()), (0..500).collect::<Vec<_>>());
        assert!(names(dir.path()).len() >= 8);
    }

    #[test]
    fn a_line_longer_than_a_file_has_one_of_its_own_and_one_longer_than_all_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = opened(dir.path(), 1_000);
        let refusals = [refusal("d1", 1, b"x"), refusal("d1", 2, &[b'x'; 700]), refusal("d1", 3, &[b'x'; 2_000])];
        let (fixes, written) = files.append(&refusals, TimestampMs(0));
        written.unwrap();
        assert_eq!((fixes, read(dir.path())), (2, vec![1, 2]));
        assert!(bytes_on_disk(dir.path()) <= 1_000);
    }

    #[test]
    fn a_torn_end_costs_one_line() {
        let dir = tempfile::tempdir().unwrap();
        opened(dir.path(), 1 << 20)
            .append(&[refusal("d1", 1, b"a"), refusal("d1", 2, b"b")], TimestampMs(0))
            .1
            .unwrap();
        let path = dir.path().join(&names(dir.path())[0]);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 20]).unwrap();
        assert_eq!(read(dir.path()), [1]);
        opened(dir.path(), 1 << 20).append(&[refusal("d1", 3, b"c")], TimestampMs(0)).1.unwrap();
        assert_eq!(read(dir.path()), [1, 3]);
        assert_eq!(names(dir.path()).len(), 1, "a start goes on with the newest file");
    }

    #[test]
    fn names_rise_when_the_clock_does_not_and_other_files_stay() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("notes.txt"), "mine").unwrap();
        fs::write(dir.path().join("1.jsonl"), "mine").unwrap();
        let mut files = opened(dir.path(), 1_000);
        for time in 0..20 {
            files.append(&[refusal("d1", time, &[b'x'; 200])], TimestampMs(1_000 - time)).1.unwrap();
        }
        assert_eq!(read(dir.path()).last(), Some(&19));
        assert!(
            names(dir.path()).contains(&"notes.txt".to_owned()) && names(dir.path()).contains(&"1.jsonl".to_owned())
        );
    }

    #[test]
    fn a_smaller_bound_holds_from_the_start_on() {
        let dir = tempfile::tempdir().unwrap();
        let many: Vec<_> = (0..100).map(|time| refusal("d1", time, &[b'x'; 200])).collect();
        opened(dir.path(), 16_000).append(&many, TimestampMs(0)).1.unwrap();
        opened(dir.path(), 5_000);
        assert!(bytes_on_disk(dir.path()) <= 5_000);
        assert_eq!(read(dir.path()).last(), Some(&99));
    }

    #[test]
    fn a_directory_that_goes_comes_back() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("rejected");
        let mut files = opened(&directory, 1 << 20);
        fs::remove_dir_all(&directory).unwrap();
        fs::write(&directory, "in the way").unwrap();
        assert!(files.append(&[refusal("d1", 1, b"a")], TimestampMs(0)).1.is_err());
        assert!(files.look().is_err());
        fs::remove_file(&directory).unwrap();
        files.look().unwrap();
        files.append(&[refusal("d1", 2, b"a")], TimestampMs(0)).1.unwrap();
        assert_eq!(read(&directory), [2]);
    }
}
