//! What a list of revoked certificates tells of: all that its authority signed, or part of it (RFC 5280, 5.2.5 and 6.3.3 (b)).

use x509_cert::Certificate;
use x509_cert::crl::TbsCertList;
use x509_cert::der::Decode;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{CrlDistributionPoints, IssuingDistributionPoint};

/// Of the extension that says so; x509-cert has another one's.
const ISSUING_DISTRIBUTION_POINT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.28");

/// What a certificate is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A client is known by it.
    Client,
    /// It signs others.
    Authority,
}

/// What one list tells of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scope {
    /// Only certificates of this kind.
    kind: Option<Kind>,
    /// Only certificates whose lists are found in one of these places, or that do not say where theirs are.
    places: Option<Vec<String>>,
}

impl Scope {
    /// Reads it in a list, which tells of everything unless it says otherwise.
    pub(super) fn of(list: &TbsCertList) -> Result<Self, x509_cert::der::Error> {
        let mut extensions = list.crl_extensions.iter().flatten();
        let Some(extension) = extensions.find(|extension| extension.extn_id == ISSUING_DISTRIBUTION_POINT) else {
            return Ok(Self::default());
        };
        let point = IssuingDistributionPoint::from_der(extension.extn_value.as_bytes())?;
        let kind = match (point.only_contains_user_certs, point.only_contains_ca_certs) {
            (true, _) => Some(Kind::Client),
            (_, true) => Some(Kind::Authority),
            _ => None,
        };
        Ok(Self { kind, places: point.distribution_point.as_ref().map(|name| places(name).collect()) })
    }

    /// Whether the list tells of this certificate.
    pub(super) fn includes(&self, certificate: &Certificate, kind: Kind) -> bool {
        if self.kind.is_some_and(|told_of| told_of != kind) {
            return false;
        }
        let Some(told_of) = &self.places else { return true };
        match certificate.tbs_certificate().get_extension::<CrlDistributionPoints>() {
            Ok(None) => true,
            Ok(Some((_, CrlDistributionPoints(points)))) => points
                .iter()
                // Those with reasons, or an issuer of their own, have lists of other kinds.
                .filter(|point| point.reasons.is_none() && point.crl_issuer.is_none())
                .filter_map(|point| point.distribution_point.as_ref())
                .any(|name| places(name).any(|place| told_of.contains(&place))),
            Err(_) => false,
        }
    }
}

/// The URIs among the names of a place.
fn places(name: &DistributionPointName) -> impl Iterator<Item = String> {
    let names = match name {
        DistributionPointName::FullName(names) => names.as_slice(),
        DistributionPointName::NameRelativeToCRLIssuer(_) => &[],
    };
    names.iter().filter_map(|name| match name {
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str().to_owned()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
        CrlIssuingDistributionPoint, CrlScope, IsCa, Issuer, KeyIdMethod, KeyPair, SerialNumber, date_time_ymd,
    };
    use x509_cert::crl::CertificateList;

    use super::*;

    fn at(places: &[&str]) -> CrlDistributionPoint {
        CrlDistributionPoint { uris: places.iter().map(|place| (*place).to_owned()).collect() }
    }

    #[test]
    fn a_list_tells_of_the_kind_and_the_places_that_it_names() {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = Issuer::new(params, KeyPair::generate().unwrap());
        let scope = |of: Option<(&[&str], Option<CrlScope>)>| {
            let list = CertificateRevocationListParams {
                this_update: date_time_ymd(2026, 1, 1),
                next_update: date_time_ymd(2027, 1, 1),
                crl_number: SerialNumber::from(1),
                issuing_distribution_point: of
                    .map(|(places, scope)| CrlIssuingDistributionPoint { distribution_point: at(places), scope }),
                revoked_certs: Vec::new(),
                key_identifier_method: KeyIdMethod::Sha256,
            };
            let list = list.signed_by(&issuer).unwrap();
            Scope::of(&CertificateList::from_der(list.der()).unwrap().tbs_cert_list).unwrap()
        };
        let certificate = |places: &[&str]| {
            let mut params = CertificateParams::default();
            params.crl_distribution_points = places.iter().map(|place| at(&[place])).collect();
            let key = KeyPair::generate().unwrap();
            Certificate::from_der(params.signed_by(&key, &issuer).unwrap().der()).unwrap()
        };
        let (here, there, nowhere) =
            (certificate(&["http://a/1", "http://a/2"]), certificate(&["http://a/3"]), certificate(&[]));
        let a: &[&str] = &["http://b/2", "http://a/2"];
        // What the list says of itself, then whether it tells of a client's certificate of each place, and of an authority's here.
        for (of, expected) in [
            (None, [true, true, true, true]),
            (Some((a, None)), [true, false, true, true]),
            (Some((a, Some(CrlScope::UserCertsOnly))), [true, false, true, false]),
            (Some((a, Some(CrlScope::CaCertsOnly))), [false, false, false, true]),
        ] {
            let scope = scope(of);
            let found =
                [(&here, Kind::Client), (&there, Kind::Client), (&nowhere, Kind::Client), (&here, Kind::Authority)]
                    .map(|(certificate, kind)| scope.includes(certificate, kind));
            assert_eq!(found, expected, "{of:?}");
        }
    }
}
