//! SUBSCRIBE and UNSUBSCRIBE.

use std::sync::Arc;

use hashbrown::HashMap;

use super::namespace::Namespace;
use super::owner;
use super::scan::Scan;
use super::session::{Backlog, Subscribed, Wanted};
use super::share::Member;
use super::subscribers::{SessionKey, Subscriber, split_share};
use super::trie::has_place;
use super::turn::Turn;
use crate::mqtt::codec::{RetainHandling, ServerPacket, Subscription};

const QUOTA_EXCEEDED: u8 = 0x97;
const NO_SUBSCRIPTION_EXISTED: u8 = 0x11;

/// Filters whose retained messages are to be sent, each once however often a packet has it, with the QoS of the last.
type Wants = HashMap<Arc<str>, u8, foldhash::quality::RandomState>;

impl Namespace {
    pub(super) fn subscribe(
        &mut self,
        key: SessionKey,
        pkid: u16,
        identifier: Option<u32>,
        subscriptions: Vec<Subscription>,
        turn: &mut Turn,
    ) {
        let identifier = identifier.unwrap_or(0);
        let mut reasons = Vec::with_capacity(subscriptions.len());
        let mut wants = Wants::default();
        for options in subscriptions {
            let qos = options.qos;
            let is_added = self.subscribe_one(key, identifier, options, &mut wants, turn);
            reasons.push(if is_added { qos } else { QUOTA_EXCEEDED });
        }
        if let Some(session) = self.sessions.get_mut(key as usize) {
            session.answer(ServerPacket::SubAck { pkid, reasons }, turn);
        }
        self.want_retained(key, &wants, identifier, turn);
    }

    /// Whether there was room for it.
    fn subscribe_one(
        &mut self,
        key: SessionKey,
        identifier: u32,
        options: Subscription,
        wants: &mut Wants,
        turn: &mut Turn,
    ) -> bool {
        let filter: Arc<str> = options.filter.as_str().into();
        let (group, plain) = split_share(&filter);
        let Some(session) = self.sessions.get_mut(key as usize) else { return false };
        let is_new = !session.subscriptions.contains_key(&*filter);
        if is_new && (session.subscriptions.len() >= turn.config.subscriptions_max || !has_place(plain)) {
            return false;
        }
        if is_new {
            turn.shared.subscribed(&self.mount);
        }
        let (qos, retain_handling, is_shared) = (options.qos, options.retain_handling, group.is_some());
        self.stand(key, &filter, &options, identifier);
        if let Some(session) = self.sessions.get_mut(key as usize) {
            session.subscriptions.insert(Arc::clone(&filter), Subscribed { options, identifier });
        }
        let wants_retained = match retain_handling {
            RetainHandling::Always => true,
            RetainHandling::IfNew => is_new,
            RetainHandling::Never => false,
        };
        // Not to a share (section 4.8.2).
        if wants_retained && !is_shared {
            wants.insert(filter, qos);
        }
        true
    }

    /// Puts a session's subscription where topics find it.
    pub(super) fn stand(&mut self, key: SessionKey, filter: &Arc<str>, options: &Subscription, identifier: u32) {
        let Subscription { qos, no_local, retain_as_published, .. } = *options;
        let (group, plain) = split_share(filter);
        let here = self.subscribers.at(plain);
        match group {
            Some(name) => {
                here.join(
                    name,
                    Member { session: key, filter: Arc::clone(filter), qos, retain_as_published, identifier },
                );
            }
            None => here.put(Subscriber { session: key, qos, no_local, retain_as_published, identifier }),
        }
    }

    /// Takes it away.
    pub(super) fn unstand(&mut self, filter: &str, key: SessionKey) {
        let (group, plain) = split_share(filter);
        if let Some(here) = self.subscribers.get(plain) {
            match group {
                Some(name) => here.leave(name, key),
                None => here.remove(key),
            }
        }
        self.subscribers.prune(plain);
    }

    /// Has the retained messages and latest fixes looked up that filters match, from the beginning if they are being looked up already.
    fn want_retained(&mut self, key: SessionKey, wants: &Wants, identifier: u32, turn: &mut Turn) {
        let Some(session) = self.sessions.get_mut(key as usize) else { return };
        session.wanted.retain(|wanted| !wants.contains_key(&wanted.scan.filter));
        session.latest.retain(|backlog| !wants.contains_key(&backlog.filter));
        for (filter, qos) in wants {
            let (filter, qos) = (Arc::clone(filter), *qos);
            if turn.latest.is_some() {
                session.latest.push_back(Backlog { filter: Arc::clone(&filter), offers: None, qos, identifier });
            }
            session.wanted.push_back(Wanted { scan: Scan::new(filter), qos, identifier });
        }
        session.flush(turn);
    }

    /// Looks up retained messages and then latest fixes for a session whose turn it is; each topic and each driver that is looked
    /// at takes one of the steps.
    pub(super) fn look_up(&mut self, key: SessionKey, steps: &mut usize, turn: &mut Turn) {
        let Self { mount, sessions, retained, .. } = self;
        let Some(session) = sessions.get_mut(key as usize) else { return };
        session.is_looking = false;
        while *steps > 0
            && session.outgoing.takes_retained()
            && let Some(wanted) = session.wanted.front_mut()
        {
            if let Some(message) = retained.next_matching(&mut wanted.scan, steps, turn.now) {
                session.outgoing.push_retained(wanted.queued(message));
            } else if wanted.scan.is_over() {
                session.wanted.pop_front();
            }
        }
        if let Some(latest) = &turn.latest {
            session.look_up_latest(mount, steps, &**latest);
        }
        session.flush(turn);
    }

    pub(super) fn unsubscribe(&mut self, key: SessionKey, pkid: u16, filters: &[String], turn: &mut Turn) {
        let mut reasons = Vec::with_capacity(filters.len());
        for filter in filters {
            let existed = self.unsubscribe_one(key, filter, turn);
            reasons.push(if existed { 0 } else { NO_SUBSCRIPTION_EXISTED });
        }
        if let Some(session) = self.sessions.get_mut(key as usize) {
            session.answer(ServerPacket::UnsubAck { pkid, reasons }, turn);
        }
    }

    /// Whether there was such a subscription.
    fn unsubscribe_one(&mut self, key: SessionKey, filter: &str, turn: &mut Turn) -> bool {
        let Some(session) = self.sessions.get_mut(key as usize) else { return false };
        if session.subscriptions.remove(filter).is_none() {
            return false;
        }
        session.wanted.retain(|wanted| *wanted.scan.filter != *filter);
        session.latest.retain(|backlog| *backlog.filter != *filter);
        self.unstand(filter, key);
        turn.shared.unsubscribed(&self.mount, 1);
        true
    }

    /// Ends those subscriptions of a kept session that its client may not have any more, so that nothing is queued for it that it
    /// would not be given.
    pub(super) fn keep_allowed(&mut self, key: SessionKey, may_subscribe: &dyn Fn(&str) -> bool, turn: &mut Turn) {
        let Some(session) = self.sessions.get(key as usize) else { return };
        let lost: Vec<Arc<str>> =
            session.subscriptions.keys().filter(|filter| !may_subscribe(filter)).map(Arc::clone).collect();
        if lost.is_empty() {
            return;
        }
        let (_, client_id) = owner::split(&session.client_id);
        tracing::info!(
            client_id,
            subscriptions = lost.len(),
            "kept subscriptions ended that their client may not have any more"
        );
        for filter in lost {
            self.unsubscribe_one(key, &filter, turn);
        }
    }
}
