//! One namespace with all that is in it: sessions, who subscribes to what, and retained messages. A tenant has its own, so that
//! no wildcard, share group, retained message, will or take-over can reach another's.
//!
//! How sessions begin and end is here; what their clients say, where messages go and what is subscribed to each have a file.

use hashbrown::HashMap;
use slab::Slab;

use super::away::Away;
use super::link::Ending;
use super::message::{Message, Ms};
use super::owner;
use super::retained::Retained;
use super::routing::Target;
use super::session::{Address, Client, Session};
use super::shared::ClientName;
use super::subscribers::{SessionKey, Subscribers};
use super::trie::Trie;
use super::turn::Turn;
use super::will::{PendingWill, Will, expiry_s};
use super::{CloseReason, Config, FromRouter, Mount, WillFate};

/// A client that attaches.
pub(super) struct Arrival {
    pub(super) client_id: Box<str>,
    pub(super) clean_start: bool,
    /// As in [`Attach`](super::Attach).
    pub(super) may_subscribe: Box<dyn Fn(&str) -> bool + Send>,
    pub(super) client: Client,
}

/// See the module.
pub(super) struct Namespace {
    pub(super) mount: Mount,
    /// Its place among the namespaces.
    index: usize,
    pub(super) sessions: Slab<Session>,
    by_client: HashMap<Box<str>, SessionKey, foldhash::quality::RandomState>,
    away: Away,
    pub(super) subscribers: Trie<Subscribers>,
    pub(super) retained: Retained,
    /// Who gets a message, while that is found out.
    pub(super) targets: Vec<Target>,
}

impl Namespace {
    pub(super) fn new(mount: Mount, index: usize, config: &Config) -> Self {
        Self {
            mount,
            index,
            sessions: Slab::new(),
            by_client: HashMap::default(),
            away: Away::default(),
            subscribers: Trie::default(),
            retained: Retained::new(config.retained_max),
            targets: Vec::new(),
        }
    }

