//! Recorded traces, fed to the pipeline or to a broker.

use std::path::PathBuf;
use std::str::FromStr;

use crate::ids::{DriverId, TenantId};

/// What to replay, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// CSV or GPX, plain or gzipped.
    pub files: Vec<PathBuf>,
    /// Whose fixes they are.
    pub tenant: TenantId,
    /// The broker to publish to instead of the data directory.
    pub mqtt: Option<String>,
    /// How fast.
    pub speed: Speed,
    /// Whose track a GPX file is; its own name if not said.
    pub driver: Option<DriverId>,
    /// Whether the summary is one JSON object.
    pub json: bool,
}

/// How much faster than recorded a trace is replayed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// So many times.
    Times(f64),
    /// Without waiting.
    Max,
}

impl FromStr for Speed {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<f64>() {
            _ if text == "max" => Ok(Self::Max),
            Ok(times) if times.is_finite() && times > 0.0 => Ok(Self::Times(times)),
            _ => Err("wants a number above 0, or max"),
        }
    }
}
