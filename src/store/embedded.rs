//! The store itself: opening it, reading it, and the position it holds.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use fjall::compaction::Leveled;
use fjall::config::RestartIntervalPolicy;
use fjall::{Database, Guard, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, UserValue};

use super::apply::Writer;
use super::block::Block;
use super::key::{self, Key};
use super::{Config, DriverFixes, Error, Stretch};
use crate::fix::Fix;
use crate::journal::{JournalId, JournalPosition};
use crate::units::TimestampMs;

/// The form of the whole store: which keyspaces there are and what is in them.
const FORM: u8 = 1;
const FORM_KEY: &str = "form";
pub(super) const POSITION_KEY: &str = "position";
pub(super) const BEGAN_KEY: &str = "began";

/// Memory for fresh blocks before they are flushed. The database keeps the value it was made with, so this is no
/// configuration; at worst five of them exist at a time.
const MEMTABLE_BYTES: u64 = 16 << 20;

/// Size of the database's files. A compaction holds what goes into a file in memory until the file is written (its
/// index keeps each block that a key was cut from alive), one file a worker: the database's own 64 MiB would be 128 MiB.
const TABLE_BYTES: u64 = 16 << 20;

/// The embedded store. Clones are handles to the same one; the last one dropped closes it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    tables: Tables,
    writer: Mutex<Writer>,
}

/// The open database.
pub(super) struct Tables {
    pub(super) database: Database,
    /// [`Key`] to [`Block`]. A driver's blocks do not overlap: each holds what is from its key's time on and before the
    /// next one's.
    pub(super) blocks: Keyspace,
    /// What is one of a kind: the form and the position.
    pub(super) meta: Keyspace,
}

/// A block as found in the database.
pub(super) struct Found {
    /// The time in its key.
    pub(super) first: TimestampMs,
    /// Its bytes.
    pub(super) value: UserValue,
}

