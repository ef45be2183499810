//! Who is connected under which client id, so that a second connection takes the first one's place [MQTT-3.1.4-3], and whose
//! a client id is: nobody takes the place, or the kept session, of another principal.

use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::mailbox::ConnectionRef;
use super::router::Mount;

/// Owners of kept sessions that are remembered beyond the sessions that there can be, before those whose session is gone are
/// looked for.
const KEPT_SLACK: usize = 1_024;

/// A connection of any worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientRef {
    pub(super) worker: usize,
    pub(super) connection: ConnectionRef,
}

/// A client id in its namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClientName {
    pub(super) mount: Mount,
    pub(super) client_id: Box<str>,
}

/// Whom a client id belongs to: a subject of its namespace, or nobody in open mode.
type Owner = Option<Box<str>>;

#[derive(Debug)]
struct Holder {
    /// `None`: it is away, and its session is kept.
    client: Option<ClientRef>,
    owner: Owner,
}

/// The client id is another principal's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Foreign;

/// Client ids in use. Bounded by the number of connections and of sessions.
#[derive(Debug)]
pub(super) struct Clients {
    holders: DashMap<ClientName, Holder>,
    /// Holders that are away.
    kept: AtomicUsize,
    kept_max: usize,
}

impl Clients {
    /// For a router that keeps so many sessions.
    pub(super) fn new(sessions_max: usize) -> Self {
        Self { holders: DashMap::new(), kept: AtomicUsize::new(0), kept_max: sessions_max.saturating_add(KEPT_SLACK) }
    }

    /// Takes the name for a connection and tells who had it. Whether the session of a holder that is away is still there,
    /// only `is_kept` knows, which is asked with its owner.
    pub(super) fn take(
        &self,
        name: &ClientName,
        owner: Option<&str>,
        client: ClientRef,
        is_kept: impl FnOnce(Option<&str>) -> bool,
    ) -> Result<Option<ClientRef>, Foreign> {
        match self.holders.entry(name.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(Holder { client: Some(client), owner: owner.map(Box::from) });
                Ok(None)
            }
            Entry::Occupied(mut entry) => {
                let holder = entry.get_mut();
                let is_own = holder.owner.as_deref() == owner;
                if !is_own && (holder.client.is_some() || is_kept(holder.owner.as_deref())) {
                    return Err(Foreign);
                }
                let former = holder.client.replace(client);
                if former.is_none() {
                    self.kept.fetch_sub(1, Ordering::Relaxed);
                }
                holder.owner = owner.map(Box::from);
                Ok(former)
            }
        }
    }

    /// Frees the name, unless another connection took it meanwhile. If a session stays behind, the name stays its owner's.
    pub(super) fn leave(
        &self,
        name: &ClientName,
        client: ClientRef,
        stays: bool,
        is_kept: impl Fn(&ClientName, Option<&str>) -> bool,
    ) {
        if let Entry::Occupied(mut entry) = self.holders.entry(name.clone())
            && entry.get().client == Some(client)
        {
            if stays && entry.get().owner.is_some() {
                entry.get_mut().client = None;
                self.kept.fetch_add(1, Ordering::Relaxed);
            } else {
                entry.remove();
            }
        }
        if self.kept.load(Ordering::Relaxed) > self.kept_max {
            self.holders.retain(|name, holder| {
                let stays = holder.client.is_some() || is_kept(name, holder.owner.as_deref());
                if !stays {
                    self.kept.fetch_sub(1, Ordering::Relaxed);
                }
                stays
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TenantId;

    fn client(key: u32) -> ClientRef {
        ClientRef { worker: 0, connection: ConnectionRef { key, generation: 0 } }
    }

    fn name(tenant: &str, client_id: &str) -> ClientName {
        ClientName { mount: Mount::Tenant(TenantId::new(tenant).unwrap()), client_id: client_id.into() }
    }

    fn never(_: Option<&str>) -> bool {
        panic!("nobody is away")
    }

    #[test]
    fn a_name_that_was_taken_over_is_not_freed_by_its_former_holder() {
        let open = ClientName { mount: Mount::Open, client_id: "a".into() };
        let clients = Clients::new(10);
        let leave = |number| clients.leave(&open, client(number), true, |_, _| false);
        assert_eq!(clients.take(&open, None, client(1), never), Ok(None));
        assert_eq!(clients.take(&open, None, client(2), never), Ok(Some(client(1))));
        leave(1);
        assert_eq!(clients.take(&open, None, client(3), never), Ok(Some(client(2))));
        leave(3);
        assert_eq!(clients.take(&open, None, client(4), never), Ok(None));
    }

    #[test]
    fn a_connected_client_is_taken_over_by_its_own_principal_only() {
        let clients = Clients::new(10);
        let (a, b) = (name("acme", "x"), name("blue", "x"));
        assert_eq!(clients.take(&a, Some("ann"), client(1), never), Ok(None));
        assert_eq!(clients.take(&a, Some("bob"), client(2), never), Err(Foreign));
        assert_eq!(clients.take(&b, Some("bob"), client(3), never), Ok(None), "another tenant has names of its own");
        assert_eq!(clients.take(&a, Some("ann"), client(4), never), Ok(Some(client(1))));
        clients.leave(&a, client(4), false, |_, _| false);
        assert_eq!(clients.take(&a, Some("bob"), client(5), never), Ok(None));
    }

    #[test]
    fn a_kept_session_is_its_owners_as_long_as_it_is_kept() {
        let clients = Clients::new(10);
        let x = name("acme", "x");
        clients.take(&x, Some("ann"), client(1), never).unwrap();
        clients.leave(&x, client(1), true, |_, _| true);
        let kept = |owner: Option<&str>| owner == Some("ann");
        assert_eq!(clients.take(&x, Some("bob"), client(2), kept), Err(Foreign));
        assert_eq!(clients.take(&x, Some("ann"), client(3), kept), Ok(None));
        clients.leave(&x, client(3), true, |_, _| true);
        assert_eq!(clients.take(&x, Some("bob"), client(4), |_| false), Ok(None), "it has expired");
        assert_eq!(clients.take(&x, Some("ann"), client(5), never), Err(Foreign));
    }

    #[test]
    fn owners_of_sessions_that_are_gone_do_not_gather() {
        let clients = Clients::new(10);
        for number in 0..10_000 {
            let name = name("acme", &number.to_string());
            clients.take(&name, Some("ann"), client(number), never).unwrap();
            clients.leave(&name, client(number), true, |name, _| name.client_id.starts_with("99"));
            assert!(clients.holders.len() <= 10 + KEPT_SLACK + 1);
        }
        assert_eq!(clients.kept.load(Ordering::Relaxed), clients.holders.len());
        let is_there = |id| clients.holders.contains_key(&name("acme", id));
        assert!(is_there("99") && is_there("9999") && !is_there("1"));
    }
}
