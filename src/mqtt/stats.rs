//! What the door counts for the operator.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::close::Close;

/// Log lines about ended connections in one interval; further ones are only counted.
const CLOSE_LINES_MAX: u32 = 10;

/// The interval of [`CLOSE_LINES_MAX`].
const CLOSE_LINES_INTERVAL: Duration = Duration::from_secs(1);

/// Listeners that a door may have.
pub(super) const LISTENERS_MAX: usize = 4;

/// Counters of the door, written by its workers.
#[derive(Debug, Default)]
pub struct Stats {
    connections: AtomicUsize,
    /// Of each listener.
    by_listener: [AtomicUsize; LISTENERS_MAX],
    /// What is spoken on each, once the door is open.
    listeners: OnceLock<Vec<&'static str>>,
    accepted: AtomicU64,
    publishes: AtomicU64,
    publishes_refused: AtomicU64,
    publishes_dropped: AtomicU64,
    subscriptions_refused: AtomicU64,
    wills_lost: AtomicU64,
    closed: Mutex<Closed>,
}

/// What a worker counts between two looks of [`Stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// On ingest topics.
    pub(super) publishes: u64,
    /// On topics where the client may not publish, or which lead nowhere.
    pub(super) publishes_refused: u64,
    /// Over the client's rate.
    pub(super) publishes_dropped: u64,
    /// Filters that the client may not subscribe to.
    pub(super) subscriptions_refused: u64,
    /// On ingest topics, that nobody had room for.
    pub(super) wills_lost: u64,
}

#[derive(Debug, Default)]
struct Closed {
    by_reason: BTreeMap<&'static str, u64>,
    interval: Option<Instant>,
    lines: u32,
    suppressed: u64,
}

impl Stats {
    /// Connections now.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Connections to each listener now, by what is spoken on it; empty until the door is open.
    pub fn connections_by_listener(&self) -> Vec<(&'static str, usize)> {
        let names = self.listeners.get().map(Vec::as_slice).unwrap_or_default();
        names.iter().copied().zip(self.by_listener.iter().map(|count| count.load(Ordering::Relaxed))).collect()
    }

    /// Gives the listeners their names, once.
    pub(super) fn name_listeners(&self, names: Vec<&'static str>) {
        // Names that are there already are of the same door.
        drop(self.listeners.set(names));
    }

    /// Connections since the start.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Publishes on ingest topics since the start.
    pub fn publishes(&self) -> u64 {
        self.publishes.load(Ordering::Relaxed)
    }

    /// Publishes since the start on topics where their clients may not publish, or which lead nowhere.
    pub fn publishes_refused(&self) -> u64 {
        self.publishes_refused.load(Ordering::Relaxed)
    }

    /// Publishes at QoS 0 since the start that were over their client's rate and dropped.
    pub fn publishes_dropped(&self) -> u64 {
        self.publishes_dropped.load(Ordering::Relaxed)
    }

    /// Filters since the start that their clients may not subscribe to.
    pub fn subscriptions_refused(&self) -> u64 {
        self.subscriptions_refused.load(Ordering::Relaxed)
    }

    /// Wills on ingest topics since the start that were due and had no room with the shards, nor to wait for it.
    pub fn wills_lost(&self) -> u64 {
        self.wills_lost.load(Ordering::Relaxed)
    }

    /// Connections that ended since the start, by reason.
    pub fn closed(&self) -> Vec<(&'static str, u64)> {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed.by_reason.iter().map(|(reason, count)| (*reason, *count)).collect()
    }

    /// Connections to a listener now.
    pub(super) fn connections_of(&self, listener: u8) -> usize {
        self.by_listener.get(usize::from(listener)).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Counts a connection to a listener in.
    pub(super) fn connect(&self, listener: u8) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.connections.fetch_add(1, Ordering::Relaxed);
        if let Some(count) = self.by_listener.get(usize::from(listener)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Adds what a worker counted.
    pub(super) fn count(&self, tally: Tally) {
        let counts = [
            (&self.publishes, tally.publishes),
            (&self.publishes_refused, tally.publishes_refused),
            (&self.publishes_dropped, tally.publishes_dropped),
            (&self.subscriptions_refused, tally.subscriptions_refused),
            (&self.wills_lost, tally.wills_lost),
        ];
        for (total, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            total.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Counts a listener's connection out: its socket is closed.
    pub(super) fn release(&self, listener: u8) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
        if let Some(count) = self.by_listener.get(usize::from(listener)) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Counts why a connection ended, and writes a line about it if it is worth one and there were not too many.
    pub(super) fn disconnect(&self, why: Close, client_id: &str) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        *closed.by_reason.entry(why.as_str()).or_default() += 1;
        if !why.is_noteworthy() {
            return;
        }
        if closed.interval.is_none_or(|begun| begun.elapsed() >= CLOSE_LINES_INTERVAL) {
            if closed.suppressed > 0 {
                tracing::warn!(count = closed.suppressed, "further connections ended, not logged one by one");
            }
            closed.interval = Some(Instant::now());
            closed.lines = 0;
            closed.suppressed = 0;
        }
        if closed.lines == CLOSE_LINES_MAX {
            closed.suppressed += 1;
            return;
        }
        closed.lines += 1;
        match why {
            Close::Malformed(malformed) => {
                tracing::warn!(reason = why.as_str(), client_id, %malformed, "connection ended");
            }
            Close::Transport(fault) => {
                tracing::warn!(reason = why.as_str(), client_id, %fault, "connection ended");
            }
            _ => tracing::warn!(reason = why.as_str(), client_id, "connection ended"),
        }
    }
}
