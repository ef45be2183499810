//! `data_dir/devices`: who may come in with a password, a JSON object a line.
//!
//! ```text
//! {"tenant":"acme","name":"truck-7","role":"device","driver":"d1","created":"2026-11-21T19:30:00Z","token_id":"0011aabbccdd","hash":"$argon2id$v=19$..."}
//! ```
//! `driver` is there for the roles `driver` and `device`, `token_id` where the password was made up here. Lines that
//! are empty or begin with `#` are passed over and kept. Whoever changes the file holds the lock on `devices.lock` and
//! puts a whole new file in its place.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::auth::{Role, passwords};
use crate::ids::{DriverId, InvalidId, TenantId, is_driver_id};

/// The file in the data directory.
pub const DEVICES_FILE: &str = "devices";

/// What those who change it lock.
const LOCK_FILE: &str = "devices.lock";

/// Longest file that is read: a million devices.
const FILE_BYTES_MAX: u64 = 512 << 20;

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Line", into = "Line")]
pub struct Entry {
    /// Whose data it brings and sees.
    pub tenant: TenantId,
    /// Its name within the tenant: 1 to 64 of `A-Z a-z 0-9 . _ : -`.
    pub name: Box<str>,
    /// What it may do.
    pub role: Role,
    /// The driver that it is, for the roles that are one.
    pub driver: Option<DriverId>,
    /// When it was added, RFC 3339, for people.
    pub created: String,
    /// What its made-up password says of whose it is.
    pub token_id: Option<String>,
    /// Argon2id, as a PHC string.
    pub hash: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    tenant: String,
    name: String,
    role: Role,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    driver: Option<String>,
    created: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token_id: Option<String>,
    hash: String,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum InvalidEntry {
    #[error("{0}")]
    Id(#[from] InvalidId),
    #[error("a name is 1 to 64 of A-Z a-z 0-9 . _ : -")]
    Name,
    #[error("the roles driver and device need a driver")]
    NoDriver,
    #[error("the hash is no Argon2id hash of at most 256 MiB and 16 passes")]
    Hash,
}

impl TryFrom<Line> for Entry {
    type Error = InvalidEntry;

    fn try_from(line: Line) -> Result<Self, InvalidEntry> {
        let Line { tenant, name, role, driver, created, token_id, hash } = line;
        if !is_driver_id(name.as_bytes()) {
            return Err(InvalidEntry::Name);
        }
        if role.is_driver() && driver.is_none() {
            return Err(InvalidEntry::NoDriver);
        }
        if !passwords::is_hash(&hash) {
            return Err(InvalidEntry::Hash);
        }
        let driver = driver.map(|driver| DriverId::new(&driver)).transpose()?;
        Ok(Self { tenant: TenantId::new(&tenant)?, name: name.into(), role, driver, created, token_id, hash })
    }
}

impl From<Entry> for Line {
    fn from(entry: Entry) -> Self {
        let Entry { tenant, name, role, driver, created, token_id, hash } = entry;
        let driver = driver.map(|driver| driver.as_str().to_owned());
        Self { tenant: tenant.as_str().to_owned(), name: name.into(), role, driver, created, token_id, hash }
    }
}

/// Why the file is of no use, or was not changed.
#[derive(Debug, thiserror::Error)]
pub enum DevicesError {
    /// It cannot be read or written.
    #[error("cannot read or write {}: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A line that is none.
    #[error("{} line {line}: {what}", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// The name is taken.
    #[error("there is a device {0} already: give this one another --name, or revoke that one first")]
    Taken(String),
    /// Nobody has the name.
    #[error("there is no device {0}: `rhumb device list` tells which there are")]
    Unknown(String),
    /// Devices of several tenants have the name.
    #[error("several tenants have a device {0}: say which is meant, as TENANT/NAME")]
    Ambiguous(String),
}

/// The entries of a data directory, in the order of the file; none if there is no file.
///
/// # Errors
/// The file cannot be read, or a line of it is none.
pub fn read(data_dir: &Path) -> Result<Vec<Entry>, DevicesError> {
    let path = data_dir.join(DEVICES_FILE);
    parse(&text_of(&path)?, &path)
}

fn text_of(path: &Path) -> Result<String, DevicesError> {
    let mut text = String::new();
    let read = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        opened => opened.and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text)),
    };
    read.map_err(|error| DevicesError::Io { path: path.to_owned(), error })?;
    Ok(text)
}

fn is_entry(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with('#')
}

