//! Who is connected under which client id, so that a second connection takes the first one's place [MQTT-3.1.4-3].
//!
//! A client id is its owner's: the same one of another principal names another client. So nobody takes the place, or the kept
//! session, of anybody else, and nobody can keep an id from those who use it.

use std::sync::{Arc, OnceLock};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::mailbox::ConnectionRef;
use super::rate::Buckets;
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

/// What became of a session whose client's name another connection took: told by that one, whichever leaves first.
#[derive(Debug, Default)]
pub(super) struct Succession(OnceLock<bool>);

impl Succession {
    /// Another connection took the name, and goes on with the session or begins it anew. Only the first one counts.
    fn begin(&self, begins_anew: bool) {
        // Whoever comes later takes the name of another.
        let _ = self.0.set(begins_anew);
    }

    /// Whether another connection took the name.
    pub(super) fn has_begun(&self) -> bool {
        self.0.get().is_some()
    }

    /// What became of the session.
    pub(super) fn left(&self) -> Left {
        match self.0.get() {
            None => Left::Free,
            Some(false) => Left::GoesOn,
            Some(true) => Left::Ended,
        }
    }
}

/// Whoever has a name.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    client: ClientRef,
    /// Only those have one that want to know.
    succession: Option<Arc<Succession>>,
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
pub(super) struct Clients {
    holders: DashMap<ClientName, Holder>,
    /// What each may still send.
    pub(super) buckets: Buckets,
}

impl Clients {
    /// Takes the name for a connection, which goes on with the session of that name or begins it anew, and tells who had it.
    pub(super) fn take(
        &self,
        name: ClientName,
        client: ClientRef,
        begins_anew: bool,
        succession: Option<Arc<Succession>>,
    ) -> Option<ClientRef> {
        let holder = Holder { client, succession };
        match self.holders.entry(name) {
            Entry::Vacant(free) => {
                free.insert(holder);
                None
            }
            Entry::Occupied(mut taken) => {
                let former = taken.insert(holder);
                // Before anybody else sees that the name is another's.
                former.succession.iter().for_each(|succession| succession.begin(begins_anew));
                Some(former.client)
            }
        }
    }

    /// Frees the name, unless another connection took it meanwhile.
    pub(super) fn leave(&self, name: &ClientName, client: ClientRef) {
        self.holders.remove_if(name, |_, holder| holder.client == client);
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
        assert_eq!(clients.take(name(), client(1), false, None), None);
        assert_eq!(clients.take(name(), client(2), false, None), Some(client(1)));
        clients.leave(&name(), client(1));
        assert_eq!(clients.take(name(), client(3), true, None), Some(client(2)));
        clients.leave(&name(), client(3));
        assert!(clients.holders.is_empty());
        clients.leave(&name(), client(2));
        assert_eq!(clients.take(name(), client(4), false, None), None);
    }

    #[test]
    fn what_became_of_a_session_is_told_by_whoever_came_next_however_soon_that_left() {
        for leaves_first in [false, true] {
            let clients = Clients::default();
            let name = || ClientName::new(None, "a");
            let successions: [Arc<Succession>; 4] = Default::default();
            for (key, begins_anew) in [(0, false), (1, true), (2, false), (3, true)] {
                let succession = Some(Arc::clone(&successions[key as usize]));
                clients.take(name(), client(key), begins_anew, succession);
            }
            if leaves_first {
                clients.leave(&name(), client(3));
            }
            clients.leave(&name(), client(0));
            let left = successions.each_ref().map(|succession| succession.left());
            assert_eq!(left, [Left::Ended, Left::GoesOn, Left::Ended, Left::Free], "left first: {leaves_first}");
        }
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
            assert_eq!(clients.take(name.clone(), client(number), false, None), None, "{name:?}");
        }
        for (number, name) in (0..).zip(names) {
            assert_eq!(clients.take(name.clone(), client(99), false, None), Some(client(number)), "{name:?}");
        }
    }
}
