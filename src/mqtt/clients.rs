//! Who is connected under which client id, so that a second connection takes the first one's place [MQTT-3.1.4-3].
//!
//! A client id is its owner's: the same one of another principal names another client. So nobody takes the place, or the kept
//! session, of anybody else, and nobody can keep an id from those who use it.

use dashmap::DashMap;

use super::mailbox::ConnectionRef;
use super::router::Mount;
use crate::auth::Principal;
use crate::ids::DriverId;

/// A connection of any worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientRef {
    pub(super) worker: usize,
    pub(super) connection: ConnectionRef,
}

/// What a client is known by, here and at the router.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClientName {
    /// Its namespace.
    pub(super) mount: Mount,
    /// Its client id, with its owner before it.
    pub(super) owned_id: Box<str>,
}

impl ClientName {
    /// The owner is who it is with all its rights: whoever comes under the same name as another driver or in another role is
    /// another, so that nobody goes on with what was subscribed to with other rights. In open mode there are no owners.
    pub(super) fn new(who: Option<&Principal>, client_id: &str) -> Self {
        let Some(Principal { tenant, role, subject, driver, .. }) = who else {
            return Self { mount: Mount::Open, owned_id: client_id.into() };
        };
        let driver = driver.as_ref().map_or("", DriverId::as_str);
        // Neither roles nor drivers have a slash in them, and nothing has the character before the client id [MQTT-1.5.4-2].
        let owned_id = format!("{}/{driver}/{subject}\0{client_id}", role.as_str());
        Self { mount: Mount::Tenant(tenant.clone()), owned_id: owned_id.into() }
    }
}

/// Whoever has a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder {
    client: ClientRef,
    begins_anew: bool,
}

/// What became of the session of a client that leaves its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Nobody else came under the name.
    Free,
    /// Another connection took the name and goes on with the session, or did.
    GoesOn,
    /// Another connection took the name and began a session anew.
    Ended,
}

/// Clients that are connected. Bounded by the number of connections.
#[derive(Debug, Default)]
pub(super) struct Clients(DashMap<ClientName, Holder>);

impl Clients {
    /// Takes the name for a connection, which goes on with the session of that name or begins it anew, and tells who had it.
    pub(super) fn take(&self, name: ClientName, client: ClientRef, begins_anew: bool) -> Option<ClientRef> {
        self.0.insert(name, Holder { client, begins_anew }).map(|former| former.client)
    }

    /// Frees the name, unless another connection took it meanwhile.
    pub(super) fn leave(&self, name: &ClientName, client: ClientRef) -> Left {
        if self.0.remove_if(name, |_, holder| holder.client == client).is_some() {
            return Left::Free;
        }
        if self.begins_anew(name) == Some(true) { Left::Ended } else { Left::GoesOn }
    }

    /// Whether whoever has the name now began its session anew; `None` if nobody has it.
    pub(super) fn begins_anew(&self, name: &ClientName) -> Option<bool> {
        self.0.get(name).map(|holder| holder.begins_anew)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Role;
    use crate::ids::TenantId;

    fn client(key: u32) -> ClientRef {
        ClientRef { worker: 0, connection: ConnectionRef { key, generation: 0 } }
    }

    fn principal(tenant: &str, role: Role, driver: Option<&str>, subject: &str) -> Principal {
        Principal {
            tenant: TenantId::new(tenant).unwrap(),
            role,
            subject: subject.into(),
            driver: driver.map(|driver| DriverId::new(driver).unwrap()),
            expires_at: None,
        }
    }

    #[test]
    fn a_name_that_was_taken_over_is_not_freed_by_its_former_holder() {
        let clients = Clients::default();
        let name = || ClientName::new(None, "a");
        assert_eq!(clients.take(name(), client(1), false), None);
        assert_eq!(clients.take(name(), client(2), false), Some(client(1)));
        assert_eq!(clients.leave(&name(), client(1)), Left::GoesOn);
        assert_eq!(clients.take(name(), client(3), true), Some(client(2)));
        assert_eq!(clients.leave(&name(), client(2)), Left::Ended);
        assert_eq!(clients.begins_anew(&name()), Some(true));
        assert_eq!(clients.leave(&name(), client(3)), Left::Free);
        assert_eq!(clients.begins_anew(&name()), None);
        assert!(clients.0.is_empty());
        assert_eq!(clients.take(name(), client(4), false), None);
    }

    #[test]
    fn the_same_client_id_with_other_rights_is_another_client() {
        let names = [
            ClientName::new(None, "x"),
            ClientName::new(Some(&principal("acme", Role::Device, Some("d1"), "ann")), "x"),
            ClientName::new(Some(&principal("acme", Role::Device, Some("d1"), "ann")), "y"),
            ClientName::new(Some(&principal("acme", Role::Device, Some("d1"), "bob")), "x"),
            ClientName::new(Some(&principal("acme", Role::Device, Some("d2"), "ann")), "x"),
            ClientName::new(Some(&principal("acme", Role::Driver, Some("d1"), "ann")), "x"),
            ClientName::new(Some(&principal("blue", Role::Device, Some("d1"), "ann")), "x"),
            ClientName::new(Some(&principal("acme", Role::Dispatcher, None, "ann")), "x"),
            ClientName::new(Some(&principal("acme", Role::Dispatcher, Some("d1"), "ann")), "x"),
            ClientName::new(Some(&principal("acme", Role::Dispatcher, None, "d1/ann")), "x"),
        ];
        let clients = Clients::default();
        for (number, name) in (0..).zip(&names) {
            assert_eq!(clients.take(name.clone(), client(number), false), None, "{name:?}");
        }
        for (number, name) in (0..).zip(names) {
            assert_eq!(clients.take(name.clone(), client(99), false), Some(client(number)), "{name:?}");
        }
    }
}