impl Store {
    /// Opens the store in `dir`, making it if there is none. After a crash this reads the database's own journals.
    pub fn open(dir: &Path, config: &Config) -> Result<Self, Error> {
        config.check()?;
        let database = Database::builder(dir)
            .cache_size(config.cache_bytes)
            .max_journaling_size(config.journal_bytes_max)
            .max_cached_files(Some(config.files_open_max))
            .worker_threads(config.worker_threads)
            .open()
            .map_err(|error| match error {
                fjall::Error::Locked => Error::Locked { dir: dir.to_owned() },
                other => other.into(),
            })?;
        // Values are some hundred bytes long: sharing the beginnings of keys would save little of that, and make each
        // seek read its neighbours.
        let blocks = database.keyspace("blocks", || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(MEMTABLE_BYTES)
                .compaction_strategy(Arc::new(Leveled::default().with_table_target_size(TABLE_BYTES)))
                .data_block_restart_interval_policy(RestartIntervalPolicy::all(1))
        })?;
        let meta = database.keyspace("meta", KeyspaceCreateOptions::default)?;
        match meta.get(FORM_KEY)?.as_deref() {
            None => meta.insert(FORM_KEY, [FORM])?,
            Some([FORM]) => {}
            Some(found) => {
                return Err(Error::Form { found: found.first().copied().unwrap_or_default(), known: FORM });
            }
        }
        let tables = Tables { database, blocks, meta };
        Ok(Self(Arc::new(Inner { tables, writer: Mutex::default() })))
    }

    pub(super) fn tables(&self) -> &Tables {
        &self.0.tables
    }

    /// The journal position up to which the store has every fix; `None` before the first [`Store::apply`].
    pub fn applied(&self) -> Result<Option<JournalPosition>, Error> {
        self.0.tables.position()
    }

    /// The frame behind which the store began, if it could not begin with the journal's first; 0 otherwise.
    pub fn began(&self) -> Result<u64, Error> {
        let Some(value) = self.0.tables.meta.get(BEGAN_KEY)? else { return Ok(0) };
        value.first_chunk::<8>().map(|value| u64::from_be_bytes(*value)).ok_or_else(|| malformed(BEGAN_KEY.as_bytes()))
    }

    /// Begins behind a position, because the journal does not hold what was before. The store has to be empty.
    pub fn begin(&self, behind: JournalPosition) -> Result<(), Error> {
        let tables = &self.0.tables;
        let mut writes = tables.database.batch();
        writes.insert(&tables.meta, BEGAN_KEY, behind.sequence.to_be_bytes());
        tables.put_position(&mut writes, behind);
        writes.commit()?;
        self.sync()
    }

    /// Adds fixes and moves the position to `upto`, all or nothing. A fix whose driver and time are there already
    /// changes nothing, so that applying again does no harm.
    ///
    /// On return it is seen by every reader and outlives this process; it outlives the machine from the next
    /// [`Store::sync`] on. Callers wait for each other.
    pub fn apply(&self, batch: &[DriverFixes<'_>], upto: JournalPosition) -> Result<(), Error> {
        let mut writer = self.0.writer.lock().unwrap_or_else(|poisoned| {
            // What it knew may be of a batch that was never committed.
            let mut writer = poisoned.into_inner();
            *writer = Writer::default();
            self.0.writer.clear_poison();
            writer
        });
        writer.apply(&self.0.tables, batch, upto)
    }

    /// Makes all that was applied so far outlive a crash of the machine. Blocks for an fsync.
    pub fn sync(&self) -> Result<(), Error> {
        Ok(self.0.tables.database.persist(PersistMode::SyncAll)?)
    }

    /// The stretch of the driver's history around a time: the block that covers it, up to the next one's first fix. Two seeks,
    /// some 15 µs, and a block decoded; times near this one are then told without the store, as it was at the call.
    pub fn stretch(&self, tenant: &str, driver: &str, time: TimestampMs, stretch: &mut Stretch) -> Result<(), Error> {
        stretch.begin();
        let Some(driver_key) = Key::of(tenant, driver) else { return Ok(()) };
        let tables = &self.0.tables;
        // Of one moment: a block that is written anew between the two looks could be missed by both.
        let snapshot = tables.database.snapshot();
        if let Some(guard) = snapshot.range(&tables.blocks, driver_key.at(time)..).next()
            && let Some(covering) = found(guard, driver_key)?
        {
            let key = driver_key.at(covering.first);
            for fix in covering.block(key)?.fixes() {
                stretch.fixes.push(fix.map_err(|_| malformed(key.as_ref()))?);
            }
            stretch.begins_at(covering.first);
        }
        let Some(later) = time.0.checked_add(1) else { return Ok(()) };
        if let Some(guard) = snapshot.range(&tables.blocks, driver_key..=driver_key.at(TimestampMs(later))).next_back()
            && let Some(following) = found(guard, driver_key)?
        {
            let key = driver_key.at(following.first);
            if let Some(fix) = following.block(key)?.fixes().next() {
                stretch.fixes.push(fix.map_err(|_| malformed(key.as_ref()))?);
            }
            stretch.ends_at(following.first);
        }
        Ok(())
    }

    /// The driver's fixes from `from` on and before `to`, oldest first, `limit` at most. Sees the store as it is at the
    /// call, whatever is applied meanwhile.
    pub fn track(
        &self,
        tenant: &str,
        driver: &str,
        from: TimestampMs,
        to: TimestampMs,
        limit: usize,
    ) -> Result<Vec<Fix>, Error> {
        let mut track = Vec::new();
        let Some(driver_key) = Key::of(tenant, driver) else { return Ok(track) };
        if from >= to || limit == 0 {
            return Ok(track);
        }
        let tables = &self.0.tables;
        let snapshot = tables.database.snapshot();
        let begin = match snapshot.range(&tables.blocks, driver_key.at(from)..).next() {
            Some(guard) => found(guard, driver_key)?.map_or(from, |found| found.first),
            None => from,
        };
        let last = TimestampMs(to.0 - 1);
        for guard in snapshot.range(&tables.blocks, driver_key.at(last)..=driver_key.at(begin)).rev() {
            let Some(found) = found(guard, driver_key)? else { continue };
            let key = driver_key.at(found.first);
            for fix in found.block(key)?.fixes() {
                let fix = fix.map_err(|_| malformed(key.as_ref()))?;
                if fix.time >= to {
                    return Ok(track);
                }
                if fix.time >= from {
                    track.push(fix);
                    if track.len() == limit {
                        return Ok(track);
                    }
                }
            }
        }
        Ok(track)
    }
}

