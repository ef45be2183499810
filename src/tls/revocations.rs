//! Certificates that their authorities took back before they ended, by the lists in a file (RFC 5280, section 5).
//!
//! A handshake is judged by rustls, with the lists' signatures. What is here tells the same of certificates that were
//! accepted already, when the lists change: by issuer and serial number, which name a certificate.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_cert::Certificate;
use x509_cert::crl::{CertificateList, TbsCertList};
use x509_cert::der::{Decode, Encode};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;

use super::Error;
use super::files::{ClientCertificates, Files, Part};
use crate::units::TimestampMs;

/// The lists of a file.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// As they were signed.
    pub(super) signed: Vec<CertificateRevocationListDer<'static>>,
    pub(super) revoked: Revoked,
}

/// What lists say.
#[derive(Debug, Default)]
pub(super) struct Revoked {
    /// Serial numbers, by the name of the authority.
    serials: HashMap<Vec<u8>, HashSet<Box<[u8]>>>,
    /// When the first of the lists should have been followed by another.
    overdue_at: Option<TimestampMs>,
}

impl Lists {
    /// Reads the file, if one is named and clients are asked for certificates.
    ///
    /// # Errors
    /// It cannot be read, has no list, or has one that is none.
    pub(super) fn read(files: &Files) -> Result<Self, Error> {
        if files.client_certificates == ClientCertificates::None || files.client_revocations.as_os_str().is_empty() {
            return Ok(Self::default());
        }
        let part = Part::ClientRevocations;
        let content = files.read(part)?;
        let signed: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&content).collect();
        let signed = signed.ok().filter(|lists| !lists.is_empty());
        let signed = signed.ok_or_else(|| Error::Empty { part, path: files.path(part).to_owned() })?;
        let mut revoked = Revoked::default();
        for list in &signed {
            let added = CertificateList::from_der(list).and_then(|list| revoked.add(list.tbs_cert_list));
            added.map_err(|error| {
                let error = rustls::Error::General(format!("no list as RFC 5280 has it: {error}"));
                Error::Unusable { part, path: files.path(part).to_owned(), error }
            })?;
        }
        Ok(Self { signed, revoked })
    }
}

impl Revoked {
    fn add(&mut self, list: TbsCertList) -> Result<(), x509_cert::der::Error> {
        let serials = self.serials.entry(issuer(&list.issuer)?).or_default();
        let revoked = list.revoked_certificates.unwrap_or_default();
        serials.extend(revoked.iter().map(|certificate| serial(&certificate.serial_number)));
        if let Some(next) = list.next_update {
            let next = TimestampMs(i64::try_from(next.to_unix_duration().as_millis()).unwrap_or(i64::MAX));
            self.overdue_at = Some(self.overdue_at.map_or(next, |earliest| earliest.min(next)));
        }
        Ok(())
    }

    fn has(&self, certificate: &CertificateDer<'_>) -> bool {
        // rustls has read it before; what it accepts and cannot be read here has no number in any list either.
        let Ok(certificate) = Certificate::from_der(certificate) else { return false };
        let certificate = certificate.tbs_certificate();
        let serials = issuer(certificate.issuer()).ok().and_then(|issuer| self.serials.get(&issuer));
        serials.is_some_and(|serials| serials.contains(&serial(certificate.serial_number())))
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

    pub(super) fn replace(&self, revoked: Revoked) {
        *self.revoked.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(revoked);
        // Only now: whoever sees the number looks at these, or at later ones.
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Grows whenever the lists are read: what was found not revoked may be revoked since.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Whether one of a chain of certificates is revoked. Takes microseconds.
    pub fn have_any(&self, chain: &[CertificateDer<'_>]) -> bool {
        let revoked = self.revoked();
        !revoked.serials.is_empty() && chain.iter().any(|certificate| revoked.has(certificate))
    }

    /// How many certificates are revoked.
    pub(super) fn count(&self) -> usize {
        self.revoked().serials.values().map(HashSet::len).sum()
    }

    /// Whether a list should have been followed by another by `now`.
    pub(super) fn are_overdue(&self, now: TimestampMs) -> bool {
        self.revoked().overdue_at.is_some_and(|overdue_at| overdue_at <= now)
    }

    fn revoked(&self) -> Arc<Revoked> {
        Arc::clone(&self.revoked.read().unwrap_or_else(PoisonError::into_inner))
    }
}
