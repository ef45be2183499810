//! From namespaces to images, and back.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::Arc;

use super::super::away::Departure;
use super::super::message::Ms;
use super::super::namespace::Namespace;
use super::super::session::{Outgoing, Session};
use super::super::subscribers::SessionKey;
use super::super::turn::Turn;
use super::super::will::{PendingWill, expiry_s};
use super::{NamespaceImage, SessionImage};

impl Namespace {
    /// What of it outlives the process; a connected client counts as lost at this moment.
    pub(in crate::mqtt::router) fn image(&self, turn: &Turn) -> NamespaceImage {
        let mut sessions: Vec<_> = self.sessions.iter().map(|(_, session)| session).collect();
        // Those that are connected first, the longest away last.
        sessions.sort_unstable_by_key(|session| Reverse(session.departure.unwrap_or(Departure::MAX)));
        NamespaceImage {
            mount: self.mount.clone(),
            retained: self.retained.iter().map(Arc::clone).collect(),
            sessions: sessions.into_iter().filter_map(|session| image(session, turn)).collect(),
        }
    }

    /// Takes back what was saved of it, as far as the bounds of now have room: the longest away are left out, and those that
    /// are there are away in the order of before. The namespace is empty.
    pub(in crate::mqtt::router) fn restore(&mut self, image: NamespaceImage, turn: &mut Turn) {
        let mut left_out = 0;
        for message in &image.retained {
            left_out += usize::from(!self.retain(message, turn));
        }
        let mut keys = Vec::new();
        for session in image.sessions {
            if self.has_room(&session.client_id, turn) {
                keys.push(self.restore_session(session, turn));
            } else {
                left_out += 1;
            }
        }
        if left_out > 0 {
            tracing::warn!(
                left_out,
                "mqtt sessions or retained messages left out that mqtt.router has no room for any more"
            );
        }
        for key in keys.iter().rev() {
            self.go_away(*key, turn);
        }
        // When all are there: a will that is due by now has its subscribers.
        for key in keys {
            self.look(key, turn);
        }
    }

    fn restore_session(&mut self, image: SessionImage, turn: &mut Turn) -> SessionKey {
        let SessionImage { client_id, expires_at, will, subscriptions, received, pkid_last, in_flight, queue } = image;
        let expiry_s_max = turn.config.session_expiry_s_max;
        let session = self.begin(client_id, turn);
        let key = session.address.session;
        session.expires_at =
            if expiry_s_max == u32::MAX { expires_at } else { expires_at.min(turn.now.after_s(expiry_s_max)) };
        session.will = will;
        session.received.extend(received);
        session.outgoing = Outgoing::restored(VecDeque::from(in_flight), pkid_last);
        session.count(turn);
        for queued in queue {
            session.queue(queued, turn);
        }
        for subscribed in subscriptions {
            let filter: Arc<str> = subscribed.options.filter.as_str().into();
            self.stand(key, &filter, &subscribed.options, subscribed.identifier);
            if let Some(session) = self.sessions.get_mut(key as usize)
                && session.subscriptions.insert(filter, subscribed).is_none()
            {
                turn.shared.subscribed(&self.mount);
            }
        }
        key
    }
}

/// A session that is kept when its client is lost.
fn image(session: &Session, turn: &Turn) -> Option<SessionImage> {
    let (expires_at, will) = match &session.client {
        None => (session.expires_at, session.will.clone()),
        Some(client) => {
            let session_expiry_s = expiry_s(client.session_expiry_s, None, turn.config.session_expiry_s_max);
            let will = client.will.clone().map(|will| PendingWill::new(will, session_expiry_s, turn.now));
            (if session_expiry_s == u32::MAX { Ms::NEVER } else { turn.now.after_s(session_expiry_s) }, will)
        }
    };
    (expires_at > turn.now).then(|| SessionImage {
        client_id: session.client_id.clone(),
        expires_at,
        will,
        subscriptions: session.subscriptions.values().cloned().collect(),
        received: session.received.iter().copied().collect(),
        pkid_last: session.outgoing.pkid_last(),
        in_flight: session.outgoing.in_flight().cloned().collect(),
        queue: session.outgoing.queue.kept().cloned().collect(),
    })
}
