//! Reading the events that are kept, in their order: of all tenants for whoever passes them on, of one for itself.

use bytes::Bytes;
use fjall::Readable;

use super::tables::{Tables, key, malformed, number_of};
use super::{Error, Event};
use crate::ids::TenantId;

/// Most bytes of events in a page, before the one that goes beyond.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// The events that are kept. Clones read the same; all calls block for the disk at times.
#[derive(Clone, Debug)]
pub struct Outbox(Tables);

/// Events one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// They, oldest first.
    pub events: Vec<Event>,
    /// Whether there are more behind the last.
    pub has_more: bool,
    /// The last event, of any tenant, that is no longer kept; 0: all are.
    pub dropped: u64,
}

impl Outbox {
    /// Of this database.
    pub fn new(tables: Tables) -> Self {
        Self(tables)
    }

    /// The events of all tenants behind this sequence, `limit` at most.
    pub fn after(&self, sequence: u64, limit: usize) -> Result<Page, Error> {
        let snapshot = self.0.database.snapshot();
        let mut page = self.page(&snapshot)?;
        let mut bytes = 0;
        for guard in snapshot.range(&self.0.events, sequence.saturating_add(1).to_be_bytes()..) {
            if page.events.len() == limit || bytes > PAGE_BYTES_MAX {
                page.has_more = true;
                break;
            }
            let (key, value) = guard.into_inner()?;
            let event = number_of(&key).and_then(|sequence| read(sequence, &value)).ok_or_else(|| malformed(&key))?;
            bytes += event.body.len();
            page.events.push(event);
        }
        Ok(page)
    }

    /// The events of one tenant behind this sequence, `limit` at most.
    pub fn of_tenant(&self, tenant: &TenantId, sequence: u64, limit: usize) -> Result<Page, Error> {
        let snapshot = self.0.database.snapshot();
        let mut page = self.page(&snapshot)?;
        let mut bytes = 0;
        let at = |sequence: u64| key(tenant.as_str(), &sequence.to_be_bytes());
        for guard in snapshot.range(&self.0.of_tenant, at(sequence.saturating_add(1))..=at(u64::MAX)) {
            if page.events.len() == limit || bytes > PAGE_BYTES_MAX {
                page.has_more = true;
                break;
            }
            let key = guard.key()?;
            let sequence = key.len().checked_sub(8).and_then(|name_at| number_of(&key[name_at..]));
            let sequence = sequence.ok_or_else(|| malformed(&key))?;
            let value = snapshot.get(&self.0.events, sequence.to_be_bytes())?.ok_or_else(|| malformed(&key))?;
            let event = read(sequence, &value).ok_or_else(|| malformed(&key))?;
            bytes += event.body.len();
            page.events.push(event);
        }
        Ok(page)
    }

    fn page(&self, snapshot: &fjall::Snapshot) -> Result<Page, Error> {
        let committed = snapshot.get(&self.0.meta, super::tables::COMMITTED_KEY)?;
        let dropped = committed.as_deref().and_then(|value| number_of(value.get(32..)?)).unwrap_or_default();
        Ok(Page { dropped, ..Page::default() })
    }
}

/// The value of an event.
pub(super) fn value(tenant: &TenantId, body: &[u8]) -> Vec<u8> {
    [&[tenant.as_str().len() as u8], tenant.as_str().as_bytes(), body].concat()
}

/// The tenant of a value.
pub(super) fn tenant_of(value: &[u8]) -> Option<&str> {
    let (len, rest) = value.split_first()?;
    std::str::from_utf8(rest.get(..usize::from(*len))?).ok()
}

fn read(sequence: u64, value: &[u8]) -> Option<Event> {
    let name = tenant_of(value)?;
    let tenant = TenantId::new(name).ok()?;
    Some(Event { sequence, tenant, body: Bytes::copy_from_slice(&value[1 + name.len()..]) })
}
