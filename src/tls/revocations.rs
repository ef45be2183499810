//! Certificates that their authorities took back before they ended, by the lists in a file (RFC 5280, section 5).
//!
//! The lists' signatures are verified when they are read, since that takes longer the longer they are. What is left of them
//! is a table of issuers and serial numbers, which name a certificate: by it handshakes are judged, and those that were let in
//! already when the lists change.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{CertificateError, RootCertStore};
use x509_cert::Certificate;
use x509_cert::crl::{CertificateList, TbsCertList};
use x509_cert::der::{Decode, Encode};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;

use super::Error;
use super::files::{Files, Part};
use super::scope::{Kind, Scope};
use super::signers::Signers;
use crate::units::TimestampMs;

/// Certificates that a client may send beside its own, where there are lists. Chains have two or three.
const INTERMEDIATES_MAX: usize = 16;

/// What lists say; nothing without lists.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Revoked {
    /// By the name of the authority.
    issuers: HashMap<Vec<u8>, Issuer>,
    /// When the first of the lists should have been followed by another.
    overdue_at: Option<TimestampMs>,
}

/// What the lists of one authority say.
#[derive(Debug, Default, PartialEq, Eq)]
struct Issuer {
    /// Serial numbers.
    revoked: HashSet<Box<[u8]>>,
    /// What each of its lists tells of.
    scopes: Vec<Scope>,
}

impl Revoked {
    /// Reads the file, if one is named: lists that these authorities signed, or those whose certificates are in the file and that
    /// these signed.
    ///
    /// # Errors
    /// It cannot be read, has no list, or has one that is none or that none of them signed.
    pub(super) fn read(files: &Files, authorities: &[CertificateDer<'_>]) -> Result<Self, Error> {
        if files.client_revocations.as_os_str().is_empty() {
            return Ok(Self::default());
        }
        let part = Part::ClientRevocations;
        let path = || files.path(part).to_owned();
        let content = files.read(part)?;
        let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&content).collect();
        let lists = lists.ok().filter(|lists| !lists.is_empty()).ok_or_else(|| Error::Empty { part, path: path() })?;
        check_form(&lists, authorities).map_err(|error| Error::Unusable { part, path: path(), error })?;
        let further: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
        let mut signers = Signers::trusted(authorities);
        signers.add_signed(&further.map_err(|_| Error::Empty { part, path: path() })?);
        let mut revoked = Self::default();
        for der in &lists {
            let none = |error| {
                let error = rustls::Error::General(format!("no list as RFC 5280 has it: {error}"));
                Error::Unusable { part, path: path(), error }
            };
            let list = CertificateList::from_der(der).map_err(none)?;
            if !signers.have_signed_list(der, &list) {
                return Err(Error::Unsigned { path: path(), issuer: list.tbs_cert_list.issuer.to_string() });
            }
            revoked.add(list.tbs_cert_list).map_err(none)?;
        }
        Ok(revoked)
    }

    fn add(&mut self, list: TbsCertList) -> Result<(), x509_cert::der::Error> {
        let scope = Scope::of(&list)?;
        let issuer = self.issuers.entry(issuer(&list.issuer)?).or_default();
        let revoked = list.revoked_certificates.unwrap_or_default();
        issuer.revoked.extend(revoked.iter().map(|certificate| serial(&certificate.serial_number)));
        issuer.scopes.push(scope);
        if let Some(next) = list.next_update {
            let next = TimestampMs(i64::try_from(next.to_unix_duration().as_millis()).unwrap_or(i64::MAX));
            self.overdue_at = Some(self.overdue_at.map_or(next, |earliest| earliest.min(next)));
        }
        Ok(())
    }

    fn has(&self, certificate: &CertificateDer<'_>) -> bool {
        // It was read in its handshake, where whatever cannot be is refused if there are lists.
        Certificate::from_der(certificate)
            .is_ok_and(|certificate| self.issuer_of(&certificate).is_some_and(|issuer| issuer.has(&certificate)))
    }

    fn issuer_of(&self, certificate: &Certificate) -> Option<&Issuer> {
        self.issuers.get(&issuer(certificate.tbs_certificate().issuer()).ok()?)
    }

    /// Whether a certificate is revoked, or nothing is known of it.
    fn judge(&self, certificate: &Certificate, kind: Kind) -> Result<(), CertificateError> {
        let issuer = self.issuer_of(certificate).ok_or(CertificateError::UnknownRevocationStatus)?;
        if issuer.has(certificate) {
            return Err(CertificateError::Revoked);
        }
        let is_told_of = issuer.scopes.iter().any(|scope| scope.includes(certificate, kind));
        if is_told_of { Ok(()) } else { Err(CertificateError::UnknownRevocationStatus) }
    }
}

