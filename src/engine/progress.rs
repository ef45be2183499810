//! How far recovery is: fed by whoever reads the journal, told by the log, `/readyz` and `/metrics`.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::counts::grouped;
use crate::telemetry::prometheus::{Exposition, Kind};

/// How often the log tells of it.
const TOLD_INTERVAL: Duration = Duration::from_secs(5);

/// One recovery. Its text says in words what it is at.
#[derive(Debug)]
pub(super) struct Progress {
    began: Instant,
    stage: Mutex<Stage>,
    bytes: AtomicU64,
    frames: AtomicU64,
    fixes: AtomicU64,
}

/// What recovery is at.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// Directory and store.
    Opening,
    /// The journal.
    Reading { bytes_total: u64, since: Instant },
    /// The embedded store is too far behind the journal to start without it.
    AwaitingStore { frames: u64 },
    /// Nothing more, after so long.
    Over { took: Duration },
}

impl Progress {
    /// One that begins now.
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            stage: Mutex::new(Stage::Opening),
            bytes: AtomicU64::default(),
            frames: AtomicU64::default(),
            fixes: AtomicU64::default(),
        }
    }

    /// So many bytes of the journal are about to be read. Fewer may come as frames: segments end with zeros.
    pub(super) fn total(&self, bytes: u64) {
        self.set(Stage::Reading { bytes_total: bytes, since: Instant::now() });
    }

    /// A frame of so many bytes and fixes was taken in.
    pub(super) fn frame(&self, bytes: usize, fixes: u32) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.fixes.fetch_add(u64::from(fixes), Ordering::Relaxed);
    }

    /// The journal is read, and the embedded store still lacks so many of its frames.
    pub(super) fn awaits_store(&self, frames: u64) {
        self.set(Stage::AwaitingStore { frames });
    }

    /// Does `recovery`, and has the log tell of it every few seconds meanwhile.
    pub(super) fn told_during<T>(&self, recovery: impl FnOnce() -> T) -> T {
        // Nothing is ever sent: what ends the telling is that the sender goes, by a panic too.
        let (over, is_over) = sync_channel::<()>(0);
        thread::scope(|scope| {
            let tell = move || {
                while is_over.recv_timeout(TOLD_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    self.tell();
                }
            };
            if let Err(error) = thread::Builder::new().name("progress".into()).spawn_scoped(scope, tell) {
                tracing::warn!(%error, "no thread to tell of recovery");
            }
            let _over = over;
            let recovered = recovery();
            self.set(Stage::Over { took: self.began.elapsed() });
            recovered
        })
    }

    /// Writes a line to the log if there is something to tell. Waiting for the store is told by whoever waits.
    fn tell(&self) {
        let Stage::Reading { bytes_total, since } = self.stage() else { return };
        let (bytes, frames, fixes) = (load(&self.bytes), load(&self.frames), load(&self.fixes));
        let seconds = since.elapsed().as_secs_f64();
        let seconds_left = seconds_left(bytes, bytes_total, seconds);
        let fixes_per_second = (fixes as f64 / seconds) as u64;
        let percent = percent(bytes, bytes_total);
        tracing::info!(percent, fixes, frames, fixes_per_second, seconds_left, "reading the journal");
    }

    /// Writes how far it is, or what it took.
    pub(super) fn collect(&self, page: &mut Exposition) {
        let (took, bytes_total) = match self.stage() {
            Stage::Over { took } => (took, None),
            Stage::Reading { bytes_total, .. } => (self.began.elapsed(), Some(bytes_total)),
            Stage::Opening | Stage::AwaitingStore { .. } => (self.began.elapsed(), None),
        };
        let help = "Fixes that recovery read from the journal at this start.";
        page.family("rhumb_recovery_fixes", help, Kind::Gauge).sample(&[], load(&self.fixes));
        let help = "Frames that recovery read from the journal at this start.";
        page.family("rhumb_recovery_frames", help, Kind::Gauge).sample(&[], load(&self.frames));
        let help = "Bytes of frames that recovery read from the journal at this start.";
        page.family("rhumb_recovery_bytes", help, Kind::Gauge).sample(&[], load(&self.bytes));
        if let Some(bytes_total) = bytes_total {
            let help = "Bytes of the journal that recovery has to read; there only while it does.";
            page.family("rhumb_recovery_expected_bytes", help, Kind::Gauge).sample(&[], bytes_total);
        }
        let help = "How long recovery has taken, waiting for the store included.";
        page.family("rhumb_recovery_duration_seconds", help, Kind::Gauge).sample(&[], took.as_secs_f64());
    }

    fn stage(&self) -> Stage {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stage() {
            Stage::Opening => formatter.write_str("opening the data directory"),
            Stage::Reading { bytes_total, .. } => {
                let (percent, fixes) = (percent(load(&self.bytes), bytes_total), grouped(load(&self.fixes)));
                write!(formatter, "reading the journal: {percent} % ({fixes} fixes so far)")
            }
            Stage::AwaitingStore { frames } => {
                write!(formatter, "waiting for the embedded store: {} frames to go", grouped(frames))
            }
            Stage::Over { .. } => formatter.write_str("the journal is read, the ports are about to open"),
        }
    }
}

