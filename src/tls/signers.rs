//! Who signs lists of revoked certificates, and whether one of them signed a list (RFC 5280, 6.3.3 (f) and (g)).

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::crl::CertificateList;
use x509_cert::der::asn1::{AnyRef, BitString};
use x509_cert::der::{Decode, Encode, Reader, SliceReader};
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};
use x509_cert::name::Name;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

/// Authorities whose keys are known.
#[derive(Debug, Default)]
pub(super) struct Signers(Vec<Signer>);

#[derive(Debug, PartialEq, Eq)]
struct Signer {
    name: Name,
    key: SubjectPublicKeyInfoOwned,
}

impl Signers {
    /// Those that are trusted because the operator says so. One that cannot be read here signs no list.
    pub(super) fn trusted(authorities: &[CertificateDer<'_>]) -> Self {
        let read = authorities.iter().filter_map(|authority| Certificate::from_der(authority).ok());
        Self(read.map(|authority| Signer::of(&authority)).collect())
    }

    /// Adds those among these certificates that one of the signers made an authority which may sign lists.
    pub(super) fn add_signed(&mut self, certificates: &[CertificateDer<'_>]) {
        let mut left: Vec<_> = certificates
            .iter()
            .filter_map(|der| Some((der, Certificate::from_der(der).ok()?)))
            .filter(|(_, certificate)| may_sign_lists(certificate))
            .collect();
        // One may have signed the next, in whatever order they come; each round adds one at least, or is the last.
        loop {
            let before = left.len();
            left.retain(|(der, certificate)| {
                let issuer = certificate.tbs_certificate().issuer();
                let is_signed =
                    self.have_signed(issuer, der, certificate.signature_algorithm(), certificate.signature());
                if is_signed {
                    self.0.push(Signer::of(certificate));
                }
                !is_signed
            });
            if left.len() == before {
                return;
            }
        }
    }

    /// Whether one of them is the issuer that a list names, and signed it.
    pub(super) fn have_signed_list(&self, der: &[u8], list: &CertificateList) -> bool {
        self.have_signed(&list.tbs_cert_list.issuer, der, &list.signature_algorithm, &list.signature)
    }

    /// Whether this certificate is of one of them: the same name and the same key.
    pub(super) fn have(&self, certificate: &Certificate) -> bool {
        let certificate = certificate.tbs_certificate();
        self.0
            .iter()
            .any(|signer| signer.name == *certificate.subject() && signer.key == *certificate.subject_public_key_info())
    }

    fn have_signed(
        &self,
        issuer: &Name,
        der: &[u8],
        algorithm: &AlgorithmIdentifierOwned,
        signature: &BitString,
    ) -> bool {
        let Ok(signed) = signed_part(der) else { return false };
        self.0
            .iter()
            .filter(|signer| signer.name == *issuer)
            .any(|signer| is_signed(&signer.key, signed, algorithm, signature).unwrap_or(false))
    }
}

impl Signer {
    fn of(certificate: &Certificate) -> Self {
        let certificate = certificate.tbs_certificate();
        Self { name: certificate.subject().clone(), key: certificate.subject_public_key_info().clone() }
    }
}

/// An authority by its basic constraints, and none that its key usage forbids to sign lists (RFC 5280, 4.2.1.3 and 4.2.1.9).
fn may_sign_lists(certificate: &Certificate) -> bool {
    let certificate = certificate.tbs_certificate();
    let is_authority =
        matches!(certificate.get_extension::<BasicConstraints>(), Ok(Some((_, constraints))) if constraints.ca);
    let may_sign = match certificate.get_extension::<KeyUsage>() {
        Ok(None) => true,
        Ok(Some((_, usage))) => usage.crl_sign(),
        Err(_) => false,
    };
    is_authority && may_sign
}

/// The bytes of a certificate or a list that its signature is over: the first of its three parts (RFC 5280, 4.1 and 5.1).
fn signed_part(der: &[u8]) -> Result<&[u8], x509_cert::der::Error> {
    SliceReader::new(der)?.sequence(|parts| {
        let signed = parts.tlv_bytes()?;
        parts.tlv_bytes()?;
        parts.tlv_bytes()?;
        Ok(signed)
    })
}

/// Whether this key signed; `None` where key, algorithm or signature are none that is known.
fn is_signed(
    key: &SubjectPublicKeyInfoOwned,
    signed: &[u8],
    algorithm: &AlgorithmIdentifierOwned,
    signature: &BitString,
) -> Option<bool> {
    let (of_key, of_signature) = (key.algorithm.to_der().ok()?, algorithm.to_der().ok()?);
    let [of_key, of_signature] =
        [&of_key, &of_signature].map(|der| AnyRef::from_der(der).map(|any| any.value().to_vec()));
    let (of_key, of_signature) = (of_key.ok()?, of_signature.ok()?);
    let (key, signature) = (key.subject_public_key.as_bytes()?, signature.as_bytes()?);
    let mut known = ring::default_provider().signature_verification_algorithms.all.iter().filter(|known| {
        known.public_key_alg_id().as_ref() == of_key && known.signature_alg_id().as_ref() == of_signature
    });
    Some(known.any(|known| known.verify_signature(key, signed, signature).is_ok()))
}
