//! A message inside the router, and the envelope that carries through rumqttd what rumqttd forgets.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use rumqttd::protocol;

use crate::mqtt::codec::PublishProperties;

/// Who published: the number of a session, or [`SERVER`].
pub(super) type PublisherId = u64;

/// The engine itself.
pub(super) const SERVER: PublisherId = 0;

/// A message on its way from publisher to subscribers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Mounted.
    pub(super) topic: String,
    pub(super) payload: Bytes,
    pub(super) qos: u8,
    /// As published.
    pub(super) retain: bool,
    pub(super) publisher: PublisherId,
    pub(super) expires_at: Option<ExpiryMs>,
    pub(super) properties: Option<Box<PublishProperties>>,
}

/// An instant in milliseconds since the first use of this clock, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ExpiryMs(u64);

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

impl ExpiryMs {
    pub(super) fn after(seconds: u32) -> Self {
        let at = EPOCH.elapsed() + Duration::from_secs(seconds.into());
        Self((at.as_millis() as u64).max(1))
    }

    /// Seconds that are left, rounded up; `None` if it is over.
    pub(super) fn left_s(self) -> Option<u32> {
        let left_ms = self.0.checked_sub(EPOCH.elapsed().as_millis() as u64).filter(|left_ms| *left_ms > 0)?;
        Some(left_ms.div_ceil(1_000) as u32)
    }
}

/// Flags, publisher, expiry.
const ENVELOPE_BYTES: usize = 1 + 8 + 8;
const FLAG_RETAIN: u8 = 0x04;

impl Message {
    /// As rumqttd is given it: at QoS 0 and not retained (acknowledgements and retained messages are the seam's), the
    /// rest before the payload.
    pub(super) fn into_rumqttd(self) -> protocol::Packet {
        let mut payload = BytesMut::with_capacity(ENVELOPE_BYTES + self.payload.len());
        payload.put_u8(self.qos | if self.retain { FLAG_RETAIN } else { 0 });
        payload.put_u64(self.publisher);
        payload.put_u64(self.expires_at.map_or(0, |at| at.0));
        payload.extend_from_slice(&self.payload);
        let properties = self.properties.map(|properties| to_rumqttd(*properties));
        let publish = protocol::Publish::new(Bytes::from(self.topic), payload.freeze(), false);
        protocol::Packet::Publish(publish, properties)
    }

    /// The message again, and by which of the subscriber's subscriptions it came. `None` if it never was one of ours.
    pub(super) fn from_rumqttd(forward: rumqttd::Forward) -> Option<(Self, Option<usize>)> {
        let rumqttd::Forward { publish, properties, .. } = forward;
        let mut payload = publish.payload;
        if payload.len() < ENVELOPE_BYTES {
            return None;
        }
        let flags = payload.get_u8();
        let publisher = payload.get_u64();
        let expires_at = Some(payload.get_u64()).filter(|at| *at != 0).map(ExpiryMs);
        let mut properties = properties;
        let subscription = properties.as_mut().and_then(|properties| properties.subscription_identifiers.pop());
        let message = Self {
            topic: String::from_utf8(publish.topic.into()).ok()?,
            payload,
            qos: flags & 0x03,
            retain: flags & FLAG_RETAIN != 0,
            publisher,
            expires_at,
            properties: properties.and_then(from_rumqttd),
        };
        Some((message, subscription))
    }
}

fn to_rumqttd(properties: PublishProperties) -> protocol::PublishProperties {
    protocol::PublishProperties {
        payload_format_indicator: properties.payload_is_text.map(u8::from),
        // Kept in the envelope; rumqttd would count it down only as far as its own queue.
        message_expiry_interval: None,
        topic_alias: None,
        response_topic: properties.response_topic,
        correlation_data: properties.correlation_data,
        user_properties: properties.user_properties,
        subscription_identifiers: Vec::new(),
        content_type: properties.content_type,
    }
}

fn from_rumqttd(properties: protocol::PublishProperties) -> Option<Box<PublishProperties>> {
    let properties = PublishProperties {
        payload_is_text: properties.payload_format_indicator.map(|indicator| indicator != 0),
        response_topic: properties.response_topic,
        correlation_data: properties.correlation_data,
        user_properties: properties.user_properties,
        content_type: properties.content_type,
        ..PublishProperties::default()
    };
    (properties != PublishProperties::default()).then(|| Box::new(properties))
}
