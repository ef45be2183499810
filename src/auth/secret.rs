//! `data_dir/secret.key`: the key that `rhumb token` signs with, made when it is first needed and never shown.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::random;

/// The file in the data directory.
pub const SECRET_FILE: &str = "secret.key";

/// Bytes of a generated key, and the least that a key has: as many as its hash (RFC 7518, 3.2).
const SECRET_BYTES: usize = 32;

/// Most bytes of a key that somebody else made.
const SECRET_BYTES_MAX: usize = 4_096;

/// Permissions of others than the owner.
const OTHERS: u32 = 0o077;

/// The key that HS256 tokens are signed with. It does not print.
pub(super) struct Secret {
    bytes: Vec<u8>,
    is_exposed: bool,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret")
    }
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It cannot be read or made.
    #[error("cannot read or make {}: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// What is there is too short to be one, or too long.
    #[error(
        "{} has {bytes} bytes, and a key has {SECRET_BYTES} to {SECRET_BYTES_MAX}: put the right one back, or remove it to have \
         a new one made, which ends every token that was signed with it", .path.display()
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
}

impl Secret {
    /// Reads the key, and makes one first if there is none: 32 random bytes that only the owner may read. Of two
    /// processes that do so at once both get the same.
    pub(super) fn of(data_dir: &Path) -> Result<Self, SecretError> {
        let path = data_dir.join(SECRET_FILE);
        let failed = |error| SecretError::Io { path: path.clone(), error };
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(data_dir, &path).and_then(|()| File::open(&path)).map_err(failed)?
            }
            opened => opened.map_err(failed)?,
        };
        let is_exposed = file.metadata().map_err(failed)?.permissions().mode() & OTHERS != 0;
        let mut bytes = Vec::new();
        file.take(SECRET_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        if !(SECRET_BYTES..=SECRET_BYTES_MAX).contains(&bytes.len()) {
            return Err(SecretError::Length { path, bytes: bytes.len() });
        }
        Ok(Self { bytes, is_exposed })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether others than its owner may read the file.
    pub(super) fn is_exposed(&self) -> bool {
        self.is_exposed
    }

    #[cfg(test)]
    pub(super) fn for_tests(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), is_exposed: false }
    }
}

/// Makes the whole file or none of it, and none if there is one meanwhile.
fn make(data_dir: &Path, path: &Path) -> io::Result<()> {
    fs::create_dir_all(data_dir)?;
    let name: [u8; 8] = random()?;
    let unfinished = path.with_extension(format!("key.{:016x}", u64::from_be_bytes(name)));
    let made = fill(&unfinished).and_then(|()| fs::hard_link(&unfinished, path));
    // Gone or not, it is of no use any more.
    drop(fs::remove_file(&unfinished));
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(data_dir)?.sync_all(),
    }
}

fn fill(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&random::<SECRET_BYTES>()?)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("new");
        let made = Secret::of(&data_dir).unwrap();
        assert_eq!((made.bytes().len(), made.is_exposed()), (SECRET_BYTES, false));
        assert_eq!(fs::metadata(data_dir.join(SECRET_FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Secret::of(&data_dir).unwrap().bytes(), made.bytes());
        assert_eq!(fs::read_dir(&data_dir).unwrap().count(), 1, "nothing is left behind");
        let other = Secret::of(&dir.path().join("other")).unwrap();
        assert_ne!(other.bytes(), made.bytes());
        assert!(!format!("{made:?}").contains(&format!("{:?}", made.bytes()[0])));
    }

    #[test]
    fn many_that_need_it_at_once_have_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let keys: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let read = || Secret::of(dir.path()).unwrap().bytes().to_vec();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(read)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
    }

    #[test]
    fn a_key_that_others_may_read_or_that_is_too_short_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(SECRET_FILE);
        fs::write(&path, [7; 64]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Secret::of(dir.path()).unwrap().is_exposed());
        for bytes in [0, 31, 4_097] {
            fs::write(&path, vec![7; bytes]).unwrap();
            assert!(matches!(Secret::of(dir.path()), Err(SecretError::Length { .. })), "{bytes}");
        }
    }
}
