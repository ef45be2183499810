//! The thread that writes refusals down, and the handle by which it is fed and asked.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::files::Files;
use super::recent::Recent;
use super::status::Status;
use super::{Config, DIRECTORY, Reader, Refusal, Unreadable};
use crate::clock::Clock;
use crate::ids::DriverKey;
use crate::telemetry::prometheus::Exposition;
use crate::units::TimestampMs;

/// Parcels that wait to be written.
const PARCELS_MAX: usize = 4_096;

/// What they may take together.
pub(super) const QUEUED_BYTES_MAX: usize = 32 << 20;

/// From here on a parcel is sent off.
const PARCEL_BYTES: usize = 1 << 20;

/// How many times the memory's size is read of the newest files at the start, to fill it: lines take less than what they
/// become, and a driver may have more than are kept of it.
const REFILL_FACTOR: u64 = 2;

/// Some refusals on their way to the recorder.
#[derive(Debug, Default)]
pub struct Parcel {
    is_of_recording: bool,
    refusals: Vec<Refusal>,
    bytes: usize,
    fixes: u64,
}

impl Parcel {
    /// An empty one. Refusals of a recording have no receive time: they get the time at which they are written down.
    pub fn new(is_of_recording: bool) -> Self {
        Self { is_of_recording, ..Self::default() }
    }

    /// Whether it is of a recording.
    pub fn is_of_recording(&self) -> bool {
        self.is_of_recording
    }

    /// Adds one.
    pub fn add(&mut self, refusal: Refusal) {
        self.bytes += refusal.cost_bytes();
        self.fixes += u64::from(refusal.fixes);
        self.refusals.push(refusal);
    }

    /// Whether it is time to send it off.
    pub fn is_full(&self) -> bool {
        self.bytes >= PARCEL_BYTES
    }
}

#[derive(Debug)]
enum Message {
    Parcel(Parcel),
    Stop,
}

/// The handle; clones are of the same recorder.
#[derive(Clone, Debug)]
pub struct Recorder {
    queue: SyncSender<Message>,
    shared: Arc<Shared>,
}

/// What the handles and the thread share.
#[derive(Debug)]
struct Shared {
    queued_bytes: AtomicUsize,
    payload_bytes_max: usize,
    recent: Mutex<Recent>,
    status: Status,
}

/// A recorder with its thread.
#[derive(Debug)]
pub struct Recording {
    recorder: Recorder,
    thread: JoinHandle<()>,
}

impl Recorder {
    /// How much of a payload is kept.
    pub fn payload_bytes_max(&self) -> usize {
        self.shared.payload_bytes_max
    }

    /// Whether a parcel would be taken now. If not, there is no use in making one: [`Recorder::miss`] counts what it would
    /// have held.
    pub fn has_room(&self) -> bool {
        self.shared.queued_bytes.load(Ordering::Relaxed) < QUEUED_BYTES_MAX
    }

    /// Takes a parcel. Never blocks: what does not fit is counted as unrecorded.
    pub fn record(&self, parcel: Parcel) {
        let Shared { queued_bytes, status, .. } = &*self.shared;
        let (bytes, fixes) = (parcel.bytes, parcel.fixes);
        if fixes == 0 {
            return;
        }
        let has_room = queued_bytes.fetch_add(bytes, Ordering::Relaxed) < QUEUED_BYTES_MAX;
        if !has_room || self.queue.try_send(Message::Parcel(parcel)).is_err() {
            queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            status.unrecorded(fixes);
        }
    }

    /// Counts refused fixes that nobody made a parcel of.
    pub fn miss(&self, fixes: u64) {
        self.shared.status.unrecorded(fixes);
    }

    /// The last refusals of a driver, newest first, `limit` at most.
    pub fn recent(&self, driver: &DriverKey, limit: usize) -> Vec<Arc<Refusal>> {
        self.shared.recent().of(driver).take(limit).cloned().collect()
    }

    /// Writes its numbers.
    pub fn collect(&self, page: &mut Exposition) {
        self.shared.status.collect(page);
    }
}

