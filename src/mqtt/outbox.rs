//! What a worker has for the shards: fixes gather in a batch for each shard while the shard is busy, and the
//! acknowledgements they stand for wait beside.

use std::collections::VecDeque;
use std::sync::Arc;

use super::mailbox::{ConnectionRef, Mailbox, ShardReturn};
use crate::codec::Codec;
use crate::fix::Element;
use crate::ids::DriverKey;
use crate::pipeline::{Batch, Claim, Ingress, Origin, Received};
use crate::units::TimestampMs;

/// Batches of a worker that may be on the way to one shard. While they are, the next one grows.
pub(super) const BATCHES_IN_FLIGHT_MAX: usize = 4;

/// A batch with fewer elements that may still grow waits until nothing of its worker is on the way to its shard. Below full
/// load it is the threads that each batch wakes that cost, and not its fixes: this way there are half as many batches.
const ACCOMPANIED_ELEMENTS_MIN: usize = 64;

/// Elements after which a batch is full and another begins. A payload is never split.
const BATCH_ELEMENTS_MAX: usize = 4_096;

/// Bytes of payloads after which a batch is full.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// Elements that may wait for a shard before the brake: connections are then read within a small window only.
const WAITING_ELEMENTS_MAX: usize = 32_768;

/// Bytes of payloads that may wait likewise: what cannot be read is one element, however long.
const WAITING_BYTES_MAX: usize = 4 << 20;

/// Bytes beyond which connections are not read at all.
const WAITING_BYTES_CEILING: usize = 4 * WAITING_BYTES_MAX;

/// Elements beyond which connections are not read at all: the windows of a fleet that keeps coming back must not add up.
const WAITING_ELEMENTS_CEILING: usize = 4 * WAITING_ELEMENTS_MAX;

/// Age after which a batch that still waits takes no more in, so that its receive time stays true.
const BATCH_AGE_MS_MAX: i64 = 20;

/// Empty loads kept for their memory.
const SPARE_LOADS_MAX: usize = 8;

/// Acknowledgements of one connection, numbered without a gap.
#[derive(Clone, Copy, Debug)]
pub(super) struct AckRun {
    pub(super) connection: ConnectionRef,
    pub(super) first: u32,
    pub(super) count: u32,
}

/// A batch with the acknowledgements that it releases.
#[derive(Debug)]
struct Load {
    batch: Batch,
    acks: Vec<AckRun>,
    begun_at: TimestampMs,
}

/// The way to one shard.
#[derive(Debug)]
struct Lane {
    origin: Arc<dyn Origin>,
    /// The last one is still filling.
    waiting: VecDeque<Load>,
    waiting_elements: usize,
    waiting_bytes: usize,
    /// In the order in which the shard gives them back.
    in_flight: VecDeque<Vec<AckRun>>,
}

/// All of a worker's lanes.
#[derive(Debug)]
pub(super) struct Outbox {
    ingress: Ingress,
    claim: Claim,
    lanes: Vec<Lane>,
    is_full: bool,
    is_over_ceiling: bool,
    spare: Vec<(Batch, Vec<AckRun>)>,
}

impl Outbox {
    pub(super) fn new(ingress: Ingress, claim: Claim, mailbox: &Arc<Mailbox>) -> Self {
        let lane = |shard| Lane {
            origin: Arc::new(ShardReturn { mailbox: Arc::clone(mailbox), shard }),
            waiting: VecDeque::new(),
            waiting_elements: 0,
            waiting_bytes: 0,
            in_flight: VecDeque::new(),
        };
        let lanes = (0..ingress.shards()).map(lane).collect();
        Self { ingress, claim, lanes, is_full: false, is_over_ceiling: false, spare: Vec::new() }
    }

    /// Whether more waits for some shard than it should.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether so much waits that nothing more may be added.
    pub(super) fn is_over_ceiling(&self) -> bool {
        self.is_over_ceiling
    }

