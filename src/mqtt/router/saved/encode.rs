//! An image as bytes.
//!
//! | bytes | field |
//! |---|---|
//! | 8 | `RHUMBRTR` |
//! | 4 | format version, 1 |
//! | 8 | when it was taken, ms since 1970 |
//! | | messages, each once: left lifetime, and the message as a PUBLISH of MQTT 5 |
//! | | namespaces: tenant (empty in open mode), retained messages by number, sessions |
//! | 4 | CRC32C of all before |
//!
//! Fixed integers are little-endian, others and counts are LEB128; texts have their length in front. Lifetimes are
//! milliseconds plus 1, and 0 for good.

use std::io::{self, Write};
use std::sync::Arc;

use hashbrown::HashMap;

use super::super::message::{Message, Ms};
use super::super::session::{Queued, Stage, Subscribed};
use super::super::will::PendingWill;
use super::{Image, NamespaceImage, SessionImage};
use crate::mqtt::codec::{Publish, ServerPacket, Version, encode as encode_packet};
use crate::mqtt::router::Mount;
use crate::packed::put_varint;
use crate::units::TimestampMs;

pub(super) const MAGIC: &[u8; 8] = b"RHUMBRTR";
pub(super) const VERSION: u32 = 1;

/// Bytes that gather before they are written.
const CHUNK_BYTES: usize = 64 * 1024;

/// In the options of a saved subscription.
pub(super) const NO_LOCAL: u8 = 0x04;
pub(super) const RETAIN_AS_PUBLISHED: u8 = 0x08;

/// How a saved delivery begins that has been released.
pub(super) const RELEASED: u8 = 0;
pub(super) const SENT: u8 = 1;

/// The packet id that saved publishes above QoS 0 have, which says nothing.
const PKID: u16 = 1;

/// Writes an image that was taken at this time.
pub(super) fn encode(image: &Image, taken_at: TimestampMs, out: &mut impl Write) -> io::Result<()> {
    let mut writer = Writer { image, out, buffer: Vec::new(), crc: 0, numbers: HashMap::default() };
    writer.buffer.extend_from_slice(MAGIC);
    writer.buffer.extend_from_slice(&VERSION.to_le_bytes());
    writer.buffer.extend_from_slice(&taken_at.0.to_le_bytes());
    writer.messages()?;
    put_varint(&mut writer.buffer, image.namespaces.len() as u64);
    for namespace in &image.namespaces {
        writer.namespace(namespace)?;
    }
    writer.flush()?;
    let crc = writer.crc.to_le_bytes();
    out.write_all(&crc)
}

struct Writer<'a, W> {
    image: &'a Image,
    out: &'a mut W,
    buffer: Vec<u8>,
    crc: u32,
    /// Of messages, by where they are: one that waits for several sessions is written once.
    numbers: HashMap<*const Message, u64, foldhash::fast::RandomState>,
}

