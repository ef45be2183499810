//! Wills: what is published for a client that was lost, at once or after a while.

use super::message::Ms;
use crate::mqtt::codec::Publish;
pub(super) use crate::mqtt::codec::Will;

/// A will that waits for its client to come back.
#[derive(Clone, Debug)]
pub(super) struct PendingWill {
    pub(super) will: Will,
    /// When it is published, unless the client came back before [MQTT-3.1.3-9].
    pub(super) due: Ms,
}

impl PendingWill {
    /// Whichever is first, the delay or the session's end [MQTT-3.1.2-8].
    pub(super) fn new(will: Will, session_expiry_s: u32, now: Ms) -> Self {
        let due = now.after_s(will.delay_s.min(session_expiry_s));
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
    fn it_is_due_by_its_delay_or_with_the_session() {
        let now = Ms(1_000);
        for (delay_s, session_expiry_s, due_ms) in [(0, 100, 1_000), (5, 100, 6_000), (100, 5, 6_000), (5, 0, 1_000)] {
            let will =
                Will { topic: "w".into(), payload: Bytes::new(), qos: 1, retain: true, delay_s, properties: None };
            assert_eq!(PendingWill::new(will, session_expiry_s, now).due, Ms(due_ms), "{delay_s} {session_expiry_s}");
        }
    }
}
