//! What a session has under way to its client: the queue before the window, and the window. Pure state; the session sends what
//! it says.

use std::collections::VecDeque;

use super::queue::{Bounds, Queue, Queued};

/// Deliveries in flight at most, whatever the client's receive maximum.
const IN_FLIGHT_MAX: usize = 1_000;

/// How far a delivery at QoS 1 or 2 is.
#[derive(Clone, Debug)]
pub(in crate::mqtt::router) enum Stage {
    /// Sent, unanswered.
    Sent(Queued),
    /// PUBREC came, PUBREL sent: the message is the client's, only its id is still held.
    Released,
}

/// A delivery with a packet id.
#[derive(Clone, Debug)]
pub(in crate::mqtt::router) struct Flying {
    pub(in crate::mqtt::router) pkid: u16,
    pub(in crate::mqtt::router) stage: Stage,
}

impl Flying {
    /// What it is counted as: a message that the client has is not held any more.
    fn bytes(&self) -> usize {
        match &self.stage {
            Stage::Sent(queued) => queued.message.bytes(),
            Stage::Released => 0,
        }
    }
}

/// What ends a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mqtt::router) enum Answer {
    /// PUBACK.
    Acknowledged,
    /// PUBREC with a failure.
    Refused,
    /// PUBCOMP.
    Completed,
}

/// What to send next.
#[derive(Clone, Debug)]
pub(in crate::mqtt::router) enum Next {
    /// At QoS 0, without a packet id.
    AtMostOnce(Queued),
    /// For the first time, or again.
    Publish { queued: Queued, pkid: u16, dup: bool },
    /// PUBREL, again.
    Release { pkid: u16 },
}

/// The state of a session's deliveries.
#[derive(Debug, Default)]
pub(in crate::mqtt::router) struct Outgoing {
    pub(in crate::mqtt::router) queue: Queue,
    /// Retained messages that a subscription asked for, a few at a time, before all that is queued.
    pub(in crate::mqtt::router) retained: VecDeque<Queued>,
    /// In the order of their sending.
    in_flight: VecDeque<Flying>,
    /// What these are counted as together.
    in_flight_bytes: usize,
    /// How many of these, from the front, were sent on the present connection.
    sent: usize,
    pkid_last: u16,
    /// How many packet ids behind the last are known to be free.
    free_ahead: u16,
}

impl Outgoing {
    /// As it was when it was saved.
    pub(in crate::mqtt::router) fn restored(in_flight: VecDeque<Flying>, pkid_last: u16) -> Self {
        let in_flight_bytes = in_flight.iter().map(Flying::bytes).sum();
        Self { in_flight, in_flight_bytes, pkid_last, ..Self::default() }
    }

    /// What the session holds for its client is counted as: what waits, and what was sent and is not answered.
    pub(in crate::mqtt::router) fn bytes(&self) -> usize {
        self.queue.bytes() + self.in_flight_bytes
    }

    /// Has a message wait, and tells how many were lost for it: that one itself if there is no room to be made. Of the bytes
    /// there are only those that nothing in flight takes.
    pub(in crate::mqtt::router) fn push(&mut self, queued: Queued, bounds: Bounds) -> usize {
        // At QoS 0 with nothing before it, it is not in anybody's way for long.
        let taken = if queued.qos == 0 && self.is_idle() { 0 } else { self.in_flight_bytes };
        // What waited before may stay.
        let bytes_max = bounds.bytes_max.saturating_sub(taken).max(self.queue.bytes());
        self.queue.push(queued, Bounds { bytes_max, ..bounds })
    }

    pub(in crate::mqtt::router) fn in_flight(&self) -> impl Iterator<Item = &Flying> {
        self.in_flight.iter()
    }

    pub(in crate::mqtt::router) fn pkid_last(&self) -> u16 {
        self.pkid_last
    }

    /// Whether a message that comes now could be sent now, by a session that may hold so many bytes.
    pub(in crate::mqtt::router) fn has_room(&self, receive_maximum: u16, bytes_max: usize) -> bool {
        self.is_idle() && self.is_open(receive_maximum, bytes_max)
    }

    /// Whether another may be in flight. Half of the bytes are for what waits, so that of a client that answers nothing the newer
    /// messages are kept.
    fn is_open(&self, receive_maximum: u16, bytes_max: usize) -> bool {
        self.sent < window(receive_maximum) && self.in_flight_bytes <= bytes_max / 2
    }

