//! How much room the wills that wait take, and whose they are: nobody is to take all of it.

use hashbrown::HashMap;

use super::IngestWill;
use crate::mqtt::clients::ClientName;
use crate::mqtt::router::{Mount, owner};

/// Memory of all wills that wait, bytes.
const BYTES_MAX: usize = 128 << 20;

/// What a will takes beside its payload and its client's name: its entries, with the slack of tables, and what it came from.
const WILL_BYTES: usize = 1_024;

/// How often a client's name is kept for its will: by name, by when it is due, and by owner.
const NAMES: usize = 3;

/// What a will of this client takes, bytes.
fn bytes(name: &ClientName, will: &IngestWill) -> usize {
    WILL_BYTES + NAMES * name.owned_id.len() + will.payload.len()
}

/// What one tenant has waiting.
#[derive(Debug, Default)]
struct Tenant {
    bytes: usize,
    /// How many wills each owner has there. In open mode there are no owners.
    owners: HashMap<Box<str>, usize, foldhash::quality::RandomState>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Room {
    bytes: usize,
    tenants: HashMap<Mount, Tenant, foldhash::quality::RandomState>,
}

impl Room {
    /// Takes the room that a will needs, if there is any: for so many of one owner at the most, and for a tenant as much as
    /// would still be free. So one alone has half of it, and however many have much, whoever comes next finds some: the
    /// dynamic thresholds of Choudhury and Hahne (IEEE/ACM Transactions on Networking 6(2), 1998).
    pub(super) fn enter(&mut self, name: &ClientName, will: &IngestWill, of_owner_max: usize) -> bool {
        let bytes = bytes(name, will);
        let owner = owner::split(&name.owned_id).0;
        let tenant = self.tenants.get(&name.mount);
        let of_owner = owner.and_then(|owner| tenant?.owners.get(owner)).copied().unwrap_or(0);
        let of_tenant = tenant.map_or(0, |tenant| tenant.bytes) + bytes;
        let total = self.bytes + bytes;
        if of_owner >= of_owner_max || total > BYTES_MAX || of_tenant > BYTES_MAX - total {
            return false;
        }
        self.bytes = total;
        let tenant = self.tenants.entry(name.mount.clone()).or_default();
        tenant.bytes = of_tenant;
        if let Some(owner) = owner {
            *tenant.owners.entry(owner.into()).or_default() += 1;
        }
        true
    }

    /// Frees what a will took.
    pub(super) fn leave(&mut self, name: &ClientName, will: &IngestWill) {
        let bytes = bytes(name, will);
        self.bytes -= bytes;
        let Some(tenant) = self.tenants.get_mut(&name.mount) else { return };
        tenant.bytes -= bytes;
        if let Some(owner) = owner::split(&name.owned_id).0
            && let Some(count) = tenant.owners.get_mut(owner)
        {
            *count -= 1;
            if *count == 0 {
                tenant.owners.remove(owner);
            }
        }
        if tenant.bytes == 0 {
            self.tenants.remove(&name.mount);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{name_of, will};
    use super::*;

    /// How many wills of a tenant have room, if each is of another owner.
    fn fill(room: &mut Room, tenant: &str, payload: &[u8]) -> usize {
        let will = will(payload);
        (0..1_000_000).take_while(|number| room.enter(&name_of(tenant, &number.to_string(), "c"), &will, 16)).count()
    }

    #[test]
    fn a_tenant_has_as_much_as_would_still_be_free() {
        let payload = vec![0; 60_000];
        let mut room = Room::default();
        for part in 2..6 {
            let tenant = format!("tenant-{part}");
            let bytes = fill(&mut room, &tenant, &payload) * (payload.len() + WILL_BYTES);
            assert!(bytes > 0 && room.bytes <= BYTES_MAX, "{tenant}: {bytes}");
            assert!(room.tenants.values().all(|tenant| tenant.bytes <= BYTES_MAX / 2));
        }
        assert!(room.bytes > BYTES_MAX * 9 / 10, "and little is left unused: {}", room.bytes);
    }

    #[test]
    fn an_owner_has_so_many_and_all_that_left_is_forgotten() {
        let mut room = Room::default();
        let names: Vec<_> = (0..5).map(|number| name_of("acme", "ann", &number.to_string())).collect();
        let entered: Vec<_> = names.iter().map(|name| room.enter(name, &will(b"x"), 3)).collect();
        assert_eq!(entered, [true, true, true, false, false]);
        assert!(
            room.enter(&name_of("acme", "bob", "c"), &will(b"x"), 3)
                && room.enter(&name_of("blue", "ann", "c"), &will(b"x"), 3)
        );
        room.leave(&names[0], &will(b"x"));
        assert!(room.enter(&names[4], &will(b"x"), 3));
        for name in [&names[1], &names[2], &names[4], &name_of("acme", "bob", "c"), &name_of("blue", "ann", "c")] {
            room.leave(name, &will(b"x"));
        }
        assert!(room.bytes == 0 && room.tenants.is_empty(), "{room:?}");
    }

    #[test]
    fn long_names_take_room_too() {
        let mut room = Room::default();
        let long = "x".repeat(10_000);
        let count = (0..1_000_000_u32)
            .take_while(|number| room.enter(&ClientName::new(None, &format!("{long}{number}")), &will(b"{}"), 16))
            .count();
        assert!((1..BYTES_MAX / NAMES / long.len()).contains(&count), "{count}");
    }
}
