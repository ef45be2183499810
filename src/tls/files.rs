//! The files that TLS is served from, and whether they changed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::Error;

/// Bytes that a file may have: a chain of certificates takes some kilobytes, a bundle of many authorities some hundred.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Bytes that the file with the lists of revoked certificates may have: some 300,000 of them.
const REVOCATIONS_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// One of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The certificate, with what leads from it to its authority.
    Certificate,
    /// Its private key.
    Key,
    /// The authorities that clients' certificates are from.
    ClientCa,
    /// Which of those certificates their authorities took back.
    ClientRevocations,
}

impl Part {
    /// The key of the configuration that names it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Key => "key",
            Self::ClientCa => "client_ca",
            Self::ClientRevocations => "client_revocations",
        }
    }

    /// What has to be in it.
    pub(super) fn content(self) -> &'static str {
        match self {
            Self::Certificate | Self::ClientCa => "certificate",
            Self::Key => "private key",
            Self::ClientRevocations => "list of revoked certificates (X509 CRL)",
        }
    }

    fn bytes_max(self) -> u64 {
        match self {
            Self::Certificate | Self::Key | Self::ClientCa => FILE_BYTES_MAX,
            Self::ClientRevocations => REVOCATIONS_BYTES_MAX,
        }
    }
}

/// Whether clients show certificates of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificates {
    /// They are not asked.
    #[default]
    None,
    /// Who shows one needs a good one.
    Optional,
    /// Nobody is served without a good one.
    Required,
}

/// Where everything is, all of it PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate, followed by those that lead to its authority.
    pub certificate: PathBuf,
    /// Its private key: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key: PathBuf,
    /// The authorities of clients' certificates; only read where those are asked for.
    pub client_ca: PathBuf,
    /// Lists of the certificates that those authorities took back; empty: none are. Only read where certificates are asked for.
    pub client_revocations: PathBuf,
    /// Whether they are.
    pub client_certificates: ClientCertificates,
}

/// What a look at the files tells: which they are, their lengths and the times of their last changes.
pub(super) type Look = [Option<(u64, u64, SystemTime)>; 4];

impl Files {
    /// Looks at all of them without reading one.
    pub(super) fn look(&self) -> Look {
        [&self.certificate, &self.key, &self.client_ca, &self.client_revocations].map(|path| {
            let found = fs::metadata(path).ok()?;
            Some((found.ino(), found.len(), found.modified().ok()?))
        })
    }

    /// Where one of them is.
    pub(super) fn path(&self, part: Part) -> &Path {
        match part {
            Part::Certificate => &self.certificate,
            Part::Key => &self.key,
            Part::ClientCa => &self.client_ca,
            Part::ClientRevocations => &self.client_revocations,
        }
    }

    /// The content of one of them.
    pub(super) fn read(&self, part: Part) -> Result<Vec<u8>, Error> {
        let path = self.path(part);
        let mut content = Vec::new();
        let read = File::open(path).and_then(|file| file.take(part.bytes_max() + 1).read_to_end(&mut content));
        match read {
            Ok(_) if content.len() as u64 > part.bytes_max() => Err(io::ErrorKind::FileTooLarge.into()),
            Ok(_) => Ok(content),
            Err(error) => Err(error),
        }
        .map_err(|error| Error::Unreadable { part, path: path.to_owned(), error })
    }
}
