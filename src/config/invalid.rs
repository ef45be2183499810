//! Why a configuration was refused, in words for whoever wrote it.

use std::fmt;
use std::path::PathBuf;

/// Where a value was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The built-in default.
    Default,
    /// A line of a file, counted from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// An environment variable, by name.
    Variable(String),
    /// A `--set` on the command line.
    Flag(String),
    /// A file that could not be read at all.
    Unreadable(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("the defaults"),
            Self::File { path, line } => write!(formatter, "{} line {line}", path.display()),
            Self::Variable(name) => write!(formatter, "environment variable {name}"),
            Self::Flag(text) => write!(formatter, "--set {text}"),
            Self::Unreadable(path) => write!(formatter, "{}", path.display()),
        }
    }
}

/// A configuration that the engine does not run with. The operator mends `key` at `origin`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Invalid {
    /// Where it was said.
    pub origin: Origin,
    /// The key, as `section.key`, unless the text could not be read as keys and values.
    pub key: Option<String>,
    /// What stands there.
    pub found: String,
    /// What may stand there.
    pub wants: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.origin)?;
        if let Some(key) = &self.key {
            write!(formatter, "{key}: ")?;
        }
        write!(formatter, "found {}, wants {}", self.found, self.wants)
    }
}
