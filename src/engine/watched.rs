//! A file that somebody may change while the engine runs, looked at again and again.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What a look at a file tells of it: which it is, its length and the time of its last change. `None`: it is not there.
type Look = Option<(u64, u64, SystemTime)>;

fn look(file: &Path) -> Look {
    let found = fs::metadata(file).ok()?;
    Some((found.ino(), found.len(), found.modified().ok()?))
}

/// A file, and what was seen of it.
#[derive(Debug)]
pub(super) struct Watched {
    file: Option<PathBuf>,
    /// As it was when it was last read.
    read: Look,
    last: Look,
}

impl Watched {
    /// A file that is read from now on, or was just now. Without one nothing ever changes.
    pub(super) fn new(file: Option<PathBuf>) -> Self {
        let found = file.as_deref().and_then(look);
        Self { file, read: found, last: found }
    }

    /// Looks. True if the file is another than when it was read and two looks found the same, so that no half of a file
    /// is read.
    pub(super) fn has_changed(&mut self) -> bool {
        let found = self.file.as_deref().and_then(look);
        let is_settled = found == std::mem::replace(&mut self.last, found);
        is_settled && found != self.read
    }

    /// The file is read now, as it was at the last look.
    pub(super) fn take(&mut self) {
        self.read = self.last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_when_it_has_settled_and_until_it_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut watched = Watched::new(Some(path.clone()));
        assert!(!watched.has_changed());
        fs::write(&path, "a").unwrap();
        assert!(!watched.has_changed());
        assert!(watched.has_changed() && watched.has_changed());
        watched.take();
        assert!(!watched.has_changed());
        // The same length, and soon enough for the same time.
        fs::write(dir.path().join("new"), "b").unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        assert!(!watched.has_changed() && watched.has_changed());
        watched.take();
        fs::remove_file(&path).unwrap();
        assert!(!watched.has_changed() && watched.has_changed());
        assert!(!Watched::new(None).has_changed());
    }
}
