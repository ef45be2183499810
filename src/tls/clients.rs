//! What is asked of clients: certificates of these authorities, which these did not take back.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};

use super::Error;
use super::files::{ClientCertificates, Files, Part};
use super::revocations::{Revocations, Revoked};
use super::server::certificates;
use super::signers::Signers;

/// Authorities and lists, as they were read together.
#[derive(Debug)]
pub(super) struct Clients {
    /// What judges certificates, where clients are asked for one.
    pub(super) verifier: Option<Verifier>,
    pub(super) revoked: Revoked,
}

impl Clients {
    /// Reads authorities and lists. With lists, every certificate between a client's and its authority needs one of its issuer's
    /// (a missing list is found at once, and not when a revoked certificate was used). A list that should have been followed
    /// by another goes on to hold: what it names stays revoked, and a fleet does not stop for a file that came late.
    ///
    /// # Errors
    /// A file cannot be read, or holds what cannot be used.
    pub(super) fn read(files: &Files) -> Result<Self, Error> {
        if files.client_certificates == ClientCertificates::None {
            return Ok(Self { verifier: None, revoked: Revoked::default() });
        }
        let part = Part::ClientCa;
        let unusable = |error| Error::Unusable { part, path: files.path(part).to_owned(), error };
        let authorities = certificates(files, part)?;
        let mut roots = RootCertStore::empty();
        for authority in &authorities {
            roots.add(authority.clone()).map_err(unusable)?;
        }
        let revoked = Revoked::read(files, &authorities)?;
        let provider = Arc::new(ring::default_provider());
        let chains = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let chains = match files.client_certificates {
            ClientCertificates::Required => chains,
            _ => chains.allow_unauthenticated(),
        };
        let chains = chains.build().map_err(|error| unusable(rustls::Error::General(error.to_string())))?;
        Ok(Self { verifier: Some(Verifier { chains, authorities: Signers::trusted(&authorities) }), revoked })
    }
}

/// Judges chains of certificates, but for what was taken back.
#[derive(Debug)]
pub(super) struct Verifier {
    chains: Arc<dyn ClientCertVerifier>,
    authorities: Signers,
}

impl Verifier {
    /// Judges also by what is taken back, as of every handshake.
    pub(super) fn with(self, revocations: &Arc<Revocations>) -> Arc<dyn ClientCertVerifier> {
        Arc::new(Revocable { verifier: self, revocations: Arc::clone(revocations) })
    }
}

#[derive(Debug)]
struct Revocable {
    verifier: Verifier,
    revocations: Arc<Revocations>,
}

impl ClientCertVerifier for Revocable {
    fn offer_client_auth(&self) -> bool {
        self.verifier.chains.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.verifier.chains.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.chains.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.verifier.chains.verify_client_cert(end_entity, intermediates, now)?;
        self.revocations.judge(end_entity, intermediates, &self.verifier.authorities)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.chains.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.chains.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.chains.supported_verify_schemes()
    }
}
