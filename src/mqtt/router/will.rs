//! Wills: what is published for a client that was lost, at once or after a while.

use super::message::Ms;
use crate::mqtt::codec::Publish;
pub(super) use crate::mqtt::codec::Will;

/// How long a will waits for its client, seconds: for its delay, or for as long as its session is kept, whichever is less
/// [MQTT-3.1.2-8].
pub(in crate::mqtt) fn wait_s(delay_s: u32, session_expiry_s: u32) -> u32 {
    delay_s.min(session_expiry_s)
}

/// How long a session is kept that CONNECT asked to be kept so long, seconds: a DISCONNECT may change it, but cannot begin what
/// CONNECT did not ask for [MQTT-3.14.2-2].
pub(in crate::mqtt) fn expiry_s(connect_s: u32, disconnect_s: Option<u32>, most_s: u32) -> u32 {
    disconnect_s.filter(|_| connect_s > 0).unwrap_or(connect_s).min(most_s)
}

/// A will that waits for its client to come back.
#[derive(Clone, Debug)]
pub(super) struct PendingWill {
    pub(super) will: Will,
    /// When it is published, unless the client came back before [MQTT-3.1.3-9].
    pub(super) due: Ms,
}

impl PendingWill {
    /// The will of a client that is lost now.
    pub(super) fn new(will: Will, session_expiry_s: u32, now: Ms) -> Self {
        let due = now.after_s(wait_s(will.delay_s, session_expiry_s));
        Self { will, due }
    }

    /// What is published of it.
    pub(super) fn into_publish(self) -> Publish {
        let Will { topic, payload, qos, retain, properties, .. } = self.will;
        Publish { qos, retain, topic: topic.into(), payload, properties, ..Publish::default() }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_disconnect_changes_what_was_asked_for_and_begins_nothing() {
        for (connect_s, disconnect_s, expected_s) in
            [(60, None, 60), (60, Some(5), 5), (60, Some(0), 0), (0, Some(5), 0), (0, None, 0), (200, Some(300), 100)]
        {
            assert_eq!(expiry_s(connect_s, disconnect_s, 100), expected_s, "{connect_s} {disconnect_s:?}");
        }
    }

    #[test]
    fn it_is_due_by_its_delay_or_with_the_session() {
        let now = Ms(1_000);
        for (delay_s, session_expiry_s, due_ms) in [(0, 100, 1_000), (5, 100, 6_000), (100, 5, 6_000), (5, 0, 1_000)] {
            let will =
                Will { topic: "w".into(), payload: Bytes::new(), qos: 1, retain: true, delay_s, properties: None };
            assert_eq!(PendingWill::new(will, session_expiry_s, now).due, Ms(due_ms), "{delay_s} {session_expiry_s}");
        }
    }
}