impl<W: Write> Writer<'_, W> {
    fn flush(&mut self) -> io::Result<()> {
        self.crc = crc32c::crc32c_append(self.crc, &self.buffer);
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn flush_if_long(&mut self) -> io::Result<()> {
        if self.buffer.len() >= CHUNK_BYTES { self.flush() } else { Ok(()) }
    }

    fn messages(&mut self) -> io::Result<()> {
        let mut messages = Vec::new();
        for namespace in &self.image.namespaces {
            messages.extend(&namespace.retained);
            for session in &namespace.sessions {
                messages.extend(session.queue.iter().map(|queued| &queued.message));
                messages.extend(session.in_flight.iter().filter_map(|flying| match &flying.stage {
                    Stage::Sent(queued) => Some(&queued.message),
                    Stage::Released => None,
                }));
            }
        }
        let numbers = &mut self.numbers;
        messages.retain(|message| {
            let number = numbers.len() as u64;
            numbers.try_insert(Arc::as_ptr(message), number).is_ok()
        });
        put_varint(&mut self.buffer, messages.len() as u64);
        for message in messages {
            self.lifetime(message.expires_at);
            put_publish(
                &mut self.buffer,
                Publish {
                    qos: message.qos,
                    retain: message.retain,
                    topic: Arc::clone(&message.topic),
                    payload: message.payload.clone(),
                    properties: message.properties.clone(),
                    ..Publish::default()
                },
            );
            self.flush_if_long()?;
        }
        Ok(())
    }

    fn lifetime(&mut self, until: Ms) {
        let left_ms = if until == Ms::NEVER { 0 } else { until.left_ms(self.image.taken).saturating_add(1) };
        put_varint(&mut self.buffer, left_ms);
    }

    fn number(&mut self, message: &Arc<Message>) {
        let number = self.numbers.get(&Arc::as_ptr(message)).copied().unwrap_or_default();
        put_varint(&mut self.buffer, number);
    }

    fn namespace(&mut self, namespace: &NamespaceImage) -> io::Result<()> {
        let tenant = match &namespace.mount {
            Mount::Open => "",
            Mount::Tenant(tenant) => tenant.as_str(),
        };
        put_bytes(&mut self.buffer, tenant.as_bytes());
        put_varint(&mut self.buffer, namespace.retained.len() as u64);
        for message in &namespace.retained {
            self.number(message);
        }
        put_varint(&mut self.buffer, namespace.sessions.len() as u64);
        for session in &namespace.sessions {
            self.session(session);
            self.flush_if_long()?;
        }
        Ok(())
    }

    fn session(&mut self, session: &SessionImage) {
        put_bytes(&mut self.buffer, session.client_id.as_bytes());
        self.lifetime(session.expires_at);
        self.will(session.will.as_ref());
        put_varint(&mut self.buffer, session.subscriptions.len() as u64);
        for subscribed in &session.subscriptions {
            put_subscribed(&mut self.buffer, subscribed);
        }
        put_varint(&mut self.buffer, session.received.len() as u64);
        for pkid in &session.received {
            put_varint(&mut self.buffer, u64::from(*pkid));
        }
        put_varint(&mut self.buffer, u64::from(session.pkid_last));
        put_varint(&mut self.buffer, session.in_flight.len() as u64);
        for flying in &session.in_flight {
            put_varint(&mut self.buffer, u64::from(flying.pkid));
            match &flying.stage {
                Stage::Released => self.buffer.push(RELEASED),
                Stage::Sent(queued) => {
                    self.buffer.push(SENT);
                    self.queued(queued);
                }
            }
        }
        put_varint(&mut self.buffer, session.queue.len() as u64);
        for queued in &session.queue {
            self.queued(queued);
        }
    }

    fn will(&mut self, pending: Option<&PendingWill>) {
        let Some(PendingWill { will, due }) = pending else {
            self.buffer.push(0);
            return;
        };
        self.buffer.push(1);
        self.lifetime(*due);
        put_publish(
            &mut self.buffer,
            Publish {
                qos: will.qos,
                retain: will.retain,
                topic: will.topic.as_str().into(),
                payload: will.payload.clone(),
                properties: will.properties.clone(),
                ..Publish::default()
            },
        );
    }

    fn queued(&mut self, queued: &Queued) {
        self.number(&queued.message);
        self.buffer.push(queued.qos << 1 | u8::from(queued.retain));
        put_varint(&mut self.buffer, queued.identifiers.len() as u64);
        for identifier in &queued.identifiers {
            put_varint(&mut self.buffer, u64::from(*identifier));
        }
        put_bytes(&mut self.buffer, queued.share.as_deref().unwrap_or_default().as_bytes());
    }
}

fn put_subscribed(out: &mut Vec<u8>, subscribed: &Subscribed) {
    let Subscribed { options, identifier } = subscribed;
    put_bytes(out, options.filter.as_bytes());
    let no_local = if options.no_local { NO_LOCAL } else { 0 };
    let retain_as_published = if options.retain_as_published { RETAIN_AS_PUBLISHED } else { 0 };
    out.push(options.qos | no_local | retain_as_published);
    put_varint(out, u64::from(*identifier));
}

fn put_publish(out: &mut Vec<u8>, publish: Publish) {
    let pkid = if publish.qos > 0 { PKID } else { 0 };
    let mut packet = Vec::new();
    encode_packet(Version::V5, &ServerPacket::Publish(Publish { pkid, ..publish }), &mut packet);
    put_bytes(out, &packet);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
