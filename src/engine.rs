//! The composition root: builds every part, runs them, drains them.

use crate::config::Config;
use crate::replay;

/// Why the engine did not start or ended, as far as the exit code tells.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The journal could not be written or synced.
    #[error("the journal failed: {0}")]
    Journal(String),
    /// Another process has the data directory.
    #[error("{0} is in use by another process")]
    InUse(String),
    /// An input cannot be read.
    #[error("{0}")]
    Input(String),
}

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

/// Replays recorded traces.
///
/// # Errors
/// A file that cannot be read, or a part that failed.
pub fn replay(_config: Config, options: &replay::Options) -> anyhow::Result<()> {
    anyhow::bail!(Failure::Input(format!("{}: the parts are not there yet", options.files[0].display())))
}
