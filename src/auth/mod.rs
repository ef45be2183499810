//! Who is asking, and what the answer depends on: principals, their roles, and how they show who they are.
//!
//! A door makes a [`Principal`] once a request or a connection has shown who it is, and everything behind it takes the
//! tenant from there and from nowhere else. In open mode ([`Mode::Open`]) nobody is asked. Otherwise the [`Authority`]
//! is, with what somebody shows:
//!
//! | shown | checked with | who it is |
//! |---|---|---|
//! | a JSON Web Token | `data_dir/secret.key`, or the public keys of the configuration ([`tokens`]) | what it claims, until it expires |
//! | a device's name and password, or its made-up password alone | an Argon2id hash in `data_dir/devices` ([`devices`]) | what the file says, until it says otherwise |
//! | a client certificate that TLS verified | its names | the device of the driver that it names, until it ends |
//!
//! # What holds
//! - Nothing that a client shows is logged, printed by `Debug`, or told in an error.
//! - Whether a name exists does not show in how long its refusal takes: a name that nobody has is checked against a hash that
//!   nobody knows the password of.
//! - What takes long (a password's hash, a signature of a public key) is checked on threads of its own, from a bounded queue; a
//!   door never waits for it. What nobody waits for any more is not checked. What was found right is remembered for a while as a keyed hash.
//! - Whoever fails again and again is answered later and later, by address, and waits behind all others.
//! - Whoever is taken from the devices file loses its [`Standing`], which doors look at while a connection lasts.
//!
//! Two principals of a tenant that have the same subject, role and driver are the same to everything behind the doors: whoever
//! gives a token all three of a device's gives it that device's client ids and sessions.
//!
//! # What was chosen, and why
//! - **jsonwebtoken with RustCrypto** for tokens: ring has no way to read a PEM, aws-lc wants a C toolchain. Of its
//!   checks only the signature's is used: it reads the clock, and here time is a parameter.
//! - **argon2** with the least parameters that [OWASP's cheat sheet] names: 19 MiB, two passes, one lane.
//! - **Made-up passwords name their device** in their first digits, so that one alone is enough as a bearer token.
//!
//! [OWASP's cheat sheet]: https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html

mod authority;
mod config;
mod delays;
pub mod devices;
mod failures;
pub mod origin;
pub mod passwords;
mod pool;
mod remembered;
mod rights;
mod secret;
pub mod tokens;

use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use authority::{Admitted, Answer, Authority, Credentials, Denied, StartError, Verdict, Waiting};
pub use config::{Config, InvalidKey, Mode, PUBLIC_KEYS_MAX};
pub use devices::Standing;
pub use secret::{SECRET_FILE, SecretError};

use crate::ids::{DriverId, InvalidId, TenantId};
use crate::units::TimestampMs;
use secret::Secret;
use tokens::Claims;

/// The tenant of whoever names none, in open mode.
pub const TENANT_DEFAULT: &str = "default";

/// What a principal may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Runs a tenant: everything in it.
    OpsAdmin,
    /// Sees the fleet and steers shipments.
    Dispatcher,
    /// A person in a vehicle: its own position and its own shipments.
    Driver,
    /// A tracker: publishes its own position.
    Device,
}

impl Role {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::OpsAdmin, Self::Dispatcher, Self::Driver, Self::Device];

    /// The name in tokens and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpsAdmin => "ops_admin",
            Self::Dispatcher => "dispatcher",
            Self::Driver => "driver",
            Self::Device => "device",
        }
    }
}

/// A text that is no role's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role is ops_admin, dispatcher, driver or device")]
pub struct InvalidRole;

impl FromStr for Role {
    type Err = InvalidRole;

    fn from_str(text: &str) -> Result<Self, InvalidRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(InvalidRole)
    }
}

/// Somebody who may ask: of which tenant, in which role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Whose data it sees, and no other's.
    pub tenant: TenantId,
    /// What it may do there.
    pub role: Role,
    /// Its name within the tenant, as tokens and credentials have it: client ids belong to it, and logs tell it.
    pub subject: Box<str>,
    /// The driver that it is, for the roles that are one.
    pub driver: Option<DriverId>,
    /// When its credentials end; `None`: not by themselves.
    pub expires_at: Option<TimestampMs>,
}

/// The name of whoever asks in open mode.
const SUBJECT_OPEN: &str = "anyone";

impl Principal {
    /// Whoever asks in open mode: an `ops_admin` of the tenant it names, or of [`TENANT_DEFAULT`].
    ///
    /// An error says that what it named is no tenant id.
    pub fn open(tenant: Option<&str>) -> Result<Self, InvalidId> {
        let tenant = TenantId::new(tenant.unwrap_or(TENANT_DEFAULT))?;
        Ok(Self { tenant, role: Role::OpsAdmin, subject: SUBJECT_OPEN.into(), driver: None, expires_at: None })
    }

    /// Whether its credentials have ended, [`tokens::LEEWAY_MS`] after they say.
    pub fn is_expired(&self, now: TimestampMs) -> bool {
        self.expires_at.is_some_and(|expires_at| now >= expires_at.saturating_add_ms(tokens::LEEWAY_MS))
    }
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing was shown.
    Missing,
    /// What was shown cannot be read.
    Malformed,
    /// No device has this name and password.
    BadPassword,
    /// No key that is known signed the token with its algorithm.
    BadToken,
    /// The token was good until a while ago.
    ExpiredToken,
    /// The token will be good in a while.
    EarlyToken,
    /// The token is signed, but lacks a claim or has one that cannot be meant.
    BadClaims,
    /// No name in the certificate is a driver's, or it has ended since TLS verified it.
    BadCertificate,
    /// Too many are being checked at this moment.
    Busy,
}

impl Refusal {
    /// All there are.
    pub const ALL: [Self; 9] = [
        Self::Missing,
        Self::Malformed,
        Self::BadPassword,
        Self::BadToken,
        Self::ExpiredToken,
        Self::EarlyToken,
        Self::BadClaims,
        Self::BadCertificate,
        Self::Busy,
    ];

    /// The name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::BadPassword => "bad_password",
            Self::BadToken => "bad_token",
            Self::ExpiredToken => "expired_token",
            Self::EarlyToken => "early_token",
            Self::BadClaims => "bad_claims",
            Self::BadCertificate => "bad_certificate",
            Self::Busy => "busy",
        }
    }
}

/// A token signed with the secret key of a data directory, which is made if there is none; and whether others than its
/// owner may read that key.
///
/// # Errors
/// The key cannot be read or made, or is none.
pub fn sign(data_dir: &Path, claims: &Claims) -> Result<(String, bool), SecretError> {
    let secret = Secret::of(data_dir)?;
    let token = tokens::sign(&secret, claims).expect("a struct of texts and finite numbers is signed with any key");
    Ok((token, secret.is_exposed()))
}

/// Bytes that nobody guesses.
fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_mode_takes_the_named_tenant_or_the_default() {
        let named = Principal::open(Some("acme")).unwrap();
        assert_eq!((named.tenant.as_str(), named.role), ("acme", Role::OpsAdmin));
        assert_eq!(Principal::open(None).unwrap().tenant.as_str(), TENANT_DEFAULT);
        assert_eq!(Principal::open(Some("a/b")), Err(InvalidId::Tenant));
        assert_eq!(Principal::open(Some("")), Err(InvalidId::Tenant));
    }

    #[test]
    fn roles_have_one_name_everywhere() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
        assert_eq!("Device".parse::<Role>(), Err(InvalidRole));
    }
}
