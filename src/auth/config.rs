//! What can be set about who may come in.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::tokens::PublicKey;
use crate::ids::{TenantId, is_tenant_id};

/// Most files of `auth.public_keys`: a token is tried with every key of its algorithm.
pub const PUBLIC_KEYS_MAX: usize = 16;

/// `[auth]` of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether credentials are asked for.
    pub mode: Mode,
    /// Files with the public keys of those who issue tokens beside `rhumb token`: PEM, RSA of 2,048 bits or more (RS256),
    /// P-256 (ES256) or Ed25519 (EdDSA). Read at the start.
    pub public_keys: Vec<PathBuf>,
    /// Tenant of client certificates that name a driver and no tenant. Empty: those are refused.
    #[serde(deserialize_with = "tenant_or_nothing")]
    pub certificate_tenant: String,
    /// Tenant whose `ops_admin` may use the operator's port, which shows and steers all tenants. Empty: that of any, and the
    /// port has to be on loopback.
    #[serde(deserialize_with = "tenant_or_nothing")]
    pub operator_tenant: String,
}

/// How a door finds out who is asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Nobody is asked: whoever reaches a listener on this machine is its operator. Only fit for loopback.
    #[default]
    Open,
    /// Everybody is asked: a token, a device's password or a client certificate.
    Required,
}

/// A key file that is of no use, in words for whoever named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidKey {
    /// What was found.
    pub found: String,
    /// What may be there.
    pub wants: String,
}

impl Config {
    /// Whether every file of `public_keys` holds a key. Reads them.
    ///
    /// # Errors
    /// The first that does not, or that there are too many.
    pub fn check_public_keys(&self) -> Result<(), InvalidKey> {
        if self.public_keys.len() > PUBLIC_KEYS_MAX {
            let found = format!("{} files", self.public_keys.len());
            return Err(InvalidKey { found, wants: format!("at most {PUBLIC_KEYS_MAX}") });
        }
        self.public_keys.iter().try_for_each(|path| PublicKey::read(path).map(drop))
    }

    pub(super) fn certificate_tenant(&self) -> Option<TenantId> {
        TenantId::new(&self.certificate_tenant).ok()
    }

    pub(super) fn operator_tenant(&self) -> Option<TenantId> {
        TenantId::new(&self.operator_tenant).ok()
    }
}

fn tenant_or_nothing<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() || is_tenant_id(text.as_bytes()) {
        return Ok(text);
    }
    Err(de::Error::custom("not a tenant id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_knows_its_keys_and_no_others() {
        assert_eq!(toml::from_str::<Config>("").unwrap(), Config::default());
        assert_eq!(toml::from_str::<Config>("mode = \"open\"").unwrap(), Config::default());
        assert_eq!(toml::from_str::<Config>("mode = \"required\"").unwrap().mode, Mode::Required);
        for bad in ["mode = \"shut\"", "mod = \"open\"", "certificate_tenant = \"a/b\"", "operator_tenant = \"*\""] {
            assert!(toml::from_str::<Config>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn more_keys_than_may_be_are_refused_before_any_is_read() {
        let config = Config { public_keys: vec!["nowhere.pem".into(); PUBLIC_KEYS_MAX + 1], ..Config::default() };
        assert_eq!(config.check_public_keys().unwrap_err().found, "17 files");
    }
}
