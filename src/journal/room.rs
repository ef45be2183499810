//! How much room the journal has now: appenders take of it, the writer reports what became of that, and whoever measures
//! the disk from time to time says how much there is.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::budget::{self, Assessment, State};
use super::storage::{Space, Storage};
use super::{segment, snapshot};

/// Room for turns, counted in bytes since the journal was opened.
#[derive(Debug)]
pub struct Room {
    bytes_max: u64,
    /// Handed over by appenders.
    taken: AtomicU64,
    /// Written, of what was handed over.
    written: AtomicU64,
    /// What `taken` may come to.
    ceiling: AtomicU64,
    /// What the files took when they were last looked at.
    bytes: AtomicU64,
    /// Of `written`, what was in that.
    measured: AtomicU64,
    limit_bytes: AtomicU64,
    was_full: AtomicBool,
    /// Whether the brake is off for good, for a journal that is about to close.
    is_released: Mutex<bool>,
    released: Condvar,
}

impl Room {
    /// Unbounded until it is measured.
    pub(super) fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            taken: AtomicU64::new(0),
            written: AtomicU64::new(0),
            ceiling: AtomicU64::new(u64::MAX),
            bytes: AtomicU64::new(0),
            measured: AtomicU64::new(0),
            limit_bytes: AtomicU64::new(u64::MAX),
            // One that was full when it was closed is not opened just above that line.
            was_full: AtomicBool::new(true),
            is_released: Mutex::new(false),
            released: Condvar::new(),
        }
    }

    /// `journal.bytes_max`.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// How the journal stands now. Cheap; the measured part is as old as the last [`super::Journal::assess`].
    pub fn assessment(&self) -> Assessment {
        let limit_bytes = self.limit_bytes.load(Ordering::Relaxed);
        let left_bytes = self.ceiling.load(Ordering::Relaxed).saturating_sub(self.taken.load(Ordering::Relaxed));
        let was_full = self.was_full.load(Ordering::Relaxed);
        let state = budget::state(limit_bytes, left_bytes, was_full);
        let is_full = state == State::Full;
        if is_full != was_full {
            self.was_full.store(is_full, Ordering::Relaxed);
        }
        Assessment { bytes: self.bytes.load(Ordering::Relaxed), limit_bytes, left_bytes, state }
    }

    /// Whether nothing more should be handed over.
    pub fn is_full(&self) -> bool {
        self.assessment().state == State::Full
    }

    /// Looks at the files and the disk.
    pub(super) fn measure(&self, storage: &dyn Storage) -> io::Result<()> {
        // First, so that what is written while the files are looked at counts twice rather than not at all.
        let written = self.written.load(Ordering::Acquire);
        let bytes = bytes_of_files(storage)?;
        let space = storage.space()?;
        self.bytes.store(bytes, Ordering::Relaxed);
        self.measured.store(written, Ordering::Relaxed);
        self.set(bytes, written, space);
        Ok(())
    }

    /// Looks at the disk alone, which is quick: for the writer before it takes more of it. Somebody else may have filled it
    /// since it was last measured.
    pub(super) fn measure_disk(&self, storage: &dyn Storage) -> io::Result<()> {
        let space = storage.space()?;
        let written = self.written.load(Ordering::Acquire);
        let since = written.saturating_sub(self.measured.load(Ordering::Relaxed));
        self.set(self.bytes.load(Ordering::Relaxed).saturating_add(since), written, space);
        Ok(())
    }

    fn set(&self, bytes: u64, written: u64, space: Space) {
        let limit_bytes = budget::limit_bytes(self.bytes_max, bytes, space);
        self.limit_bytes.store(limit_bytes, Ordering::Relaxed);
        self.ceiling.store(written.saturating_add(limit_bytes.saturating_sub(bytes)), Ordering::Relaxed);
    }

    /// A turn of so many bytes is handed over.
    pub(super) fn take(&self, bytes: usize) {
        self.taken.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// So many bytes are in the files.
    pub(super) fn wrote(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Release);
    }

    /// What may be written in a second; `None` without a brake. What was handed over before the end goes through.
    pub(super) fn brake_bytes_per_s(&self) -> Option<u64> {
        match self.assessment().state {
            State::Braked { bytes_per_s } if !self.is_released() => Some(bytes_per_s),
            _ => None,
        }
    }

    /// Waits so long, or until the brake is off for good.
    pub(super) fn pause(&self, pause: Duration) {
        let guard = self.is_released.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.released.wait_timeout_while(guard, pause, |is_released| !*is_released));
    }

    /// Takes the brake off for good, so that what was handed over is soon durable.
    pub(super) fn release(&self) {
        *self.is_released.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.released.notify_all();
    }

    fn is_released(&self) -> bool {
        *self.is_released.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What segments and snapshots take, those too that are being made. What else is there is none of the journal's.
fn bytes_of_files(storage: &dyn Storage) -> io::Result<u64> {
    let mut bytes = 0;
    for name in storage.list()?.iter().filter(|name| segment::is_of_journal(name) || snapshot::is_of_snapshots(name)) {
        match storage.open(name).and_then(|file| file.len_bytes()) {
            Ok(len) => bytes += len,
            // Gone since.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// Holds a writer to a pace: what it wrote has to be paid off before it writes again.
#[derive(Debug, Default)]
pub(super) struct Brake {
    owed_bytes: f64,
    /// Whether it was on when last asked: what is written without it is not owed.
    is_on: bool,
    /// Up to when is paid.
    paid_at: Option<Instant>,
}

impl Brake {
    /// How long the next batch has to wait, at this pace; it may be asked again before that is over.
    pub(super) fn pause(&mut self, bytes_per_s: Option<u64>, now: Instant) -> Duration {
        let paid_at = self.paid_at.replace(now).unwrap_or(now);
        self.is_on = bytes_per_s.is_some();
        let Some(bytes_per_s) = bytes_per_s.map(|bytes| bytes as f64) else {
            self.owed_bytes = 0.0;
            return Duration::ZERO;
        };
        let paid = now.saturating_duration_since(paid_at).as_secs_f64() * bytes_per_s;
        self.owed_bytes = (self.owed_bytes - paid).max(0.0);
        Duration::try_from_secs_f64(self.owed_bytes / bytes_per_s).unwrap_or(Duration::MAX)
    }

    /// A batch of so many bytes was written.
    pub(super) fn wrote(&mut self, bytes: usize) {
        if self.is_on {
            self.owed_bytes += bytes as f64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_braked_writer_keeps_the_pace_whatever_its_batches() {
        let begin = Instant::now();
        let (mut now, mut brake, mut written) = (begin, Brake::default(), 0);
        for batch in [100, 5_000, 1, 40_000, 2_500].into_iter().cycle().take(500) {
            loop {
                let pause = brake.pause(Some(10_000), now);
                if pause < Duration::from_micros(1) {
                    break;
                }
                // Looks up every now and then.
                now += pause.min(Duration::from_millis(300));
            }
            let allowed = 10_000.0 * (now - begin).as_secs_f64();
            assert!(f64::from(written) <= allowed + 1.0, "{written} bytes where {allowed} were allowed");
            brake.wrote(batch as usize);
            written += batch;
        }
        assert!(f64::from(written) > 0.95 * 10_000.0 * (now - begin).as_secs_f64(), "it is not held longer than that");
    }

    #[test]
    fn a_brake_that_is_off_forgets_what_is_owed() {
        let now = Instant::now();
        let mut brake = Brake::default();
        brake.wrote(1 << 30);
        assert_eq!(brake.pause(Some(1), now), Duration::ZERO, "written before it was on");
        brake.wrote(1 << 30);
        assert!(brake.pause(Some(1), now) > Duration::from_secs(1_000_000));
        assert_eq!(brake.pause(None, now), Duration::ZERO);
        assert_eq!(brake.pause(Some(1), now), Duration::ZERO);
    }
}
