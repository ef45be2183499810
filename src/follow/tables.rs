//! The database of the follower: what it keeps over a restart, and which of it is written together.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `meta` | `form` | the form of all this, 1 byte |
//! | | `checkpoint` | journal id (16), sequence (8): `fences` and `drivers` are as of there |
//! | | `committed` | journal id (16), sequence (8), last event (8), last event that is gone (8) |
//! | `fences` | tenant, 0, id | version (8), the description in JSON |
//! | | tenant, 0 | version (8), the tenant's rules in JSON |
//! | `drivers` | tenant, 0, driver | its state, see [`DriverFences::encode`](crate::geo::fence::DriverFences::encode) |
//! | `events` | sequence (8) | length of the tenant (1), tenant, the event in JSON |
//! | `of_tenant` | tenant, 0, sequence (8) | nothing |
//!
//! Integers are big-endian, so that keys are in their order.

use std::fmt;
use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};

use super::Error;
use crate::journal::{JournalId, JournalPosition};

const FORM: u8 = 1;
const FORM_KEY: &str = "form";
pub(super) const CHECKPOINT_KEY: &str = "checkpoint";
pub(super) const COMMITTED_KEY: &str = "committed";

/// Memory for what was written and not flushed yet, of each keyspace.
const MEMTABLE_BYTES: u64 = 8 << 20;

/// Memory for what is read from disk.
const CACHE_BYTES: u64 = 4 << 20;

/// Disk for the database's own journals: the least that it takes.
const JOURNAL_BYTES_MAX: u64 = 64 << 20;

/// Files held open.
const FILES_OPEN_MAX: usize = 64;

/// The open database. Clones are handles to the same one.
#[derive(Clone)]
pub struct Tables {
    pub(super) database: Database,
    pub(super) meta: Keyspace,
    pub(super) fences: Keyspace,
    pub(super) drivers: Keyspace,
    pub(super) events: Keyspace,
    pub(super) of_tenant: Keyspace,
}

/// How far events were committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Committed {
    pub(super) position: JournalPosition,
    /// The last event; 0: there was none.
    pub(super) last_event: u64,
    /// The last event that is no longer kept.
    pub(super) dropped: u64,
}

impl fmt::Debug for Tables {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Tables")
    }
}

impl Tables {
    /// Opens what is in `dir`, making it if there is nothing. After a crash this reads the database's own journals.
    ///
    /// # Errors
    /// The disk's; [`Error::Locked`], [`Error::Form`].
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let database = Database::builder(dir)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .max_cached_files(Some(FILES_OPEN_MAX))
            .worker_threads(1)
            .open()
            .map_err(|error| match error {
                fjall::Error::Locked => Error::Locked { dir: dir.to_owned() },
                other => other.into(),
            })?;
        let keyspace =
            |name| database.keyspace(name, || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES));
        let meta = keyspace("meta")?;
        match meta.get(FORM_KEY)?.as_deref() {
            None => meta.insert(FORM_KEY, [FORM])?,
            Some([FORM]) => {}
            Some(found) => {
                return Err(Error::Form { found: found.first().copied().unwrap_or_default(), known: FORM });
            }
        }
        let [fences, drivers] = [keyspace("fences")?, keyspace("drivers")?];
        let [events, of_tenant] = [keyspace("events")?, keyspace("of_tenant")?];
        Ok(Self { database, meta, fences, drivers, events, of_tenant })
    }

    /// The frame up to which fences and states are written; `None` before the first checkpoint.
    pub fn checkpoint(&self) -> Result<Option<JournalPosition>, Error> {
        let Some(value) = self.meta.get(CHECKPOINT_KEY)? else { return Ok(None) };
        let position = position_of(&value).filter(|_| value.len() == 24);
        position.map(Some).ok_or_else(|| malformed(CHECKPOINT_KEY.as_bytes()))
    }

    pub(super) fn committed(&self) -> Result<Option<Committed>, Error> {
        let Some(value) = self.meta.get(COMMITTED_KEY)? else { return Ok(None) };
        let read = || {
            let (position, rest) = (position_of(&value)?, value.get(24..)?);
            let (last_event, dropped) = (number_of(rest)?, number_of(rest.get(8..)?)?);
            Some(Committed { position, last_event, dropped })
        };
        read().map(Some).ok_or_else(|| malformed(COMMITTED_KEY.as_bytes()))
    }

    pub(super) fn put_checkpoint(&self, writes: &mut OwnedWriteBatch, position: JournalPosition) {
        writes.insert(&self.meta, CHECKPOINT_KEY, bytes_of(position));
    }

    pub(super) fn put_committed(&self, writes: &mut OwnedWriteBatch, committed: Committed) {
        let mut value = bytes_of(committed.position);
        value.extend_from_slice(&committed.last_event.to_be_bytes());
        value.extend_from_slice(&committed.dropped.to_be_bytes());
        writes.insert(&self.meta, COMMITTED_KEY, value);
    }

    /// A batch that is with the system once it is committed, so that the end of the process does not lose it.
    pub(super) fn batch(&self) -> OwnedWriteBatch {
        self.database.batch().durability(Some(PersistMode::Buffer))
    }

    /// Makes all that was written durable.
    pub(super) fn persist(&self) -> Result<(), Error> {
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }
}

/// The key of something of a tenant's; the beginning of all of them where `name` is empty.
pub(super) fn key(tenant: &str, name: &[u8]) -> Vec<u8> {
    [tenant.as_bytes(), &[0], name].concat()
}

/// Tenant and name of a key.
pub(super) fn split(key: &[u8]) -> Option<(&str, &[u8])> {
    let zero = key.iter().position(|byte| *byte == 0)?;
    Some((std::str::from_utf8(&key[..zero]).ok()?, &key[zero + 1..]))
}

/// The number in the first eight bytes.
pub(super) fn number_of(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

fn position_of(value: &[u8]) -> Option<JournalPosition> {
    let journal = JournalId(*value.first_chunk()?);
    Some(JournalPosition { journal, sequence: number_of(&value[16..])? })
}

fn bytes_of(position: JournalPosition) -> Vec<u8> {
    [&position.journal.0[..], &position.sequence.to_be_bytes()].concat()
}

pub(super) fn malformed(key: &[u8]) -> Error {
    Error::Malformed { key: key.escape_ascii().to_string() }
}
