//! SUBSCRIBE and UNSUBSCRIBE.

use std::sync::Arc;

use super::message::Message;
use super::namespace::Namespace;
use super::session::{Backlog, Queued, Subscribed};
use super::share::Member;
use super::subscribers::{SessionKey, Subscriber, split_share};
use super::trie::has_place;
use super::turn::Turn;
use crate::mqtt::codec::{RetainHandling, ServerPacket, Subscription};

/// Retained messages that a session may have waiting; what its filters match beyond is not sent.
const RETAINED_WAITING_MAX: usize = 65_536;

const QUOTA_EXCEEDED: u8 = 0x97;
const NO_SUBSCRIPTION_EXISTED: u8 = 0x11;

/// A filter whose retained messages are to be sent.
struct WantsRetained {
    filter: Arc<str>,
    qos: u8,
    identifier: u32,
}

impl Namespace {
    pub(super) fn subscribe(
        &mut self,
        key: SessionKey,
        pkid: u16,
        identifier: Option<u32>,
        subscriptions: Vec<Subscription>,
        turn: &mut Turn,
    ) {
        let mut reasons = Vec::with_capacity(subscriptions.len());
        let mut wants = Vec::new();
        for options in subscriptions {
            let qos = options.qos;
            let is_added = self.subscribe_one(key, identifier.unwrap_or(0), options, &mut wants, turn);
            reasons.push(if is_added { qos } else { QUOTA_EXCEEDED });
        }
        if let Some(session) = self.sessions.get_mut(key as usize) {
            session.answer(ServerPacket::SubAck { pkid, reasons }, turn);
        }
        for want in wants {
            self.send_retained(key, &want, turn);
        }
    }

    /// Whether there was room for it.
    fn subscribe_one(
        &mut self,
        key: SessionKey,
        identifier: u32,
        options: Subscription,
        wants: &mut Vec<WantsRetained>,
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
            wants.push(WantsRetained { filter, qos, identifier });
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

    fn send_retained(&mut self, key: SessionKey, wants: &WantsRetained, turn: &mut Turn) {
        let Some(session) = self.sessions.get_mut(key as usize) else { return };
        let queued = |message: &Arc<Message>| Queued {
            message: Arc::clone(message),
            qos: message.qos.min(wants.qos),
            retain: true,
            identifiers: if wants.identifier == 0 { Box::default() } else { Box::new([wants.identifier]) },
            share: None,
        };
        let room = RETAINED_WAITING_MAX.saturating_sub(session.outgoing.retained.len());
        let matching = self.retained.matching(&wants.filter, turn.now);
        session.outgoing.retained.extend(matching.take(room).map(queued));
        if let Some(latest) = &turn.latest {
            session.latest.retain(|backlog| backlog.filter != wants.filter);
            let offers = latest.matching(&self.mount, &wants.filter);
            let filter = Arc::clone(&wants.filter);
            session.latest.push_back(Backlog { filter, offers, qos: wants.qos, identifier: wants.identifier });
        }
        session.flush(turn);
    }

    pub(super) fn unsubscribe(&mut self, key: SessionKey, pkid: u16, filters: &[String], turn: &mut Turn) {
        let mut reasons = Vec::with_capacity(filters.len());
        for filter in filters {
            let Some(session) = self.sessions.get_mut(key as usize) else { return };
            if session.subscriptions.remove(filter.as_str()).is_none() {
                reasons.push(NO_SUBSCRIPTION_EXISTED);
                continue;
            }
            session.latest.retain(|backlog| *backlog.filter != **filter);
            self.unstand(filter, key);
            turn.shared.unsubscribed(&self.mount, 1);
            reasons.push(0);
        }
        if let Some(session) = self.sessions.get_mut(key as usize) {
            session.answer(ServerPacket::UnsubAck { pkid, reasons }, turn);
        }
    }
}