    /// Whether everything is sent.
    pub(in crate::mqtt::router) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.retained.is_empty() && self.sent == self.in_flight.len()
    }

    /// The client came back: what it did not answer is sent again, in its order [MQTT-4.4.0-1], within its window.
    pub(in crate::mqtt::router) fn begin_again(&mut self) {
        self.sent = 0;
    }

    /// The next to send, if the window has room for it, for a session that may hold so many bytes. At QoS 1 and 2 it is in flight
    /// from here.
    pub(in crate::mqtt::router) fn next(&mut self, receive_maximum: u16, bytes_max: usize) -> Option<Next> {
        if let Some(again) = self.in_flight.get(self.sent) {
            // It is held in any case.
            if self.sent >= window(receive_maximum) {
                return None;
            }
            self.sent += 1;
            return Some(match &again.stage {
                Stage::Sent(queued) => Next::Publish { queued: queued.clone(), pkid: again.pkid, dup: true },
                Stage::Released => Next::Release { pkid: again.pkid },
            });
        }
        let is_open = self.is_open(receive_maximum, bytes_max);
        let queued = if self.retained.is_empty() {
            self.queue.pop(is_open)?
        } else {
            // These were not counted before, and come one by one if what waits leaves no room for them.
            let is_open = is_open && (self.in_flight.is_empty() || self.bytes() <= bytes_max);
            self.retained.pop_front_if(|queued| queued.qos == 0 || is_open)?
        };
        if queued.qos == 0 {
            return Some(Next::AtMostOnce(queued));
        }
        let pkid = self.free_pkid();
        self.in_flight_bytes += queued.message.bytes();
        self.in_flight.push_back(Flying { pkid, stage: Stage::Sent(queued.clone()) });
        self.sent += 1;
        Some(Next::Publish { queued, pkid, dup: false })
    }

    /// Takes back what [`Outgoing::next`] just gave, for the first time or again: it is not sent after all, and over. At QoS 0,
    /// which is 0 here, there is nothing to take back.
    pub(in crate::mqtt::router) fn take_back(&mut self, pkid: u16) {
        let Some(last) = self.sent.checked_sub(1) else { return };
        if self.in_flight.get(last).is_some_and(|flying| flying.pkid == pkid) {
            self.land(last);
        }
    }

    /// PUBACK or PUBCOMP came, or PUBREC with a failure: the delivery is over. Whether there was one at that stage.
    pub(in crate::mqtt::router) fn complete(&mut self, pkid: u16, answer: Answer) -> bool {
        let place = self.in_flight.iter().take(self.sent).position(|flying| {
            flying.pkid == pkid
                && match (&flying.stage, answer) {
                    (Stage::Sent(queued), Answer::Acknowledged) => queued.qos == 1,
                    (Stage::Sent(queued), Answer::Refused) => queued.qos == 2,
                    (Stage::Released, Answer::Completed) => true,
                    _ => false,
                }
        });
        place.is_some_and(|place| self.land(place))
    }

    /// Ends a delivery that was sent on the present connection.
    fn land(&mut self, place: usize) -> bool {
        let Some(flying) = self.in_flight.remove(place) else { return false };
        self.in_flight_bytes -= flying.bytes();
        self.sent -= 1;
        true
    }

    /// PUBREC came. Whether there is such a delivery at QoS 2.
    pub(in crate::mqtt::router) fn release(&mut self, pkid: u16) -> bool {
        let found = self.in_flight.iter_mut().take(self.sent).find(|flying| flying.pkid == pkid);
        let Some(flying) = found else { return false };
        if matches!(&flying.stage, Stage::Sent(queued) if queued.qos != 2) {
            return false;
        }
        // From here on the message is the client's.
        self.in_flight_bytes -= flying.bytes();
        flying.stage = Stage::Released;
        true
    }

    /// The next packet id that is not in flight; there are more of them than may be in flight.
    fn free_pkid(&mut self) -> u16 {
        loop {
            self.pkid_last = self.pkid_last.checked_add(1).unwrap_or(1);
            if self.free_ahead == 0 {
                // Those that are given out from here on are behind, so that only these can be in the way.
                let ahead = self.in_flight.iter().map(|flying| distance(self.pkid_last, flying.pkid));
                self.free_ahead = ahead.min().unwrap_or(u16::MAX);
            }
            if self.free_ahead > 0 {
                self.free_ahead -= 1;
                return self.pkid_last;
            }
        }
    }
}

/// How many packet ids from one on, itself counted, come before another.
fn distance(from: u16, to: u16) -> u16 {
    if to >= from { to - from } else { u16::MAX - from + to }
}

