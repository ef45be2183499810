//! How the engine tells what it does: its log here, its numbers in [`prometheus`], whether it is fit in [`readiness`].

pub mod process;
pub mod prometheus;
pub mod readiness;

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// What is logged when `RHUMB_LOG` does not say: of the libraries that tell every step, only what is wrong.
const FILTER_DEFAULT: &str = "info,fjall=warn,lsm_tree=warn";

/// The environment variable with the filter, in the syntax of `tracing_subscriber::EnvFilter`: `info,rhumb::mqtt=debug`.
pub const FILTER_VARIABLE: &str = "RHUMB_LOG";

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter cannot be read; it names the directive.
    #[error("{FILTER_VARIABLE} is not a log filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Somebody installed another log in this process before.
    #[error("the log is already set up: {0}")]
    Installed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Sends the log of this process to standard error, filtered by `filter` (the value of [`FILTER_VARIABLE`], if it is
/// set), in colour on a terminal. Once a process.
pub fn log_to_stderr(filter: Option<&str>) -> Result<(), Error> {
    let filter = EnvFilter::builder().parse(filter.unwrap_or(FILTER_DEFAULT))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .try_init()
        .map_err(Error::Installed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_filter_is_named_before_anything_is_installed() {
        assert!(matches!(log_to_stderr(Some("rhumb=loud")), Err(Error::Filter(_))));
    }
}