fn parse(text: &str, path: &Path) -> Result<Vec<Entry>, DevicesError> {
    let mut entries = Vec::new();
    let mut names = HashSet::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| is_entry(line)) {
        let wrong = |what| DevicesError::Line { path: path.to_owned(), line: index + 1, what };
        // The error tells what is wrong and where, and nothing of what stands there.
        let entry: Entry = serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
        if !names.insert((entry.tenant.clone(), entry.name.clone())) {
            return Err(wrong(format!("{} is there more than once", qualified(&entry))));
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// `tenant/name`, which nobody else has.
pub fn qualified(entry: &Entry) -> String {
    format!("{}/{}", entry.tenant, entry.name)
}

/// Adds a line.
///
/// # Errors
/// The name is taken, or the file cannot be read or written.
pub fn add(data_dir: &Path, entry: Entry) -> Result<(), DevicesError> {
    change(data_dir, |entries, text| {
        if entries.iter().any(|other| other.tenant == entry.tenant && other.name == entry.name) {
            return Err(DevicesError::Taken(qualified(&entry)));
        }
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&serde_json::to_string(&entry).expect("a struct of texts serialises"));
        text.push('\n');
        Ok(entry)
    })
    .map(drop)
}

/// Takes the line away that has this name, as `tenant/name`, or as `name` if only one tenant has it, and returns it.
///
/// # Errors
/// No device has the name, several have it, or the file cannot be read or written.
pub fn remove(data_dir: &Path, name: &str) -> Result<Entry, DevicesError> {
    change(data_dir, |entries, text| {
        let mut found = entries.iter().filter(|entry| &*entry.name == name || qualified(entry) == name);
        let entry = match (found.next(), found.next()) {
            (Some(entry), None) => entry.clone(),
            (None, _) => return Err(DevicesError::Unknown(name.to_owned())),
            (Some(_), Some(_)) => return Err(DevicesError::Ambiguous(name.to_owned())),
        };
        let is_it =
            |line: &str| is_entry(line) && serde_json::from_str::<Entry>(line).is_ok_and(|other| other == entry);
        *text = text.split_inclusive('\n').filter(|line| !is_it(line)).collect();
        Ok(entry)
    })
}

/// Puts what `edit` makes of the file in its place, whole and synced, while nobody else does. Waits for whoever does.
fn change(
    data_dir: &Path,
    edit: impl FnOnce(&[Entry], &mut String) -> Result<Entry, DevicesError>,
) -> Result<Entry, DevicesError> {
    let path = data_dir.join(DEVICES_FILE);
    let failed = |error| DevicesError::Io { path: path.clone(), error };
    let private = |file: &mut OpenOptions, name: &Path| file.write(true).mode(0o600).open(name);
    fs::create_dir_all(data_dir).map_err(failed)?;
    let lock = private(OpenOptions::new().create(true), &data_dir.join(LOCK_FILE)).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let mut text = text_of(&path)?;
    let edited = edit(&parse(&text, &path)?, &mut text)?;
    let unfinished = path.with_extension("new");
    let mut file = private(OpenOptions::new().create(true).truncate(true), &unfinished).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&unfinished, &path).and_then(|()| File::open(data_dir)?.sync_all()).map_err(failed)?;
    Ok(edited)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQxMjM0NTY$RdescudvJCsgt3ub+b4dWRWJTmaaJObGRdescudvJCs";

    fn entry(tenant: &str, name: &str) -> Entry {
        Entry {
            tenant: TenantId::new(tenant).unwrap(),
            name: name.into(),
            role: Role::Device,
            driver: Some(DriverId::new("d1").unwrap()),
            created: "2026-11-21T19:30:00Z".to_owned(),
            token_id: None,
            hash: HASH.to_owned(),
        }
    }

    #[test]
    fn entries_are_added_and_removed_and_the_rest_of_the_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), []);
        let path = dir.path().join(DEVICES_FILE);
        fs::write(&path, "# the fleet").unwrap();
        for (tenant, name) in [("acme", "a"), ("acme", "b"), ("blue", "b")] {
            add(dir.path(), entry(tenant, name)).unwrap();
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(add(dir.path(), entry("acme", "a")), Err(DevicesError::Taken(name)) if name == "acme/a"));
        assert!(matches!(remove(dir.path(), "b"), Err(DevicesError::Ambiguous(_))));
        assert!(matches!(remove(dir.path(), "c"), Err(DevicesError::Unknown(_))));
        assert_eq!(remove(dir.path(), "acme/b").unwrap(), entry("acme", "b"));
        assert_eq!(remove(dir.path(), "a").unwrap(), entry("acme", "a"));
        assert_eq!(read(dir.path()).unwrap(), [entry("blue", "b")]);
        assert!(fs::read_to_string(&path).unwrap().starts_with("# the fleet\n{\"tenant\":\"blue\""));
    }

    #[test]
    fn of_many_that_add_at_once_none_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for number in 0..16 {
                scope.spawn({
                    let path = dir.path();
                    move || add(path, entry("acme", &format!("d{number}"))).unwrap()
                });
            }
        });
        assert_eq!(read(dir.path()).unwrap().len(), 16);
    }

    #[test]
    fn a_line_that_is_none_is_told_without_what_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let good = serde_json::to_string(&entry("acme", "a")).unwrap();
        let cases = [
            ("{".to_owned(), "EOF"),
            (good.replace("\"acme\"", "\"a/b\""), "a tenant id is"),
            (good.replace("\"a\"", "\"a b\""), "a name is"),
            (good.replace("\"d1\"", "\"d/1\""), "a driver id is"),
            (good.replace("\"driver\":\"d1\",", ""), "need a driver"),
            (good.replace("\"device\"", "\"king\""), "unknown variant"),
            (good.replace("m=19456", "m=999999999"), "no Argon2id hash"),
            (good.replace("\"created\"", "\"made\""), "unknown field"),
            (good.clone(), "acme/a is there more than once"),
        ];
        for (line, expected) in cases {
            fs::write(dir.path().join(DEVICES_FILE), format!("\n{good}\n{line}\n")).unwrap();
            let told = read(dir.path()).unwrap_err().to_string();
            assert!(told.contains("devices line 3: ") && told.contains(expected), "{line}: {told}");
            assert!(!told.contains("RdescudvJC"), "{told}");
        }
    }
}
