//! What the threads of a run share, whichever way they play their devices.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::acked_log::AckedLines;
use crate::schedule::nanoseconds;
use crate::tally::{Progress, Tally};

/// Connections that a thread opens at the same time.
pub const OPENING_MAX: usize = 256;
/// How long a broker may take to let a device in; before the run, for how long it may let none in.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a broker may leave acknowledgements out, or sockets full, before the run is given up.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a device tries to come back after a lost connection.
pub const RECONNECT_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two attempts to come back: doubled from the first to the second of these.
pub const RECONNECT_PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Seconds of silence that devices promise not to exceed; they ping at half of it.
pub const KEEP_ALIVE_S: u16 = 60;

/// A worker's message to the main thread.
#[derive(Debug)]
pub enum Event {
    /// Every device is let in, or could not be.
    Ready {
        /// Devices that are in.
        open: usize,
    },
    /// The run is over: nothing is in flight any more.
    Ended(Box<Tally>),
}

/// A worker's ends of the channels to the main thread.
#[derive(Debug)]
pub struct Link {
    /// Where it reports.
    pub events: SyncSender<Event>,
    /// Where it is told that the run starts; closed without a word if it does not.
    pub start: Receiver<()>,
    /// What it shows while it runs.
    pub progress: Arc<Progress>,
    /// Where it lists what was acknowledged.
    pub acked: AckedLines,
}

/// Time since the run's start, and the wall clock that belongs to it. Never goes back.
#[derive(Clone, Copy, Debug)]
pub struct RunClock {
    start: Instant,
    start_ms: i64,
}

impl RunClock {
    /// The run starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the load generator's clock")]
    pub fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), start_ms: since_epoch.as_millis() as i64 }
    }

    /// Nanoseconds since the start.
    pub fn now_ns(&self) -> u64 {
        nanoseconds(self.start.elapsed())
    }

    /// The wall clock at `now_ns`, milliseconds since the Unix epoch.
    pub fn wall_ms(&self, now_ns: u64) -> i64 {
        self.start_ms + (now_ns / 1_000_000) as i64
    }
}

/// The pause before attempt `attempt` (from 0) to come back.
pub fn reconnect_pause(attempt: u32) -> Duration {
    let (shortest, longest) = RECONNECT_PAUSES;
    shortest.saturating_mul(1 << attempt.min(10)).min(longest)
}
