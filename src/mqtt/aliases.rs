//! Topic aliases of MQTT 5, in both directions. They last as long as their connection.

use std::collections::HashMap;

use super::codec::Malformed;

/// An alias above what CONNACK offered.
const TOO_HIGH: Malformed =
    Malformed { what: "a topic alias above the maximum", clause: "MQTT-3.2.2-18", reason: 0x94 };

/// An alias without a topic that none was sent with before.
const UNKNOWN: Malformed =
    Malformed { what: "a topic alias that stands for nothing yet", clause: "MQTT-3.3.2-12", reason: 0x82 };

/// Topics that the client gave numbers to. Bounded by `mqtt.topic_alias_max`.
#[derive(Debug, Default)]
pub(super) struct Incoming(Vec<Box<[u8]>>);

impl Incoming {
    /// Whether CONNACK offered this alias, which is not 0.
    pub(super) fn check(alias: u16, alias_max: u16) -> Result<(), Malformed> {
        if alias > alias_max { Err(TOO_HIGH) } else { Ok(()) }
    }

    /// The topic of an alias.
    pub(super) fn topic(&self, alias: u16) -> Result<&[u8], Malformed> {
        match self.0.get(usize::from(alias).wrapping_sub(1)) {
            Some(topic) if !topic.is_empty() => Ok(topic),
            _ => Err(UNKNOWN),
        }
    }

    /// Lets an alias stand for a topic from now on.
    pub(super) fn set(&mut self, alias: u16, topic: &[u8]) {
        let Some(index) = usize::from(alias).checked_sub(1) else { return };
        if self.0.len() <= index {
            self.0.resize_with(index + 1, Box::default);
        }
        if *self.0[index] != *topic {
            self.0[index] = topic.into();
        }
    }
}

/// Topics that the door gave numbers to, first come first served: a topic that found none left is sent by its name. Bounded
/// by the client's maximum and `mqtt.topic_alias_max`.
#[derive(Debug)]
pub(super) struct Outgoing {
    aliases: HashMap<Box<str>, u16>,
    alias_max: u16,
}

/// How a topic goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// By its name alone.
    Plainly,
    /// By its name, together with an alias that is new to the client.
    First(u16),
    /// By its alias alone.
    Aliased(u16),
}

impl Outgoing {
    /// With no more aliases than both sides take; `None` if that is none.
    pub(super) fn new(client_max: u16, server_max: u16) -> Option<Box<Self>> {
        let alias_max = client_max.min(server_max);
        (alias_max > 0).then(|| Box::new(Self { aliases: HashMap::new(), alias_max }))
    }

    /// How a topic goes out now. One that goes [`Named::First`] is for [`Outgoing::sent`].
    pub(super) fn name(&self, topic: &str) -> Named {
        match self.aliases.get(topic) {
            Some(alias) => Named::Aliased(*alias),
            None if self.aliases.len() < usize::from(self.alias_max) => Named::First(self.aliases.len() as u16 + 1),
            None => Named::Plainly,
        }
    }

    /// The topic went out with this alias.
    pub(super) fn sent(&mut self, topic: &str, alias: u16) {
        self.aliases.insert(topic.into(), alias);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_stands_for_the_topic_it_last_came_with() {
        let mut aliases = Incoming::default();
        assert_eq!(aliases.topic(3), Err(UNKNOWN));
        aliases.set(3, b"a");
        assert_eq!(aliases.topic(3), Ok(&b"a"[..]));
        assert_eq!(aliases.topic(2), Err(UNKNOWN), "never set, though there is room for it");
        aliases.set(3, b"b");
        assert_eq!(aliases.topic(3), Ok(&b"b"[..]));
        assert_eq!(aliases.topic(0), Err(UNKNOWN));
        assert_eq!(Incoming::check(16, 16), Ok(()));
        assert_eq!(Incoming::check(17, 16), Err(TOO_HIGH));
        assert_eq!(Incoming::check(1, 0), Err(TOO_HIGH));
    }

    #[test]
    fn topics_get_aliases_as_they_come_until_there_are_none_left() {
        let mut aliases = Outgoing::new(2, 16).unwrap();
        for (topic, expected) in [
            ("a", Named::First(1)),
            ("a", Named::Aliased(1)),
            ("b", Named::First(2)),
            ("c", Named::Plainly),
            ("b", Named::Aliased(2)),
            ("a", Named::Aliased(1)),
        ] {
            let named = aliases.name(topic);
            assert_eq!(named, expected, "{topic}");
            if let Named::First(alias) = named {
                aliases.sent(topic, alias);
            }
        }
        assert_eq!(aliases.name("c"), Named::Plainly);
        assert!(Outgoing::new(0, 16).is_none() && Outgoing::new(16, 0).is_none());
    }
}
