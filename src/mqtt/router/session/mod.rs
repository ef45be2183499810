//! A session: what a client subscribed to, what is under way to it, and how long it is kept while the client is away. What
//! concerns others too (publishing, ending) is its namespace's.

mod outgoing;
mod queue;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use hashbrown::HashMap;

use super::away::Departure;
use super::latest::Offers;
use super::link::{LinkId, Outbox, Window};
use super::message::{Message, Ms};
use super::scan::Scan;
use super::share::Readiness;
use super::turn::Turn;
use super::will::{PendingWill, Will};
use super::{Flow, FromRouter, Latest, Mount, Offer};
use crate::mqtt::codec::{Publish, PublishProperties, ServerPacket, Subscription, Version, encode};

pub(super) use self::outgoing::{Answer, Flying, Next, Outgoing, Stage};
pub(super) use self::queue::{Bounds, Queued};

/// Where a session is, and which of those that had the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// Of its namespace.
    pub(super) namespace: usize,
    pub(super) session: u32,
    /// Never given to another session.
    pub(super) number: u64,
}

/// The connected client.
pub(super) struct Client {
    pub(super) link: LinkId,
    pub(super) window: Arc<Window>,
    pub(super) outbox: Outbox,
    pub(super) version: Version,
    pub(super) will: Option<Will>,
    pub(super) session_expiry_s: u32,
    pub(super) receive_maximum: u16,
    pub(super) unreleased_max: u16,
    pub(super) packet_bytes_max: Option<u32>,
    /// Set while its outbox is full.
    pub(super) paused_since: Option<Ms>,
}

/// One subscription as its session knows it.
#[derive(Clone, Debug)]
pub(super) struct Subscribed {
    pub(super) options: Subscription,
    /// 0: none.
    pub(super) identifier: u32,
}

/// Retained messages that a subscription asked for, as far as they were not looked up yet.
pub(super) struct Wanted {
    pub(super) scan: Scan,
    /// Most QoS of their deliveries.
    pub(super) qos: u8,
    /// 0: none.
    pub(super) identifier: u32,
}

impl Wanted {
    /// One of them.
    pub(super) fn queued(&self, message: &Arc<Message>) -> Queued {
        Queued {
            message: Arc::clone(message),
            qos: message.qos.min(self.qos),
            retain: true,
            identifiers: if self.identifier == 0 { Box::default() } else { Box::new([self.identifier]) },
            share: None,
        }
    }
}

/// Latest fixes that a subscription asked for.
pub(super) struct Backlog {
    pub(super) filter: Arc<str>,
    /// What is left of them, from the first look on.
    pub(super) offers: Option<Offers>,
    /// Most QoS of their deliveries.
    pub(super) qos: u8,
    /// 0: none.
    pub(super) identifier: u32,
}

impl Backlog {
    /// One of them.
    fn queued(&self, (topic, payload): Offer) -> Queued {
        let qos = OFFER_QOS.min(self.qos);
        Queued {
            message: Arc::new(Message::fix(topic, payload, qos)),
            qos,
            retain: true,
            identifiers: if self.identifier == 0 { Box::default() } else { Box::new([self.identifier]) },
            share: None,
        }
    }
}

/// The quality of service of a latest fix; a subscription may lower it.
const OFFER_QOS: u8 = 1;

/// See the module.
pub(super) struct Session {
    pub(super) address: Address,
    pub(super) client_id: Box<str>,
    pub(super) client: Option<Client>,
    /// By filter, share group and all.
    pub(super) subscriptions: HashMap<Arc<str>, Subscribed, foldhash::fast::RandomState>,
    pub(super) outgoing: Outgoing,
    /// What of what it holds for its client is counted among what is held for all.
    pub(super) counted_bytes: usize,
    /// Retained messages that subscriptions asked for, to be looked up as their client takes them.
    pub(super) wanted: VecDeque<Wanted>,
    /// Whether it has its place among those whose turn it is to look some up.
    pub(super) is_looking: bool,
    /// Latest fixes that subscriptions asked for, to be looked up when everything else is sent.
    pub(super) latest: VecDeque<Backlog>,
    /// Packet ids of the client's publishes at QoS 2 that it has not released [MQTT-4.3.3-10].
    pub(super) received: HashSet<u16, foldhash::fast::RandomState>,
    pub(super) will: Option<PendingWill>,
    /// When its client left, if it is away.
    pub(super) departure: Option<Departure>,
    /// When it ends, while its client is away.
    pub(super) expires_at: Ms,
    /// The soonest time that the timers look at it.
    pub(super) looked_at: Ms,
}

