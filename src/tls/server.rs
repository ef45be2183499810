//! The certificate in use, and what clients are asked for: read from the files, and swapped whole when they changed.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{InconsistentKeys, RootCertStore, ServerConfig, ServerConnection};

use super::Error;
use super::files::{ClientCertificates, Files, Look, Part};
use super::revocations::{Lists, Revocations, Revoked};

/// Begins sessions with the newest good certificate.
#[derive(Debug)]
pub struct Server {
    files: Files,
    /// The files as they were when they were first read.
    loaded: Look,
    current: RwLock<Arc<ServerConfig>>,
    revocations: Arc<Revocations>,
}

impl Server {
    /// Reads the files and checks that they belong together.
    ///
    /// # Errors
    /// Which of them cannot be used, and why.
    pub fn load(files: Files) -> Result<Self, Error> {
        // Before they are read: what changes meanwhile is found to have changed.
        let loaded = files.look();
        let clients = Clients::read(&files)?;
        let current = RwLock::new(Arc::new(config(&files, clients.verifier)?));
        Ok(Self { files, loaded, current, revocations: Arc::new(Revocations::new(clients.revoked)) })
    }

    /// A new session, with nothing said on it yet.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn session(&self) -> Result<ServerConnection, rustls::Error> {
        let current = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        ServerConnection::new(current)
    }

    /// The client certificates that are revoked, now and after every [`Server::reload`].
    pub fn revocations(&self) -> &Arc<Revocations> {
        &self.revocations
    }

    /// Reads the files again, for the sessions from now on. All that there are go on as they began, unless they find their
    /// certificates revoked.
    ///
    /// # Errors
    /// As of [`Server::load`]; then everything stays as it was. Only a certificate or key of the server's own that is not good
    /// does not keep its clients' from being revoked.
    pub fn reload(&self) -> Result<(), Error> {
        let clients = Clients::read(&self.files)?;
        self.revocations.replace(clients.revoked);
        let new = Arc::new(config(&self.files, clients.verifier)?);
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

    pub(super) fn revocations_path(&self) -> &Path {
        &self.files.client_revocations
    }
}

fn config(files: &Files, clients: Option<Arc<dyn ClientCertVerifier>>) -> Result<ServerConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let unusable = |part: Part| {
        let path = files.path(part).to_owned();
        move |error| Error::Unusable { part, path, error }
    };
    let chain = certificates(files, Part::Certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&files.read(Part::Key)?)
        .map_err(|_| Error::Empty { part: Part::Key, path: files.key.clone() })?;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(unusable(Part::Certificate))?;
    let builder = match clients {
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
    // A new one every time: who resumes a session is not looked at again, so that none outlives the files it was accepted by.
    config.ticketer = ring::Ticketer::new().map_err(unusable(Part::Certificate))?;
    Ok(config)
}

/// What is asked of clients.
struct Clients {
    /// What judges their certificates, where they are asked for one.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    revoked: Revoked,
}

impl Clients {
    /// Reads authorities and lists. With lists, every certificate between a client's and its authority needs one of its issuer's
    /// (a missing list is found at once, and not when a revoked certificate was used). A list that should have been followed
    /// by another goes on to hold: what it names stays revoked, and a fleet does not stop for a file that came late.
    fn read(files: &Files) -> Result<Self, Error> {
        if files.client_certificates == ClientCertificates::None {
            return Ok(Self { verifier: None, revoked: Revoked::default() });
        }
        let unusable = |part: Part| move |error| Error::Unusable { part, path: files.path(part).to_owned(), error };
        let mut authorities = RootCertStore::empty();
        for authority in certificates(files, Part::ClientCa)? {
            authorities.add(authority).map_err(unusable(Part::ClientCa))?;
        }
        let lists = Lists::read(files)?;
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider);
        let verifier = match files.client_certificates {
            ClientCertificates::Required => verifier,
            _ => verifier.allow_unauthenticated(),
        };
        let verifier = verifier.with_crls(lists.signed).build().map_err(|error| match error {
            VerifierBuilderError::InvalidCrl(error) => unusable(Part::ClientRevocations)(error.into()),
            error => unusable(Part::ClientCa)(rustls::Error::General(error.to_string())),
        })?;
        Ok(Self { verifier: Some(verifier), revoked: lists.revoked })
    }
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
