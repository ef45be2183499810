//! Who stands at a filter: sessions of their own, and groups that share it.

use super::share::{Group, Member};
use super::trie::Standing;

/// A session's place in its namespace.
pub(super) type SessionKey = u32;

/// A subscription as deliveries need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subscriber {
    pub(super) session: SessionKey,
    /// Most QoS of deliveries.
    pub(super) qos: u8,
    pub(super) no_local: bool,
    pub(super) retain_as_published: bool,
    /// 0: none.
    pub(super) identifier: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    /// By session.
    plain: Vec<Subscriber>,
    groups: Vec<Group>,
}

impl Standing for Subscribers {
    fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.groups.is_empty()
    }
}

impl Subscribers {
    /// Adds or replaces a session's subscription.
    pub(super) fn put(&mut self, subscriber: Subscriber) {
        match self.plain.binary_search_by_key(&subscriber.session, |other| other.session) {
            Ok(place) => self.plain[place] = subscriber,
            Err(place) => self.plain.insert(place, subscriber),
        }
    }

    pub(super) fn remove(&mut self, session: SessionKey) {
        if let Ok(place) = self.plain.binary_search_by_key(&session, |other| other.session) {
            self.plain.remove(place);
        }
        if self.plain.len() * 4 < self.plain.capacity() {
            self.plain.shrink_to_fit();
        }
    }

    pub(super) fn plain(&self) -> &[Subscriber] {
        &self.plain
    }

    pub(super) fn groups(&mut self) -> &mut [Group] {
        &mut self.groups
    }

    pub(super) fn group(&mut self, name: &str) -> Option<&mut Group> {
        self.groups.iter_mut().find(|group| *group.name == *name)
    }

    /// Adds or replaces a session's part in a group.
    pub(super) fn join(&mut self, name: &str, member: Member) {
        match self.group(name) {
            Some(group) => group.join(member),
            None => {
                let mut group = Group::new(name);
                group.join(member);
                self.groups.push(group);
            }
        }
    }

    pub(super) fn leave(&mut self, name: &str, session: SessionKey) {
        if let Some(group) = self.group(name) {
            group.leave(session);
        }
        self.groups.retain(|group| !group.is_empty());
    }
}

/// A filter's group, if it is shared, and what topics are matched with.
pub(super) fn split_share(filter: &str) -> (Option<&str>, &str) {
    match filter.strip_prefix("$share/").and_then(|shared| shared.split_once('/')) {
        Some((group, plain)) => (Some(group), plain),
        None => (None, filter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscriber(session: SessionKey, qos: u8) -> Subscriber {
        Subscriber { session, qos, no_local: false, retain_as_published: false, identifier: 0 }
    }

    #[test]
    fn a_session_stands_there_once() {
        let mut here = Subscribers::default();
        for session in [5, 1, 3, 1] {
            here.put(subscriber(session, 1));
        }
        here.put(subscriber(3, 2));
        assert_eq!(here.plain(), [subscriber(1, 1), subscriber(3, 2), subscriber(5, 1)]);
        for session in [1, 3, 5, 7] {
            here.remove(session);
        }
        assert!(here.is_empty());
    }

    #[test]
    fn a_group_goes_with_its_last_member() {
        let mut here = Subscribers::default();
        let member = |session| Member {
            session,
            filter: "$share/g/a".into(),
            qos: 1,
            retain_as_published: false,
            identifier: 0,
        };
        here.join("g", member(1));
        here.join("h", member(1));
        here.join("g", member(2));
        assert_eq!(here.groups().len(), 2);
        here.leave("g", 1);
        here.leave("h", 1);
        assert_eq!(here.groups().len(), 1);
        here.leave("g", 2);
        assert!(here.is_empty());
    }

    #[test]
    fn shared_filters_are_told_apart() {
        let cases = [
            ("$share/g/a/#", (Some("g"), "a/#")),
            ("a", (None, "a")),
            ("$share", (None, "$share")),
            ("$shared/g/a", (None, "$shared/g/a")),
        ];
        for (filter, expected) in cases {
            assert_eq!(split_share(filter), expected);
        }
    }
}
