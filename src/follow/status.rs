//! What is known of the follower while it runs, for metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Registry;
use crate::geo::fence::FenceEventKind;
use crate::telemetry::prometheus::{Exposition, Kind};

/// Its counters, and the fences.
#[derive(Debug)]
pub struct FollowStatus {
    pub(super) registry: Arc<Registry>,
    events: [AtomicU64; FenceEventKind::ALL.len()],
    drivers: AtomicU64,
    kept: AtomicU64,
    dropped: AtomicU64,
}

impl FollowStatus {
    pub(super) fn new(registry: Arc<Registry>) -> Self {
        let (drivers, kept, dropped) = Default::default();
        Self { registry, events: Default::default(), drivers, kept, dropped }
    }

    pub(super) fn counted(&self, kind: FenceEventKind) {
        self.events[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn holds(&self, drivers: usize) {
        self.drivers.store(drivers as u64, Ordering::Relaxed);
    }

    pub(super) fn keeps(&self, kept: u64, dropped: u64) {
        self.kept.store(kept, Ordering::Relaxed);
        self.dropped.store(dropped, Ordering::Relaxed);
    }

    /// Writes them.
    pub fn collect(&self, page: &mut Exposition) {
        let help = "Geofences in force, by tenant.";
        let mut fences = page.family("rhumb_geofences", help, Kind::Gauge);
        for (tenant, count) in self.registry.counts() {
            fences.sample(&[("tenant", tenant.as_str())], count as u64);
        }
        let help = "Events of geofences since the start, by kind.";
        let mut events = page.family("rhumb_geofence_events_total", help, Kind::Counter);
        for kind in FenceEventKind::ALL {
            events.sample(&[("event", kind.as_str())], self.events[kind as usize].load(Ordering::Relaxed));
        }
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let help = "Drivers whose standing to the geofences of their tenants is kept in memory.";
        page.family("rhumb_geofence_drivers", help, Kind::Gauge).sample(&[], load(&self.drivers));
        let help = "Events of geofences that are kept, at most fences.outbox_max.";
        page.family("rhumb_geofence_outbox_events", help, Kind::Gauge).sample(&[], load(&self.kept));
        let help =
            "Events of geofences that are no longer kept, the oldest, for want of room; since the journal began.";
        page.family("rhumb_geofence_outbox_dropped_total", help, Kind::Counter).sample(&[], load(&self.dropped));
    }
}
