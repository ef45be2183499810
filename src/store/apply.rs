//! Writing a batch: each fix goes into the block that covers its time, or begins a new one.
//!
//! What comes in order of time fills the driver's last block up to [`BLOCK_FIXES`] and begins the next, so that a track
//! in order is never split. What comes late is merged into the block it belongs to, which is halved when it grows past
//! [`BLOCK_FIXES_MAX`].

use std::collections::HashMap;

use super::block::{self, BLOCK_FIXES, BLOCK_FIXES_MAX, Block};
use super::embedded::{Found, Tables, malformed};
use super::key::Key;
use super::{DriverFixes, Error};
use crate::fix::Fix;
use crate::journal::JournalPosition;
use crate::units::TimestampMs;

/// Drivers whose last block is known by its key, at some 150 bytes each. Beyond, all are forgotten and sought again.
const TAILS_MAX: usize = 1 << 17;

/// The one that writes: what it knows and the space it works in.
#[derive(Default)]
pub(super) struct Writer {
    /// When a driver's last block begins. A block by its key is found in a tenth of the time that seeking takes.
    tails: HashMap<Box<[u8]>, TimestampMs, foldhash::fast::RandomState>,
    /// One driver's new fixes, in order of time.
    fixes: Vec<Fix>,
    /// A block with new fixes among its own.
    merged: Vec<Fix>,
    /// A block encoded.
    value: Vec<u8>,
}

/// One driver's part of a batch of writes.
struct Driver<'a> {
    tables: &'a Tables,
    writes: &'a mut fjall::OwnedWriteBatch,
    key: Key,
    /// When its last block begins once this is written.
    tail: TimestampMs,
}

impl Writer {
    /// See [`super::Store::apply`].
    pub(super) fn apply(
        &mut self,
        tables: &Tables,
        batch: &[DriverFixes<'_>],
        upto: JournalPosition,
    ) -> Result<(), Error> {
        if let Some(held) = tables.position()?
            && held.journal != upto.journal
        {
            return Err(Error::OtherJournal { held: held.journal, asked: upto.journal });
        }
        let written = self.write(tables, batch, upto);
        if written.is_err() || self.tails.len() > TAILS_MAX {
            // What was not written is not where it would have been.
            self.tails.clear();
        }
        written
    }

    fn write(&mut self, tables: &Tables, batch: &[DriverFixes<'_>], upto: JournalPosition) -> Result<(), Error> {
        // A driver is read once and written once in a batch, however often it occurs. In order of keys the database
        // also reads and writes close to where it just did.
        let mut drivers: Vec<&DriverFixes<'_>> = batch.iter().collect();
        drivers.sort_unstable_by_key(|driver| (driver.tenant, driver.driver));

        let mut writes = tables.database.batch();
        for same_driver in drivers.chunk_by(|one, other| (one.tenant, one.driver) == (other.tenant, other.driver)) {
            let DriverFixes { tenant, driver, .. } = *same_driver[0];
            let key = Key::of(tenant, driver)
                .ok_or_else(|| Error::Id { tenant: tenant.to_owned(), driver: driver.to_owned() })?;
            self.gather(same_driver);
            let last = self.last_block(tables, key)?;
            let known = last.as_ref().map(|last| last.first);
            let mut driver = Driver { tables, writes: &mut writes, key, tail: known.unwrap_or(TimestampMs(i64::MIN)) };
            self.apply_driver(&mut driver, last)?;
            self.know_tail(key, driver.tail);
        }
        tables.put_position(&mut writes, upto);
        Ok(writes.commit()?)
    }

    fn last_block(&self, tables: &Tables, key: Key) -> Result<Option<Found>, Error> {
        if let Some(first) = self.tails.get(key.driver())
            && let Some(found) = tables.block_at(key, *first)?
        {
            return Ok(Some(found));
        }
        tables.covering(key, TimestampMs(i64::MAX))
    }

    fn know_tail(&mut self, key: Key, tail: TimestampMs) {
        match self.tails.get_mut(key.driver()) {
            Some(known) => *known = tail,
            None => drop(self.tails.insert(key.driver().into(), tail)),
        }
    }

    /// Puts the fixes of one driver in order, each time once: the first that came.
    fn gather(&mut self, same_driver: &[&DriverFixes<'_>]) {
        self.fixes.clear();
        for driver in same_driver {
            self.fixes.extend_from_slice(driver.fixes);
        }
        self.fixes.sort_by_key(|fix| fix.time);
        self.fixes.dedup_by_key(|fix| fix.time);
    }

    fn apply_driver(&mut self, driver: &mut Driver<'_>, last: Option<Found>) -> Result<(), Error> {
        let Self { fixes, merged, value, .. } = self;
        let mut rest = fixes.as_slice();
        let Some(last) = last else {
            driver.put(rest, BLOCK_FIXES, value);
            return Ok(());
        };
        while let Some(earliest) = rest.first()
            && earliest.time < last.first
        {
            let (found, next) = driver.cover(earliest.time)?;
            let until = next.map_or(rest.len(), |next| rest.partition_point(|fix| fix.time < next.first));
            let (covered, after) = rest.split_at(until);
            if driver.merge(&found, covered, merged)? {
                let pieces = if merged.len() <= BLOCK_FIXES_MAX { 1 } else { merged.len() / BLOCK_FIXES };
                driver.replace(&found, merged, merged.len().div_ceil(pieces), value);
            }
            rest = after;
        }
        let Some(earliest) = rest.first() else { return Ok(()) };
        let block = driver.block(&last)?;
        if block.len() >= BLOCK_FIXES as u64 && block.ends_before(earliest.time) {
            driver.put(rest, BLOCK_FIXES, value);
        } else if driver.merge(&last, rest, merged)? {
            driver.replace(&last, merged, BLOCK_FIXES, value);
        }
        Ok(())
    }
}

impl Driver<'_> {
    /// The block for what is from `time` on, and the one after it. What is older than all blocks belongs to the first.
    fn cover(&self, time: TimestampMs) -> Result<(Found, Option<Found>), Error> {
        let found = match self.tables.covering(self.key, time)? {
            Some(found) => found,
            None => self.tables.following(self.key, time)?.ok_or_else(|| malformed(self.key.at(time).as_ref()))?,
        };
        let next = self.tables.following(self.key, found.first.saturating_add_ms(1))?;
        Ok((found, next))
    }

    fn block<'f>(&self, found: &'f Found) -> Result<Block<'f>, Error> {
        found.block(self.key.at(found.first))
    }

