//! The certificate in use: read from its files, and swapped whole when they changed.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{InconsistentKeys, RootCertStore, ServerConfig, ServerConnection};

use super::Error;
use super::files::{ClientCertificates, Files, Look, Part};

/// Begins sessions with the newest good certificate.
#[derive(Debug)]
pub struct Server {
    files: Files,
    /// The files as they were when they were first read.
    loaded: Look,
    current: RwLock<Arc<ServerConfig>>,
}

impl Server {
    /// Reads the files and checks that they belong together.
    ///
    /// # Errors
    /// Which of them cannot be used, and why.
    pub fn load(files: Files) -> Result<Self, Error> {
        // Before they are read: what changes meanwhile is found to have changed.
        let loaded = files.look();
        let current = RwLock::new(Arc::new(read(&files)?));
        Ok(Self { files, loaded, current })
    }

    /// A new session, with nothing said on it yet.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn session(&self) -> Result<ServerConnection, rustls::Error> {
        let current = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        ServerConnection::new(current)
    }

    /// Reads the files again, for the sessions from now on. All that there are go on as they began.
    ///
    /// # Errors
    /// As of [`Server::load`]; then everything stays as it was.
    pub fn reload(&self) -> Result<(), Error> {
        let new = Arc::new(read(&self.files)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    pub(super) fn loaded(&self) -> Look {
        self.loaded
    }

    pub(super) fn look(&self) -> Look {
        self.files.look()
    }

    pub(super) fn certificate_path(&self) -> &Path {
        &self.files.certificate
    }
}

fn read(files: &Files) -> Result<ServerConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let unusable = |part: Part| {
        let path = files.path(part).to_owned();
        move |error| Error::Unusable { part, path, error }
    };
    let chain = certificates(files, Part::Certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&files.read(Part::Key)?)
        .map_err(|_| Error::Empty { part: Part::Key, path: files.key.clone() })?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(unusable(Part::Certificate))?;
    let builder = match client_verifier(files, &provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            Error::Mismatched { key: files.key.clone(), certificate: files.certificate.clone() }
        }
        // What it says of other kinds of trouble is about the certificate, unless it is about no file at all.
        error @ rustls::Error::InvalidCertificate(_) => unusable(Part::Certificate)(error),
        error => unusable(Part::Key)(error),
    })?;
    config.ticketer = ring::Ticketer::new().map_err(unusable(Part::Certificate))?;
    Ok(config)
}

/// What judges the certificates of clients, where they are asked for one.
fn client_verifier(
    files: &Files,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, Error> {
    if files.client_certificates == ClientCertificates::None {
        return Ok(None);
    }
    let unusable = |error| Error::Unusable { part: Part::ClientCa, path: files.client_ca.clone(), error };
    let mut authorities = RootCertStore::empty();
    for authority in certificates(files, Part::ClientCa)? {
        authorities.add(authority).map_err(unusable)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), Arc::clone(provider));
    let verifier = match files.client_certificates {
        ClientCertificates::Required => verifier,
        _ => verifier.allow_unauthenticated(),
    };
    verifier.build().map(Some).map_err(|error| unusable(rustls::Error::General(error.to_string())))
}

/// Every certificate of a file, of which there has to be one.
fn certificates(files: &Files, part: Part) -> Result<Vec<CertificateDer<'static>>, Error> {
    let content = files.read(part)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(Error::Empty { part, path: files.path(part).to_owned() }),
    }
}

#[cfg(test)]
mod tests;
