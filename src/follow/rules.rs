//! The rules of a tenant's fences in bytes, as they are journalled and kept.

use serde::{Deserialize, Serialize};

use crate::geo::fence::FenceRules;

/// The name under which a tenant's rules stand in the journal.
pub(super) const RULES_ID: &str = "rules";

#[derive(Serialize, Deserialize)]
struct Shape {
    hysteresis_m: f64,
    gap_max_s: u32,
}

pub(super) fn encode(rules: &FenceRules) -> Vec<u8> {
    let FenceRules { hysteresis_m, gap_max_s } = *rules;
    serde_json::to_vec(&Shape { hysteresis_m, gap_max_s }).expect("a struct of numbers serialises")
}

/// `None` if it is anything else than what [`encode`] writes.
pub(super) fn decode(bytes: &[u8]) -> Option<FenceRules> {
    let Shape { hysteresis_m, gap_max_s } = serde_json::from_slice(bytes).ok()?;
    Some(FenceRules { hysteresis_m, gap_max_s })
}
