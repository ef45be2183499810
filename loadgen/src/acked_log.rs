//! The list of what the broker promised to keep: one line per acknowledged fix, for tests that kill it.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// A file of lines `driver fix-time-in-ms`, shared by the workers.
#[derive(Clone, Debug)]
pub struct AckedLog(Arc<Mutex<File>>);

/// One worker's end of the log.
#[derive(Debug, Default)]
pub struct AckedLines {
    log: Option<AckedLog>,
    waiting: String,
}

impl AckedLog {
    /// Makes or empties the file.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(File::create(path)?))))
    }
}

impl AckedLines {
    /// Lines for `log`, or for nowhere.
    pub fn new(log: Option<AckedLog>) -> Self {
        Self { log, waiting: String::new() }
    }

    /// Notes that the broker acknowledged the fix of `driver` at `time_ms`.
    pub fn push(&mut self, driver: &str, time_ms: i64) {
        if self.log.is_some() {
            writeln!(self.waiting, "{driver} {time_ms}").expect("a string takes all that is written to it");
        }
    }

    /// Writes what waits to the file, in one call, so that lines stay whole.
    pub fn flush(&mut self) -> io::Result<()> {
        if let Some(log) = &self.log
            && !self.waiting.is_empty()
        {
            let mut file = log.0.lock().unwrap_or_else(PoisonError::into_inner);
            file.write_all(self.waiting.as_bytes())?;
            self.waiting.clear();
        }
        Ok(())
    }
}
