//! What travels from a front door to a shard and back: reports on the way in, verdicts on the way out.

use std::fmt;
use std::sync::Arc;

use crate::fix::{Element, Verdict};
use crate::ids::DriverKey;
use crate::units::TimestampMs;

/// Consecutive elements of one driver.
#[derive(Clone, Debug)]
pub struct Run {
    /// Whose.
    pub driver: Arc<DriverKey>,
    /// How many of [`Batch::elements`].
    pub len: u32,
}

/// Who sent a batch and waits for it. The one way back from the pipeline to the doors.
pub trait Origin: Send + Sync + fmt::Debug {
    /// The batch was judged and all that it stored is durable; its verdicts stand in the order of its elements.
    ///
    /// Called on a shard's thread, in the order in which this origin's batches reached that shard: it must not block. A
    /// batch that comes back with no verdicts was not judged (the journal stopped) and must not be acknowledged.
    fn judged(&self, batch: Batch);
}

/// Elements that go to one shard together and come back together, judged and durable.
#[derive(Debug)]
pub struct Batch {
    /// The receive time of all of them.
    pub received_at: TimestampMs,
    /// Whose elements they are, in order.
    pub runs: Vec<Run>,
    /// What was received.
    pub elements: Vec<Element>,
    /// Empty until judged.
    pub verdicts: Vec<Verdict>,
    /// To whom it goes back.
    pub origin: Arc<dyn Origin>,
}
