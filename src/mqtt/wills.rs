//! Wills on ingest topics, which are the door's own to publish, and those among them whose clients may still come back.
//!
//! A will is published when its connection is lost, or once its delay or its session is over, whichever is first
//! [MQTT-3.1.2-8]; unless its client goes on with its session before [MQTT-3.1.3-9], or may not come in any more by then. All
//! workers share those that wait, since a client may come back to any. They do not outlive the process: at a clean stop, which
//! ends the sessions of those who have no link to the router, all are published.
//!
//! There is room for so much of all and for a share of each tenant and owner ([`room`]): a will that finds none does not wait, it
//! is published at once. One that is due while the shards have no room is put off until they have.

mod room;
#[cfg(test)]
pub(super) mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hashbrown::HashMap;

use self::room::Room;
use super::clients::{ClientName, Succession};
use super::connection::Source;
use super::worker::{TICKS_PER_S, Tick};
use crate::auth::{Admitted, Standing};
use crate::units::TimestampMs;

/// Memory of wills that are put off, bytes. One more is lost.
const PUT_OFF_BYTES_MAX: usize = 16 << 20;

/// What one of them takes beside its payload.
const PUT_OFF_BYTES: usize = 512;

/// A will whose topic carries fixes.
#[derive(Clone, Debug)]
pub(super) struct IngestWill {
    pub(super) source: Source,
    pub(super) payload: Bytes,
    /// How long it waits for its client, seconds.
    pub(super) delay_s: u32,
    /// What becomes of its client's session.
    pub(super) succession: Arc<Succession>,
    /// Who may leave it, and whether that is still so; `None` in open mode.
    admitted: Option<Admitted>,
}

impl IngestWill {
    pub(super) fn new(source: Source, payload: Bytes, delay_s: u32, admitted: Option<&Admitted>) -> Self {
        Self { source, payload, delay_s, succession: Arc::default(), admitted: admitted.cloned() }
    }

    /// Whether its client may not come in any more: the credentials were taken back, or have expired.
    pub(super) fn has_lapsed(&self, now: TimestampMs) -> bool {
        self.admitted.as_ref().is_some_and(|Admitted { principal, standing }| {
            standing.as_ref().is_some_and(Standing::is_revoked) || principal.is_expired(now)
        })
    }
}

/// When a will is due, in ticks, and a number that tells those of one tick apart.
type Due = (u64, u64);

#[derive(Debug, Default)]
struct Waiting {
    by_client: HashMap<ClientName, (Due, IngestWill), foldhash::quality::RandomState>,
    by_due: BTreeMap<Due, ClientName>,
    room: Room,
    number_last: u64,
    /// Due, and without room with the shards.
    put_off: VecDeque<IngestWill>,
    put_off_bytes: usize,
}

impl Waiting {
    fn take(&mut self, name: &ClientName) -> Option<IngestWill> {
        let (due, will) = self.by_client.remove(name)?;
        self.by_due.remove(&due);
        self.room.leave(name, &will);
        Some(will)
    }

    fn take_put_off(&mut self) -> Option<IngestWill> {
        let will = self.put_off.pop_front()?;
        self.put_off_bytes -= PUT_OFF_BYTES + will.payload.len();
        Some(will)
    }
}

/// Wills that wait, of clients of all workers.
#[derive(Debug, Default)]
pub(super) struct Wills {
    waiting: Mutex<Waiting>,
    /// How many there are: mostly none, and then nobody locks.
    count: AtomicUsize,
}

impl Wills {
    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Has a client's will wait for so many seconds from `now` on, one of so many of its owner at the most. It is given back if
    /// it need not wait, has no room to, or if another connection took its client's name already.
    pub(super) fn wait(
        &self,
        name: &ClientName,
        will: IngestWill,
        wait_s: u32,
        now: Tick,
        of_owner_max: usize,
    ) -> Option<IngestWill> {
        if wait_s == 0 {
            return Some(will);
        }
        let mut waiting = self.lock();
        // Under the lock: whoever took the name either finds the will behind it, or is seen here. One that waits already is of a
        // later session.
        if will.succession.has_begun()
            || waiting.by_client.contains_key(name)
            || !waiting.room.enter(name, &will, of_owner_max)
        {
            return Some(will);
        }
        waiting.number_last += 1;
        let due = (u64::from(now) + u64::from(wait_s) * u64::from(TICKS_PER_S), waiting.number_last);
        waiting.by_due.insert(due, name.clone());
        waiting.by_client.insert(name.clone(), (due, will));
        self.counted(&waiting);
        None
    }

    /// Takes the will away that waits for this client.
    pub(super) fn take(&self, name: &ClientName) -> Option<IngestWill> {
        self.take_if(name, |_| true)
    }

    /// Takes the will away that waits for this client, if it is the one of this session.
    pub(super) fn take_back(&self, name: &ClientName, session: &Arc<Succession>) -> Option<IngestWill> {
        self.take_if(name, |will| Arc::ptr_eq(&will.succession, session))
    }

    fn take_if(&self, name: &ClientName, is_meant: impl FnOnce(&IngestWill) -> bool) -> Option<IngestWill> {
        if self.is_empty() {
            return None;
        }
        let mut waiting = self.lock();
        let (_, will) = waiting.by_client.get(name)?;
        let will = if is_meant(will) { waiting.take(name) } else { None };
        self.counted(&waiting);
        will
    }

    /// Keeps a will that is due until the shards have room; false if there is none for it here either.
    pub(super) fn put_off(&self, will: IngestWill) -> bool {
        let mut waiting = self.lock();
        let bytes = waiting.put_off_bytes + PUT_OFF_BYTES + will.payload.len();
        if bytes > PUT_OFF_BYTES_MAX {
            return false;
        }
        waiting.put_off_bytes = bytes;
        waiting.put_off.push_back(will);
        self.counted(&waiting);
        true
    }

    /// Takes the next will away whose time has come.
    pub(super) fn due(&self, now: Tick) -> Option<IngestWill> {
        self.soonest(|(at, _)| at <= u64::from(now))
    }

    /// Takes the next will away, its time come or not.
    pub(super) fn any(&self) -> Option<IngestWill> {
        self.soonest(|_| true)
    }

    fn soonest(&self, is_wanted: impl FnOnce(Due) -> bool) -> Option<IngestWill> {
        if self.is_empty() {
            return None;
        }
        let mut waiting = self.lock();
        let will = waiting.take_put_off().or_else(|| {
            let (due, name) = waiting.by_due.first_key_value()?;
            let name = is_wanted(*due).then(|| name.clone())?;
            waiting.take(&name)
        });
        self.counted(&waiting);
        will
    }

    fn counted(&self, waiting: &Waiting) {
        self.count.store(waiting.by_client.len() + waiting.put_off.len(), Ordering::Release);
    }

    /// Locks; what panicked while it held this left nothing half done that is worse than one will lost.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
