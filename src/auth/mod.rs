//! Who is asking, and what the answer depends on: principals and their roles.
//!
//! A door makes a [`Principal`] once a request or a connection has shown who it is, and everything behind it takes the
//! tenant from there and from nowhere else.

pub mod origin;

use serde::{Deserialize, Serialize};

use crate::ids::{DriverId, InvalidId, TenantId};
use crate::units::TimestampMs;

/// The tenant of whoever names none, in open mode.
pub const TENANT_DEFAULT: &str = "default";

/// `[auth]` of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether credentials are asked for.
    pub mode: Mode,
}

/// How a door finds out who is asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Nobody is asked: whoever reaches a listener on this machine is its operator. Only fit for loopback.
    #[default]
    Open,
}

/// What a principal may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    fn config_knows_its_keys_and_no_others() {
        assert_eq!(toml::from_str::<Config>("").unwrap(), Config { mode: Mode::Open });
        assert_eq!(toml::from_str::<Config>("mode = \"open\"").unwrap(), Config { mode: Mode::Open });
        assert!(toml::from_str::<Config>("mode = \"shut\"").is_err());
        assert!(toml::from_str::<Config>("mod = \"open\"").is_err());
    }
}
