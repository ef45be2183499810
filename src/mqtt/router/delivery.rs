//! What a session has under way to its client: the queue before the window, the window, and the acknowledgements owed to
//! the router. Pure state; the session sends what it says.

use std::collections::VecDeque;

use super::message::ExpiryMs;
use super::rumqttd::PKID_MAX;
use crate::mqtt::codec::{Publish, ServerPacket};

/// Deliveries in flight at most, whatever the client's receive maximum.
const IN_FLIGHT_MAX: usize = 1_000;

/// A publish for the client, not sent yet; its packet id is given when it is.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) publish: Publish,
    pub(super) expires_at: Option<ExpiryMs>,
    /// The router's packet id if it waits for an acknowledgement.
    pub(super) router_pkid: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Sent at QoS 1 or 2, unanswered.
    Sent,
    /// PUBREC came, PUBREL sent.
    Released,
}

#[derive(Debug)]
struct InFlight {
    publish: Publish,
    router_pkid: Option<u16>,
    stage: Stage,
}

/// The state of a session's deliveries.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    waiting: VecDeque<Outgoing>,
    in_flight: VecDeque<InFlight>,
    /// What the router waits for, in its order, and whether it may have it.
    router_acks: VecDeque<(u16, bool)>,
    router_pkid_last: u16,
    own_pkid_last: u16,
}

impl Deliveries {
    /// The packet id that the router gave to a delivery that wants an acknowledgement: it counts, so we count along.
    pub(super) fn router_pkid(&mut self) -> u16 {
        self.router_pkid_last = self.router_pkid_last % PKID_MAX + 1;
        self.router_acks.push_back((self.router_pkid_last, false));
        self.router_pkid_last
    }

    pub(super) fn queue(&mut self, outgoing: Outgoing) {
        self.waiting.push_back(outgoing);
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn waiting_len(&self) -> usize {
        self.waiting.len()
    }

    /// The next to send now, with its packet id, if the window has room for it. At QoS > 0 it is in flight from here.
    pub(super) fn next(&mut self, receive_maximum: u16) -> Option<Outgoing> {
        let window = usize::from(receive_maximum).min(IN_FLIGHT_MAX);
        if self.waiting.front()?.publish.qos > 0 && self.in_flight.len() >= window {
            return None;
        }
        self.waiting.pop_front()
    }

    /// Takes the packet id for a publish with QoS > 0 and keeps it until it is acknowledged.
    pub(super) fn keep(&mut self, mut publish: Publish, router_pkid: Option<u16>) -> Publish {
        publish.pkid = router_pkid.unwrap_or_else(|| self.own_pkid());
        self.in_flight.push_back(InFlight { publish: publish.clone(), router_pkid, stage: Stage::Sent });
        publish
    }

    /// PUBACK or PUBCOMP came, or PUBREC with a failure: the delivery is over. Whether there was one at that stage.
    pub(super) fn complete(&mut self, pkid: u16, answer: Answer) -> bool {
        let at = self.in_flight.iter().position(|flying| {
            flying.publish.pkid == pkid
                && match answer {
                    Answer::Acknowledged => flying.publish.qos == 1,
                    Answer::Refused => flying.publish.qos == 2 && flying.stage == Stage::Sent,
                    Answer::Completed => flying.publish.qos == 2 && flying.stage == Stage::Released,
                }
        });
        let Some(done) = at.and_then(|at| self.in_flight.remove(at)) else { return false };
        if let Some(router_pkid) = done.router_pkid {
            self.settle(router_pkid);
        }
        true
    }

    /// PUBREC came. Whether there is such a delivery at QoS 2.
    pub(super) fn release(&mut self, pkid: u16) -> bool {
        let found = self.in_flight.iter_mut().find(|flying| flying.publish.pkid == pkid && flying.publish.qos == 2);
        if let Some(flying) = found {
            flying.stage = Stage::Released;
            // The message is the client's now; only its id is still held.
            flying.publish.payload = bytes::Bytes::new();
            return true;
        }
        false
    }

    /// The router may have its acknowledgement of this delivery, when its turn comes.
    pub(super) fn settle(&mut self, router_pkid: u16) {
        if let Some(ack) = self.router_acks.iter_mut().find(|(pkid, is_done)| *pkid == router_pkid && !is_done) {
            ack.1 = true;
        }
    }

    /// The next acknowledgement that the router may have.
    pub(super) fn router_ack(&mut self) -> Option<u16> {
        let (pkid, _) = self.router_acks.front().copied().filter(|(_, is_done)| *is_done)?;
        self.router_acks.pop_front();
        Some(pkid)
    }

    /// What a client that came back is sent again, in order and under the same packet ids [MQTT-4.4.0-1].
    pub(super) fn resend(&self) -> Vec<ServerPacket> {
        let again = |flying: &InFlight| match flying.stage {
            Stage::Sent => ServerPacket::Publish(Publish { dup: true, ..flying.publish.clone() }),
            Stage::Released => ServerPacket::PubRel { pkid: flying.publish.pkid, reason: 0 },
        };
        self.in_flight.iter().map(again).collect()
    }

    /// A packet id above the router's that is not in flight; there are more of them than may be in flight.
    fn own_pkid(&mut self) -> u16 {
        loop {
            self.own_pkid_last = self.own_pkid_last.checked_add(1).unwrap_or(0).max(PKID_MAX + 1);
            if self.in_flight.iter().all(|flying| flying.publish.pkid != self.own_pkid_last) {
                return self.own_pkid_last;
            }
        }
    }
}

/// What ends a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// PUBACK.
    Acknowledged,
    /// PUBREC with a failure.
    Refused,
    /// PUBCOMP.
    Completed,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing(deliveries: &mut Deliveries, qos: u8, from_router: bool) {
        let router_pkid = from_router.then(|| deliveries.router_pkid());
        deliveries.queue(Outgoing { publish: Publish { qos, ..Publish::default() }, expires_at: None, router_pkid });
    }