#[cfg(test)]
impl Store {
    /// How many fixes each of a driver's blocks has, in order.
    pub(super) fn block_lens(&self, tenant: &str, driver: &str) -> Result<Vec<u64>, Error> {
        let Some(driver_key) = Key::of(tenant, driver) else { return Ok(Vec::new()) };
        let blocks = self.0.tables.blocks.range(driver_key..=driver_key.at(TimestampMs(i64::MIN))).rev();
        blocks
            .map(|guard| found(guard, driver_key)?.map_or(Ok(0), |found| Ok(found.block(driver_key)?.len())))
            .collect()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Tables {
    /// The position as of the last batch.
    pub(super) fn position(&self) -> Result<Option<JournalPosition>, Error> {
        let Some(value) = self.meta.get(POSITION_KEY)? else { return Ok(None) };
        let (Some(journal), Some(sequence)) = (value.first_chunk::<16>(), value.last_chunk::<8>()) else {
            return Err(malformed(POSITION_KEY.as_bytes()));
        };
        Ok(Some(JournalPosition { journal: JournalId(*journal), sequence: u64::from_be_bytes(*sequence) }))
    }

    /// Adds the position to a batch of writes.
    pub(super) fn put_position(&self, writes: &mut fjall::OwnedWriteBatch, position: JournalPosition) {
        let mut value = [0; 24];
        value[..16].copy_from_slice(&position.journal.0);
        value[16..].copy_from_slice(&position.sequence.to_be_bytes());
        writes.insert(&self.meta, POSITION_KEY, value);
    }

    /// The driver's block that begins at exactly this time.
    pub(super) fn block_at(&self, driver_key: Key, first: TimestampMs) -> Result<Option<Found>, Error> {
        Ok(self.blocks.get(driver_key.at(first))?.map(|value| Found { first, value }))
    }

    /// The driver's last block that begins at `time` or before.
    pub(super) fn covering(&self, driver_key: Key, time: TimestampMs) -> Result<Option<Found>, Error> {
        // With an end to the range every source would also seek that.
        match self.blocks.range(driver_key.at(time)..).next() {
            Some(guard) => found(guard, driver_key),
            None => Ok(None),
        }
    }

    /// The driver's first block that begins at `time` or later.
    pub(super) fn following(&self, driver_key: Key, time: TimestampMs) -> Result<Option<Found>, Error> {
        match self.blocks.range(driver_key..=driver_key.at(time)).next_back() {
            Some(guard) => found(guard, driver_key),
            None => Ok(None),
        }
    }
}

impl Found {
    /// The block's head; `key` is for the error.
    pub(super) fn block(&self, key: Key) -> Result<Block<'_>, Error> {
        Block::read(self.first, &self.value).map_err(|_| malformed(key.as_ref()))
    }
}

/// What was found if it is the driver's, and not its neighbour's in the order of keys.
fn found(guard: Guard, driver_key: Key) -> Result<Option<Found>, Error> {
    let (key, value) = guard.into_inner()?;
    if !driver_key.is_of_same_driver(&key) {
        return Ok(None);
    }
    let first = key::time_of(&key).ok_or_else(|| malformed(&key))?;
    Ok(Some(Found { first, value }))
}

pub(super) fn malformed(key: &[u8]) -> Error {
    Error::Malformed { key: key.escape_ascii().to_string() }
}
