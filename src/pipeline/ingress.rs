//! The way into the pipeline: which shard a driver belongs to, how much may be on the way at once, and the questions that
//! only a shard can answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SendError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::account::{Account, Books, Skipped};
use super::batch::{Batch, Origin, Received};
use super::registry::Registry;
use super::shard::{History, Message, RecentQuery, TURNS_IN_FLIGHT_MAX};
use crate::codec::Codec;
use crate::fix::{Element, Fix, Verdict};
use crate::ids::{DriverId, DriverKey, TenantId};
use crate::units::TimestampMs;

/// Messages that a shard's inbox holds. Whoever sends to it claims its share beforehand, so that a send never waits.
pub(super) const INBOX_MESSAGES_MAX: usize = 4_096;

/// HTTP requests whose fixes are on the way at once; further ones wait their turn.
const REQUESTS_IN_FLIGHT_MAX: usize = 512;

/// Looks at a track's newest end that wait at once.
const QUERIES_IN_FLIGHT_MAX: usize = 256;

/// What a shard's inbox is needed for beside the doors: turns that end, requests, looks, a snapshot, the
/// news that the journal failed, and the word to stop.
pub(super) const INBOX_MESSAGES_RESERVED: usize =
    TURNS_IN_FLIGHT_MAX + REQUESTS_IN_FLIGHT_MAX + QUERIES_IN_FLIGHT_MAX + 3;

/// The pipeline is stopping, or its journal is full or failed: nothing is promised to be stored, try again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine is stopping, or its journal is full or failed; try again later")]
pub struct Unavailable;

/// Why a name leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Not an id.
    #[error(transparent)]
    Id(#[from] crate::ids::InvalidId),
    /// No room for another tenant.
    #[error("there are as many tenants as `registry.tenants_max` allows")]
    TooManyTenants,
}

/// Why a track could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TrackError {
    /// The shard is gone.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The store did not answer.
    #[error("the store did not answer: {0}")]
    Store(#[from] crate::store::Error),
}

#[derive(Debug)]
struct Inner {
    shards: Vec<SyncSender<Message>>,
    books: Vec<Arc<Books>>,
    skipped: Skipped,
    registry: Arc<Registry>,
    history: Option<History>,
    claimed: AtomicUsize,
    requests: Arc<Semaphore>,
    queries: Arc<Semaphore>,
}

/// A handle to all shards. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Ingress(Arc<Inner>);

/// The right to have some batches on the way to each shard at once. It is for its holder to count them; in return a
/// submission never blocks.
#[derive(Debug)]
pub struct Claim {
    ingress: Ingress,
    batches_per_shard: usize,
}

impl Claim {
    /// How many batches may be on the way to a shard at once.
    pub fn batches_per_shard(&self) -> usize {
        self.batches_per_shard
    }

    /// Sends a batch to its shard. All its drivers must belong to that shard. A batch sent to a pipeline that stopped comes
    /// back at once, without verdicts.
    pub fn submit(&self, shard: usize, batch: Batch) {
        debug_assert!(batch.runs.iter().all(|run| self.ingress.shard_of(&run.driver) == shard));
        let inbox = &self.ingress.0.shards[shard];
        let returned = match inbox.try_send(Message::Batch(batch)) {
            Ok(()) => return,
            Err(TrySendError::Full(message)) => {
                debug_assert!(false, "more batches on the way than were claimed");
                inbox.send(message).err().map(|SendError(message)| message)
            }
            Err(TrySendError::Disconnected(message)) => Some(message),
        };
        if let Some(Message::Batch(batch)) = returned {
            let origin = Arc::clone(&batch.origin);
            origin.judged(batch);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.ingress.0.claimed.fetch_sub(self.batches_per_shard, Ordering::Relaxed);
    }
}

/// A request that waits for its verdicts.
#[derive(Debug)]
struct Request {
    waiting: Mutex<Option<oneshot::Sender<Vec<Verdict>>>>,
    /// Its batch's room in the inbox: given back with the batch, also when whoever asked has gone long before.
    _permit: OwnedSemaphorePermit,
}

impl Origin for Request {
    fn judged(&self, batch: Batch) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waiting) = waiting {
            // Whoever asked may have gone; the fixes are stored all the same.
            drop(waiting.send(batch.verdicts));
        }
    }

    /// Whoever asks can be told to come again.
    fn outwaits_full_journal(&self) -> bool {
        false
    }
}

