//! Messages on their way through the router, and the time that they expire by.

use std::sync::Arc;

use bytes::Bytes;

use crate::mqtt::codec::{Publish, PublishProperties};

/// Who published: a session's number, or [`SERVER`].
pub(super) type PublisherId = u64;

/// The publisher of fixes.
pub(super) const SERVER: PublisherId = 0;

/// A message, shared by all who wait for it.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) topic: Arc<str>,
    pub(super) payload: Bytes,
    pub(super) qos: u8,
    /// As published.
    pub(super) retain: bool,
    pub(super) publisher: PublisherId,
    /// [`Ms::NEVER`] if it does not.
    pub(super) expires_at: Ms,
    pub(super) properties: Option<Box<PublishProperties>>,
}

/// What a message is counted as beside its texts.
const OVERHEAD_BYTES: usize = 96;

impl Message {
    /// What a client published, from now on.
    pub(super) fn published(publish: Publish, publisher: PublisherId, now: Ms) -> Self {
        let expiry_s = publish.properties.as_ref().and_then(|properties| properties.message_expiry_s);
        Self {
            topic: publish.topic,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            publisher,
            expires_at: expiry_s.map_or(Ms::NEVER, |expiry_s| now.after_s(expiry_s)),
            properties: publish.properties,
        }
    }

    /// An accepted fix.
    pub(super) fn fix(topic: Arc<str>, payload: Bytes, qos: u8) -> Self {
        Self { topic, payload, qos, retain: false, publisher: SERVER, expires_at: Ms::NEVER, properties: None }
    }

    /// Bytes that it is counted as.
    pub(super) fn bytes(&self) -> usize {
        let properties = self.properties.as_ref().map_or(0, |properties| properties_bytes(properties));
        OVERHEAD_BYTES + self.topic.len() + self.payload.len() + properties
    }
}

/// Bytes of a publish: its texts and properties.
pub(in crate::mqtt) fn publish_bytes(publish: &Publish) -> usize {
    let properties = publish.properties.as_ref().map_or(0, |properties| properties_bytes(properties));
    publish.topic.len() + publish.payload.len() + properties
}

fn properties_bytes(properties: &PublishProperties) -> usize {
    let users: usize = properties.user_properties.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
    size_of::<PublishProperties>()
        + users
        + properties.response_topic.as_ref().map_or(0, String::len)
        + properties.content_type.as_ref().map_or(0, String::len)
        + properties.correlation_data.as_ref().map_or(0, Bytes::len)
}

/// Milliseconds since the router started: a monotonic clock that its callers hand in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ms(pub(super) u64);

impl Ms {
    /// Beyond all times.
    pub(super) const NEVER: Self = Self(u64::MAX);

    pub(super) fn after_s(self, seconds: u32) -> Self {
        Self(self.0.saturating_add(u64::from(seconds) * 1_000))
    }

    /// Milliseconds from `now` until then; 0 if that has passed.
    pub(super) fn left_ms(self, now: Self) -> u64 {
        self.0.saturating_sub(now.0)
    }

    /// Seconds from `now` until then, rounded up; 0 if that has passed.
    pub(super) fn left_s(self, now: Self) -> u32 {
        u32::try_from(self.left_ms(now).div_ceil(1_000)).unwrap_or(u32::MAX)
    }
}
