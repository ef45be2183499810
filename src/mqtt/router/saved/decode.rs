//! Bytes as an image; the format is [`encode`](super::encode)'s.

use std::sync::Arc;

use super::super::message::{Message, Ms, SERVER};
use super::super::session::{Flying, Queued, Stage, Subscribed};
use super::super::will::{PendingWill, Will};
use super::encode::{MAGIC, NO_LOCAL, RELEASED, RETAIN_AS_PUBLISHED, SENT, VERSION};
use super::{Image, NamespaceImage, SessionImage};
use crate::ids::TenantId;
use crate::mqtt::codec::{
    ClientPacket, Publish, RetainHandling, Subscription, Version, decode as decode_packet, is_filter,
};
use crate::mqtt::router::Mount;
use crate::packed::take_varint;
use crate::units::TimestampMs;

/// Bytes of the checksum at the end.
const CRC_BYTES: usize = 4;

/// Why bytes are no image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("it is not a file of saved sessions, or of a later version of the program")]
    Foreign,
    #[error("it is damaged")]
    Damaged,
}

/// Reads an image at the time `now`, which is `at` on the wall: what is left of every lifetime is less by what passed since.
pub(super) fn decode(bytes: &[u8], now: Ms, at: TimestampMs) -> Result<Image, Unreadable> {
    let mut input = bytes.strip_prefix(MAGIC).ok_or(Unreadable::Foreign)?;
    let version = input.split_off(..4).and_then(|version| version.try_into().ok()).map(u32::from_le_bytes);
    if version != Some(VERSION) {
        return Err(Unreadable::Foreign);
    }
    let (content, crc) = bytes.split_at_checked(bytes.len().saturating_sub(CRC_BYTES)).ok_or(Unreadable::Damaged)?;
    if crc != crc32c::crc32c(content).to_le_bytes() {
        return Err(Unreadable::Damaged);
    }
    input = &input[..input.len() - CRC_BYTES];
    image(input, now, at).ok_or(Unreadable::Damaged)
}

fn image(mut input: &[u8], now: Ms, at: TimestampMs) -> Option<Image> {
    let taken_at = input.split_off(..8)?.try_into().map(i64::from_le_bytes).ok()?;
    // A clock that was set back takes nothing off.
    let passed_ms = u64::try_from(at.0.saturating_sub(taken_at)).unwrap_or(0);
    let mut reader = Reader { input, now, passed_ms, messages: Vec::new() };
    reader.messages = reader.list(Reader::message)?;
    let namespaces = reader.list(Reader::namespace)?;
    reader.input.is_empty().then_some(Image { taken: now, namespaces })
}

struct Reader<'a> {
    input: &'a [u8],
    now: Ms,
    passed_ms: u64,
    messages: Vec<Arc<Message>>,
}

impl<'a> Reader<'a> {
    /// So many of them; memory is taken as they turn out to be there.
    fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.varint()?;
        (0..count).map(|_| one(self)).collect()
    }

    fn varint(&mut self) -> Option<u64> {
        take_varint(&mut self.input)
    }

    fn u16(&mut self) -> Option<u16> {
        self.varint()?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.input.split_off_first().copied()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        self.input.split_off(..length)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    fn lifetime(&mut self) -> Option<Ms> {
        Some(match self.varint()? {
            0 => Ms::NEVER,
            left_ms => Ms(self.now.0.saturating_add((left_ms - 1).saturating_sub(self.passed_ms))),
        })
    }

    fn publish(&mut self) -> Option<Publish> {
        match decode_packet(Version::V5, self.bytes()?).ok()? {
            ClientPacket::Publish(publish) => Some(publish),
            _ => None,
        }
    }

    fn message(&mut self) -> Option<Arc<Message>> {
        let expires_at = self.lifetime()?;
        let publish = self.publish()?;
        Some(Arc::new(Message { expires_at, ..Message::published(publish, SERVER, self.now) }))
    }

    fn known_message(&mut self) -> Option<Arc<Message>> {
        let number = usize::try_from(self.varint()?).ok()?;
        self.messages.get(number).map(Arc::clone)
    }

    fn namespace(&mut self) -> Option<NamespaceImage> {
        let mount = match self.text()? {
            "" => Mount::Open,
            tenant => Mount::Tenant(TenantId::new(tenant).ok()?),
        };
        let retained = self.list(Self::known_message)?;
        let sessions = self.list(Self::session)?;
        Some(NamespaceImage { mount, retained, sessions })
    }

    fn session(&mut self) -> Option<SessionImage> {
        Some(SessionImage {
            client_id: self.text()?.into(),
            expires_at: self.lifetime()?,
            will: self.will()?,
            subscriptions: self.list(Self::subscribed)?,
            received: self.list(Self::u16)?,
            pkid_last: self.u16()?,
            in_flight: self.list(Self::flying)?,
            queue: self.list(Self::queued)?,
        })
    }

    #[expect(clippy::option_option, reason = "what is inside may be absent, what is outside is damage")]
    fn will(&mut self) -> Option<Option<PendingWill>> {
        if self.byte()? == 0 {
            return Some(None);
        }
        let due = self.lifetime()?;
        let Publish { qos, retain, topic, payload, properties, .. } = self.publish()?;
        let will = Will { topic: topic.as_ref().to_owned(), payload, qos, retain, delay_s: 0, properties };
        Some(Some(PendingWill { will, due }))
    }

    fn subscribed(&mut self) -> Option<Subscribed> {
        let filter = self.text().filter(|filter| is_filter(filter))?.to_owned();
        let bits = self.byte()?;
        let options = Subscription {
            filter,
            qos: (bits & 0x03).min(2),
            no_local: bits & NO_LOCAL != 0,
            retain_as_published: bits & RETAIN_AS_PUBLISHED != 0,
            retain_handling: RetainHandling::Never,
        };
        Some(Subscribed { options, identifier: self.varint()?.try_into().ok()? })
    }

    fn flying(&mut self) -> Option<Flying> {
        let pkid = self.u16().filter(|pkid| *pkid != 0)?;
        let stage = match self.byte()? {
            RELEASED => Stage::Released,
            SENT => Stage::Sent(self.queued()?),
            _ => return None,
        };
        Some(Flying { pkid, stage })
    }

    fn queued(&mut self) -> Option<Queued> {
        let message = self.known_message()?;
        let bits = self.byte().filter(|bits| *bits >> 1 <= 2)?;
        let identifiers = self.list(|reader| reader.varint()?.try_into().ok())?.into_boxed_slice();
        let share = Some(self.text()?).filter(|share| !share.is_empty()).map(Arc::from);
        Some(Queued { message, qos: bits >> 1, retain: bits & 1 != 0, identifiers, share })
    }
}
