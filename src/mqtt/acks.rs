//! Acknowledgements that a connection owes, in the order in which its packets came [MQTT-4.6.0-2], whether the journal or
//! the router decides when they may go.

use std::collections::VecDeque;

/// How a publish is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AckKind {
    /// PUBACK, for QoS 1.
    PubAck,
    /// PUBREC, for QoS 2.
    PubRec,
}

/// Who makes an acknowledgement ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// The pipeline, by the number that [`AckRing::owe`] gave.
    ForJournal,
    /// The router, by the packet id.
    ForRouter,
    /// Nothing: it goes when all before it have gone.
    Ready,
}

#[derive(Clone, Copy, Debug)]
struct Owed {
    packet_id: u16,
    kind: AckKind,
    /// MQTT 5's; 0 is success.
    reason: u8,
    waits: Waits,
}

/// The acknowledgements that one connection owes.
#[derive(Debug, Default)]
pub(super) struct AckRing {
    owed: VecDeque<Owed>,
    /// The number of the oldest owed.
    first: u32,
}

/// Owed acknowledgements beyond which an empty ring gives its memory back.
const KEPT_CAPACITY: usize = 64;

impl AckRing {
    /// How many are owed.
    pub(super) fn len(&self) -> usize {
        self.owed.len()
    }

    /// Owes one that the journal makes ready; its number is for [`AckRing::release`].
    pub(super) fn owe(&mut self, kind: AckKind, packet_id: u16) -> u32 {
        self.push(kind, packet_id, 0, Waits::ForJournal)
    }

    /// Owes one that the router makes ready.
    pub(super) fn owe_routed(&mut self, kind: AckKind, packet_id: u16) {
        self.push(kind, packet_id, 0, Waits::ForRouter);
    }

    /// Owes one that waits only for those before it.
    pub(super) fn owe_ready(&mut self, kind: AckKind, packet_id: u16, reason: u8) {
        self.push(kind, packet_id, reason, Waits::Ready);
    }

    /// Whether a PUBREC of this packet id is still owed.
    pub(super) fn owes_pubrec(&self, packet_id: u16) -> bool {
        self.owed.iter().any(|owed| owed.kind == AckKind::PubRec && owed.packet_id == packet_id)
    }

    /// Makes `count` acknowledgements from number `first` on ready.
    pub(super) fn release(&mut self, first: u32, count: u32) {
        let start = first.wrapping_sub(self.first) as usize;
        for owed in self.owed.iter_mut().skip(start).take(count as usize) {
            owed.waits = Waits::Ready;
        }
    }

    /// Makes the oldest routed acknowledgement of this packet id ready.
    pub(super) fn release_routed(&mut self, kind: AckKind, packet_id: u16, reason: u8) {
        let waiting =
            |owed: &&mut Owed| owed.waits == Waits::ForRouter && owed.kind == kind && owed.packet_id == packet_id;
        if let Some(owed) = self.owed.iter_mut().find(waiting) {
            owed.waits = Waits::Ready;
            owed.reason = reason;
        }
    }

    /// Takes the oldest if it may go.
    pub(super) fn pop_ready(&mut self) -> Option<(AckKind, u16, u8)> {
        let owed = self.owed.pop_front_if(|owed| owed.waits == Waits::Ready)?;
        self.first = self.first.wrapping_add(1);
        if self.owed.is_empty() && self.owed.capacity() > KEPT_CAPACITY {
            self.owed = VecDeque::new();
        }
        Some((owed.kind, owed.packet_id, owed.reason))
    }

    /// Gives back the memory of what was owed, where nothing is any more.
    pub(super) fn give_back(&mut self) {
        if self.owed.is_empty() {
            self.owed = VecDeque::new();
        }
    }

    fn push(&mut self, kind: AckKind, packet_id: u16, reason: u8, waits: Waits) -> u32 {
        let number = self.first.wrapping_add(self.owed.len() as u32);
        self.owed.push_back(Owed { packet_id, kind, reason, waits });
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(ring: &mut AckRing) -> Vec<u16> {
        std::iter::from_fn(|| ring.pop_ready()).map(|(_, packet_id, _)| packet_id).collect()
    }

    #[test]
    fn acknowledgements_leave_in_the_order_of_their_packets() {
        let mut ring = AckRing::default();
        let first = ring.owe(AckKind::PubAck, 1);
        ring.owe_routed(AckKind::PubAck, 2);
        let third = ring.owe(AckKind::PubRec, 3);
        ring.owe_ready(AckKind::PubAck, 4, 0);
        ring.release(third, 1);
        assert_eq!(ready(&mut ring), [0u16; 0]);
        ring.release(first, 1);
        assert_eq!(ready(&mut ring), [1]);
        assert!(ring.owes_pubrec(3));
        ring.release_routed(AckKind::PubAck, 2, 0x10);
        assert_eq!(ring.pop_ready(), Some((AckKind::PubAck, 2, 0x10)));
        assert_eq!(ready(&mut ring), [3, 4]);
        assert_eq!(ring.len(), 0);
    }

    #[test]
    fn runs_are_released_by_number_across_the_wrap() {
        let mut ring = AckRing { first: u32::MAX - 1, ..AckRing::default() };
        let numbers: Vec<u32> = (1..=4).map(|packet_id| ring.owe(AckKind::PubAck, packet_id)).collect();
        ring.release(numbers[0], 3);
        assert_eq!(ready(&mut ring), [1, 2, 3]);
        ring.release(numbers[3], 1);
        assert_eq!(ready(&mut ring), [4]);
    }
}
