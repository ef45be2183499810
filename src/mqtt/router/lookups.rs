//! Whose turn it is to have something looked up: namespaces one after another, and in each its sessions one after another, so that
//! nobody waits for how much the sessions of another tenant want.

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::session::Address;

/// See the module. A session is in it once, which is its own to see to.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    /// Namespaces of which sessions wait, each once.
    namespaces: VecDeque<usize>,
    sessions: HashMap<usize, VecDeque<Address>, foldhash::fast::RandomState>,
}

impl Lookups {
    pub(super) fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
    }

    /// Puts a session behind the others of its namespace.
    pub(super) fn push(&mut self, address: Address) {
        let sessions = self.sessions.entry(address.namespace).or_default();
        if sessions.is_empty() {
            self.namespaces.push_back(address.namespace);
        }
        sessions.push_back(address);
    }

    /// Takes the session whose turn it is; its namespace goes behind the others.
    pub(super) fn pop(&mut self) -> Option<Address> {
        let namespace = self.namespaces.pop_front()?;
        let sessions = self.sessions.get_mut(&namespace)?;
        let address = sessions.pop_front();
        if sessions.is_empty() {
            self.sessions.remove(&namespace);
        } else {
            self.namespaces.push_back(namespace);
        }
        address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_take_turns_however_many_sessions_wait_in_one() {
        let mut lookups = Lookups::default();
        let address = |namespace, session| Address { namespace, session, number: u64::from(session) };
        let mut take = |pushed: &[(usize, u32)], count| {
            pushed.iter().for_each(|(namespace, session)| lookups.push(address(*namespace, *session)));
            let taken = std::iter::from_fn(|| lookups.pop()).take(count);
            taken.map(|address| (address.namespace, address.session)).collect::<Vec<_>>()
        };
        assert_eq!(take(&[(1, 1), (1, 2), (1, 3), (2, 4), (1, 5)], 3), [(1, 1), (2, 4), (1, 2)]);
        assert_eq!(take(&[(2, 4), (3, 6), (1, 1)], 9), [(1, 3), (2, 4), (3, 6), (1, 5), (1, 1)]);
        assert!(lookups.is_empty() && lookups.sessions.is_empty());
    }
}
