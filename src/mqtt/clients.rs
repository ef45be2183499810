//! Who is connected under which client id, so that a second connection takes the first one's place [MQTT-3.1.4-3].

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::mailbox::ConnectionRef;

/// A connection of any worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClientRef {
    pub(super) worker: usize,
    pub(super) connection: ConnectionRef,
}

/// Client ids in use. Bounded by the number of connections.
#[derive(Debug, Default)]
pub(super) struct Clients(DashMap<Box<str>, ClientRef>);

impl Clients {
    /// Takes the name for a connection and tells who had it.
    pub(super) fn take(&self, client_id: &str, client: ClientRef) -> Option<ClientRef> {
        self.0.insert(client_id.into(), client)
    }

    /// Frees the name, unless another connection took it meanwhile.
    pub(super) fn leave(&self, client_id: &str, client: ClientRef) {
        if let Entry::Occupied(entry) = self.0.entry(client_id.into())
            && *entry.get() == client
        {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_taken_over_is_not_freed_by_its_former_holder() {
        let client = |key| ClientRef { worker: 0, connection: ConnectionRef { key, generation: 0 } };
        let clients = Clients::default();
        assert_eq!(clients.take("a", client(1)), None);
        assert_eq!(clients.take("a", client(2)), Some(client(1)));
        clients.leave("a", client(1));
        assert_eq!(clients.take("a", client(3)), Some(client(2)));
        clients.leave("a", client(3));
        assert_eq!(clients.take("a", client(4)), None);
    }
}
