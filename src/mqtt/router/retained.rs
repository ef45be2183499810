//! The retained messages of a namespace, by topic.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::message::{Message, Ms};
use super::trie::matches;

/// Bounded by number and size; beyond it messages are not retained, and delivered all the same.
#[derive(Debug)]
pub(super) struct Retained {
    by_topic: BTreeMap<Arc<str>, Arc<Message>>,
    bytes: usize,
    topics_max: usize,
    bytes_max: usize,
}

impl Retained {
    pub(super) fn new(topics_max: usize, bytes_max: usize) -> Self {
        Self { by_topic: BTreeMap::new(), bytes: 0, topics_max, bytes_max }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_topic.is_empty()
    }

    /// All of them, by topic.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Message>> {
        self.by_topic.values()
    }

    /// Keeps a message with the retain flag, or forgets its topic's if it is empty [MQTT-3.3.1-5, MQTT-3.3.1-6]. The one
    /// before is gone in any case, as it is no longer the topic's last. Whether there was room.
    pub(super) fn take(&mut self, message: &Arc<Message>, now: Ms) -> bool {
        if let Some(before) = self.by_topic.remove(&message.topic) {
            self.bytes -= before.bytes();
        }
        if message.payload.is_empty() {
            return true;
        }
        if !self.has_room_for(message) {
            self.by_topic.retain(|_, kept| {
                let is_over = kept.expires_at <= now;
                self.bytes -= if is_over { kept.bytes() } else { 0 };
                !is_over
            });
            if !self.has_room_for(message) {
                return false;
            }
        }
        self.bytes += message.bytes();
        self.by_topic.insert(Arc::clone(&message.topic), Arc::clone(message));
        true
    }

    fn has_room_for(&self, message: &Message) -> bool {
        self.by_topic.len() < self.topics_max && self.bytes + message.bytes() <= self.bytes_max
    }

    /// Those that a filter matches, by topic. Looks only at topics that share what stands before the filter's first wildcard.
    pub(super) fn matching<'a>(&'a self, filter: &'a str, now: Ms) -> impl Iterator<Item = &'a Arc<Message>> + 'a {
        let is_literal = !filter.contains(['+', '#']);
        let fixed = match filter.find(['+', '#']) {
            // `a/#` matches `a` too, so the separator before the wildcard is not sure to be there.
            Some(at) => filter[..at].strip_suffix('/').unwrap_or(&filter[..at]),
            None => filter,
        };
        self.by_topic
            .range::<str, _>((Bound::Included(fixed), Bound::Unbounded))
            .take_while(move |(topic, _)| if is_literal { &***topic == fixed } else { topic.starts_with(fixed) })
            .filter(move |(topic, message)| matches(filter, topic) && message.expires_at > now)
            .map(|(_, message)| message)
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

    fn topics(retained: &Retained, filter: &str) -> Vec<String> {
        retained.matching(filter, NOW).map(|message| message.topic.to_string()).collect()
    }

    #[test]
    fn matching_looks_everywhere_it_must() {
        let mut retained = Retained::new(10, 10_000);
        for topic in ["a", "a/b", "ab", "b/b", "$a/b"] {
            assert!(retained.take(&message(topic, "1"), NOW));
        }
        assert_eq!(topics(&retained, "a/#"), ["a", "a/b"]);
        assert_eq!(topics(&retained, "+/b"), ["a/b", "b/b"]);
        assert_eq!(topics(&retained, "#"), ["a", "a/b", "ab", "b/b"]);
        assert_eq!(topics(&retained, "ab"), ["ab"]);
        assert_eq!(topics(&retained, "$a/+"), ["$a/b"]);
        assert_eq!(topics(&retained, "a/c"), [""; 0]);
    }

    #[test]
    fn an_empty_message_clears_and_the_bounds_hold() {
        let one = message("a", "1").bytes();
        let mut retained = Retained::new(1, one + 7);
        assert!(retained.take(&message("a", "1"), NOW));
        assert!(!retained.take(&message("b", "1"), NOW), "full");
        assert!(retained.take(&message("a", "2"), NOW), "a known topic is replaced");
        assert!(retained.take(&message("a", ""), NOW));
        assert!(retained.is_empty());
        assert!(retained.take(&message("b", "1"), NOW));
        assert!(!retained.take(&message("b", "123456789"), NOW), "too large");
        assert!(retained.take(&message("b", "12345678"), NOW), "as large as may be, the one before is forgotten");
        assert_eq!(retained.bytes, one + 7);
    }

    #[test]
    fn what_expired_is_not_found_and_makes_room() {
        let mut retained = Retained::new(1, 1_000);
        assert!(retained.take(&expiring("a", "1", Ms(NOW.0 + 1)), NOW));
        assert_eq!(topics(&retained, "a"), ["a"]);
        assert!(!retained.take(&message("b", "1"), NOW));
        assert_eq!(retained.matching("#", Ms(NOW.0 + 1)).count(), 0);
        assert!(retained.take(&message("b", "1"), Ms(NOW.0 + 1)));
        assert_eq!(topics(&retained, "#"), ["b"]);
    }
}
