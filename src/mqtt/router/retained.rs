//! The retained messages of a namespace, by topic.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::message::{Message, Ms};
use super::scan::Scan;

/// Bounded by number and size; beyond it messages are not retained, and delivered all the same.
#[derive(Debug)]
pub(super) struct Retained {
    by_topic: BTreeMap<Arc<str>, Arc<Message>>,
    /// Those that expire, the soonest first.
    by_expiry: BTreeSet<(Ms, Arc<str>)>,
    bytes: usize,
    topics_max: usize,
}

impl Retained {
    pub(super) fn new(topics_max: usize) -> Self {
        Self { by_topic: BTreeMap::new(), by_expiry: BTreeSet::new(), bytes: 0, topics_max }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_topic.is_empty()
    }

    /// What they are counted as together.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// All of them, by topic.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Message>> {
        self.by_topic.values()
    }

    /// Keeps a message with the retain flag, or forgets its topic's if it is empty [MQTT-3.3.1-5, MQTT-3.3.1-6]. The one
    /// before is gone in any case, as it is no longer the topic's last. Whether there was room, of `bytes_max` for all.
    pub(super) fn take(&mut self, message: &Arc<Message>, bytes_max: usize, now: Ms) -> bool {
        self.forget(&message.topic);
        if message.payload.is_empty() {
            return true;
        }
        if self.topics_max == 0 || message.bytes() > bytes_max {
            return false;
        }
        while self.by_topic.len() >= self.topics_max || self.bytes + message.bytes() > bytes_max {
            let Some((at, topic)) = self.by_expiry.first() else { return false };
            if *at > now {
                return false;
            }
            let topic = Arc::clone(topic);
            self.forget(&topic);
        }
        self.bytes += message.bytes();
        if message.expires_at != Ms::NEVER {
            self.by_expiry.insert((message.expires_at, Arc::clone(&message.topic)));
        }
        self.by_topic.insert(Arc::clone(&message.topic), Arc::clone(message));
        true
    }

    fn forget(&mut self, topic: &Arc<str>) {
        if let Some(before) = self.by_topic.remove(topic) {
            self.bytes -= before.bytes();
            self.by_expiry.remove(&(before.expires_at, Arc::clone(topic)));
        }
    }

    /// The next that a scan matches, by topic. Each topic that is looked at takes one of the steps; `None` with steps left: the
    /// scan is over.
    pub(super) fn next_matching(&self, scan: &mut Scan, steps: &mut usize, now: Ms) -> Option<&Arc<Message>> {
        while *steps > 0
            && let Some(from) = scan.place()
        {
            *steps -= 1;
            let Some((topic, message)) =
                self.by_topic.range::<str, _>((Bound::Included(from), Bound::Unbounded)).next()
            else {
                scan.end();
                return None;
            };
            if scan.pass(topic) && message.expires_at > now {
                return Some(message);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const NOW: Ms = Ms(5_000);

    fn message(topic: &str, payload: &'static str) -> Arc<Message> {
        expiring(topic, payload, Ms::NEVER)
    }

    fn expiring(topic: &str, payload: &'static str, expires_at: Ms) -> Arc<Message> {
        Arc::new(Message {
            topic: topic.into(),
            payload: Bytes::from(payload),
            qos: 0,
            retain: true,
            publisher: 1,
            expires_at,
            properties: None,
        })
    }

    fn topics(retained: &Retained, filter: &str, now: Ms) -> Vec<String> {
        let (mut scan, mut steps) = (Scan::new(filter.into()), usize::MAX);
        std::iter::from_fn(|| retained.next_matching(&mut scan, &mut steps, now))
            .map(|message| message.topic.to_string())
            .collect()
    }

    #[test]
    fn matching_looks_everywhere_it_must() {
        let mut retained = Retained::new(10);
        for topic in ["a", "a/b", "ab", "b/b", "$a/b"] {
            assert!(retained.take(&message(topic, "1"), 10_000, NOW));
        }
        assert_eq!(topics(&retained, "a/#", NOW), ["a", "a/b"]);
        assert_eq!(topics(&retained, "+/b", NOW), ["a/b", "b/b"]);
        assert_eq!(topics(&retained, "#", NOW), ["a", "a/b", "ab", "b/b"]);
        assert_eq!(topics(&retained, "ab", NOW), ["ab"]);
        assert_eq!(topics(&retained, "$a/+", NOW), ["$a/b"]);
        assert_eq!(topics(&retained, "a/c", NOW), [""; 0]);
    }

    #[test]
    fn an_empty_message_clears_and_the_bounds_hold() {
        let one = message("a", "1").bytes();
        let mut retained = Retained::new(1);
        assert!(retained.take(&message("a", "1"), one + 7, NOW));
        assert!(!retained.take(&message("b", "1"), one + 7, NOW), "full");
        assert!(retained.take(&message("a", "2"), one + 7, NOW), "a known topic is replaced");
        assert!(retained.take(&message("a", ""), one + 7, NOW));
        assert!(retained.is_empty());
        assert!(retained.take(&message("b", "1"), one + 7, NOW));
        assert!(!retained.take(&message("b", "123456789"), one + 7, NOW), "too large");
        assert!(
            retained.take(&message("b", "12345678"), one + 7, NOW),
            "as large as may be, the one before is forgotten"
        );
        assert_eq!(retained.bytes, one + 7);
    }

    #[test]
    fn what_expired_is_not_found_and_makes_room() {
        let mut retained = Retained::new(1);
        assert!(retained.take(&expiring("a", "1", Ms(NOW.0 + 1)), 1_000, NOW));
        assert_eq!(topics(&retained, "a", NOW), ["a"]);
        assert!(!retained.take(&message("b", "1"), 1_000, NOW));
        assert_eq!(topics(&retained, "#", Ms(NOW.0 + 1)), [""; 0]);
        assert!(retained.take(&message("b", "1"), 1_000, Ms(NOW.0 + 1)));
        assert_eq!(topics(&retained, "#", NOW), ["b"]);
        assert!(retained.by_expiry.is_empty());
    }

    #[test]
    fn only_as_many_go_as_there_has_to_be_room_for() {
        let mut retained = Retained::new(3);
        for (topic, after_ms) in [("a", 30), ("b", 10), ("c", 20)] {
            assert!(retained.take(&expiring(topic, "1", Ms(NOW.0 + after_ms)), 1_000, NOW));
        }
        assert!(!retained.take(&message("d", "1"), 1_000, Ms(NOW.0 + 9)));
        assert!(retained.take(&message("d", "1"), 1_000, Ms(NOW.0 + 100)));
        assert_eq!(topics(&retained, "#", NOW), ["a", "c", "d"], "the first that expired");
        assert!(retained.take(&expiring("a", "2", Ms::NEVER), 1_000, NOW), "no longer expires");
        assert!(retained.take(&message("c", ""), 1_000, NOW));
        assert!(retained.take(&message("e", "1"), 1_000, NOW) && !retained.take(&message("f", "1"), 1_000, Ms::NEVER));
        assert!(retained.by_expiry.is_empty());
    }
}