impl Shared {
    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recording {
    /// Starts a recorder of a data directory, which remembers the newest of what is on record there. `clock` names files, and
    /// stamps what came without a receive time. Blocks for the reading of some files.
    ///
    /// # Errors
    /// The operating system gives no thread. What is wrong with the disk is logged, and no error.
    pub fn start(data_dir: &Path, config: &Config, clock: Clock) -> io::Result<Self> {
        let directory = data_dir.join(DIRECTORY);
        let (queue, inbox) = sync_channel(PARCELS_MAX);
        let shared = Arc::new(Shared {
            queued_bytes: AtomicUsize::new(0),
            payload_bytes_max: config.payload_bytes_max,
            recent: Mutex::new(remembered(&directory, config.memory_bytes_max)),
            status: Status::default(),
        });
        let files = (config.bytes_max > 0).then(|| Files::new(&directory, config.bytes_max));
        let mut writer =
            Writer { shared: Arc::clone(&shared), directory, files, clock, has_looked: false, has_told: false };
        writer.look();
        let thread = thread::Builder::new().name("rejected".to_owned()).spawn(move || writer.run(&inbox))?;
        Ok(Self { recorder: Recorder { queue, shared }, thread })
    }

    /// Its handle.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Writes down what was handed over before, and ends.
    pub fn stop(self) {
        // One that is gone has stopped.
        drop(self.recorder.queue.send(Message::Stop));
        if self.thread.join().is_err() {
            tracing::error!("the recorder of refusals panicked, which is a fault of the program's");
        }
    }
}

/// The newest of what is on record.
fn remembered(directory: &Path, memory_bytes_max: usize) -> Recent {
    let mut recent = Recent::new(memory_bytes_max);
    let fill = |recent: &mut Recent| -> Result<(), Unreadable> {
        for refusal in Reader::of_newest(directory, REFILL_FACTOR * memory_bytes_max as u64)? {
            recent.add(refusal?);
        }
        Ok(())
    };
    match fill(&mut recent) {
        // The first start there.
        Ok(()) | Err(Unreadable::NoDirectory(_)) => {}
        Err(error) => tracing::warn!(%error, "refusals of earlier runs are not remembered"),
    }
    recent
}

/// What the thread owns.
struct Writer {
    shared: Arc<Shared>,
    directory: PathBuf,
    /// `None`: nothing is written.
    files: Option<Files>,
    clock: Clock,
    /// The files were looked at, and nothing went wrong since.
    has_looked: bool,
    /// The fault that there is was told.
    has_told: bool,
}

impl Writer {
    fn run(mut self, inbox: &Receiver<Message>) {
        while let Ok(Message::Parcel(parcel)) = inbox.recv() {
            let bytes = parcel.bytes;
            self.keep(parcel);
            self.shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Writes a parcel down, and remembers it: whoever sees one in memory finds it in the files.
    fn keep(&mut self, mut parcel: Parcel) {
        let now = self.clock.now();
        if parcel.is_of_recording {
            parcel.refusals.iter_mut().for_each(|refusal| refusal.received_at = now);
        }
        let recorded = self.write(&parcel.refusals, now).unwrap_or(parcel.fixes);
        let status = &self.shared.status;
        status.recorded(recorded);
        status.unrecorded(parcel.fixes - recorded);
        let mut recent = self.shared.recent();
        parcel.refusals.into_iter().for_each(|refusal| recent.add(refusal));
    }

    /// Writes what can be written, and returns of how many fixes; `None` if nothing is to be.
    fn write(&mut self, refusals: &[Refusal], now: TimestampMs) -> Option<u64> {
        self.files.as_ref()?;
        self.look();
        let files = self.files.as_mut()?;
        if !self.has_looked {
            return Some(0);
        }
        let (fixes, written) = files.append(refusals, now);
        self.shared.status.holds(files.bytes());
        self.tell(written);
        Some(fixes)
    }

    /// Looks at the files, unless all is well with them.
    fn look(&mut self) {
        if self.has_looked {
            return;
        }
        let Some(files) = &mut self.files else { return };
        let looked = files.look();
        self.shared.status.holds(files.bytes());
        self.tell(looked);
    }

    /// Tells a fault once, and that it is over.
    fn tell(&mut self, done: io::Result<()>) {
        self.has_looked = done.is_ok();
        let directory = self.directory.display();
        match done {
            Ok(()) if self.has_told => {
                self.has_told = false;
                tracing::info!(%directory, "refusals are written down again");
            }
            Err(error) if !self.has_told => {
                self.has_told = true;
                tracing::error!(%directory, %error, "refusals cannot be written down and are only counted: see to the disk of `data_dir`");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