    /// Whether everything that was added came back.
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.waiting_elements == 0 && lane.in_flight.is_empty())
    }

    /// Adds what `decode` makes of a driver's payload `raw`, and the acknowledgement that waits for it, and tells how many
    /// elements that was. A payload of none adds nothing, and its acknowledgement need not wait.
    pub(super) fn add(
        &mut self,
        driver: &Arc<DriverKey>,
        now: TimestampMs,
        ack: Option<(ConnectionRef, u32)>,
        codec: Codec,
        raw: &[u8],
        decode: impl FnOnce(&mut Vec<Element>),
    ) -> usize {
        let lane = &mut self.lanes[self.ingress.shard_of(driver)];
        let load = lane.filling(now, &mut self.spare);
        let added = load.batch.add_payload(driver, codec, raw, decode);
        if added == 0 {
            return 0;
        }
        if let Some((connection, number)) = ack {
            match load.acks.last_mut() {
                Some(run) if run.connection == connection && run.first.wrapping_add(run.count) == number => {
                    run.count += 1;
                }
                _ => load.acks.push(AckRun { connection, first: number, count: 1 }),
            }
        }
        lane.waiting_elements += added;
        lane.waiting_bytes += raw.len();
        self.is_full |= lane.is_full();
        self.is_over_ceiling |= lane.is_over_ceiling();
        added
    }

    /// Sends what may be sent.
    pub(super) fn flush(&mut self) {
        for (shard, lane) in self.lanes.iter_mut().enumerate() {
            while let Some(load) = lane.next(self.claim.batches_per_shard()) {
                lane.waiting_elements -= load.batch.elements.len();
                lane.waiting_bytes -= load.batch.raw.len();
                lane.in_flight.push_back(load.acks);
                self.claim.submit(shard, load.batch);
            }
        }
        self.is_full = self.lanes.iter().any(Lane::is_full);
        self.is_over_ceiling = self.lanes.iter().any(Lane::is_over_ceiling);
    }

    /// Takes a batch back from its shard and tells the acknowledgements that it released through `release`. A batch that was
    /// not judged releases none.
    pub(super) fn returned(&mut self, shard: usize, mut batch: Batch, mut release: impl FnMut(AckRun)) {
        let Some(mut acks) = self.lanes[shard].in_flight.pop_front() else {
            debug_assert!(false, "a batch came back that was not sent");
            return;
        };
        if batch.verdicts.len() == batch.elements.len() {
            for run in &acks {
                release(*run);
            }
        }
        if self.spare.len() < SPARE_LOADS_MAX {
            batch.clear();
            acks.clear();
            self.spare.push((batch, acks));
        }
    }
}

impl Lane {
    fn is_full(&self) -> bool {
        self.waiting_elements >= WAITING_ELEMENTS_MAX || self.waiting_bytes >= WAITING_BYTES_MAX
    }

    fn is_over_ceiling(&self) -> bool {
        self.waiting_elements >= WAITING_ELEMENTS_CEILING || self.waiting_bytes >= WAITING_BYTES_CEILING
    }

    /// The load that may be sent now.
    fn next(&mut self, in_flight_max: usize) -> Option<Load> {
        if self.in_flight.len() >= in_flight_max {
            return None;
        }
        // One with another behind it grows no more.
        let grows = self.waiting.len() == 1;
        let elements_min = if grows && !self.in_flight.is_empty() { ACCOMPANIED_ELEMENTS_MIN } else { 1 };
        self.waiting.pop_front_if(|load| load.batch.elements.len() >= elements_min)
    }