/// Of nothing, all is read.
fn percent(bytes: u64, bytes_total: u64) -> u64 {
    (bytes * 100).checked_div(bytes_total).unwrap_or(100).min(100)
}

/// What is left at the rate so far, once there is one.
fn seconds_left(bytes: u64, bytes_total: u64, seconds: f64) -> Option<u64> {
    let left = bytes_total.saturating_sub(bytes) as f64;
    (bytes > 0).then(|| (left * seconds / bytes as f64).ceil() as u64)
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use std::panic::{self, AssertUnwindSafe};

    use super::*;

    #[test]
    fn says_what_it_is_at() {
        let progress = Progress::new();
        assert_eq!(progress.to_string(), "opening the data directory");
        progress.total(1_000);
        assert_eq!(progress.to_string(), "reading the journal: 0 % (0 fixes so far)");
        progress.frame(400, 3_100_000);
        progress.frame(19, 0);
        assert_eq!(progress.to_string(), "reading the journal: 41 % (3,100,000 fixes so far)");
        progress.awaits_store(1_234);
        assert_eq!(progress.to_string(), "waiting for the embedded store: 1,234 frames to go");
        assert_eq!(progress.told_during(|| 7), 7);
        assert_eq!(progress.to_string(), "the journal is read, the ports are about to open");
    }

    #[test]
    fn an_empty_journal_and_one_that_grew_have_a_percentage() {
        assert_eq!([percent(0, 0), percent(0, 9), percent(5, 9), percent(10, 9)], [100, 0, 55, 100]);
        assert_eq!(
            [seconds_left(0, 9, 1.0), seconds_left(1, 9, 0.5), seconds_left(10, 9, 1.0)],
            [None, Some(4), Some(0)]
        );
    }

    #[test]
    fn the_duration_stands_still_when_it_is_over() {
        let progress = Progress::new();
        progress.total(10);
        let page = || {
            let mut page = Exposition::default();
            progress.collect(&mut page);
            page.finish()
        };
        assert!(page().contains("\nrhumb_recovery_expected_bytes 10\n"), "{}", page());
        progress.told_during(|| progress.frame(10, 2));
        let over = page();
        assert!(over.contains("\nrhumb_recovery_fixes 2\n") && !over.contains("expected"), "{over}");
        assert_eq!(page(), over);
    }

    #[test]
    fn a_recovery_that_panics_is_not_told_of_for_ever() {
        let told = panic::catch_unwind(AssertUnwindSafe(|| Progress::new().told_during(|| panic!("recovery"))));
        assert!(told.is_err());
    }
}