impl Ingress {
    pub(super) fn new(
        shards: Vec<SyncSender<Message>>,
        books: Vec<Arc<Books>>,
        registry: Arc<Registry>,
        history: Option<History>,
    ) -> Self {
        Self(Arc::new(Inner {
            shards,
            books,
            skipped: Skipped::default(),
            registry,
            history,
            claimed: AtomicUsize::new(INBOX_MESSAGES_RESERVED),
            requests: Arc::new(Semaphore::new(REQUESTS_IN_FLIGHT_MAX)),
            queries: Arc::new(Semaphore::new(QUERIES_IN_FLIGHT_MAX)),
        }))
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.0.shards.len()
    }

    /// The shard that owns a driver.
    pub fn shard_of(&self, driver: &DriverKey) -> usize {
        // Lemire's reduction of a hash to a range, by its upper half: the lower bits choose buckets inside the shard.
        ((driver.hash_value() >> 32) as usize * self.shards()) >> 32
    }

    /// Claims room for batches in every shard's inbox; `None` if there is not so much left.
    pub fn claim(&self, batches_per_shard: usize) -> Option<Claim> {
        let claim = |claimed: usize| Some(claimed + batches_per_shard).filter(|sum| *sum <= INBOX_MESSAGES_MAX);
        self.0.claimed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, claim).ok()?;
        Some(Claim { ingress: self.clone(), batches_per_shard })
    }

    /// The identity that these names stand for. A tenant that is new is registered.
    pub fn route(&self, tenant: &str, driver: &str) -> Result<Arc<DriverKey>, RouteError> {
        let driver = DriverId::new(driver)?;
        let tenant = match self.0.registry.tenant(tenant) {
            Some(tenant) => tenant,
            None => {
                TenantId::new(tenant)?;
                return Err(RouteError::TooManyTenants);
            }
        };
        Ok(Arc::new(DriverKey::new(tenant, driver)))
    }

    /// Judges the elements that a codec read from a payload `raw` and waits until what they stored is durable.
    pub async fn judge(
        &self,
        driver: Arc<DriverKey>,
        codec: Codec,
        raw: &[u8],
        elements: Vec<Element>,
        received_at: TimestampMs,
    ) -> Result<Vec<Verdict>, Unavailable> {
        let count = elements.len();
        if count == 0 {
            return Ok(Vec::new());
        }
        let permit = Arc::clone(&self.0.requests).acquire_owned().await.map_err(|_| Unavailable)?;
        let (waiting, verdicts) = oneshot::channel();
        let request = Request { waiting: Mutex::new(Some(waiting)), _permit: permit };
        let mut batch = Batch::new(Received::Live(received_at), Arc::new(request));
        batch.add_payload(&driver, codec, raw, |into| *into = elements);
        self.0.shards[self.shard_of(&driver)].send(Message::Batch(batch)).map_err(|_| Unavailable)?;
        let verdicts = verdicts.await.map_err(|_| Unavailable)?;
        if verdicts.len() == count { Ok(verdicts) } else { Err(Unavailable) }
    }

    /// A driver's durable fixes from `from` on and before `to`, oldest first, the first `limit` of them. `None`: the driver
    /// was never heard of.
    pub async fn track(
        &self,
        tenant: &str,
        driver: &str,
        from: TimestampMs,
        to: TimestampMs,
        limit: usize,
    ) -> Result<Option<Vec<Fix>>, TrackError> {
        let (Ok(tenant), Ok(driver)) = (TenantId::new(tenant), DriverId::new(driver)) else { return Ok(None) };
        // Memory first: what leaves it after this look is in the store before the next.
        let recent = self.recent(DriverKey::new(tenant.clone(), driver.clone()), from, to, limit).await?;
        let Some(recent) = recent else { return Ok(None) };
        let Some(history) = &self.0.history else {
            return Ok(Some(recent));
        };
        let store = history.store.clone();
        let stored =
            tokio::task::spawn_blocking(move || store.track(tenant.as_str(), driver.as_str(), from, to, limit))
                .await
                .map_err(|_| Unavailable)??;
        Ok(Some(merge(stored, recent, limit)))
    }

    /// The books of all tenants, each page balanced.
    pub fn books(&self) -> Vec<(TenantId, Account)> {
        let mut total = HashMap::new();
        for books in &self.0.books {
            books.add_to(&mut total);
        }
        let mut accounts: Vec<_> = total.into_iter().collect();
        accounts.sort_by(|(one, _), (other, _)| one.cmp(other));
        accounts
    }

    /// The count of messages that are not meant to hold a fix, for the doors to count on.
    pub fn skipped(&self) -> &Skipped {
        &self.0.skipped
    }

    /// Whether this tenant was ever heard of.
    pub fn knows_tenant(&self, tenant: &str) -> bool {
        self.0.registry.knows_tenant(tenant)
    }

    pub(super) fn stop(&self) {
        for shard in &self.0.shards {
            // A shard that is gone has stopped.
            drop(shard.send(Message::Stop));
        }
    }

    async fn recent(
        &self,
        driver: DriverKey,
        from: TimestampMs,
        to: TimestampMs,
        limit: usize,
    ) -> Result<Option<Vec<Fix>>, Unavailable> {
        let permit = Arc::clone(&self.0.queries).acquire_owned().await.map_err(|_| Unavailable)?;
        let (reply, answer) = oneshot::channel();
        let shard = self.shard_of(&driver);
        let query = RecentQuery { driver, from, to, limit, permit, reply };
        self.0.shards[shard].send(Message::Recent(query)).map_err(|_| Unavailable)?;
        answer.await.map_err(|_| Unavailable)
    }
}

