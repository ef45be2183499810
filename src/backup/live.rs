//! Backups of a running engine, one at a time, on a thread of their own.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;

use serde::{Deserialize, Serialize};

use super::files::{check, prepare};
use super::{Error, FOLLOW_DIR, JOURNAL_DIR, Manifest, STORE_DIR};
use crate::follow::Tables;
use crate::journal::Journal;
use crate::journal::inspect::Files;
use crate::store::{self, Store};

/// Makes backups of one engine, and tells of the last one.
#[derive(Clone, Debug)]
pub struct Backups(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Not held on to: the journal closes when the engine stops.
    journal: Weak<Journal>,
    copied: Copied,
    /// Held while files are copied: whoever cuts the journal or writes its snapshots holds it meanwhile, too.
    keeping: Arc<Mutex<()>>,
    last: Mutex<Progress>,
    copied_bytes: AtomicU64,
    is_stopping: AtomicBool,
}

/// What is copied beside the journal.
#[derive(Clone, Debug)]
pub struct Copied {
    /// The embedded store, if it is on.
    pub store: Option<Store>,
    /// How its copy is made.
    pub store_config: store::Config,
    /// Geofences and their events, if they are on.
    pub follow: Option<Tables>,
}

/// How far the last backup came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Progress {
    /// There was none since the engine started.
    #[default]
    None,
    /// It is being made.
    Running {
        /// Into this directory.
        directory: PathBuf,
        /// Bytes copied so far.
        bytes: u64,
    },
    /// It is finished and durable.
    Done {
        /// In this directory.
        directory: PathBuf,
        /// Bytes copied.
        bytes: u64,
        /// What it holds.
        manifest: Manifest,
    },
    /// It was given up, and what is in the directory is of no use.
    Failed {
        /// The directory.
        directory: PathBuf,
        /// Why.
        error: String,
    },
}

/// Why no backup was begun.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// One is being made.
    #[error("a backup is being made already, into {}", .0.display())]
    Running(PathBuf),
    /// The name of the directory says nothing to a process that runs somewhere else.
    #[error("{} is not an absolute path", .0.display())]
    Relative(PathBuf),
    /// There is something in it, or it cannot be made.
    #[error(transparent)]
    Directory(#[from] Error),
    /// The system has no thread for it.
    #[error("cannot start a thread for it: {0}")]
    Thread(io::Error),
}

impl Backups {
    /// Of an engine with this journal and these. `keeping` is held while files are copied, and has to be held by whoever takes
    /// files away or finishes new ones.
    pub fn new(journal: &Arc<Journal>, copied: Copied, keeping: Arc<Mutex<()>>) -> Self {
        Self(Arc::new(Inner {
            journal: Arc::downgrade(journal),
            copied,
            keeping,
            last: Mutex::default(),
            copied_bytes: AtomicU64::new(0),
            is_stopping: AtomicBool::new(false),
        }))
    }

    /// Begins a backup into a directory that is empty or not there. It goes on in the background.
    pub fn begin(&self, directory: PathBuf) -> Result<(), Refused> {
        if directory.is_relative() {
            return Err(Refused::Relative(directory));
        }
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Progress::Running { directory, .. } = &*last {
            return Err(Refused::Running(directory.clone()));
        }
        prepare(&directory)?;
        self.0.copied_bytes.store(0, Ordering::Relaxed);
        let inner = Arc::clone(&self.0);
        let into = directory.clone();
        let thread = thread::Builder::new().name("backup".to_owned());
        thread.spawn(move || inner.run(into)).map_err(Refused::Thread)?;
        *last = Progress::Running { directory, bytes: 0 };
        Ok(())
    }

    /// How far the last one came.
    pub fn progress(&self) -> Progress {
        let mut progress = self.0.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Progress::Running { bytes, .. } = &mut progress {
            *bytes = self.0.copied_bytes.load(Ordering::Relaxed);
        }
        progress
    }

    /// Has a backup that is being made given up soon, so that the engine can end.
    pub fn stop(&self) {
        self.0.is_stopping.store(true, Ordering::Relaxed);
    }
}

impl Inner {
    fn run(&self, directory: PathBuf) {
        tracing::info!(directory = %directory.display(), "backup begins");
        let copied = panic::catch_unwind(AssertUnwindSafe(|| self.copy(&directory)))
            .unwrap_or_else(|_| Err(Error::io("go on")(io::Error::other("a fault of the program's: it panicked"))));
        let bytes = self.copied_bytes.load(Ordering::Relaxed);
        let ended = match copied {
            Ok(manifest) => {
                tracing::info!(directory = %directory.display(), bytes, upto = manifest.last_sequence, "backup done");
                Progress::Done { directory, bytes, manifest }
            }
            Err(error) => {
                let error = error.to_string();
                tracing::error!(directory = %directory.display(), error, "backup failed");
                Progress::Failed { directory, error }
            }
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = ended;
    }

    fn copy(&self, directory: &Path) -> Result<Manifest, Error> {
        let stopping = || io::Error::other("the engine is stopping");
        let journal = self.journal.upgrade().ok_or_else(|| Error::io("copy the journal")(stopping()))?;
        let mut copied = |bytes| {
            self.copied_bytes.fetch_add(bytes, Ordering::Relaxed);
            if self.is_stopping.load(Ordering::Relaxed) { Err(stopping()) } else { Ok(()) }
        };
        let keeping = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        let Copied { store, store_config, follow } = &self.copied;
        let store_sequence = match store {
            Some(store) => store.copy_to(&directory.join(STORE_DIR), store_config, &mut copied)?,
            None => None,
        };
        let follow_sequence = match follow {
            Some(follow) => follow.copy_to(&directory.join(FOLLOW_DIR), &mut copied)?,
            None => None,
        };
        let last = journal.copy_to(&directory.join(JOURNAL_DIR), &mut copied)?;
        drop(keeping);
        check(directory)?;
        let first = Files::of(&directory.join(JOURNAL_DIR))?.extent()?.map_or(1, |extent| extent.first);
        let manifest = Manifest::new(first, last, store_sequence.map(|position| position.sequence), follow_sequence);
        manifest.write(directory)?;
        Ok(manifest)
    }
}
