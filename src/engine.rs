//! The composition root: builds every part, runs them, drains them.

use crate::config::Config;
use crate::replay;

/// A running engine.
#[derive(Debug)]
pub struct Engine;

impl Engine {
    /// Starts every part.
    ///
    /// # Errors
    /// A part that did not start.
    pub fn start(_config: Config) -> anyhow::Result<Self> {
        anyhow::bail!("the parts are not there yet")
    }

    /// Serves until `stop` resolves, then drains.
    ///
    /// # Errors
    /// A part that failed.
    pub async fn serve_until(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        stop.await;
        Ok(())
    }
}

/// Replays recorded traces into the data directory.
///
/// # Errors
/// A file that cannot be read, or a part that failed.
pub fn replay(_config: Config, _plan: &replay::Plan) -> anyhow::Result<replay::Summary> {
    anyhow::bail!("the parts are not there yet")
}
