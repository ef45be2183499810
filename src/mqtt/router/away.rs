//! Which sessions of a namespace have no client, the longest away first, and how many each owner has: what room for others is
//! made with. Nothing here looks at more than it tells.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;

use super::subscribers::SessionKey;

/// When a client left its session, as the router numbers what happens: none is given twice, and a later one is greater.
pub(super) type Departure = u64;

/// An owner of sessions.
#[derive(Debug)]
struct Owner {
    /// Never given to another.
    number: u64,
    /// Its sessions, whether their clients are connected or away.
    sessions: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Away {
    sessions: BTreeMap<Departure, SessionKey>,
    /// Those that have an owner, by its number.
    of_owners: BTreeMap<(u64, Departure), SessionKey>,
    owners: HashMap<Box<str>, Owner, foldhash::quality::RandomState>,
    owner_last: u64,
}

impl Away {
    /// A session began; it has a client, or [`Away::leave`] tells of it.
    pub(super) fn begin(&mut self, owner: Option<&str>) {
        let Some(name) = owner else { return };
        if let Some(owner) = self.owners.get_mut(name) {
            owner.sessions += 1;
        } else {
            self.owner_last += 1;
            self.owners.insert(name.into(), Owner { number: self.owner_last, sessions: 1 });
        }
    }

    /// A session ended, after [`Away::come_back`] if it was away.
    pub(super) fn end(&mut self, owner: Option<&str>) {
        let Some(name) = owner else { return };
        let Some(owner) = self.owners.get_mut(name) else { return };
        owner.sessions -= 1;
        if owner.sessions == 0 {
            self.owners.remove(name);
        }
    }

    /// A session is without its client from now on.
    pub(super) fn leave(&mut self, owner: Option<&str>, departure: Departure, session: SessionKey) {
        self.sessions.insert(departure, session);
        if let Some(number) = self.number(owner) {
            self.of_owners.insert((number, departure), session);
        }
    }

    /// It has a client again, or is about to end. Nothing, if it was not away.
    pub(super) fn come_back(&mut self, owner: Option<&str>, departure: Departure) {
        self.sessions.remove(&departure);
        if let Some(number) = self.number(owner) {
            self.of_owners.remove(&(number, departure));
        }
    }

    /// How many are away.
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// The session that is away for the longest.
    pub(super) fn longest(&self) -> Option<SessionKey> {
        self.sessions.values().next().copied()
    }

    /// The one of this owner.
    pub(super) fn longest_of(&self, owner: Option<&str>) -> Option<SessionKey> {
        let number = self.number(owner)?;
        self.of_owners.range((number, 0)..=(number, Departure::MAX)).next().map(|(_, session)| *session)
    }

    /// How many sessions an owner has, away or not. Nobody has none.
    pub(super) fn sessions_of(&self, owner: Option<&str>) -> usize {
        owner.and_then(|name| self.owners.get(name)).map_or(0, |owner| owner.sessions)
    }

    fn number(&self, owner: Option<&str>) -> Option<u64> {
        owner.and_then(|name| self.owners.get(name)).map(|owner| owner.number)
    }
}

/// How many sessions are away in each namespace, and where the most are.
#[derive(Debug, Default)]
pub(super) struct AwayCounts {
    /// By namespace, those with none left out.
    counts: HashMap<usize, usize, foldhash::fast::RandomState>,
    /// The same, by how many.
    ordered: BTreeSet<(usize, usize)>,
}

impl AwayCounts {
    /// So many are away in a namespace now.
    pub(super) fn set(&mut self, namespace: usize, count: usize) {
        let before = if count == 0 { self.counts.remove(&namespace) } else { self.counts.insert(namespace, count) };
        if let Some(before) = before {
            self.ordered.remove(&(before, namespace));
        }
        if count > 0 {
            self.ordered.insert((count, namespace));
        }
    }

    /// The namespace in which the most are, if any are anywhere.
    pub(super) fn most(&self) -> Option<usize> {
        self.ordered.last().map(|(_, namespace)| *namespace)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A session as the model has it: whose, and since when away.
    type Modelled = (Option<&'static str>, Option<Departure>);

    fn longest(sessions: &[Option<Modelled>], may_be: impl Fn(Option<&str>) -> bool) -> Option<SessionKey> {
        let away = (0..).zip(sessions).filter_map(|(key, session)| match session {
            Some((owner, Some(departure))) if may_be(*owner) => Some((*departure, key)),
            _ => None,
        });
        away.min().map(|(_, key)| key)
    }

    #[test]
    fn the_namespace_with_the_most_is_known() {
        // Namespace, how many are away in it now, where the most are then.
        let cases = [
            (1, 1, Some(1)),
            (2, 3, Some(2)),
            (1, 4, Some(1)),
            (1, 2, Some(2)),
            (3, 0, Some(2)),
            (2, 0, Some(1)),
            (1, 0, None),
        ];
        let mut counts = AwayCounts::default();
        for (namespace, count, most) in cases {
            counts.set(namespace, count);
            assert_eq!(counts.most(), most, "{count} in {namespace}");
        }
        assert!(counts.counts.is_empty());
    }

    proptest! {
        /// Whatever begins, leaves, comes back and ends, it tells what a look at every session tells, and keeps nothing of
        /// sessions that are gone.
        #[test]
        fn it_is_like_a_list_of_sessions(steps in prop::collection::vec((0..12_usize, 0..4_usize, any::<bool>()), 1..200)) {
            const OWNERS: [Option<&str>; 4] = [None, Some("truck"), Some("van"), Some("")];
            let mut away = Away::default();
            let mut sessions: Vec<Option<Modelled>> = vec![None; 12];
            for (departure, (key, owner, ends)) in (1..).zip(steps) {
                let session = key as SessionKey;
                sessions[key] = match sessions[key] {
                    None => {
                        away.begin(OWNERS[owner]);
                        Some((OWNERS[owner], None))
                    }
                    Some((owner, Some(since))) => {
                        away.come_back(owner, since);
                        if ends {
                            away.end(owner);
                        }
                        (!ends).then_some((owner, None))
                    }
                    Some((owner, None)) if ends => {
                        away.end(owner);
                        None
                    }
                    Some((owner, None)) => {
                        away.leave(owner, departure, session);
                        Some((owner, Some(departure)))
                    }
                };
                prop_assert_eq!(away.longest(), longest(&sessions, |_| true));
                prop_assert_eq!(away.len(), sessions.iter().flatten().filter(|(_, since)| since.is_some()).count());
                for owner in OWNERS {
                    let of_owner = sessions.iter().flatten().filter(|(other, _)| owner.is_some() && *other == owner);
                    prop_assert_eq!(away.sessions_of(owner), of_owner.count());
                    let expected = longest(&sessions, |other| owner.is_some() && other == owner);
                    prop_assert_eq!(away.longest_of(owner), expected, "{:?}", owner);
                }
            }
            for (owner, since) in sessions.into_iter().flatten() {
                since.into_iter().for_each(|since| away.come_back(owner, since));
                away.end(owner);
            }
            prop_assert!(away.sessions.is_empty() && away.of_owners.is_empty() && away.owners.is_empty());
        }
    }
}