    fn send(deliveries: &mut Deliveries, receive_maximum: u16) -> Option<u16> {
        let next = deliveries.next(receive_maximum)?;
        if next.publish.qos == 0 {
            return Some(0);
        }
        Some(deliveries.keep(next.publish, next.router_pkid).pkid)
    }

    #[test]
    fn the_router_is_acknowledged_in_its_order_whatever_the_clients() {
        let mut deliveries = Deliveries::default();
        for qos in [1, 2, 1] {
            outgoing(&mut deliveries, qos, true);
        }
        let pkids: Vec<_> = std::iter::from_fn(|| send(&mut deliveries, 10)).collect();
        assert_eq!(pkids, [1, 2, 3]);
        assert!(deliveries.complete(3, Answer::Acknowledged));
        assert!(!deliveries.complete(2, Answer::Completed), "not released yet");
        assert!(deliveries.release(2));
        assert!(deliveries.complete(2, Answer::Completed));
        assert_eq!(deliveries.router_ack(), None);
        assert!(deliveries.complete(1, Answer::Acknowledged));
        assert!(!deliveries.complete(1, Answer::Acknowledged), "only once");
        assert_eq!(std::iter::from_fn(|| deliveries.router_ack()).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn the_window_holds_back_and_opens() {
        let mut deliveries = Deliveries::default();
        outgoing(&mut deliveries, 1, true);
        outgoing(&mut deliveries, 1, false);
        outgoing(&mut deliveries, 0, true);
        assert_eq!(send(&mut deliveries, 1), Some(1));
        assert_eq!(send(&mut deliveries, 1), None);
        assert!(deliveries.complete(1, Answer::Acknowledged));
        assert_eq!(send(&mut deliveries, 1), Some(PKID_MAX + 1));
        assert_eq!(send(&mut deliveries, 1), Some(0), "QoS 0 needs no room");
    }

    #[test]
    fn a_client_that_comes_back_is_sent_what_it_did_not_answer() {
        let mut deliveries = Deliveries::default();
        outgoing(&mut deliveries, 2, true);
        outgoing(&mut deliveries, 1, true);
        while send(&mut deliveries, 10).is_some() {}
        assert!(deliveries.release(1));
        let again = deliveries.resend();
        assert_eq!(again[0], ServerPacket::PubRel { pkid: 1, reason: 0 });
        assert!(matches!(&again[1], ServerPacket::Publish(publish) if publish.dup && publish.pkid == 2));
    }

    #[test]
    fn router_packet_ids_run_in_circles() {
        let mut deliveries = Deliveries::default();
        let ids: Vec<_> = (0..250).map(|_| deliveries.router_pkid()).collect();
        assert_eq!((ids[0], ids[99], ids[100], ids[249]), (1, 100, 1, 50));
    }
}
