//! Who may have a page in the books: tenants and drivers, counted and bounded for the whole engine.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use dashmap::DashSet;
use serde::{Deserialize, Serialize};

use crate::ids::TenantId;

/// Bounds of what the engine remembers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether a driver that was never heard of is registered by its first fix. Closed, it is `unknown_driver`.
    pub open: bool,
    /// Most tenants. A publish for one more is refused.
    pub tenants_max: usize,
    /// Most drivers of all tenants together. The fixes of one more are `unknown_driver`.
    pub drivers_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { open: true, tenants_max: 1_000, drivers_max: 2_000_000 }
    }
}

/// The tenants and the number of drivers known, shared by doors and shards.
#[derive(Debug)]
pub(super) struct Registry {
    is_open: AtomicBool,
    tenants_max: AtomicUsize,
    drivers_max: AtomicUsize,
    tenants: DashSet<TenantId>,
    drivers: AtomicUsize,
}

impl Registry {
    /// Nobody yet.
    pub(super) fn new(config: &Config) -> Self {
        Self {
            is_open: AtomicBool::new(config.open),
            tenants_max: AtomicUsize::new(config.tenants_max),
            drivers_max: AtomicUsize::new(config.drivers_max),
            tenants: DashSet::new(),
            drivers: AtomicUsize::new(0),
        }
    }

    /// Sets other bounds. Whoever is known stays known.
    pub(super) fn bound(&self, config: &Config) {
        self.is_open.store(config.open, Ordering::Relaxed);
        self.tenants_max.store(config.tenants_max, Ordering::Relaxed);
        self.drivers_max.store(config.drivers_max, Ordering::Relaxed);
    }

    /// The tenant of this name, registered now if there is room. `None`: there is not, or the name is none.
    pub(super) fn tenant(&self, name: &str) -> Option<TenantId> {
        if let Some(known) = self.tenants.get(name) {
            return Some(known.clone());
        }
        // Two doors may pass this at once and go over by one each; the bound is for memory, not to the digit.
        if self.tenants.len() >= self.tenants_max.load(Ordering::Relaxed) {
            return None;
        }
        let tenant = TenantId::new(name).ok()?;
        self.tenants.insert(tenant.clone());
        Some(tenant)
    }

    /// The tenant that an earlier run's journal knows, whatever the bound is now.
    pub(super) fn recover_tenant(&self, tenant: &TenantId) {
        self.tenants.insert(tenant.clone());
    }

    /// Whether the tenant is known.
    pub(super) fn knows_tenant(&self, name: &str) -> bool {
        self.tenants.contains(name)
    }

    /// Whether a driver never heard of may be registered now: the registry is open and not full.
    pub(super) fn has_room(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
            && self.drivers.load(Ordering::Relaxed) < self.drivers_max.load(Ordering::Relaxed)
    }

    /// Counts a driver that a shard took in, or that an earlier run's journal knows.
    pub(super) fn add_driver(&self) {
        self.drivers.fetch_add(1, Ordering::Relaxed);
    }
}