impl Issuer {
    fn has(&self, certificate: &Certificate) -> bool {
        self.revoked.contains(&serial(certificate.tbs_certificate().serial_number()))
    }
}

/// Whether these lists are such as can be judged by: of the second version, whole (no difference to another), and each of one
/// authority's certificates.
///
/// # Errors
/// What is wrong with the first that is not.
fn check_form(
    lists: &[CertificateRevocationListDer<'static>],
    authorities: &[CertificateDer<'_>],
) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities.iter().map(|authority| authority.clone().into_owned()));
    // rustls looks at them on the way to a verifier of its own, which would verify their signatures in every handshake.
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()));
    match builder.with_crls(lists.iter().cloned()).build() {
        Ok(_) => Ok(()),
        Err(VerifierBuilderError::InvalidCrl(error)) => Err(error.into()),
        Err(error) => Err(rustls::Error::General(error.to_string())),
    }
}

fn issuer(name: &Name) -> Result<Vec<u8>, x509_cert::der::Error> {
    name.to_der()
}

fn serial(number: &SerialNumber) -> Box<[u8]> {
    number.as_bytes().into()
}

/// The revoked certificates as of now, for whoever accepted one before.
#[derive(Debug)]
pub struct Revocations {
    revoked: RwLock<Arc<Revoked>>,
    version: AtomicU64,
}

impl Revocations {
    pub(super) fn new(revoked: Revoked) -> Self {
        Self { revoked: RwLock::new(Arc::new(revoked)), version: AtomicU64::new(0) }
    }

    /// Whoever was let in goes by these from now on.
    pub(super) fn replace(&self, revoked: Revoked) {
        let is_news = self.revoked().issuers != revoked.issuers;
        let mut current = self.revoked.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *current, Arc::new(revoked));
        drop(current);
        // Many may be in it, for which nobody is to wait.
        drop(before);
        // Only now: whoever sees the number looks at these, or at later ones.
        if is_news {
            self.version.fetch_add(1, Ordering::Release);
        }
    }

    /// Grows whenever the lists say something else: what was found not revoked may be revoked since.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Whether one of a chain of certificates is revoked. Takes microseconds.
    pub fn have_any(&self, chain: &[CertificateDer<'_>]) -> bool {
        let revoked = self.revoked();
        !revoked.issuers.is_empty() && chain.iter().any(|certificate| revoked.has(certificate))
    }

    /// Judges a chain that leads to one of the `authorities`, by every certificate that may be part of the way there: that none
    /// is revoked, and that a list tells of each. Takes microseconds, however long the lists are.
    ///
    /// # Errors
    /// What is wrong with the first that is not good.
    pub(super) fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        authorities: &Signers,
    ) -> Result<(), CertificateError> {
        let revoked = self.revoked();
        if revoked.issuers.is_empty() {
            return Ok(());
        }
        if intermediates.len() > INTERMEDIATES_MAX {
            return Err(CertificateError::BadEncoding);
        }
        let read = |der: &CertificateDer<'_>| Certificate::from_der(der).map_err(|_| CertificateError::BadEncoding);
        let certificate = read(certificate)?;
        let mut above: Vec<Certificate> = intermediates.iter().map(read).collect::<Result<_, _>>()?;
        // What is an authority itself is where ways end, and not judged.
        above.retain(|certificate| !authorities.have(certificate));
        let mut waiting = vec![(certificate, Kind::Client)];
        while let Some((certificate, kind)) = waiting.pop() {
            revoked.judge(&certificate, kind)?;
            let issuer = certificate.tbs_certificate().issuer();
            let issuers = above.extract_if(.., |above| above.tbs_certificate().subject() == issuer);
            waiting.extend(issuers.map(|issuer| (issuer, Kind::Authority)));
        }
        Ok(())
    }

    /// How many certificates are revoked.
    pub(super) fn count(&self) -> usize {
        self.revoked().issuers.values().map(|issuer| issuer.revoked.len()).sum()
    }

    /// Whether a list should have been followed by another by `now`.
    pub(super) fn are_overdue(&self, now: TimestampMs) -> bool {
        self.revoked().overdue_at.is_some_and(|overdue_at| overdue_at <= now)
    }

    fn revoked(&self) -> Arc<Revoked> {
        Arc::clone(&self.revoked.read().unwrap_or_else(PoisonError::into_inner))
    }
}
