//! A replay's way into the pipeline of this process: rows gather in a batch for each shard.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::offline::{Submission, Submit};
use crate::ids::DriverKey;
use crate::pipeline::{Batch, Claim, Ingress, Origin};

/// Elements of a batch.
const BATCH_ELEMENTS: usize = 512;

/// Batches on the way to one shard at once. A paced replay sends a batch for each row, so it may come to that many.
const BATCHES_UNDER_WAY_MAX: usize = 512;

/// The inlet.
#[derive(Debug)]
pub struct Inlet {
    ingress: Ingress,
    claim: Claim,
    lanes: Vec<Lane>,
}

/// The way to one shard.
#[derive(Debug, Default)]
struct Lane {
    filling: Option<Batch>,
    under_way: Arc<UnderWay>,
    /// One for all its batches, because those of one origin come back in their order.
    back: Option<Arc<Counted>>,
}

impl Inlet {
    /// An inlet to these shards; `None` if their inboxes have no room left for one.
    pub fn new(ingress: Ingress) -> Option<Self> {
        let claim = ingress.claim(BATCHES_UNDER_WAY_MAX)?;
        let lanes = (0..ingress.shards()).map(|_| Lane::default()).collect();
        Some(Self { ingress, claim, lanes })
    }

    fn send(&mut self, shard: usize) {
        let lane = &mut self.lanes[shard];
        if let Some(batch) = lane.filling.take() {
            lane.under_way.begin(self.claim.batches_per_shard());
            self.claim.submit(shard, batch);
        }
    }
}

impl Submit for Inlet {
    fn submit(&mut self, driver: &Arc<DriverKey>, submission: &Submission<'_>, origin: &Arc<dyn Origin>) {
        let Submission { received, codec, raw, elements } = *submission;
        let shard = self.ingress.shard_of(driver);
        // A batch has one receive time.
        if self.lanes[shard].filling.as_ref().is_some_and(|batch| batch.received != received) {
            self.send(shard);
        }
        let Lane { filling, under_way, back } = &mut self.lanes[shard];
        let batch = filling.get_or_insert_with(|| {
            let counted = match back.take() {
                Some(back) if Arc::ptr_eq(&back.origin, origin) => back,
                _ => Arc::new(Counted { under_way: Arc::clone(under_way), origin: Arc::clone(origin) }),
            };
            Batch::new(received, Arc::clone(back.insert(counted)) as Arc<dyn Origin>)
        });
        batch.add_payload(driver, codec, raw, |into| into.extend_from_slice(elements));
        if batch.elements.len() >= BATCH_ELEMENTS {
            self.send(shard);
        }
    }

    fn flush(&mut self) {
        for shard in 0..self.lanes.len() {
            self.send(shard);
        }
    }
}

/// How many batches are on the way to a shard, or wait there for their turn to be durable.
#[derive(Debug, Default)]
struct UnderWay {
    batches: Mutex<usize>,
    changed: Condvar,
}

impl UnderWay {
    /// Counts one more, once there are fewer than `batches_max`.
    fn begin(&self, batches_max: usize) {
        let batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |batches: &mut usize| *batches >= batches_max;
        *self.changed.wait_while(batches, is_full).unwrap_or_else(PoisonError::into_inner) += 1;
    }

    fn end(&self) {
        *self.batches.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.changed.notify_one();
    }
}

/// Counts a batch that comes back, and hands it on to who sent it.
#[derive(Debug)]
struct Counted {
    under_way: Arc<UnderWay>,
    origin: Arc<dyn Origin>,
}

impl Origin for Counted {
    fn judged(&self, batch: Batch) {
        self.under_way.end();
        self.origin.judged(batch);
    }

    fn outwaits_full_journal(&self) -> bool {
        self.origin.outwaits_full_journal()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn no_more_are_under_way_than_allowed() {
        let (under_way, most) = (UnderWay::default(), AtomicUsize::new(0));
        let now = AtomicUsize::new(0);
        thread::scope(|scope| {
            let (came, comes) = std::sync::mpsc::sync_channel(4);
            scope.spawn(|| {
                for () in comes {
                    now.fetch_sub(1, Ordering::SeqCst);
                    under_way.end();
                }
            });
            for _ in 0..10_000 {
                under_way.begin(3);
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                came.send(()).unwrap();
            }
            drop(came);
        });
        assert_eq!(*under_way.batches.lock().unwrap(), 0);
        assert!(most.into_inner() <= 3);
    }
}
