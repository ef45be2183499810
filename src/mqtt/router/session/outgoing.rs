//! What a session has under way to its client: the queue before the window, and the window. Pure state; the session sends what
//! it says.

use std::collections::VecDeque;

use super::queue::{Bounds, Queue, Queued};

/// Deliveries in flight at most, whatever the client's receive maximum.
const IN_FLIGHT_MAX: usize = 1_000;

/// Retained messages that a session has waiting before more are looked up for it.
const RETAINED_AT_ONCE: usize = 64;

/// Most memory for them, bytes, and one message more.
const RETAINED_BYTES_AT_ONCE: usize = 64 << 10;

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
    retained: VecDeque<Queued>,
    /// What these are counted as together.
    retained_bytes: usize,
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

    /// Has a retained message that was looked up wait, before all that is queued.
    pub(in crate::mqtt::router) fn push_retained(&mut self, queued: Queued) {
        self.retained_bytes += queued.message.bytes();
        self.retained.push_back(queued);
    }

    /// Whether some are waiting.
    pub(in crate::mqtt::router) fn has_retained(&self) -> bool {
        !self.retained.is_empty()
    }

    /// Whether more of them may be looked up.
    pub(in crate::mqtt::router) fn takes_retained(&self) -> bool {
        self.retained.len() < RETAINED_AT_ONCE && self.retained_bytes < RETAINED_BYTES_AT_ONCE
    }

    /// Whether a message that comes now could be sent now, by a session that may hold so many bytes.
    pub(in crate::mqtt::router) fn has_room(&self, receive_maximum: u16, bytes_max: usize) -> bool {
        self.is_idle() && self.is_open(receive_maximum, bytes_max)
    }

    /// Whether another may be in flight. Half of the bytes are for what waits, so that of a client that answers nothing the newer
    /// messages are kept.
    fn is_open(&self, receive_maximum: u16, bytes_max: usize) -> bool {
        self.sent < window(receive_maximum) && self.has_bytes(bytes_max)
    }

    /// Whether what is in flight leaves some of so many bytes to others that are to be.
    pub(in crate::mqtt::router) fn has_bytes(&self, bytes_max: usize) -> bool {
        self.in_flight_bytes <= bytes_max / 2
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
            let retained = self.retained.pop_front_if(|queued| queued.qos == 0 || is_open)?;
            self.retained_bytes -= retained.message.bytes();
            retained
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
mod tests;
