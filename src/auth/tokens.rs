//! JSON Web Tokens (RFC 7519): what they claim, who signed them, and what is taken of them.
//!
//! A key has its algorithm, and a token is only tried with keys of the algorithm that it names: HS256 with the engine's own
//! secret, RS256, ES256 and EdDSA with the public keys of the configuration. What its header says beside that is not
//! looked at, and `none` is no algorithm here (RFC 8725, 3.1 and 3.2).

use std::fs::File;
use std::io::Read;
use std::path::Path;

use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};

use super::config::InvalidKey;
use super::secret::Secret;
use super::{Principal, Refusal, Role};
use crate::ids::{DriverId, TenantId};
use crate::units::TimestampMs;

/// How far the clock of whoever issued a token may be off, in milliseconds: a token is good for so long after its `exp`, and
/// before its `nbf`.
pub const LEEWAY_MS: i64 = 5_000;

/// Longest name of a subject, in bytes.
pub const SUBJECT_BYTES_MAX: usize = 128;

/// Fewest bits of an RSA key (RFC 7518, 3.3).
const RSA_BITS_MIN: usize = 2_048;

/// Longest PEM file that is read.
const PEM_BYTES_MAX: u64 = 64 << 10;

/// What a token says. Other claims are not looked at.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// Whose token it is: a name within the tenant.
    pub sub: String,
    /// The tenant's id.
    pub tenant: String,
    /// The role's name.
    pub role: String,
    /// The driver that it is, for the roles that are one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Until when it is good, in seconds since the epoch.
    pub exp: f64,
    /// From when on, if not at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<f64>,
}

/// Whether a text can only be meant as a token: three parts, of which the first is a JSON object in Base64.
pub fn is_token(text: &[u8]) -> bool {
    text.starts_with(b"eyJ") && text.iter().filter(|byte| **byte == b'.').count() == 2
}

/// A key of `auth.public_keys`.
#[derive(Debug)]
pub(super) struct PublicKey {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl PublicKey {
    pub(super) fn read(path: &Path) -> Result<Self, InvalidKey> {
        let mut text = Vec::new();
        let read = File::open(path).and_then(|file| file.take(PEM_BYTES_MAX).read_to_end(&mut text));
        let named = |what: &str| format!("\"{}\", {what}", path.display());
        match read {
            Ok(_) => Self::of_pem(&text)
                .map_err(|what| InvalidKey { found: named(what), wants: "a file in PEM with a public key".to_owned() }),
            Err(error) => {
                Err(InvalidKey { found: named(&error.to_string()), wants: "a file that can be read".to_owned() })
            }
        }
    }

    fn of_pem(text: &[u8]) -> Result<Self, &'static str> {
        let begins = |label: &str| text.windows(label.len()).any(|window| window == label.as_bytes());
        if begins("PRIVATE KEY-----") {
            return Err("which holds a private key: that stays with whoever signs");
        }
        if !begins("-----BEGIN PUBLIC KEY-----") && !begins("-----BEGIN RSA PUBLIC KEY-----") {
            return Err("which holds no PUBLIC KEY");
        }
        let bytes = |key: &DecodingKey| key.try_get_as_bytes().map(<[u8]>::to_vec).unwrap_or_default();
        if let Ok(key) = DecodingKey::from_ed_pem(text) {
            return if bytes(&key).len() == 32 {
                Ok(Self { algorithm: Algorithm::EdDSA, key })
            } else {
                Err("whose Ed25519 key cannot be read")
            };
        }
        if let Ok(key) = DecodingKey::from_ec_pem(text) {
            return if bytes(&key).len() == 65 {
                Ok(Self { algorithm: Algorithm::ES256, key })
            } else {
                Err("whose curve is not P-256, or whose point is compressed")
            };
        }
        let key = DecodingKey::from_rsa_pem(text).map_err(|_| "whose key is of no kind that is known here")?;
        let components = (DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(&bytes(&key));
        let (modulus, _) = components.map_err(|_| "whose RSA key cannot be read")?;
        if modulus.len() * 8 < RSA_BITS_MIN {
            return Err("whose RSA key has fewer than 2048 bits");
        }
        Ok(Self { algorithm: Algorithm::RS256, key })
    }
}

/// Everything that tokens are checked with.
#[derive(Debug)]
pub(super) struct Tokens {
    own: DecodingKey,
    public: Vec<PublicKey>,
}

impl Tokens {
    pub(super) fn new(secret: &Secret, public: Vec<PublicKey>) -> Self {
        Self { own: DecodingKey::from_secret(secret.bytes()), public }
    }

    /// Whether checking a token takes microseconds: its signature is the engine's own, and no public key's.
    pub(super) fn is_quick(token: &str) -> bool {
        !matches!(
            decode_header(token).map(|header| header.alg),
            Ok(Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA)
        )
    }

    /// Whose token it is, at `now`.
    pub(super) fn check(&self, token: &str, now: TimestampMs) -> Result<Principal, Refusal> {
        let algorithm = decode_header(token).map_err(|_| Refusal::BadToken)?.alg;
        let own = (algorithm == Algorithm::HS256).then_some(&self.own);
        let public = self.public.iter().filter(|public| public.algorithm == algorithm).map(|public| &public.key);
        // Times are compared below, with a time that is a parameter.
        let mut validation = Validation::new(algorithm);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        for key in own.into_iter().chain(public) {
            match decode::<Claims>(token, key, &validation) {
                Ok(signed) => return principal(signed.claims, now),
                // What is signed and yet not readable is so with every key.
                Err(error) if matches!(error.kind(), ErrorKind::Json(_)) => return Err(Refusal::BadClaims),
                Err(_) => {}
            }
        }
        Err(Refusal::BadToken)
    }
}

/// Signs a token with the engine's own secret.
pub(super) fn sign(secret: &Secret, claims: &Claims) -> Option<String> {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(secret.bytes())).ok()
}

fn principal(claims: Claims, now: TimestampMs) -> Result<Principal, Refusal> {
    let Claims { sub, tenant, role, driver, exp, nbf } = claims;
    let expires_at = milliseconds(exp)?;
    if now.0 >= expires_at.0.saturating_add(LEEWAY_MS) {
        return Err(Refusal::ExpiredToken);
    }
    if let Some(nbf) = nbf
        && now.0 < milliseconds(nbf)?.0.saturating_sub(LEEWAY_MS)
    {
        return Err(Refusal::EarlyToken);
    }
    let driver = driver.map(|driver| DriverId::new(&driver)).transpose().map_err(|_| Refusal::BadClaims)?;
    let role: Role = role.parse().map_err(|_| Refusal::BadClaims)?;
    if !is_subject(&sub) || (role.is_driver() && driver.is_none()) {
        return Err(Refusal::BadClaims);
    }
    Ok(Principal {
        tenant: TenantId::new(&tenant).map_err(|_| Refusal::BadClaims)?,
        role,
        subject: sub.into(),
        driver,
        expires_at: Some(expires_at),
    })
}

/// Whether a text can be the name of a principal: it goes into logs, and stands before client ids.
pub fn is_subject(text: &str) -> bool {
    (1..=SUBJECT_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// Seconds since the epoch, which may have a fraction (RFC 7519, 2, NumericDate).
fn milliseconds(seconds: f64) -> Result<TimestampMs, Refusal> {
    let is_date = seconds.is_finite() && seconds >= 0.0;
    // A date beyond what an integer holds is its end.
    if is_date { Ok(TimestampMs((seconds * 1_000.0) as i64)) } else { Err(Refusal::BadClaims) }
}

#[cfg(test)]
mod tests;