/// Both by time, each time once, the first `limit`.
fn merge(stored: Vec<Fix>, recent: Vec<Fix>, limit: usize) -> Vec<Fix> {
    let mut merged = Vec::with_capacity((stored.len() + recent.len()).min(limit));
    let mut stored = stored.into_iter().peekable();
    let mut recent = recent.into_iter().peekable();
    while merged.len() < limit {
        let next = match (stored.peek(), recent.peek()) {
            (Some(old), Some(new)) if old.time == new.time => {
                stored.next();
                recent.next()
            }
            (Some(old), Some(new)) if old.time > new.time => recent.next(),
            (None, _) => recent.next(),
            _ => stored.next(),
        };
        match next {
            Some(fix) => merged.push(fix),
            None => break,
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fix::Report;
    use crate::units::Position;

    fn fixes(times: &[i64]) -> Vec<Fix> {
        let fix = |time: &i64| {
            let time = TimestampMs(*time);
            Fix::from_report(&Report::at(Some(time), 1.0, 2.0), Position::default(), time, time)
        };
        times.iter().map(fix).collect()
    }

    #[test]
    fn a_track_has_each_time_once_and_in_order() {
        type Case = (&'static [i64], &'static [i64], usize, &'static [i64]);
        let cases: &[Case] = &[
            (&[], &[], 9, &[]),
            (&[1, 2], &[3], 9, &[1, 2, 3]),
            (&[1, 3], &[2, 3, 4], 9, &[1, 2, 3, 4]),
            (&[5], &[1], 9, &[1, 5]),
            (&[1, 3], &[2, 3, 4], 3, &[1, 2, 3]),
            (&[1, 2, 3], &[], 2, &[1, 2]),
        ];
        for (stored, recent, limit, expected) in cases {
            let merged = merge(fixes(stored), fixes(recent), *limit);
            assert_eq!(merged.iter().map(|fix| fix.time.0).collect::<Vec<_>>(), *expected);
        }
    }
}