impl Session {
    pub(super) fn new(address: Address, client_id: Box<str>) -> Self {
        Self {
            address,
            client_id,
            client: None,
            subscriptions: HashMap::default(),
            outgoing: Outgoing::default(),
            counted_bytes: 0,
            wanted: VecDeque::new(),
            is_looking: false,
            latest: VecDeque::new(),
            received: HashSet::default(),
            will: None,
            departure: None,
            expires_at: Ms::NEVER,
            looked_at: Ms::NEVER,
        }
    }

    /// How soon a message would be sent that comes now, if so many bytes may be [held at once](Turn::bytes_at_once_max).
    pub(super) fn readiness(&self, bytes_max: usize) -> Readiness {
        let Some(client) = &self.client else { return Readiness::Away };
        let goes_at_once = client.paused_since.is_none() && self.outgoing.has_room(client.receive_maximum, bytes_max);
        if goes_at_once { Readiness::Now } else { Readiness::Later }
    }

    /// Takes a message for the client, to be sent now or when its turn comes. At QoS 0 it is not kept for one that is away.
    pub(super) fn offer(&mut self, queued: Queued, turn: &mut Turn) {
        if self.client.is_none() && queued.qos == 0 {
            return;
        }
        turn.is_unsaved |= queued.qos > 0 && self.client.as_ref().is_none_or(|client| client.session_expiry_s > 0);
        self.queue(queued, turn);
        self.flush(turn);
    }

    /// Has a message wait, and whatever has to give way for it be lost.
    pub(super) fn queue(&mut self, queued: Queued, turn: &mut Turn) {
        let goes_at_once = self.readiness(turn.bytes_at_once_max()) == Readiness::Now;
        let bounds = if goes_at_once { turn.queue_bounds_at_once() } else { turn.queue_bounds(self.counted_bytes) };
        let lost = self.outgoing.push(queued, bounds);
        turn.lost(lost);
        self.count(turn);
    }

    /// Has what it holds now counted among what is held for all.
    pub(super) fn count(&mut self, turn: &mut Turn) {
        let bytes = self.outgoing.bytes();
        turn.queue_bytes = turn.queue_bytes - self.counted_bytes + bytes;
        self.counted_bytes = bytes;
    }

    /// Sends what may be sent, and asks for its turn if there is more to be looked up for it.
    pub(super) fn flush(&mut self, turn: &mut Turn) {
        self.send(turn);
        self.count(turn);
        let may_go_on = self.client.as_ref().is_some_and(|client| client.paused_since.is_none());
        let has_more = !self.wanted.is_empty() || self.may_look_up_latest();
        if may_go_on
            && !self.is_looking
            && has_more
            && !self.outgoing.has_retained()
            && self.outgoing.has_bytes(turn.bytes_at_once_max())
        {
            self.is_looking = true;
            turn.lookups.push(self.address);
        }
    }

    /// Latest fixes come after all that came meanwhile, so that none is older than what the client has.
    fn may_look_up_latest(&self) -> bool {
        !self.latest.is_empty() && self.wanted.is_empty() && self.outgoing.is_idle()
    }

    fn send(&mut self, turn: &mut Turn) {
        while let Some(client) = &self.client
            && client.paused_since.is_none()
        {
            let (version, bytes_max, receive_maximum) =
                (client.version, client.packet_bytes_max, client.receive_maximum);
            let Some(next) = self.outgoing.next(receive_maximum, turn.config.queue_bytes_max) else { return };
            let (queued, pkid, dup) = match next {
                Next::Release { pkid } => {
                    self.answer(ServerPacket::PubRel { pkid, reason: 0 }, turn);
                    continue;
                }
                Next::AtMostOnce(queued) => (queued, 0, false),
                Next::Publish { queued, pkid, dup } => (queued, pkid, dup),
            };
            let has_expired = queued.message.expires_at <= turn.now;
            // Whatever the client may have seen already is brought to its end [MQTT-4.4.0-1], if it takes it still.
            let publish = Some(publish(&queued, version, pkid, dup, turn.now)).filter(|_| dup || !has_expired);
            match publish.filter(|publish| fits(version, bytes_max, publish)) {
                Some(publish) => self.answer(ServerPacket::Publish(publish), turn),
                // Too large or too late. Sent again to a client that takes less now, it would hold its place for good.
                None => self.outgoing.take_back(pkid),
            }
        }
    }

