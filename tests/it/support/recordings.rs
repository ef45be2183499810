//! Recorded traces.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// Recordings that come with the source, and those of the folder that `RHUMB_TEST_TRACES` names, if it does.
pub(crate) fn recordings(kind: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let told = std::env::var_os("RHUMB_TEST_TRACES").map(PathBuf::from);
    let mut found = Vec::new();
    for folder in told.into_iter().chain([root.join("fixtures/traces")]) {
        let gpx = fs::read_dir(folder.join("gpx")).into_iter().flatten();
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries.chain(gpx) {
            let path = entry.unwrap().path();
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default().to_owned();
            if name.trim_end_matches(".gz").ends_with(&format!(".{kind}")) {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no .{kind} in fixtures/traces");
    found
}