fn window(receive_maximum: u16) -> usize {
    usize::from(receive_maximum).min(IN_FLIGHT_MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::queue::Bounds;
    use super::*;
    use crate::mqtt::router::message::{Message, Ms};

    const BOUNDS: Bounds = Bounds { messages_max: 100_000, bytes_max: usize::MAX };

    fn queue(outgoing: &mut Outgoing, qos: u8) {
        outgoing.push(queued(qos, 0), BOUNDS);
    }

    fn queued(qos: u8, payload_bytes: usize) -> Queued {
        let message = Message {
            topic: "a".into(),
            payload: Bytes::from(vec![0; payload_bytes]),
            qos,
            retain: false,
            publisher: 1,
            expires_at: Ms::NEVER,
            properties: None,
        };
        Queued { message: Arc::new(message), qos, retain: false, identifiers: Box::default(), share: None }
    }

    /// Packet ids that are sent, with DUP and PUBREL told.
    fn send(outgoing: &mut Outgoing, receive_maximum: u16) -> Vec<(u16, &'static str)> {
        std::iter::from_fn(|| outgoing.next(receive_maximum, usize::MAX))
            .map(|next| match next {
                Next::AtMostOnce(_) => (0, ""),
                Next::Publish { pkid, dup, .. } => (pkid, if dup { "dup" } else { "" }),
                Next::Release { pkid } => (pkid, "release"),
            })
            .collect()
    }

    #[test]
    fn the_window_holds_and_qos_0_needs_none() {
        let mut outgoing = Outgoing::default();
        for qos in [0, 1, 2, 1, 0] {
            queue(&mut outgoing, qos);
        }
        assert_eq!(send(&mut outgoing, 2), [(0, ""), (1, ""), (2, "")]);
        assert!(!outgoing.complete(2, Answer::Acknowledged) && !outgoing.complete(9, Answer::Acknowledged));
        assert!(outgoing.complete(1, Answer::Acknowledged) && !outgoing.complete(1, Answer::Acknowledged));
        assert_eq!(send(&mut outgoing, 2), [(3, ""), (0, "")]);
        assert!(!outgoing.has_room(2, usize::MAX) && outgoing.has_room(3, usize::MAX));
    }

    #[test]
    fn qos_2_goes_its_two_ways() {
        let mut outgoing = Outgoing::default();
        queue(&mut outgoing, 2);
        queue(&mut outgoing, 2);
        send(&mut outgoing, 9);
        assert!(!outgoing.complete(1, Answer::Completed), "before PUBREC");
        assert!(outgoing.release(1) && outgoing.release(1) && !outgoing.release(3));
        assert!(!outgoing.complete(1, Answer::Refused), "behind PUBREC");
        assert!(outgoing.complete(1, Answer::Completed));
        assert!(outgoing.complete(2, Answer::Refused));
        assert_eq!(outgoing.in_flight().count(), 0);
    }

    #[test]
    fn what_was_not_answered_is_sent_again_within_the_window() {
        let mut outgoing = Outgoing::default();
        for qos in [1, 2, 1, 1] {
            queue(&mut outgoing, qos);
        }
        send(&mut outgoing, 3);
        outgoing.release(2);
        outgoing.begin_again();
        assert!(!outgoing.complete(3, Answer::Acknowledged), "not sent on this connection");
        assert_eq!(send(&mut outgoing, 2), [(1, "dup"), (2, "release")]);
        assert!(outgoing.complete(1, Answer::Acknowledged));
        assert_eq!(send(&mut outgoing, 2), [(3, "dup")]);
        assert!(outgoing.complete(2, Answer::Completed) && outgoing.complete(3, Answer::Acknowledged));
        assert_eq!(send(&mut outgoing, 2), [(4, "")]);
    }

    #[test]
    fn what_was_not_sent_after_all_frees_its_place() {
        let mut outgoing = Outgoing::default();
        queue(&mut outgoing, 1);
        queue(&mut outgoing, 1);
        let Some(Next::Publish { pkid, .. }) = outgoing.next(1, usize::MAX) else { panic!("nothing to send") };
        outgoing.take_back(pkid);
        assert_eq!(send(&mut outgoing, 1), [(2, "")]);
        queue(&mut outgoing, 1);
        assert_eq!(send(&mut outgoing, 2), [(3, "")]);
        outgoing.begin_again();
        let Some(Next::Publish { pkid: 2, dup: true, .. }) = outgoing.next(1, usize::MAX) else {
            panic!("not sent again")
        };
        outgoing.take_back(0);
        assert_eq!(send(&mut outgoing, 1), [], "nothing had that id");
        outgoing.take_back(2);
        assert_eq!(send(&mut outgoing, 1), [(3, "dup")]);
        assert_eq!(outgoing.in_flight().count(), 1);
    }

    #[test]
    fn ids_that_were_never_answered_are_passed_over() {
        let flying = |pkid| Flying { pkid, stage: Stage::Released };
        let mut outgoing = Outgoing::restored([65_534, 65_535, 1, 3].map(flying).into(), 65_533);
        queue(&mut outgoing, 1);
        queue(&mut outgoing, 1);
        let sent = send(&mut outgoing, 100);
        assert_eq!(sent[4..], [(2, ""), (4, "")]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Come { qos: u8, payload_bytes: usize, retained: bool },
        Send { receive_maximum: u16 },
        TakeBack(u16),
        Answer(u16, Answer),
        Release(u16),
        BeginAgain,
    }

    fn step() -> impl Strategy<Value = Step> {
        let answer = prop::sample::select(vec![Answer::Acknowledged, Answer::Refused, Answer::Completed]);
        prop_oneof![
            8 => (0..3_u8, 0..PAYLOAD_BYTES_MAX, prop::bool::weighted(0.2))
                .prop_map(|(qos, payload_bytes, retained)| Step::Come { qos, payload_bytes, retained }),
            8 => (1..40_u16).prop_map(|receive_maximum| Step::Send { receive_maximum }),
            1 => (1..60_u16).prop_map(Step::TakeBack),
            3 => (1..60_u16, answer).prop_map(|(pkid, answer)| Step::Answer(pkid, answer)),
            1 => (1..60_u16).prop_map(Step::Release),
            1 => Just(Step::BeginAgain),
        ]
    }

    const PAYLOAD_BYTES_MAX: usize = 400;

    proptest! {
        /// Whatever comes and however little is answered, what is held stays within its bytes and one packet, is counted right,
        /// and something is always on its way.
        #[test]
        fn what_is_held_is_bounded_by_bytes(steps in prop::collection::vec(step(), 1..300)) {
            const BYTES_MAX: usize = 2_000;
            let packet_bytes_max = queued(1, PAYLOAD_BYTES_MAX).message.bytes();
            let mut outgoing = Outgoing::default();
            for step in steps {
                match step {
                    Step::Come { qos, payload_bytes, retained: true } => {
                        outgoing.retained.push_back(queued(qos, payload_bytes));
                    }
                    Step::Come { qos, payload_bytes, retained: false } => {
                        outgoing.push(queued(qos, payload_bytes), Bounds { bytes_max: BYTES_MAX, ..BOUNDS });
                    }
                    Step::Send { receive_maximum } => {
                        while outgoing.next(receive_maximum, BYTES_MAX).is_some() {}
                        let waits = !outgoing.retained.is_empty() || !outgoing.queue.is_empty();
                        prop_assert!(!waits || outgoing.in_flight().count() > 0);
                    }
                    Step::TakeBack(pkid) => outgoing.take_back(pkid),
                    Step::Answer(pkid, answer) => drop(outgoing.complete(pkid, answer)),
                    Step::Release(pkid) => drop(outgoing.release(pkid)),
                    Step::BeginAgain => outgoing.begin_again(),
                }
                prop_assert!(outgoing.bytes() <= BYTES_MAX + packet_bytes_max, "{} bytes", outgoing.bytes());
                let in_flight: usize = outgoing.in_flight().map(Flying::bytes).sum();
                prop_assert_eq!(outgoing.bytes(), outgoing.queue.bytes() + in_flight);
                let restored = Outgoing::restored(outgoing.in_flight().cloned().collect(), outgoing.pkid_last());
                prop_assert_eq!(restored.bytes(), in_flight);
            }
        }

        /// However they are answered, and however often the ids go around, none is in flight twice.
        #[test]
        fn packet_ids_are_free(answers in prop::collection::vec(any::<prop::sample::Index>(), 1..400), begin in 64_000..=u16::MAX) {
            let mut outgoing = Outgoing::restored(VecDeque::new(), begin);
            for answer in answers {
                for _ in 0..20 {
                    queue(&mut outgoing, 1);
                }
                send(&mut outgoing, 50);
                let mut pkids: Vec<u16> = outgoing.in_flight().map(|flying| flying.pkid).collect();
                let answered = *answer.get(&pkids);
                pkids.sort_unstable();
                pkids.dedup();
                prop_assert!(pkids.len() == outgoing.in_flight().count() && !pkids.contains(&0));
                prop_assert!(outgoing.complete(answered, Answer::Acknowledged));
            }
        }
    }
}
