//! Where a message goes: to everybody whose filter matches, and to one of each group that shares one.

use std::sync::Arc;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::message::Message;
use super::namespace::Namespace;
use super::session::{Outgoing, Queued, Stage};
use super::share::{Member, Readiness};
use super::subscribers::{SessionKey, Subscriber, split_share};
use super::turn::Turn;

/// Who gets a message, and how.
#[derive(Debug)]
pub(super) struct Target {
    session: SessionKey,
    qos: u8,
    retain: bool,
    identifiers: Vec<u32>,
    share: Option<Arc<str>>,
}

impl Target {
    fn subscriber(subscriber: &Subscriber, message: &Message) -> Self {
        Self {
            session: subscriber.session,
            qos: message.qos.min(subscriber.qos),
            retain: message.retain && subscriber.retain_as_published,
            identifiers: identifiers(subscriber.identifier),
            share: None,
        }
    }

    fn member(member: &Member, message: &Message) -> Self {
        Self {
            session: member.session,
            qos: message.qos.min(member.qos),
            retain: message.retain && member.retain_as_published,
            identifiers: identifiers(member.identifier),
            share: Some(Arc::clone(&member.filter)),
        }
    }

    /// Two subscriptions of a session are one delivery: at the higher QoS, and with the identifiers of both [MQTT-3.3.4-2,
    /// MQTT-3.3.4-3].
    fn merge(&mut self, other: Self) {
        self.qos = self.qos.max(other.qos);
        self.retain |= other.retain;
        self.identifiers.extend(other.identifiers);
    }

    fn queued(self, message: &Arc<Message>) -> (SessionKey, Queued) {
        let Self { session, qos, retain, identifiers, share } = self;
        let queued =
            Queued { message: Arc::clone(message), qos, retain, identifiers: identifiers.into_boxed_slice(), share };
        (session, queued)
    }
}

/// An empty list allocates nothing.
fn identifiers(identifier: u32) -> Vec<u32> {
    if identifier == 0 { Vec::new() } else { vec![identifier] }
}

impl Namespace {
    /// Keeps or clears the retained message, and brings the message to all who wait for it.
    pub(super) fn publish(&mut self, message: Message, turn: &mut Turn) {
        let message = Arc::new(message);
        if message.retain {
            turn.is_unsaved = true;
            if !self.retain(&message, turn) {
                tracing::debug!("no room for another retained message, delivered and not kept");
                turn.shared.count_unretained();
            }
        }
        self.find_targets(&message, turn.bytes_at_once_max());
        let mut targets = std::mem::take(&mut self.targets);
        for target in targets.drain(..) {
            let (session, queued) = target.queued(&message);
            if let Some(session) = self.sessions.get_mut(session as usize) {
                session.offer(queued, turn);
            }
        }
        self.targets = targets;
    }

    /// Keeps or clears a retained message. Whether there was room.
    pub(super) fn retain(&mut self, message: &Arc<Message>, turn: &mut Turn) -> bool {
        let before = self.retained.bytes();
        let has_room = self.retained.take(message, turn.retained_bytes_max(before), turn.now);
        turn.retained_bytes = turn.retained_bytes - before + self.retained.bytes();
        has_room
    }

    fn find_targets(&mut self, message: &Message, bytes_at_once_max: usize) {
        let Self { sessions, subscribers, targets, .. } = self;
        let readiness = |key: SessionKey| {
            sessions.get(key as usize).map_or(Readiness::Away, |session| session.readiness(bytes_at_once_max))
        };
        let mut places = 0;
        // Where a session stands among the targets, once it may stand at more than one filter.
        let mut found: HashMap<SessionKey, usize, foldhash::fast::RandomState> = HashMap::default();
        let mut shared = Vec::new();
        subscribers.visit(&message.topic, &mut |here| {
            places += usize::from(!here.plain().is_empty());
            if places == 2 && found.is_empty() {
                found.extend(targets.iter().enumerate().map(|(place, target)| (target.session, place)));
            }
            for subscriber in here.plain() {
                let number = sessions.get(subscriber.session as usize).map(|session| session.address.number);
                if subscriber.no_local && number == Some(message.publisher) {
                    continue;
                }
                let target = Target::subscriber(subscriber, message);
                if places > 1 {
                    match found.entry(subscriber.session) {
                        Entry::Occupied(place) => {
                            targets[*place.get()].merge(target);
                            continue;
                        }
                        Entry::Vacant(free) => {
                            free.insert(targets.len());
                        }
                    }
                }
                targets.push(target);
            }
            for group in here.groups() {
                shared.extend(group.pick(readiness).map(|member| Target::member(member, message)));
            }
        });
        // A share is a delivery of its own, whatever else its member subscribes to.
        targets.append(&mut shared);
    }

    /// Gives to other members what a session that ended had of its groups: what it was never sent, and what it did not
    /// acknowledge at QoS 1.
    pub(super) fn pass_on(&mut self, outgoing: &Outgoing, turn: &mut Turn) {
        let unanswered = outgoing.in_flight().filter_map(|flying| match &flying.stage {
            Stage::Sent(queued) if queued.qos == 1 => Some(queued),
            _ => None,
        });
        for queued in unanswered.chain(outgoing.queue.kept()) {
            let Some(filter) = &queued.share else { continue };
            let (Some(name), plain) = split_share(filter) else { continue };
            let (sessions, bytes_max) = (&self.sessions, turn.bytes_at_once_max());
            let readiness = |key: SessionKey| {
                sessions.get(key as usize).map_or(Readiness::Away, |session| session.readiness(bytes_max))
            };
            let group = self.subscribers.get(plain).and_then(|here| here.group(name));
            let Some(member) = group.and_then(|group| group.pick(readiness)) else { continue };
            let (key, queued) = Target::member(member, &queued.message).queued(&queued.message);
            if let Some(session) = self.sessions.get_mut(key as usize) {
                session.offer(queued, turn);
            }
        }
    }
}
