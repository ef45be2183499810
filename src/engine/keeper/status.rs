//! What the operator is told of the journal's size and its snapshots.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::journal::SegmentInfo;
use crate::pipeline::SnapshotTaken;
use crate::telemetry::prometheus::{Exposition, Kind};

/// The keeper's numbers, as of its last look.
#[derive(Debug, Default)]
pub(in crate::engine) struct Status {
    segments: AtomicU64,
    first_sequence: AtomicU64,
    snapshot_sequence: AtomicU64,
    snapshot_bytes: AtomicU64,
    snapshot_micros: AtomicU64,
    failures: AtomicU64,
}

impl Status {
    pub(super) fn saw(&self, segments: &[SegmentInfo]) {
        self.segments.store(segments.len() as u64, Ordering::Relaxed);
        self.first_sequence.store(segments.first().map_or(0, |oldest| oldest.first), Ordering::Relaxed);
    }

    pub(super) fn took(&self, snapshot: SnapshotTaken, took: Duration) {
        self.snapshot_sequence.store(snapshot.sequence, Ordering::Relaxed);
        self.snapshot_bytes.store(snapshot.bytes, Ordering::Relaxed);
        self.snapshot_micros.store(took.as_micros() as u64, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes all of it.
    pub(in crate::engine) fn collect(&self, page: &mut Exposition) {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let mut gauge = |name, help, number: &AtomicU64| {
            page.family(name, help, Kind::Gauge).sample(&[], load(number));
        };
        gauge("rhumb_journal_segments", "Segments of the journal.", &self.segments);
        gauge("rhumb_journal_first_sequence", "First frame that the journal still holds.", &self.first_sequence);
        let help = "Frame that the newest snapshot stands for: a start reads the journal from there. 0: there is none.";
        gauge("rhumb_snapshot_sequence", help, &self.snapshot_sequence);
        gauge("rhumb_snapshot_bytes", "Length of the newest snapshot.", &self.snapshot_bytes);
        let help = "How long the last snapshot since the start took.";
        let seconds = load(&self.snapshot_micros) as f64 / 1e6;
        page.family("rhumb_snapshot_seconds", help, Kind::Gauge).sample(&[], seconds);
        let help = "Snapshots since the start that did not come about.";
        page.family("rhumb_snapshot_failures_total", help, Kind::Counter).sample(&[], load(&self.failures));
    }
}
