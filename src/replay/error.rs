//! Why a replay ends before its end, and with which exit code.

use std::path::{Path, PathBuf};

/// Why a replay ended early. What was stored until then stays stored: the same replay may be run again, and stores
/// nothing twice.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that cannot be opened.
    #[error("{}: {reason}", file.display())]
    Unopened {
        /// Which file.
        file: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// A file, or its header, that cannot be read.
    #[error("{}:{line}: {reason}", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// The line that could not be read, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// Refusals that are to be judged again cannot be read.
    #[error(transparent)]
    Refusals(#[from] crate::rejected::Unreadable),
    /// No driver can be named after this file.
    #[error("{}: the file's name makes no driver id, give one with --driver", file.display())]
    NoDriver {
        /// Which file.
        file: PathBuf,
    },
    /// Text of `--speed` that is none.
    #[error("a speed is `max` or a number above 0, like 1 or 10, not `{0}`")]
    BadSpeed(String),
    /// Text of `--mqtt` that is no broker's address.
    #[error("a broker is mqtt://[user[:password]@]host[:port]: {0}")]
    BadUrl(&'static str),
    /// The journal has no room left for more rows.
    #[error(
        "the journal is full: make room on its disk or raise `journal.bytes_max`, then run the same replay again; nothing is \
         stored twice"
    )]
    Full,
    /// The engine judges no more; its log says why.
    #[error("the engine stopped before all rows were durable")]
    Stopped,
    /// The broker could not be reached, or was lost.
    #[error("{broker}: {reason} ({acknowledged} of {published} publishes acknowledged)")]
    Broker {
        /// Its host and port.
        broker: String,
        /// What happened.
        reason: String,
        /// Rows sent to it.
        published: u64,
        /// Rows that it acknowledged.
        acknowledged: u64,
    },
}

impl Error {
    /// Whether it is a recording's fault, and not that of where it goes.
    pub(super) fn is_of_file(&self) -> bool {
        matches!(self, Self::Unopened { .. } | Self::Unreadable { .. } | Self::Refusals(_) | Self::NoDriver { .. })
    }

    pub(super) fn unreadable(file: &Path, line: u64, reason: &impl ToString) -> Self {
        Self::Unreadable { file: file.to_owned(), line, reason: reason.to_string() }
    }
}