    /// Whether there is nothing in it that anybody would miss.
    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.retained.is_empty()
    }

    /// A session that is still the one that was meant.
    pub(super) fn session(&mut self, address: Address) -> Option<&mut Session> {
        let session = self.sessions.get_mut(address.session as usize)?;
        (session.address == address).then_some(session)
    }

    /// Begins a session under a client id that has none.
    pub(super) fn begin(&mut self, client_id: Box<str>, turn: &mut Turn) -> &mut Session {
        let entry = self.sessions.vacant_entry();
        let address = Address { namespace: self.index, session: entry.key() as u32, number: turn.number() };
        self.by_client.insert(client_id.clone(), address.session);
        self.away.begin(owner::split(&client_id).0);
        turn.shared.sessions.insert(ClientName { mount: self.mount.clone(), client_id: client_id.clone() });
        entry.insert(Session::new(address, client_id))
    }

    /// Gives a client its session: a kept one, or a new one.
    pub(super) fn attach(&mut self, arrival: Arrival, turn: &mut Turn) {
        let Arrival { client_id, clean_start, may_subscribe, client } = arrival;
        if let Some(key) = self.by_client.get(&client_id).copied() {
            self.leave(key, CloseReason::TakenOver, turn);
        }
        // It may have ended with its client.
        let kept = self.by_client.get(&client_id).copied();
        if let Some(key) = kept.filter(|_| clean_start) {
            self.end(key, turn);
        }
        let kept = kept.filter(|_| !clean_start);
        let session = match kept {
            Some(key) => {
                self.come_back(key, turn);
                self.keep_allowed(key, &may_subscribe, turn);
                &mut self.sessions[key as usize]
            }
            None if !self.make_room(&client_id, turn) => {
                turn.post.close(client.outbox, CloseReason::QuotaExceeded);
                return;
            }
            None => self.begin(client_id, turn),
        };
        session.expires_at = Ms::NEVER;
        // The client is back before its will was due [MQTT-3.1.3-9].
        session.will = None;
        turn.links.insert(client.link, session.address);
        session.client = Some(client);
        session.tell(FromRouter::Attached { session_present: kept.is_some() }, turn);
        session.outgoing.begin_again();
        session.flush(turn);
    }

    /// Whether a session is there under this client id.
    pub(super) fn has_session(&self, client_id: &str) -> bool {
        self.by_client.contains_key(client_id)
    }

    /// Whether another session may begin under a client id.
    pub(super) fn has_room(&self, client_id: &str, turn: &Turn) -> bool {
        self.has_room_of_its_own(client_id, turn) && turn.shared.sessions.len() < turn.config.sessions_max
    }

    /// Whether neither the owner nor the tenant of a client id has all the sessions that it may have.
    pub(super) fn has_room_of_its_own(&self, client_id: &str, turn: &Turn) -> bool {
        self.has_room_of_owner(client_id, turn) && self.has_room_of_tenant(turn)
    }

    fn has_room_of_owner(&self, client_id: &str, turn: &Turn) -> bool {
        self.away.sessions_of(owner::split(client_id).0) < turn.config.sessions_per_owner_max
    }

    fn has_room_of_tenant(&self, turn: &Turn) -> bool {
        self.mount == Mount::Open || self.sessions.len() < turn.config.sessions_per_tenant_max
    }

    /// Sees to it that another session may begin: an owner or a tenant that has all that it may have makes room with its own,
    /// and nobody else's.
    fn make_room(&mut self, client_id: &str, turn: &mut Turn) -> bool {
        if !self.has_room_of_owner(client_id, turn) {
            self.give_up(self.away.longest_of(owner::split(client_id).0), turn);
        } else if !self.has_room_of_tenant(turn) {
            self.give_up_longest_away(turn);
        }
        self.has_room(client_id, turn)
    }

    /// Ends the session whose client is away for the longest, if one is.
    pub(super) fn give_up_longest_away(&mut self, turn: &mut Turn) {
        self.give_up(self.away.longest(), turn);
    }

    /// Ends a session that is away, so that another may begin.
    fn give_up(&mut self, key: Option<SessionKey>, turn: &mut Turn) {
        let Some(session) = key.and_then(|key| self.sessions.get(key as usize)) else { return };
        let (_, client_id) = owner::split(&session.client_id);
        tracing::info!(client_id, "kept session ended for want of room, another began");
        self.end(session.address.session, turn);
    }

    /// A session is not away any more: its client is back, or it ends.
    fn come_back(&mut self, key: SessionKey, turn: &mut Turn) {
        let Some(session) = self.sessions.get_mut(key as usize) else { return };
        if let Some(departure) = session.departure.take() {
            self.away.come_back(owner::split(&session.client_id).0, departure);
            turn.away.set(self.index, self.away.len());
        }
    }

    /// A session has no client from now on.
    pub(super) fn go_away(&mut self, key: SessionKey, turn: &mut Turn) {
        let Some(session) = self.sessions.get_mut(key as usize) else { return };
        let departure = turn.number();
        session.departure = Some(departure);
        self.away.leave(owner::split(&session.client_id).0, departure, key);
        turn.away.set(self.index, self.away.len());
    }

    /// Ends the session under a client id, if there is one.
    pub(super) fn forget(&mut self, client_id: &str, turn: &mut Turn) {
        if let Some(key) = self.by_client.get(client_id).copied() {
            self.leave(key, CloseReason::TakenOver, turn);
            self.end(key, turn);
        }
    }

    /// Ends the connection from this side.
    pub(super) fn leave(&mut self, key: SessionKey, reason: CloseReason, turn: &mut Turn) {
        let Some(client) = self.sessions.get_mut(key as usize).and_then(|session| session.client.take()) else {
            return;
        };
        turn.links.remove(&client.link);
        turn.post.close(client.outbox, reason);
        let session_expiry_s = expiry_s(client.session_expiry_s, None, turn.config.session_expiry_s_max);
        self.detached(key, client.will, session_expiry_s, turn);
    }

    /// The door ended the connection.
    pub(super) fn detach(&mut self, key: SessionKey, ending: Ending, turn: &mut Turn) {
        let Some(client) = self.sessions.get_mut(key as usize).and_then(|session| session.client.take()) else {
            return;
        };
        turn.links.remove(&client.link);
        client.outbox.silence();
        let will = client.will.filter(|_| ending.will == WillFate::Publish);
        let most_s = turn.config.session_expiry_s_max;
        self.detached(key, will, expiry_s(client.session_expiry_s, ending.session_expiry_s, most_s), turn);
    }

    /// Without a client now: the will is published, or waits; the session is kept, or not.
    fn detached(&mut self, key: SessionKey, will: Option<Will>, session_expiry_s: u32, turn: &mut Turn) {
        let Some(session) = self.sessions.get_mut(key as usize) else { return };
        session.will = will.map(|will| PendingWill::new(will, session_expiry_s, turn.now));
        // The largest is for good [MQTT-3.1.2.11.2].
        session.expires_at = if session_expiry_s == u32::MAX { Ms::NEVER } else { turn.now.after_s(session_expiry_s) };
        self.go_away(key, turn);
        self.look(key, turn);
    }

    /// Looks at what became of a session by itself.
    pub(super) fn look(&mut self, key: SessionKey, turn: &mut Turn) {
        let Some(session) = self.sessions.get(key as usize) else { return };
        if session.will.as_ref().is_some_and(|will| will.due <= turn.now) {
            self.publish_will(key, turn);
        }
        let Some(session) = self.sessions.get(key as usize) else { return };
        if session.expires_at <= turn.now {
            self.end(key, turn);
            return;
        }
        let paused_since = session.client.as_ref().and_then(|client| client.paused_since);
        if paused_since.is_some_and(|since| since.after_s(turn.config.stalled_s_max) <= turn.now) {
            let (_, client_id) = owner::split(&session.client_id);
            tracing::info!(client_id, "subscriber does not read, cut");
            self.leave(key, CloseReason::Stalled, turn);
        }
        if let Some(session) = self.sessions.get_mut(key as usize) {
            session.look_at(turn);
        }
    }

    /// Ends a session whose client has left.
    fn end(&mut self, key: SessionKey, turn: &mut Turn) {
        self.publish_will(key, turn);
        self.come_back(key, turn);
        let Some(session) = self.sessions.try_remove(key as usize) else { return };
        self.by_client.remove(&session.client_id);
        self.away.end(owner::split(&session.client_id).0);
        turn.queue_bytes -= session.counted_bytes;
        for filter in session.subscriptions.keys() {
            self.unstand(filter, key);
        }
        turn.shared.unsubscribed(&self.mount, session.subscriptions.len());
        turn.shared.sessions.remove(&ClientName { mount: self.mount.clone(), client_id: session.client_id });
        self.pass_on(&session.outgoing, turn);
    }

    fn publish_will(&mut self, key: SessionKey, turn: &mut Turn) {
        let Some(session) = self.sessions.get_mut(key as usize) else { return };
        let Some(will) = session.will.take() else { return };
        let message = Message::published(will.into_publish(), session.address.number, turn.now);
        self.publish(message, turn);
    }
}
