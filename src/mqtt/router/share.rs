//! Share groups: each message of a filter goes to one of the sessions that share it [MQTT-4.8.2].
//!
//! Members take turns. One that is connected and has room comes before one that has to queue, and that before one whose client
//! is away. When a session ends, what it had of a group and never acknowledged goes to another member, but for messages at QoS 2
//! that were sent to it already [MQTT-4.8.2-5].

use std::sync::Arc;

use super::subscribers::SessionKey;

/// How soon a session could pass a message on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Readiness {
    /// At once.
    Now,
    /// Its client is there and has to take others first.
    Later,
    /// Its client is not there.
    Away,
}

/// A session's part in a group.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) session: SessionKey,
    /// The filter as it was subscribed to, group and all.
    pub(super) filter: Arc<str>,
    pub(super) qos: u8,
    pub(super) retain_as_published: bool,
    /// 0: none.
    pub(super) identifier: u32,
}

/// Those who share a filter under one name.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: Box<str>,
    members: Vec<Member>,
    /// Whose turn it is.
    next: usize,
}

impl Group {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.into(), members: Vec::new(), next: 0 }
    }

    /// Adds or replaces a session's part.
    pub(super) fn join(&mut self, member: Member) {
        match self.members.iter_mut().find(|other| other.session == member.session) {
            Some(there) => *there = member,
            None => self.members.push(member),
        }
    }

    pub(super) fn leave(&mut self, session: SessionKey) {
        if let Some(place) = self.members.iter().position(|member| member.session == session) {
            self.members.remove(place);
            if place < self.next {
                self.next -= 1;
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Who gets the next message.
    pub(super) fn pick(&mut self, readiness: impl Fn(SessionKey) -> Readiness) -> Option<&Member> {
        let count = self.members.len();
        let mut best: Option<(Readiness, usize)> = None;
        for turn in 0..count {
            let place = (self.next + turn) % count;
            let ready = readiness(self.members[place].session);
            if best.is_none_or(|(other, _)| ready < other) {
                best = Some((ready, place));
            }
            if ready == Readiness::Now {
                break;
            }
        }
        let (_, place) = best?;
        self.next = (place + 1) % count;
        self.members.get(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(sessions: &[u32]) -> Group {
        let mut group = Group::new("g");
        for session in sessions {
            group.join(Member {
                session: *session,
                filter: "$share/g/a".into(),
                qos: 1,
                retain_as_published: false,
                identifier: 0,
            });
        }
        group
    }

    fn picks(group: &mut Group, count: usize, readiness: impl Fn(SessionKey) -> Readiness) -> Vec<u32> {
        (0..count).map(|_| group.pick(&readiness).unwrap().session).collect()
    }

    #[test]
    fn members_take_turns() {
        let mut group = group(&[1, 2, 3]);
        assert_eq!(picks(&mut group, 4, |_| Readiness::Now), [1, 2, 3, 1]);
        group.leave(1);
        assert_eq!(picks(&mut group, 3, |_| Readiness::Now), [2, 3, 2]);
        group.join(Member { qos: 0, ..group.members[0].clone() });
        assert_eq!(group.members.len(), 2, "a member joins once");
        group.leave(2);
        group.leave(3);
        assert!(group.is_empty() && group.pick(|_| Readiness::Now).is_none());
    }

    #[test]
    fn who_has_room_comes_first() {
        let mut group = group(&[1, 2, 3]);
        let only_two = |session| if session == 2 { Readiness::Now } else { Readiness::Later };
        assert_eq!(picks(&mut group, 2, only_two), [2, 2]);
        let away = |session| if session == 3 { Readiness::Later } else { Readiness::Away };
        assert_eq!(picks(&mut group, 2, away), [3, 3]);
        assert_eq!(picks(&mut group, 3, |_| Readiness::Away), [1, 2, 3], "they get it when they are back");
    }
}
