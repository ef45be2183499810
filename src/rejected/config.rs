//! `[rejected]` of the configuration.

use serde::{Deserialize, Serialize};

/// Longest payload that may be configured to be kept, so that a line has a bound for whoever reads it.
pub(super) const PAYLOAD_BYTES_MAX: usize = 64 << 10;

/// What is kept of refused fixes, and how much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What the files may take together; the oldest goes first. 0: nothing is written.
    pub bytes_max: u64,
    /// What the last refusals of all drivers may take in memory; the oldest goes first. 0: none is kept for questions.
    pub memory_bytes_max: usize,
    /// How much of a payload is kept, up to 64 KiB.
    pub payload_bytes_max: usize,
}

impl Config {
    /// Nothing is kept.
    pub const OFF: Self = Self { bytes_max: 0, memory_bytes_max: 0, payload_bytes_max: 0 };

    /// Whether nothing is kept.
    pub fn is_off(&self) -> bool {
        self.bytes_max == 0 && self.memory_bytes_max == 0
    }
}

impl Default for Config {
    fn default() -> Self {
        Self { bytes_max: 256 << 20, memory_bytes_max: 16 << 20, payload_bytes_max: 4 << 10 }
    }
}