    /// Merges a block and new fixes by time; the block's own stay where both have a time. Tells whether anything was
    /// new.
    fn merge(&self, found: &Found, fixes: &[Fix], merged: &mut Vec<Fix>) -> Result<bool, Error> {
        merged.clear();
        let mut new = fixes.iter().peekable();
        let mut is_changed = false;
        for held in self.block(found)?.fixes() {
            let held = held.map_err(|_| malformed(self.key.at(found.first).as_ref()))?;
            while let Some(fix) = new.next_if(|fix| fix.time <= held.time) {
                if fix.time < held.time {
                    merged.push(*fix);
                    is_changed = true;
                }
            }
            merged.push(held);
        }
        is_changed |= new.peek().is_some();
        merged.extend(new);
        Ok(is_changed)
    }

    /// Writes `fixes`, at least one, in place of a block.
    fn replace(&mut self, found: &Found, fixes: &[Fix], fixes_a_block: usize, value: &mut Vec<u8>) {
        if fixes[0].time != found.first {
            if found.first == self.tail {
                self.tail = fixes[0].time;
            }
            self.writes.remove(&self.tables.blocks, self.key.at(found.first).as_ref());
        }
        self.put(fixes, fixes_a_block, value);
    }

    /// Writes fixes as new blocks.
    fn put(&mut self, fixes: &[Fix], fixes_a_block: usize, value: &mut Vec<u8>) {
        for fixes in fixes.chunks(fixes_a_block) {
            self.tail = self.tail.max(fixes[0].time);
            value.clear();
            block::encode(fixes, value);
            self.writes.insert(&self.tables.blocks, self.key.at(fixes[0].time).as_ref(), value.as_slice());
        }
    }
}
