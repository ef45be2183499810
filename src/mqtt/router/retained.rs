//! The retained messages, by mounted topic.

use std::collections::BTreeMap;
use std::ops::Bound;

use rumqttd::protocol::matches;

use super::message::Message;

/// Bounded by number and size; beyond it messages are not retained, and delivered all the same.
#[derive(Debug)]
pub(super) struct Retained {
    by_topic: BTreeMap<String, Message>,
    bytes: usize,
    topics_max: usize,
    bytes_max: usize,
}

impl Retained {
    pub(super) fn new(topics_max: usize, bytes_max: usize) -> Self {
        Self { by_topic: BTreeMap::new(), bytes: 0, topics_max, bytes_max }
    }

    /// Keeps a message with the retain flag, or forgets its topic's if it is empty [MQTT-3.3.1-5, MQTT-3.3.1-6]. The one
    /// before is gone in any case, as it is no longer the topic's last. Whether there was room.
    pub(super) fn take(&mut self, message: &Message) -> bool {
        if let Some(before) = self.by_topic.remove(&message.topic) {
            self.bytes -= size(&before);
        }
        if message.payload.is_empty() {
            return true;
        }
        if !self.has_room_for(message) {
            self.by_topic.retain(|_, kept| {
                let is_over = kept.expires_at.is_some_and(|at| at.left_s().is_none());
                self.bytes -= if is_over { size(kept) } else { 0 };
                !is_over
            });
            if !self.has_room_for(message) {
                return false;
            }
        }
        self.bytes += size(message);
        self.by_topic.insert(message.topic.clone(), message.clone());
        true
    }

    fn has_room_for(&self, message: &Message) -> bool {
        self.by_topic.len() < self.topics_max && self.bytes + size(message) <= self.bytes_max
    }

    /// Those that a mounted filter matches, by topic. Looks only at topics that share what stands before the filter's first
    /// wildcard.
    pub(super) fn matching<'a>(&'a self, plain_filter: &'a str) -> impl Iterator<Item = &'a Message> + 'a {
        let fixed = match plain_filter.find(['+', '#']) {
            // `a/#` matches `a` too, so the separator before the wildcard is not sure to be there.
            Some(at) => plain_filter[..at].strip_suffix('/').unwrap_or(&plain_filter[..at]),
            None => plain_filter,
        };
        self.by_topic
            .range::<str, _>((Bound::Included(fixed), Bound::Unbounded))
            .take_while(move |(topic, _)| topic.starts_with(fixed))
            .filter(move |(topic, message)| {
                matches(topic, plain_filter) && message.expires_at.is_none_or(|at| at.left_s().is_some())
            })
            .map(|(_, message)| message)
    }
}

/// Bytes that a message is counted as: its texts, the topic also as the key.
fn size(message: &Message) -> usize {
    2 * message.topic.len() + message.payload.len()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(topic: &str, payload: &'static str) -> Message {
        Message {
            topic: topic.into(),
            payload: Bytes::from(payload),
            qos: 0,
            retain: true,
            publisher: 1,
            expires_at: None,
            properties: None,
        }
    }

    fn topics(retained: &Retained, filter: &str) -> Vec<String> {
        retained.matching(filter).map(|message| message.topic.clone()).collect()
    }

    #[test]
    fn matching_looks_everywhere_it_must() {
        let mut retained = Retained::new(10, 1_000);
        for topic in ["o/a", "o/a/b", "o/ab", "o/b/b", "p/a"] {
            assert!(retained.take(&message(topic, "1")));
        }
        assert_eq!(topics(&retained, "o/a/#"), ["o/a", "o/a/b"]);
        assert_eq!(topics(&retained, "o/+/b"), ["o/a/b", "o/b/b"]);
        assert_eq!(topics(&retained, "o/#"), ["o/a", "o/a/b", "o/ab", "o/b/b"]);
        assert_eq!(topics(&retained, "o/ab"), ["o/ab"]);
    }

    #[test]
    fn an_empty_message_clears_and_the_bound_holds() {
        let mut retained = Retained::new(1, 10);
        assert!(retained.take(&message("a", "1")));
        assert!(!retained.take(&message("b", "1")), "full");
        assert!(retained.take(&message("a", "2")), "a known topic is replaced");
        assert!(retained.take(&message("a", "")));
        assert_eq!(topics(&retained, "#"), [""; 0]);
        assert!(retained.take(&message("b", "1")));
        assert!(!retained.take(&message("b", "123456789")), "too large");
        assert!(retained.take(&message("b", "12345678")), "as large as may be, the one before is forgotten");
        assert_eq!(retained.bytes, 10);
    }
}
