//! The names that a certificate gives its holder.

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// Alternative names that are looked at; further ones are passed over.
const ALTERNATIVES_MAX: usize = 64;

/// The common name first, then the alternative names that are DNS names, URIs or mail addresses, in their order, each once.
/// Addresses and other kinds name no driver and are passed over; so are alternative names that cannot be read.
pub fn names_of(certificate: &CertificateDer<'_>) -> Vec<Box<str>> {
    let Ok(certificate) = Certificate::from_der(certificate) else { return Vec::new() };
    let certificate = certificate.tbs_certificate();
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
        names_of(certificate.der()).into_iter().map(String::from).collect()
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
    fn what_is_no_certificate_names_nobody() {
        assert!(names_of(&CertificateDer::from(vec![0x30, 0x82, 0xFF])).is_empty());
    }
}
