//! The sections that belong to the composition itself.

use serde::{Deserialize, Serialize};

/// `[geo]`: the index of positions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Geo {
    /// Seconds after a driver's last fix was received until it counts as offline.
    pub offline_after_s: u32,
}

impl Default for Geo {
    fn default() -> Self {
        Self { offline_after_s: 300 }
    }
}
