//! A replay's way into the pipeline of this process: rows gather in a batch for each shard.

use std::sync::Arc;

use super::offline::{Stopped, Submit};
use crate::fix::Element;
use crate::ids::DriverKey;
use crate::pipeline::{Batch, Claim, Ingress, Origin, Received};
use crate::units::TimestampMs;

/// Elements of a batch.
const BATCH_ELEMENTS: usize = 512;

/// Batches on the way to one shard at once.
const BATCHES_IN_FLIGHT_MAX: usize = 512;

/// The inlet.
#[derive(Debug)]
pub struct Inlet {
    ingress: Ingress,
    claim: Claim,
    filling: Vec<Option<Batch>>,
}

impl Inlet {
    /// An inlet to these shards; `None` if their inboxes have no room left for one.
    pub fn new(ingress: Ingress) -> Option<Self> {
        let claim = ingress.claim(BATCHES_IN_FLIGHT_MAX)?;
        let filling = (0..ingress.shards()).map(|_| None).collect();
        Some(Self { ingress, claim, filling })
    }
}

impl Submit for Inlet {
    fn submit(
        &mut self,
        driver: &Arc<DriverKey>,
        _received_at: TimestampMs,
        element: Element,
        origin: &Arc<dyn Origin>,
    ) -> Result<(), Stopped> {
        let shard = self.ingress.shard_of(driver);
        let batch = self.filling[shard].get_or_insert_with(|| Batch::new(Received::Recorded, Arc::clone(origin)));
        batch.add_payload(driver, |elements| elements.push(element));
        if batch.elements.len() >= BATCH_ELEMENTS
            && let Some(full) = self.filling[shard].take()
        {
            self.claim.submit(shard, full);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Stopped> {
        for (shard, filling) in self.filling.iter_mut().enumerate() {
            if let Some(batch) = filling.take() {
                self.claim.submit(shard, batch);
            }
        }
        Ok(())
    }
}
