//! The sections that belong to the composition itself or to several parts.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// `[admin]`: the operator's HTTP port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Address and port of the listener.
    pub listen: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9090)) }
    }
}

/// `[dedupe]`: how duplicates are told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dedupe {
    /// Newest fixes of a driver that stay in memory; below them the store is asked.
    pub window_fixes: usize,
}

impl Default for Dedupe {
    fn default() -> Self {
        Self { window_fixes: 64 }
    }
}

/// `[rules]`: when a fix is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Seconds that a fix may be ahead of its receive time.
    pub future_s: u64,
    /// Seconds that a fix may be older than its receive time; 0 is any.
    pub past_s: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self { future_s: 300, past_s: 0 }
    }
}

/// `[geo]`: the index of positions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Geo {
    /// Seconds after a driver's last fix was received until it counts as offline.
    pub offline_after_s: u64,
}

impl Default for Geo {
    fn default() -> Self {
        Self { offline_after_s: 300 }
    }
}

/// `[registry]`: which tenants and drivers there may be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Registry {
    /// Whether an unknown driver's first fix registers it.
    pub open: bool,
    /// Most tenants.
    pub tenants_max: usize,
    /// Most drivers of all tenants together.
    pub drivers_max: usize,
}

impl Default for Registry {
    fn default() -> Self {
        Self { open: true, tenants_max: 1_000, drivers_max: 1_000_000 }
    }
}

/// `[auth]`: who may do what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// Whether credentials are asked for.
    pub mode: AuthMode,
}

/// Whether credentials are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMode {
    /// No credentials; every listener has to be on loopback.
    #[default]
    Open,
}
