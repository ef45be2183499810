//! When sessions are looked at again: the soonest first.
//!
//! A session whose time changed is not looked for here. It is looked at too early once, and says when to come again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::message::Ms;
use super::session::Address;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Ms, u64, usize, u32)>>);

impl Timers {
    pub(super) fn set(&mut self, at: Ms, address: Address) {
        self.0.push(Reverse((at, address.number, address.namespace, address.session)));
    }

    /// The next whose time has come, and which time that was.
    pub(super) fn due(&mut self, now: Ms) -> Option<(Ms, Address)> {
        let soonest = self.0.peek_mut().filter(|soonest| soonest.0.0 <= now)?;
        let Reverse((at, number, namespace, session)) = PeekMut::pop(soonest);
        Some((at, Address { namespace, session, number }))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Keeps those that somebody still waits for.
    pub(super) fn retain(&mut self, mut is_awaited: impl FnMut(Ms, Address) -> bool) {
        self.0.retain(|Reverse((at, number, namespace, session))| {
            is_awaited(*at, Address { namespace: *namespace, session: *session, number: *number })
        });
    }

    /// When the next comes.
    pub(super) fn next(&self) -> Ms {
        self.0.peek().map_or(Ms::NEVER, |Reverse((at, ..))| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_in_their_order_and_not_before_their_time() {
        let mut timers = Timers::default();
        let address = |number| Address { namespace: 0, session: 0, number };
        for (at, number) in [(30, 1), (10, 2), (20, 3), (10, 4)] {
            timers.set(Ms(at), address(number));
        }
        assert_eq!(timers.next(), Ms(10));
        assert_eq!(timers.due(Ms(9)), None);
        let due: Vec<_> =
            std::iter::from_fn(|| timers.due(Ms(20))).map(|(at, address)| (at.0, address.number)).collect();
        assert_eq!(due, [(10, 2), (10, 4), (20, 3)]);
        assert_eq!(timers.next(), Ms(30));
        timers.set(Ms(40), address(5));
        timers.retain(|at, address| (at, address.number) == (Ms(40), 5));
        assert_eq!((timers.len(), timers.next()), (1, Ms(40)));
    }
}
