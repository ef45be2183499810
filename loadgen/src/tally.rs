//! Counts of a run: what each worker adds up, and what it shows while it runs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::faults::Kind;
use crate::latency::Latency;

/// Distinct reasons kept; the rest are counted together.
const REASONS_MAX: usize = 32;

/// What happened. Publishes are counted once, however often they had to be sent again after a lost connection.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    /// Publishes handed to the sockets, of every kind.
    pub sent: u64,
    /// Publishes at QoS 1 or 2 that the broker took (PUBACK, or PUBREC at QoS 2, which carries the same promise).
    pub acked: u64,
    /// Publishes that the broker acknowledged with a failure (MQTT 5).
    pub refused: u64,
    /// Publishes at QoS 1 or 2 that were neither acknowledged nor refused when the run ended.
    pub unacked: u64,
    /// Publishes that were due within an open loop's duration but could not be sent any more.
    pub unsent: u64,
    /// Of `sent`: repetitions of the fix before.
    pub duplicates: u64,
    /// Of `sent`: fixes older than the one before.
    pub overtaken: u64,
    /// Of `sent`: payloads that are no fix.
    pub garbage: u64,
    /// Packets sent again after a reconnect.
    pub resent: u64,
    /// Bytes of MQTT handed to the sockets, in faithful mode those of topics and payloads.
    pub bytes: u64,
    /// Connections that ended before the run did.
    pub lost: u64,
    /// Connections that their device dropped because the plan says so.
    pub dropped: u64,
    /// Connections that were made again, whyever they ended.
    pub reconnected: u64,
}

/// One worker's sums.
#[derive(Debug, Default)]
pub struct Tally {
    /// Its counts.
    pub counts: Counts,
    /// Its acknowledgement latencies.
    pub latency: Latency,
    /// Why connections failed, and how often.
    pub errors: BTreeMap<String, u64>,
    /// The last acknowledgement, or the end of sending; nanoseconds since the run's start.
    pub ended_ns: u64,
}

impl Tally {
    /// Counts a publish that leaves for the first time.
    pub fn sent(&mut self, kind: Kind) {
        self.counts.sent += 1;
        match kind {
            Kind::Fresh => {}
            Kind::Duplicate => self.counts.duplicates += 1,
            Kind::Overtaken => self.counts.overtaken += 1,
            Kind::Garbage(_) => self.counts.garbage += 1,
        }
    }

    /// Counts a connection that ended, with the reason.
    pub fn lost(&mut self, reason: &dyn std::fmt::Display) {
        self.counts.lost += 1;
        self.error(reason, 1);
    }

    /// Counts an error by its reason.
    pub fn error(&mut self, reason: &dyn std::fmt::Display, times: u64) {
        let mut reason = reason.to_string();
        if self.errors.len() >= REASONS_MAX && !self.errors.contains_key(&reason) {
            "other reasons".clone_into(&mut reason);
        }
        *self.errors.entry(reason).or_default() += times;
    }

    /// Adds another worker's sums.
    pub fn merge(&mut self, other: &Self) {
        let (ours, theirs) = (&mut self.counts, &other.counts);
        ours.sent += theirs.sent;
        ours.acked += theirs.acked;
        ours.refused += theirs.refused;
        ours.unacked += theirs.unacked;
        ours.unsent += theirs.unsent;
        ours.duplicates += theirs.duplicates;
        ours.overtaken += theirs.overtaken;
        ours.garbage += theirs.garbage;
        ours.resent += theirs.resent;
        ours.bytes += theirs.bytes;
        ours.lost += theirs.lost;
        ours.dropped += theirs.dropped;
        ours.reconnected += theirs.reconnected;
        self.latency.merge(&other.latency);
        for (reason, times) in &other.errors {
            self.error(reason, *times);
        }
        self.ended_ns = self.ended_ns.max(other.ended_ns);
    }
}

/// What a worker shows while it runs.
#[derive(Debug, Default)]
pub struct Progress {
    /// [`Counts::sent`] so far.
    pub sent: AtomicU64,
    /// [`Counts::acked`] so far.
    pub acked: AtomicU64,
    /// Connections that are open now.
    pub open: AtomicU64,
    /// [`Counts::lost`] so far.
    pub lost: AtomicU64,
}

impl Progress {
    /// Shows the counts as they are.
    pub fn show(&self, counts: &Counts, open: usize) {
        self.sent.store(counts.sent, Ordering::Relaxed);
        self.acked.store(counts.acked, Ordering::Relaxed);
        self.lost.store(counts.lost, Ordering::Relaxed);
        self.open.store(open as u64, Ordering::Relaxed);
    }
}
