//! The sink that judges: what it writes when, and what it tells whom.

use std::sync::Arc;

use super::event::Fresh;
use super::judging::Judging;
use super::tables::{Committed, Tables, key};
use super::{Config, Error, FollowStatus, Registry, outbox};
use crate::journal::{JournalId, JournalPosition};
use crate::live::{Feed, LiveEvent};
use crate::sink::{self, Batch, Sink};

/// Events beyond [`Config::outbox_max`] that go with one write, beside as many as it adds: a bound that was lowered is
/// reached step by step.
const DROPPED_AT_ONCE_MAX: u64 = 10_000;

/// Judges the fixes of the journal by the geofences in it.
#[derive(Debug)]
pub struct Follower {
    tables: Tables,
    judging: Judging,
    status: Arc<FollowStatus>,
    feed: Feed,
    outbox_max: u64,
    journal: JournalId,
    /// The journal's last frame when this began.
    last: u64,
    /// Behind where the journal begins, for a follower that has no checkpoint.
    begin: u64,
    checkpoint: Option<JournalPosition>,
    /// Events up to here are in the outbox.
    committed: Committed,
    /// Up to where fixes are judged and changes applied.
    position: u64,
    /// What was judged and is not committed.
    judged: Option<Judged>,
}

/// The events of a batch.
#[derive(Debug)]
struct Judged {
    upto: u64,
    events: Vec<Fresh>,
}

/// What a follower follows.
#[derive(Clone, Copy, Debug)]
pub struct Followed {
    /// Which journal.
    pub journal: JournalId,
    /// The first frame that it still holds.
    pub first: u64,
    /// Its last frame.
    pub last: u64,
}

impl Follower {
    /// One that goes on from what is in the database. Reads all fences and all drivers' states.
    ///
    /// # Errors
    /// The disk's, or values that are not what is written.
    pub fn new(tables: Tables, config: &Config, feed: Feed, followed: Followed) -> Result<Self, Error> {
        let Followed { journal, first, last } = followed;
        let registry = Arc::new(Registry::default());
        let judging = Judging::load(&tables, &registry)?;
        let checkpoint = tables.checkpoint()?;
        let none = Committed { position: JournalPosition { journal, sequence: 0 }, last_event: 0, dropped: 0 };
        let committed = tables.committed()?.unwrap_or(none);
        let position = checkpoint.map_or(first - 1, |checkpoint| checkpoint.sequence);
        registry.applied_to(position);
        let status = Arc::new(FollowStatus::new(registry));
        status.keeps(committed.last_event - committed.dropped, committed.dropped);
        status.holds(judging.drivers());
        if checkpoint.is_none() && first > 1 {
            tracing::warn!(
                frame = first - 1,
                "nothing is kept of geofences and the journal has been cut: those that were put up to this frame are gone"
            );
        }
        Ok(Self {
            tables,
            judging,
            status,
            feed,
            outbox_max: config.outbox_max,
            journal,
            last,
            begin: first - 1,
            checkpoint,
            committed,
            position,
            judged: None,
        })
    }