    /// Looks up some of the latest fixes that were asked for, when their time has come; each driver that is looked at takes one of
    /// the steps.
    pub(super) fn look_up_latest(&mut self, mount: &Mount, steps: &mut usize, latest: &dyn Latest) {
        if !self.may_look_up_latest() {
            return;
        }
        while *steps > 0
            && self.outgoing.takes_retained()
            && let Some(backlog) = self.latest.front_mut()
        {
            *steps -= 1;
            match backlog.offers.get_or_insert_with(|| latest.matching(mount, &backlog.filter)).next() {
                Some(Some(offer)) => self.outgoing.push_retained(backlog.queued(offer)),
                Some(None) => {}
                None => drop(self.latest.pop_front()),
            }
        }
    }

    pub(super) fn answer(&mut self, packet: ServerPacket, turn: &mut Turn) {
        self.tell(FromRouter::Packet(packet), turn);
    }

    pub(super) fn tell(&mut self, packet: FromRouter, turn: &mut Turn) {
        if let Some(client) = &mut self.client
            && turn.post.deliver(&client.outbox, packet) == Flow::Pause
            && client.paused_since.is_none()
        {
            client.paused_since = Some(turn.now);
            self.look_at(turn);
        }
    }

    /// When something becomes of it by itself.
    pub(super) fn deadline(&self, turn: &Turn) -> Ms {
        let stalled = self.client.as_ref().and_then(|client| client.paused_since);
        let stalled = stalled.map_or(Ms::NEVER, |since| since.after_s(turn.config.stalled_s_max));
        let will = self.will.as_ref().map_or(Ms::NEVER, |will| will.due);
        stalled.min(will).min(self.expires_at)
    }

    /// Has the timers look at it when its time comes.
    pub(super) fn look_at(&mut self, turn: &mut Turn) {
        let deadline = self.deadline(turn);
        if deadline < self.looked_at {
            self.looked_at = deadline;
            turn.timers.set(deadline, self.address);
        }
    }
}

/// A message as a publish for a client, with what is left of its lifetime [MQTT-3.3.2-6].
fn publish(queued: &Queued, version: Version, pkid: u16, dup: bool, now: Ms) -> Publish {
    let Message { topic, payload, expires_at, properties, .. } = &*queued.message;
    let has_properties = properties.is_some() || !queued.identifiers.is_empty() || *expires_at != Ms::NEVER;
    let properties = (version == Version::V5 && has_properties).then(|| {
        let mut properties = properties.clone().unwrap_or_default();
        properties.subscription_identifiers = queued.identifiers.to_vec();
        properties.message_expiry_s = (*expires_at != Ms::NEVER).then(|| expires_at.left_s(now));
        properties
    });
    Publish {
        dup,
        qos: queued.qos,
        retain: queued.retain,
        topic: Arc::clone(topic),
        pkid,
        payload: payload.clone(),
        properties: properties.filter(|properties| **properties != PublishProperties::default()),
    }
}

/// Whether the client takes a packet of this size [MQTT-3.1.2-24].
fn fits(version: Version, packet_bytes_max: Option<u32>, publish: &Publish) -> bool {
    let Some(bytes_max) = packet_bytes_max else { return true };
    let mut bytes = Vec::new();
    encode(version, &ServerPacket::Publish(publish.clone()), &mut bytes);
    bytes.len() <= bytes_max as usize
}

#[cfg(test)]
mod tests {
    use super::super::shared::ClientName;
    use super::*;

    #[test]
    fn a_session_is_as_cheap_as_the_configuration_says() {
        // With its entries by client id, by owner and among those that are away.
        let names = size_of::<ClientName>() + size_of::<(Box<str>, u32)>() + size_of::<(Box<str>, u64, usize)>();
        let places = size_of::<(Departure, u32)>() + size_of::<(u64, Departure, u32)>();
        let bytes = size_of::<Session>() + names + places;
        assert!(bytes <= 800, "{bytes}");
    }
}
