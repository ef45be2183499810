//! The way back: a snapshot's chunks into the shards that are about to start.

use std::sync::Arc;

use super::content::{Chunk, Driver, End, Head};
use crate::fix::Fix;
use crate::ids::{DriverId, DriverKey, TenantId};
use crate::journal::{Frame, Malformed};
use crate::pipeline::Recovering;
use crate::pipeline::window::UNSTORED;

/// How far a snapshot reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotReach {
    /// The frame it stands for: recovery goes on behind it.
    pub sequence: u64,
    /// The highest frame of which anything may be in it: a journal that ends before has lost its end.
    pub upto: u64,
}

/// Sees whether a snapshot reads from its beginning to its end, before anything of it is used.
#[derive(Debug, Default)]
pub struct SnapshotCheck {
    head: Option<Head>,
    end: Option<End>,
    fixes: Vec<(Fix, u64)>,
}

impl SnapshotCheck {
    /// Takes the next chunk.
    ///
    /// # Errors
    /// It does not read, or does not belong there.
    pub fn chunk(&mut self, chunk: &[u8]) -> Result<(), Malformed> {
        let snapshot = self.head.map_or(0, |head| head.sequence);
        match (Chunk::read(chunk, snapshot)?, self.head, self.end) {
            (Chunk::Head(head), None, None) => self.head = Some(head),
            (Chunk::Books(mut books), Some(_), None) => while books.next()?.is_some() {},
            (Chunk::Drivers(mut drivers), Some(_), None) => while drivers.next(&mut self.fixes)?.is_some() {},
            (Chunk::End(end), Some(head), None) if end.upto >= head.sequence => self.end = Some(end),
            _ => return Err(Malformed),
        }
        Ok(())
    }

    /// Says how far it reaches, after its last chunk.
    ///
    /// # Errors
    /// It did not come to an end.
    pub fn finish(&self) -> Result<SnapshotReach, Malformed> {
        let (head, end) = (self.head.ok_or(Malformed)?, self.end.ok_or(Malformed)?);
        Ok(SnapshotReach { sequence: head.sequence, upto: end.upto })
    }
}

/// What a pipeline that recovers has from a snapshot.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Restored {
    /// The frame that the snapshot stands for; 0 without one.
    sequence: u64,
    /// Whether what it left to a store is not there.
    has_lost_store: bool,
    /// By appender, the last frame that the books count.
    ended: Vec<u64>,
    /// The frame that the store has to reach before the shards start.
    stored: u64,
    fixes: Vec<(Fix, u64)>,
}

impl Restored {
    /// Whether the books count a frame already.
    pub(in crate::pipeline) fn counts(&self, frame: &Frame<'_>) -> bool {
        self.ended.get(usize::from(frame.appender)).is_some_and(|ended| frame.sequence <= *ended)
    }
}

impl Recovering {
    /// Takes in the next chunk of a snapshot that a [`SnapshotCheck`] found sound. All of it comes before the first frame, and
    /// [`Recovering::restored`] behind it.
    ///
    /// # Errors
    /// It does not read, and nothing that was recovered so far is of use.
    pub fn restore(&mut self, chunk: &[u8]) -> Result<(), Malformed> {
        match Chunk::read(chunk, self.restored.sequence)? {
            Chunk::Head(head) => {
                self.restored.sequence = head.sequence;
                // One that began later lacks what the snapshot's had from before.
                let store = self.shared.history.as_ref();
                self.restored.has_lost_store = match (store, head.store_began) {
                    (Some(store), Some(began)) => store.began > began,
                    (None, _) => true,
                    (Some(_), None) => false,
                };
            }
            Chunk::Books(mut books) => {
                let ended = &mut self.restored.ended;
                let appender = usize::from(books.appender);
                if ended.len() <= appender {
                    ended.resize(appender + 1, 0);
                }
                ended[appender] = books.ended;
                while let Some((tenant, codec, counts)) = books.next()? {
                    let tenant = self.recover_tenant(tenant).ok_or(Malformed)?;
                    self.books[0].recover(&tenant, codec, &counts);
                }
            }
            Chunk::Drivers(mut drivers) => {
                let mut fixes = std::mem::take(&mut self.restored.fixes);
                let mut tenant: Option<TenantId> = None;
                while let Some(driver) = drivers.next(&mut fixes)? {
                    let known = tenant.take().filter(|known| known.as_str() == driver.tenant);
                    let known = match known {
                        Some(known) => known,
                        None => self.recover_tenant(driver.tenant).ok_or(Malformed)?,
                    };
                    self.restore_driver(known.clone(), &driver, &mut fixes)?;
                    tenant = Some(known);
                }
                self.restored.fixes = fixes;
            }
            Chunk::End(end) => self.restored.stored = end.stored,
        }
        Ok(())
    }

    fn restore_driver(
        &mut self,
        tenant: TenantId,
        driver: &Driver<'_>,
        fixes: &mut [(Fix, u64)],
    ) -> Result<(), Malformed> {
        let name = DriverId::new(driver.name).map_err(|_| Malformed)?;
        let key = Arc::new(DriverKey::new(tenant, name));
        let shard = self.ingress.shard_of(&key);
        let began = self.shared.history.as_ref().map_or(0, |history| history.began);
        // What came before the store began is nowhere else, and never will be.
        for (_, sequence) in fixes.iter_mut().filter(|(_, sequence)| *sequence <= began) {
            *sequence = UNSTORED;
        }
        let gone = if self.restored.has_lost_store { driver.gone.without_store() } else { driver.gone };
        // Those behind the snapshot are counted with their frames.
        let is_unstored = |sequence: u64| (self.stored_sequence + 1..=self.restored.sequence).contains(&sequence);
        self.unstored_fixes += fixes.iter().filter(|(_, sequence)| is_unstored(*sequence)).count();
        let leave = self.leave();
        self.shards[shard].restore(&key, gone, fixes, leave, is_unstored);
        Ok(())
    }

    /// All of the snapshot has come.
    pub fn restored(&mut self) {
        for shard in &mut self.shards {
            shard.restored();
        }
    }

    /// The frame up to which the store has to have everything before [`Recovering::start`], when the journal was read up to
    /// frame `last`: what left memory counts on that. A store that was not lost gets there from the journal.
    pub fn store_needed(&self, last: u64) -> u64 {
        match &self.shared.history {
            Some(_) if self.has_outrun_store() => last,
            Some(_) if !self.restored.has_lost_store => self.restored.stored,
            _ => 0,
        }
    }
}
