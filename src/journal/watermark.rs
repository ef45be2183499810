//! How far the journal is durable, and waiting for it to move.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The highest durable sequence. Where nobody waits, moving it costs the writer one store.
#[derive(Debug, Default)]
pub struct Watermark {
    sequence: AtomicU64,
    waiting: AtomicUsize,
    lock: Mutex<()>,
    moved: Condvar,
}

impl Watermark {
    /// A watermark that stands at `sequence`.
    pub(super) fn at(sequence: u64) -> Self {
        Self { sequence: AtomicU64::new(sequence), ..Self::default() }
    }

    /// The highest durable sequence, 0 before the first.
    pub fn get(&self) -> u64 {
        self.sequence.load(Ordering::SeqCst)
    }

    /// Moves it to `sequence` and wakes whoever waits.
    pub(super) fn advance(&self, sequence: u64) {
        debug_assert!(sequence >= self.get());
        // Ordered against `waiting` as in `wait_past`: either this sees the waiter or the waiter sees the sequence.
        self.sequence.store(sequence, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.moved.notify_all();
        }
    }

    /// Blocks until more than `sequence` is durable or `timeout` is over; gives what is durable then.
    pub fn wait_past(&self, sequence: u64, timeout: Duration) -> u64 {
        let durable = self.get();
        if durable > sequence {
            return durable;
        }
        let deadline = Instant::now() + timeout;
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let durable = loop {
            let durable = self.get();
            let left = deadline.saturating_duration_since(Instant::now());
            if durable > sequence || left.is_zero() {
                break durable;
            }
            guard = self.moved.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        durable
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn waits_no_longer_than_told() {
        let watermark = Watermark::at(3);
        assert_eq!(watermark.wait_past(2, Duration::from_secs(60)), 3);
        assert_eq!(watermark.wait_past(3, Duration::from_millis(5)), 3);
    }

    #[test]
    fn no_move_is_missed() {
        let watermark = Arc::new(Watermark::default());
        let mover = Arc::clone(&watermark);
        let thread = std::thread::spawn(move || {
            for sequence in 1..=20_000 {
                mover.advance(sequence);
            }
        });
        let mut seen = 0;
        while seen < 20_000 {
            let now = watermark.wait_past(seen, Duration::from_secs(60));
            assert!(now > seen);
            seen = now;
        }
        thread.join().unwrap();
    }
}