    /// The fences in force, which go on changing with it.
    pub fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.status.registry)
    }

    /// Its numbers.
    pub fn status(&self) -> Arc<FollowStatus> {
        Arc::clone(&self.status)
    }

    /// Up to this frame what it finds is known: until it has judged so far again, fences and states are those of a moment
    /// ago.
    pub fn committed(&self) -> u64 {
        self.committed.position.sequence
    }

    /// Writes events with the position that they reach to, and takes away what is beyond the bound.
    fn commit(&mut self, events: &[Fresh], upto: JournalPosition) -> Result<(), Error> {
        let mut writes = self.tables.batch();
        let mut committed = Committed { position: upto, ..self.committed };
        for event in events {
            committed.last_event += 1;
            let sequence = committed.last_event.to_be_bytes();
            writes.insert(&self.tables.events, sequence, outbox::value(&event.tenant, &event.body));
            writes.insert(&self.tables.of_tenant, key(event.tenant.as_str(), &sequence), []);
        }
        let beyond = committed.last_event.saturating_sub(self.outbox_max).min(self.committed.last_event);
        let dropped_max = committed.dropped + DROPPED_AT_ONCE_MAX + events.len() as u64;
        for sequence in committed.dropped + 1..=beyond.min(dropped_max) {
            let sequence_key = sequence.to_be_bytes();
            if let Some(value) = self.tables.events.get(sequence_key)?
                && let Some(tenant) = outbox::tenant_of(&value)
            {
                writes.remove(&self.tables.of_tenant, key(tenant, &sequence_key));
            }
            writes.remove(&self.tables.events, sequence_key);
            committed.dropped = sequence;
        }
        self.tables.put_committed(&mut writes, committed);
        writes.commit()?;
        self.committed = committed;
        self.status.keeps(committed.last_event - committed.dropped, committed.dropped);
        Ok(())
    }

    /// Tells of events that are committed: the last of all.
    fn tell(&self, events: Vec<Fresh>) {
        let first = self.committed.last_event - events.len() as u64 + 1;
        let tell = |(sequence, event): (u64, Fresh)| {
            let Fresh { tenant, fence, kind, body, .. } = event;
            self.status.counted(kind);
            LiveEvent { sequence, tenant, fence, kind: kind.as_str(), body }
        };
        self.feed.publish_events(&(first..).zip(events).map(tell).collect::<Vec<_>>());
    }

    /// Writes fences and states as of the position.
    fn check_in(&mut self) -> Result<(), Error> {
        let position = JournalPosition { journal: self.journal, sequence: self.position };
        let mut writes = self.tables.batch();
        self.judging.write(&self.tables, &mut writes)?;
        self.tables.put_checkpoint(&mut writes, position);
        writes.commit()?;
        self.judging.written();
        self.checkpoint = Some(position);
        Ok(())
    }

    fn step(&mut self, batch: &Batch, upto: JournalPosition) -> Result<(), Error> {
        // A batch that comes again was judged, and its drivers would have nothing more to show.
        if self.judged.as_ref().is_none_or(|judged| judged.upto != upto.sequence) {
            let mut events = self.judging.judge(batch);
            let known = self.committed();
            events.retain(|event| batch.frame_of(event.number) > known);
            self.judged = Some(Judged { upto: upto.sequence, events });
        }
        if let Some(judged) = self.judged.take_if(|judged| judged.events.is_empty()) {
            drop(judged);
        } else if let Some(judged) = self.judged.take() {
            if let Err(error) = self.commit(&judged.events, upto) {
                self.judged = Some(judged);
                return Err(error);
            }
            self.tell(judged.events);
        }
        if let Some(change) = batch.change().filter(|_| self.position < upto.sequence) {
            self.judging.change(change, &self.status.registry)?;
        }
        self.position = upto.sequence;
        self.status.registry.applied_to(upto.sequence);
        self.status.holds(self.judging.drivers());
        if self.judging.is_full() { self.check_in() } else { Ok(()) }
    }
}

impl Sink for Follower {
    fn name(&self) -> &'static str {
        "fences"
    }

    fn place(&self) -> &'static str {
        "follow"
    }

    fn takes_changes(&self) -> bool {
        true
    }

    fn wants_fixes(&self) -> bool {
        self.judging.has_fences()
    }

    fn wants_fixes_of(&self, tenant: &str) -> bool {
        self.judging.has_fences_of(tenant)
    }

    fn resume(&mut self) -> Result<Option<JournalPosition>, sink::Error> {
        let Committed { position, .. } = self.committed;
        if position.journal != self.journal || position.sequence > self.last {
            return Err(Error::Ahead { committed: position, last: self.last }.into());
        }
        Ok(Some(self.checkpoint.unwrap_or(JournalPosition { journal: self.journal, sequence: self.begin })))
    }

    fn write(&mut self, batch: &Batch, upto: JournalPosition) -> Result<(), sink::Error> {
        Ok(self.step(batch, upto)?)
    }

    fn sync(&mut self) -> Result<(), sink::Error> {
        self.check_in()?;
        Ok(self.tables.persist()?)
    }
}
