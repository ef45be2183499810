//! Names of tenants, drivers and geofences, checked once where they enter.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock};

use crate::limits::{DRIVER_ID_BYTES_MAX, FENCE_ID_BYTES_MAX, TENANT_ID_BYTES_MAX};

/// Why a text is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Not a tenant id.
    #[error("a tenant id is 1 to 32 of A-Z a-z 0-9 _ -")]
    Tenant,
    /// Not a driver id.
    #[error("a driver id is 1 to 64 of A-Z a-z 0-9 . _ : -")]
    Driver,
    /// Not a geofence id.
    #[error("a geofence id is 1 to 64 of A-Z a-z 0-9 . _ : -")]
    Fence,
}

/// A tenant's name: 1 to 32 of `A-Z a-z 0-9 _ -`. Clones share one allocation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// Checks and keeps a name.
    pub fn new(text: &str) -> Result<Self, InvalidId> {
        if is_tenant_id(text.as_bytes()) { Ok(Self(text.into())) } else { Err(InvalidId::Tenant) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for TenantId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A driver's name within its tenant, one source of positions: 1 to 64 of `A-Z a-z 0-9 . _ : -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DriverId(Box<str>);

impl DriverId {
    /// Checks and keeps a name.
    pub fn new(text: &str) -> Result<Self, InvalidId> {
        if is_driver_id(text.as_bytes()) { Ok(Self(text.into())) } else { Err(InvalidId::Driver) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for DriverId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DriverId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A geofence's name within its tenant, of the alphabet of driver ids, so that it is one level of a topic. Clones share
/// one allocation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FenceId(Arc<str>);

impl FenceId {
    /// Checks and keeps a name.
    pub fn new(text: &str) -> Result<Self, InvalidId> {
        let is_id = (1..=FENCE_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_driver_id_byte);
        if is_id { Ok(Self(text.into())) } else { Err(InvalidId::Fence) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for FenceId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FenceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Whether these bytes are a tenant id.
pub fn is_tenant_id(bytes: &[u8]) -> bool {
    (1..=TENANT_ID_BYTES_MAX).contains(&bytes.len())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// Whether these bytes are a driver id.
pub fn is_driver_id(bytes: &[u8]) -> bool {
    (1..=DRIVER_ID_BYTES_MAX).contains(&bytes.len()) && bytes.iter().all(|byte| is_driver_id_byte(*byte))
}

/// Whether a driver id may contain this byte.
pub fn is_driver_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-')
}

/// Seeded anew in every process, so that nobody can choose ids that collide.
static KEY_HASH: LazyLock<foldhash::quality::RandomState> = LazyLock::new(foldhash::quality::RandomState::default);

/// A driver of a tenant, with its hash: the identity that shards, windows and the index are keyed by. Made once where a
/// topic or a path is first seen and shared from there.
#[derive(Debug)]
pub struct DriverKey {
    hash: u64,
    tenant: TenantId,
    driver: DriverId,
}

impl DriverKey {
    /// Joins both names.
    pub fn new(tenant: TenantId, driver: DriverId) -> Self {
        let hash = KEY_HASH.hash_one((tenant.as_str(), driver.as_str()));
        Self { hash, tenant, driver }
    }

    /// The tenant's name.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The driver's name.
    pub fn driver(&self) -> &DriverId {
        &self.driver
    }

    /// A hash that is the same for equal keys within this process, and no longer.
    pub fn hash_value(&self) -> u64 {
        self.hash
    }
}

impl PartialEq for DriverKey {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.driver == other.driver && self.tenant == other.tenant
    }
}

impl Eq for DriverKey {}

impl Hash for DriverKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_to_their_alphabets() {
        for good in ["d1", "22:1264", "a.b_c-d", &"x".repeat(64)] {
            assert!(DriverId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a/b", "a b", "ä", "+", "#", &"x".repeat(65)] {
            assert!(DriverId::new(bad).is_err(), "{bad}");
        }
        assert!(FenceId::new("depot:2").is_ok());
        for bad in ["", "a/b", "+", &"x".repeat(65)] {
            assert!(FenceId::new(bad).is_err(), "{bad}");
        }
        assert!(TenantId::new("acme_1-x").is_ok());
        for bad in ["", "a.b", "a:b", &"x".repeat(33)] {
            assert!(TenantId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn equal_keys_hash_alike() {
        let key = |tenant, driver| DriverKey::new(TenantId::new(tenant).unwrap(), DriverId::new(driver).unwrap());
        assert_eq!(key("a", "bc"), key("a", "bc"));
        assert_eq!(key("a", "bc").hash_value(), key("a", "bc").hash_value());
        assert_ne!(key("a", "bc"), key("ab", "c"));
    }
}
