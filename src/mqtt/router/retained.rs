//! The retained messages, by mounted topic.

use std::collections::BTreeMap;
use std::ops::Bound;

use rumqttd::protocol::matches;

use super::message::Message;

/// Bounded by number; beyond it new topics are not retained, their messages are delivered all the same.
#[derive(Debug)]
pub(super) struct Retained {
    by_topic: BTreeMap<String, Message>,
    topics_max: usize,
}

impl Retained {
    pub(super) fn new(topics_max: usize) -> Self {
        Self { by_topic: BTreeMap::new(), topics_max }
    }

    /// Keeps a message with the retain flag, or forgets its topic's if it is empty [MQTT-3.3.1-5, MQTT-3.3.1-6]. Whether
    /// there was room.
    pub(super) fn take(&mut self, message: &Message) -> bool {
        if message.payload.is_empty() {
            self.by_topic.remove(&message.topic);
            return true;
        }
        if self.by_topic.len() >= self.topics_max && !self.by_topic.contains_key(&message.topic) {
            self.by_topic.retain(|_, kept| kept.expires_at.is_none_or(|at| at.left_s().is_some()));
            if self.by_topic.len() >= self.topics_max {
                return false;
            }
        }
        self.by_topic.insert(message.topic.clone(), message.clone());
        true
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
        let mut retained = Retained::new(10);
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
        let mut retained = Retained::new(1);
        assert!(retained.take(&message("a", "1")));
        assert!(!retained.take(&message("b", "1")), "full");
        assert!(retained.take(&message("a", "2")), "a known topic is replaced");
        assert!(retained.take(&message("a", "")));
        assert_eq!(topics(&retained, "#"), [""; 0]);
        assert!(retained.take(&message("b", "1")));
    }
}