    /// The load that takes the next payload.
    fn filling(&mut self, now: TimestampMs, spare: &mut Vec<(Batch, Vec<AckRun>)>) -> &mut Load {
        let takes_more = |load: &Load| {
            load.batch.elements.is_empty()
                || (load.batch.elements.len() < BATCH_ELEMENTS_MAX
                    && load.batch.raw.len() < BATCH_BYTES_MAX
                    && now.0.saturating_sub(load.begun_at.0) <= BATCH_AGE_MS_MAX)
        };
        if !self.waiting.back().is_some_and(takes_more) {
            let received = Received::Live(now);
            let (batch, acks) = match spare.pop() {
                Some((mut batch, acks)) => {
                    batch.origin = Arc::clone(&self.origin);
                    (batch, acks)
                }
                None => (Batch::new(received, Arc::clone(&self.origin)), Vec::new()),
            };
            self.waiting.push_back(Load { batch, acks, begun_at: now });
        }
        let last = self.waiting.len() - 1;
        let load = &mut self.waiting[last];
        if load.batch.elements.is_empty() {
            load.batch.received = Received::Live(now);
            load.begun_at = now;
        }
        load
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fix::Reason;
    use crate::ids::{DriverId, TenantId};

    #[derive(Debug)]
    struct Nobody;

    impl Origin for Nobody {
        fn judged(&self, _batch: Batch) {}
    }

    fn lane() -> Lane {
        Lane {
            origin: Arc::new(Nobody),
            waiting: VecDeque::new(),
            waiting_elements: 0,
            waiting_bytes: 0,
            in_flight: VecDeque::new(),
        }
    }

    /// Adds payloads of so many bytes, one element each.
    fn add(lane: &mut Lane, now_ms: i64, payloads: usize, bytes: usize) {
        let driver = Arc::new(DriverKey::new(TenantId::new("t").unwrap(), DriverId::new("d").unwrap()));
        for _ in 0..payloads {
            let load = lane.filling(TimestampMs(now_ms), &mut Vec::new());
            let raw = vec![b'x'; bytes];
            load.batch.add_payload(&driver, Codec::Native, &raw, |into| into.push(Err(Reason::Malformed)));
            lane.waiting_elements += 1;
            lane.waiting_bytes += bytes;
        }
    }

    /// Sends what may be sent, and tells how many elements each batch has.
    fn send(lane: &mut Lane) -> Vec<usize> {
        let mut sent = Vec::new();
        while let Some(load) = lane.next(BATCHES_IN_FLIGHT_MAX) {
            sent.push(load.batch.elements.len());
            lane.in_flight.push_back(load.acks);
        }
        sent
    }

    #[test]
    fn a_small_batch_waits_for_the_one_on_the_way_as_long_as_it_grows() {
        let mut lane = lane();
        add(&mut lane, 0, 1, 9);
        assert_eq!(send(&mut lane), [1], "nothing is on the way");
        add(&mut lane, 1, ACCOMPANIED_ELEMENTS_MIN - 1, 9);
        assert_eq!(send(&mut lane), [] as [usize; 0]);
        add(&mut lane, 1, 1, 9);
        assert_eq!(send(&mut lane), [ACCOMPANIED_ELEMENTS_MIN]);
        add(&mut lane, 2, 3, 9);
        add(&mut lane, 2 + BATCH_AGE_MS_MAX + 1, 5, 9);
        assert_eq!(send(&mut lane), [3], "too old to grow, so that it waits no longer; the one behind it does");
        lane.in_flight.clear();
        assert_eq!(send(&mut lane), [5]);
    }

    #[test]
    fn no_more_is_on_the_way_than_may_be() {
        let mut lane = lane();
        for round in 0..10 {
            add(&mut lane, round * 100, 70, 9);
        }
        assert_eq!(send(&mut lane), [70; BATCHES_IN_FLIGHT_MAX]);
        assert_eq!(send(&mut lane), [] as [usize; 0]);
    }

    #[test]
    fn long_payloads_brake_like_many() {
        let mut lane = lane();
        add(&mut lane, 0, 15, 256 << 10);
        assert!(!lane.is_full());
        add(&mut lane, 0, 1, 256 << 10);
        assert!(lane.is_full() && !lane.is_over_ceiling());
        assert_eq!(lane.waiting.iter().map(|load| load.batch.raw.len()).max(), Some(BATCH_BYTES_MAX));
        add(&mut lane, 0, 48, 256 << 10);
        assert!(lane.is_over_ceiling());
    }
}
