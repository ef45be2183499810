//! What a certificate says of its holder.

use rustls::pki_types::CertificateDer;
use x509_cert::certificate::{Certificate, TbsCertificate};
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::units::TimestampMs;

/// Alternative names that are looked at; further ones are passed over.
const ALTERNATIVES_MAX: usize = 64;

/// Whom a certificate names, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The common name first, then the alternative names that are DNS names, URIs or mail addresses, in their order, each once.
    /// Addresses and other kinds name no driver and are passed over; so are alternative names that cannot be read.
    pub names: Vec<Box<str>>,
    /// From when on the certificate is no good: the second after its `notAfter`, which is its last (RFC 5280, 4.1.2.5).
    pub ends_at: TimestampMs,
}

impl Holder {
    /// Reads a certificate; `None` if it is none.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = Certificate::from_der(certificate).ok()?;
        let certificate = certificate.tbs_certificate();
        let last_s = certificate.validity().not_after.to_unix_duration().as_secs();
        let ends_at_ms = i64::try_from(last_s).ok()?.checked_add(1)?.checked_mul(1_000)?;
        Some(Self { names: names_of(certificate), ends_at: TimestampMs(ends_at_ms) })
    }
}

fn names_of(certificate: &TbsCertificate) -> Vec<Box<str>> {
    let mut names: Vec<Box<str>> = Vec::new();
    if let Ok(Some(name)) = certificate.subject().common_name() {
        names.push(name.value().into());
    }
    if let Ok(Some((_, SubjectAltName(alternatives)))) = certificate.get_extension() {
        for alternative in alternatives.iter().take(ALTERNATIVES_MAX) {
            let name = match alternative {
                GeneralName::DnsName(name)
                | GeneralName::UniformResourceIdentifier(name)
                | GeneralName::Rfc822Name(name) => name.as_str(),
                _ => continue,
            };
            if !names.iter().any(|known| **known == *name) {
                names.push(name.into());
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use rcgen::string::Ia5String;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn names(common_name: Option<&str>, alternatives: Vec<SanType>) -> Vec<String> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Acme");
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.subject_alt_names = alternatives;
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Holder::of(certificate.der()).unwrap().names.into_iter().map(String::from).collect()
    }

    #[test]
    fn the_common_name_comes_first_and_no_name_twice() {
        let text = |text: &str| Ia5String::try_from(text).unwrap();
        let alternatives = vec![
            SanType::URI(text("urn:acme:truck-7")),
            SanType::IpAddress("10.0.0.1".parse().unwrap()),
            SanType::DnsName(text("truck-7")),
            SanType::Rfc822Name(text("truck-7@acme.example")),
            SanType::DnsName(text("seven.acme.example")),
        ];
        assert_eq!(
            names(Some("truck-7"), alternatives.clone()),
            ["truck-7", "urn:acme:truck-7", "truck-7@acme.example", "seven.acme.example"]
        );
        assert_eq!(
            names(None, alternatives),
            ["urn:acme:truck-7", "truck-7", "truck-7@acme.example", "seven.acme.example"]
        );
        assert_eq!(names(Some("Łódź 7"), Vec::new()), ["Łódź 7"]);
        assert_eq!(names(None, Vec::new()), [""; 0]);
    }

    #[test]
    fn a_certificate_ends_with_its_last_second_however_that_is_written() {
        // The years before 2050 are a UTCTime, those from then on a GeneralizedTime; the last says that there is no end.
        for (year, month, day, ends_at_s) in
            [(2049, 12, 31, 2_524_521_601), (2050, 1, 1, 2_524_608_001), (9999, 12, 31, 253_402_214_401)]
        {
            let mut params = CertificateParams::default();
            params.not_after = rcgen::date_time_ymd(year, month, day);
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            assert_eq!(Holder::of(certificate.der()).unwrap().ends_at, TimestampMs(ends_at_s * 1_000), "{year}");
        }
    }

    #[test]
    fn what_is_no_certificate_names_nobody() {
        assert_eq!(Holder::of(&CertificateDer::from(vec![0x30, 0x82, 0xFF])), None);
    }
}
