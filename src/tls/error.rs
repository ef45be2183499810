//! Why a certificate was not taken, in words for whoever put it there.

use std::io;
use std::path::PathBuf;

use super::files::Part;

/// Files that no TLS can be served with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that cannot be read.
    #[error("{} cannot be read: {error}; name a file that this process may read", path.display())]
    Unreadable {
        /// Which file.
        part: Part,
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file without what it is there for.
    #[error("{} holds no {} in PEM; it needs one between its lines of BEGIN and END", path.display(), part.content())]
    Empty {
        /// Which file.
        part: Part,
        /// Where it is.
        path: PathBuf,
    },
    /// A file with a certificate or a key that cannot be used.
    #[error("{} cannot be used: {error}", path.display())]
    Unusable {
        /// Which file.
        part: Part,
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        error: rustls::Error,
    },
    /// A list of revoked certificates that its authority did not sign, as far as is known.
    #[error(
        "{} has a list of {issuer} that is not signed by a known authority of that name: fetch it again, and have the \
         authority's certificate in client_ca, or beside the list if an authority there signed it",
        path.display()
    )]
    Unsigned {
        /// Where it is.
        path: PathBuf,
        /// In whose name it is.
        issuer: String,
    },
    /// A key that belongs to another certificate.
    #[error("{} is not the key of the certificate in {}: give it the one that the certificate was made with", key.display(), certificate.display())]
    Mismatched {
        /// Where the key is.
        key: PathBuf,
        /// Where the certificate is.
        certificate: PathBuf,
    },
}

impl Error {
    /// Which file it is about.
    pub fn part(&self) -> Part {
        match self {
            Self::Unreadable { part, .. } | Self::Empty { part, .. } | Self::Unusable { part, .. } => *part,
            Self::Unsigned { .. } => Part::ClientRevocations,
            Self::Mismatched { .. } => Part::Key,
        }
    }
}
