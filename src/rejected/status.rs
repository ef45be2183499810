//! What the operator is told of the recording.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::telemetry::prometheus::{Exposition, Kind};

/// The recorder's numbers since the start.
#[derive(Debug, Default)]
pub(super) struct Status {
    recorded: AtomicU64,
    unrecorded: AtomicU64,
    bytes: AtomicU64,
    has_told_unrecorded: AtomicBool,
}

impl Status {
    pub(super) fn recorded(&self, fixes: u64) {
        self.recorded.fetch_add(fixes, Ordering::Relaxed);
    }

    /// Counts what is not on record. The first time is told: after that, who wants to know looks at the number.
    pub(super) fn unrecorded(&self, fixes: u64) {
        self.unrecorded.fetch_add(fixes, Ordering::Relaxed);
        if fixes > 0 && !self.has_told_unrecorded.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "some refusals are not kept as evidence: more came than can be written down; rhumb_rejections_unrecorded_total counts them"
            );
        }
    }

    pub(super) fn holds(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Writes all of it.
    pub(super) fn collect(&self, page: &mut Exposition) {
        let mut family = |name, help, kind, number: &AtomicU64| {
            page.family(name, help, kind).sample(&[], number.load(Ordering::Relaxed));
        };
        let help = "Refused fixes that were written down with their payload since the start.";
        family("rhumb_rejections_recorded_total", help, Kind::Counter, &self.recorded);
        let help = "Refused fixes that were not written down: more came than could be, or the disk failed.";
        family("rhumb_rejections_unrecorded_total", help, Kind::Counter, &self.unrecorded);
        family("rhumb_rejections_bytes", "What the files of refusals take.", Kind::Gauge, &self.bytes);
    }
}
