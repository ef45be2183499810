//! The devices that are known now, by name and by the public part of their made-up passwords.

pub mod file;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use self::file::Entry;
use super::Principal;
use super::passwords::DeviceToken;
use crate::ids::TenantId;

/// Whether what somebody came in with is still good. Clones tell of the same credentials.
#[derive(Clone, Debug, Default)]
pub struct Standing(Arc<AtomicBool>);

impl Standing {
    /// Whether the credentials were taken back or changed meanwhile.
    pub fn is_revoked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn revoke(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A device of the file.
#[derive(Debug)]
pub(super) struct Device {
    entry: Entry,
    pub(super) principal: Arc<Principal>,
    pub(super) standing: Standing,
}

impl Device {
    fn new(entry: Entry) -> Self {
        let principal = Principal {
            tenant: entry.tenant.clone(),
            role: entry.role,
            subject: entry.name.clone(),
            driver: entry.driver.clone(),
            expires_at: None,
        };
        Self { entry, principal: Arc::new(principal), standing: Standing::default() }
    }

    pub(super) fn hash(&self) -> &str {
        &self.entry.hash
    }
}

#[derive(Debug, Default)]
struct Table {
    by_name: HashMap<(TenantId, Box<str>), Arc<Device>>,
    /// `None`: devices of several tenants have the name.
    by_bare_name: HashMap<Box<str>, Option<Arc<Device>>>,
    by_token_id: HashMap<Box<str>, Arc<Device>>,
}

/// All devices. Looking one up takes no longer than a reload takes to swap a pointer.
#[derive(Debug, Default)]
pub(super) struct Devices(RwLock<Arc<Table>>);

impl Devices {
    /// Takes these entries for all there are. Those that were there as they are keep their standing; the others lose it.
    pub(super) fn replace(&self, entries: Vec<Entry>) {
        let former = self.table();
        let mut table = Table::default();
        for entry in entries {
            let name = (entry.tenant.clone(), entry.name.clone());
            let device = match former.by_name.get(&name) {
                Some(device) if device.entry == entry => Arc::clone(device),
                _ => Arc::new(Device::new(entry)),
            };
            if let Some(token_id) = &device.entry.token_id {
                table.by_token_id.insert(token_id.as_str().into(), Arc::clone(&device));
            }
            let bare = table.by_bare_name.entry(name.1.clone());
            bare.and_modify(|other| *other = None).or_insert_with(|| Some(Arc::clone(&device)));
            table.by_name.insert(name, device);
        }
        let table = Arc::new(table);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&table);
        // Only now: whoever finds its standing lost does not come in again with what it has.
        for (name, device) in &former.by_name {
            if !table.by_name.get(name).is_some_and(|kept| Arc::ptr_eq(kept, device)) {
                device.standing.revoke();
            }
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.table().by_name.len()
    }

    /// The device that is meant by a user name, or by its password where that is a made-up one and there is no name:
    /// `tenant/name`, or `name` if only one tenant has such a device.
    pub(super) fn find(&self, user: &str, password: &[u8]) -> Option<Arc<Device>> {
        let table = self.table();
        if user.is_empty() {
            return table.by_token_id.get(DeviceToken::id_of(password)?).cloned();
        }
        match user.split_once('/') {
            Some((tenant, name)) => table.by_name.get(&(TenantId::new(tenant).ok()?, name.into())).cloned(),
            None => table.by_bare_name.get(user).cloned().flatten(),
        }
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Role;
    use crate::ids::DriverId;

    fn entry(tenant: &str, name: &str, hash: &str) -> Entry {
        Entry {
            tenant: TenantId::new(tenant).unwrap(),
            name: name.into(),
            role: Role::Device,
            driver: Some(DriverId::new(name).unwrap()),
            created: String::new(),
            token_id: Some(format!("{name:0>12}")),
            hash: hash.to_owned(),
        }
    }

    #[test]
    fn names_with_and_without_a_tenant_lead_to_one_device_or_to_none() {
        let devices = Devices::default();
        devices.replace(vec![entry("acme", "a", ""), entry("acme", "b", ""), entry("blue", "b", "")]);
        let found = |user: &str, password: &str| {
            devices
                .find(user, password.as_bytes())
                .map(|device| format!("{}/{}", device.principal.tenant, device.principal.subject))
        };
        let token = |id: &str| format!("rhd_{id:0>12}{}", "0".repeat(40));
        let cases: &[(&str, &str, Option<&str>)] = &[
            ("a", "x", Some("acme/a")),
            ("acme/a", "x", Some("acme/a")),
            ("blue/b", "x", Some("blue/b")),
            ("b", "x", None),
            ("blue/a", "x", None),
            ("red/a", "x", None),
            ("/a", "x", None),
            ("a/", "x", None),
            ("acme/a/", "x", None),
            ("", "x", None),
            ("", &token("a"), Some("acme/a")),
            ("", &token("z"), None),
            ("z", &token("a"), None),
        ];
        for (user, password, expected) in cases {
            assert_eq!(found(user, password).as_deref(), *expected, "{user} {password}");
        }
    }

    #[test]
    fn whoever_is_gone_or_changed_loses_its_standing_and_others_keep_theirs() {
        let devices = Devices::default();
        devices.replace(vec![entry("acme", "a", "1"), entry("acme", "b", "1"), entry("acme", "c", "1")]);
        let [a, b, c] = ["a", "b", "c"].map(|name| devices.find(name, b"").unwrap());
        devices.replace(vec![entry("acme", "a", "1"), entry("acme", "c", "2")]);
        assert_eq!([a, b, c].map(|device| device.standing.is_revoked()), [false, true, true]);
        assert!(!devices.find("c", b"").unwrap().standing.is_revoked());
        assert_eq!(devices.count(), 2);
    }
}
