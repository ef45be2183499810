//! The properties of MQTT 5 that clients send, checked against the packet that they are in.

use bytes::Bytes;

use super::reader::Reader;
use super::{Malformed, PublishProperties, is_topic};

/// Packets (and the will) that carry properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Connect,
    Will,
    Publish,
    /// PUBACK, PUBREC, PUBREL, PUBCOMP.
    Ack,
    Subscribe,
    Unsubscribe,
    Disconnect,
}

impl Place {
    /// Identifiers allowed here: table 2-4 of the specification, less what only servers send.
    fn allows(self, identifier: u32) -> bool {
        let allowed: &[u32] = match self {
            Self::Connect => &[0x11, 0x15, 0x16, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27],
            Self::Will => &[0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26],
            Self::Publish => &[0x01, 0x02, 0x03, 0x08, 0x09, 0x23, 0x26],
            Self::Ack => &[0x1F, 0x26],
            Self::Subscribe => &[0x0B, 0x26],
            Self::Unsubscribe => &[0x26],
            Self::Disconnect => &[0x11, 0x1F, 0x26],
        };
        allowed.contains(&identifier)
    }
}

/// Every property of one packet.
#[derive(Debug, Default)]
pub(super) struct Properties {
    pub(super) session_expiry_s: Option<u32>,
    pub(super) receive_maximum: Option<u16>,
    pub(super) packet_bytes_max: Option<u32>,
    pub(super) authentication_method: Option<String>,
    pub(super) has_authentication_data: bool,
    pub(super) topic_alias_max: u16,
    pub(super) request_problem_information: Option<bool>,
    pub(super) request_response_information: Option<bool>,
    pub(super) will_delay_s: Option<u32>,
    pub(super) subscription_identifier: Option<u32>,
    pub(super) publish: PublishProperties,
}

impl Properties {
    /// Reads the length and what it covers.
    pub(super) fn read(reader: &mut Reader<'_>, place: Place) -> Result<Self, Malformed> {
        let length = reader.varint()?;
        let mut block = Reader::new(reader.take(length as usize)?);
        let mut properties = Self::default();
        let mut seen = 0_u64;
        while !block.is_empty() {
            let identifier = block.varint()?;
            if !place.allows(identifier) {
                return Err(Malformed::packet("a property that this packet does not have", "MQTT-2.2.2.2"));
            }
            // Every identifier that a place allows is below 64.
            let bit = 1_u64 << identifier;
            if identifier != 0x26 && seen & bit != 0 {
                return Err(Malformed::protocol("a property is there twice", "MQTT-2.2.2.2"));
            }
            seen |= bit;
            properties.set(identifier, &mut block)?;
        }
        if properties.has_authentication_data && properties.authentication_method.is_none() {
            return Err(Malformed::protocol("authentication data without a method", "MQTT-3.1.2.11.10"));
        }
        Ok(properties)
    }

    fn set(&mut self, identifier: u32, block: &mut Reader<'_>) -> Result<(), Malformed> {
        let publish = &mut self.publish;
        match identifier {
            0x01 => publish.payload_is_text = Some(flag(block)?),
            0x02 => publish.message_expiry_s = Some(block.u32()?),
            0x03 => publish.content_type = Some(block.string()?.into()),
            0x08 => publish.response_topic = Some(response_topic(block)?),
            0x09 => publish.correlation_data = Some(Bytes::copy_from_slice(block.binary()?)),
            0x0B => self.subscription_identifier = Some(not_zero(block.varint()?)?),
            0x11 => self.session_expiry_s = Some(block.u32()?),
            0x15 => self.authentication_method = Some(block.string()?.into()),
            0x16 => {
                block.binary()?;
                self.has_authentication_data = true;
            }
            0x18 => self.will_delay_s = Some(block.u32()?),
            0x17 => self.request_problem_information = Some(flag(block)?),
            0x19 => self.request_response_information = Some(flag(block)?),
            0x22 => self.topic_alias_max = block.u16()?,
            0x1F => {
                block.string()?;
            }
            0x21 => self.receive_maximum = Some(not_zero(block.u16()?)?),
            0x23 => publish.topic_alias = Some(topic_alias(block)?),
            0x26 => publish.user_properties.push((block.string()?.into(), block.string()?.into())),
            0x27 => self.packet_bytes_max = Some(not_zero(block.u32()?)?),
            _ => return Err(Malformed::packet("an unknown property", "MQTT-2.2.2.2")),
        }
        Ok(())
    }

    /// Those of a message, if it has any.
    pub(super) fn into_publish(self) -> Option<Box<PublishProperties>> {
        (self.publish != PublishProperties::default()).then(|| Box::new(self.publish))
    }
}

fn flag(block: &mut Reader<'_>) -> Result<bool, Malformed> {
    match block.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed::protocol("a property that is neither 0 nor 1", "MQTT-2.2.2.2")),
    }
}

fn not_zero<T: Default + PartialEq>(value: T) -> Result<T, Malformed> {
    if value == T::default() {
        return Err(Malformed::protocol("a property that must not be 0 is 0", "MQTT-2.2.2.2"));
    }
    Ok(value)
}

fn topic_alias(block: &mut Reader<'_>) -> Result<u16, Malformed> {
    match block.u16()? {
        0 => Err(Malformed { what: "topic alias 0", clause: "MQTT-3.3.2-8", reason: 0x94 }),
        alias => Ok(alias),
    }
}

fn response_topic(block: &mut Reader<'_>) -> Result<String, Malformed> {
    let topic = block.string()?;
    if !is_topic(topic) {
        return Err(Malformed::protocol("the response topic is no topic name", "MQTT-3.3.2-14"));
    }
    Ok(topic.into())
}
