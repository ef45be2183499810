//! What waits for a session's window, bounded: who falls further behind loses the oldest at QoS 0, and only when there is none
//! of those the oldest at QoS 1 and 2. For positions and commands alike the newer one counts more.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::message::Message;

/// A message for a client, not sent yet.
#[derive(Clone, Debug)]
pub(in crate::mqtt::router) struct Queued {
    pub(in crate::mqtt::router) message: Arc<Message>,
    /// The lesser of publish and subscription.
    pub(in crate::mqtt::router) qos: u8,
    pub(in crate::mqtt::router) retain: bool,
    /// Of all the subscriptions by which it came.
    pub(in crate::mqtt::router) identifiers: Box<[u32]>,
    /// The shared filter by which it came.
    pub(in crate::mqtt::router) share: Option<Arc<str>>,
}

/// What a queue may hold.
#[derive(Clone, Copy, Debug)]
pub(in crate::mqtt::router) struct Bounds {
    pub(in crate::mqtt::router) messages_max: usize,
    pub(in crate::mqtt::router) bytes_max: usize,
}

/// See the module. Apart by what may be lost first, with numbers that put them together again.
#[derive(Debug, Default)]
pub(in crate::mqtt::router) struct Queue {
    at_most_once: VecDeque<(u64, Queued)>,
    at_least_once: VecDeque<(u64, Queued)>,
    bytes: usize,
    last: u64,
}

impl Queue {
    pub(in crate::mqtt::router) fn is_empty(&self) -> bool {
        self.at_most_once.is_empty() && self.at_least_once.is_empty()
    }

    /// What its messages are counted as together.
    pub(in crate::mqtt::router) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(in crate::mqtt::router) fn len(&self) -> usize {
        self.at_most_once.len() + self.at_least_once.len()
    }

    /// Adds a message, and tells how many were lost for it: that one itself if there is no room to be made.
    pub(in crate::mqtt::router) fn push(&mut self, queued: Queued, bounds: Bounds) -> usize {
        self.last += 1;
        self.bytes += queued.message.bytes();
        let lane = if queued.qos == 0 { &mut self.at_most_once } else { &mut self.at_least_once };
        lane.push_back((self.last, queued));
        let mut lost = 0;
        while self.len() > bounds.messages_max || self.bytes > bounds.bytes_max {
            let oldest = self.at_most_once.pop_front().or_else(|| self.at_least_once.pop_front());
            let Some((_, oldest)) = oldest else { break };
            self.bytes -= oldest.message.bytes();
            lost += 1;
        }
        lost
    }

    /// Takes the oldest, unless it is one above QoS 0 and the window `is_open` for none.
    pub(in crate::mqtt::router) fn pop(&mut self, is_open: bool) -> Option<Queued> {
        let is_lossy_older = match (self.at_most_once.front(), self.at_least_once.front()) {
            (Some((lossy, _)), Some((firm, _))) => lossy < firm,
            (lossy, _) => lossy.is_some(),
        };
        let (_, queued) = if is_lossy_older {
            self.at_most_once.pop_front()?
        } else if is_open {
            self.at_least_once.pop_front()?
        } else {
            return None;
        };
        self.bytes -= queued.message.bytes();
        Some(queued)
    }

    /// Those above QoS 0, oldest first.
    pub(in crate::mqtt::router) fn kept(&self) -> impl Iterator<Item = &Queued> {
        self.at_least_once.iter().map(|(_, queued)| queued)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::mqtt::router::message::Ms;

    const BOUNDS: Bounds = Bounds { messages_max: 4, bytes_max: 100_000 };

    fn queued(number: u8, qos: u8) -> Queued {
        let message = Message {
            topic: "a".into(),
            payload: Bytes::copy_from_slice(&[number]),
            qos,
            retain: false,
            publisher: 1,
            expires_at: Ms::NEVER,
            properties: None,
        };
        Queued { message: Arc::new(message), qos, retain: false, identifiers: Box::default(), share: None }
    }

    fn drained(queue: &mut Queue) -> Vec<u8> {
        std::iter::from_fn(|| queue.pop(true)).map(|queued| queued.message.payload[0]).collect()
    }

    #[test]
    fn they_come_out_in_their_order_and_the_oldest_is_lost() {
        type Case = (&'static [u8], &'static [u8]);
        let cases: &[Case] = &[
            (&[0, 1, 0, 2], &[0, 1, 2, 3]),
            (&[1, 0, 1, 0, 1], &[0, 2, 3, 4]),
            (&[1, 1, 0, 1, 1, 1], &[1, 3, 4, 5]),
            (&[1, 1, 1, 1, 2], &[1, 2, 3, 4]),
            (&[1, 1, 1, 1, 0], &[0, 1, 2, 3]),
        ];
        for (qos, left) in cases {
            let mut queue = Queue::default();
            let lost: usize = (0..).zip(*qos).map(|(number, qos)| queue.push(queued(number, *qos), BOUNDS)).sum();
            assert_eq!((drained(&mut queue).as_slice(), lost), (*left, qos.len() - left.len()), "{qos:?}");
            assert_eq!(queue.bytes, 0);
        }
    }

    #[test]
    fn bytes_are_bounded_as_well() {
        let one = queued(0, 1).message.bytes();
        let mut queue = Queue::default();
        let bounds = Bounds { messages_max: 100, bytes_max: 2 * one };
        let lost: usize = (0..5).map(|number| queue.push(queued(number, 1), bounds)).sum();
        assert_eq!((lost, drained(&mut queue)), (3, vec![3, 4]));
        assert_eq!(queue.push(queued(9, 2), Bounds { bytes_max: one - 1, ..bounds }), 1, "larger than all of it");
        assert!(queue.is_empty());
    }

    #[test]
    fn a_closed_window_holds_back_what_is_behind_it() {
        let mut queue = Queue::default();
        for (number, qos) in [(0, 0), (1, 1), (2, 0)] {
            queue.push(queued(number, qos), BOUNDS);
        }
        let taken: Vec<_> = std::iter::from_fn(|| queue.pop(false)).map(|queued| queued.message.payload[0]).collect();
        assert_eq!(taken, [0]);
        assert_eq!(drained(&mut queue), [1, 2]);
    }
}
