//! From a report to a durable, visible fix: judged, deduplicated, journalled, shown, accounted for.
//!
//! Each driver belongs to one shard by its hash, each shard is one thread, and a shard's state is its own: nothing in it is
//! locked. Doors send [`Batch`]es and get them back judged. Time comes with the batch: nothing here reads a clock.

pub mod account;
pub mod batch;
mod drivers;
mod element;
mod ingress;
mod judge;
mod motion;
mod past;
mod refusals;
mod registry;
mod rules;
mod shard;
mod snapshot;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod unstored;
mod window;

use std::num::NonZeroUsize;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use serde::{Deserialize, Serialize};

pub use batch::{Batch, Origin, Received};
pub use ingress::{Claim, Ingress, RouteError, TrackError, Unavailable};
pub use registry::Config as RegistryConfig;
pub use rules::{RuleBook, Rules};
pub use shard::History;
pub use snapshot::{SnapshotCheck, SnapshotError, SnapshotReach, SnapshotTaken, Snapshots};

use crate::geo::GeoIndex;
use crate::ids::{DriverId, DriverKey, TenantId};
use crate::journal::{APPENDERS_MAX, Frame, Journal, Malformed, Record, Tally};
use crate::live::Feed;
use crate::rejected::Recorder;
use account::Books;
use ingress::{INBOX_MESSAGES_MAX, INBOX_MESSAGES_RESERVED};
use registry::Registry;
use rules::LiveRules;
use shard::{Message, SEQUENCE_MAX, Shard, Shared, UNSTORED_FIXES_MAX};
use snapshot::{Restored, StoreReach};
use window::Leave;

/// How the pipeline is cut.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Threads that judge. 0: one per core. May change between starts.
    pub shards: usize,
}

/// Most shards, each with an appender of its own; one more is for who changes geofences.
const SHARDS_MAX: usize = APPENDERS_MAX as usize - 1;

/// How much of a driver's newest past is in memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DedupeConfig {
    /// Fixes of each driver in memory, for duplicates and for the newest end of its track. What is older is asked of the
    /// store.
    pub window_fixes: usize,
}

impl Default for DedupeConfig {
    fn default() -> Self {
        Self { window_fixes: 64 }
    }
}

/// A pipeline before its start, taking in what the journal holds.
pub struct Recovering {
    shared: Shared,
    registry: Arc<Registry>,
    inboxes: Vec<(SyncSender<Message>, Receiver<Message>)>,
    /// The frame up to which the store held everything when recovery began.
    stored_sequence: u64,
    /// Fixes beyond it.
    unstored_fixes: usize,
    restored: Restored,
    books: Vec<Arc<Books>>,
    shards: Vec<Shard>,
    ingress: Ingress,
}

/// The running shards.
pub struct Pipeline {
    ingress: Ingress,
    threads: Vec<JoinHandle<()>>,
    failed: Arc<AtomicBool>,
    waiting_for_store: Arc<AtomicUsize>,
    snapshots: Snapshots,
    bounds: Bounds,
}

/// The rules and bounds of a running pipeline, to replace them.
#[derive(Clone, Debug)]
pub struct Bounds {
    rules: Arc<LiveRules>,
    registry: Arc<Registry>,
}

/// What the pipeline is built from.
pub struct Parts {
    /// How it is cut.
    pub config: Config,
    /// The windows.
    pub dedupe: DedupeConfig,
    /// Thresholds.
    pub rules: RuleBook,
    /// Bounds.
    pub registry: RegistryConfig,
    /// Where durable positions are shown.
    pub geo: Arc<GeoIndex>,
    /// Where durable fixes are told.
    pub feed: Feed,
    /// Where fixes go that leave memory; `None` if the store is off.
    pub history: Option<History>,
}

impl Recovering {
    /// Empty shards.
    pub fn new(parts: Parts) -> Self {
        let shards = match parts.config.shards {
            0 => thread::available_parallelism().map_or(1, NonZeroUsize::get),
            shards => shards,
        };
        let shards = shards.min(SHARDS_MAX);
        // Without a store fixes may leave memory at once.
        let stored_sequence =
            parts.history.as_ref().map_or(SEQUENCE_MAX, |history| history.stored_sequence.load(Ordering::Acquire));
        let registry = Arc::new(Registry::new(&parts.registry));
        let shared = Shared {
            rules: Arc::new(LiveRules::new(parts.rules)),
            window_fixes: parts.dedupe.window_fixes,
            registry: Arc::clone(&registry),
            geo: parts.geo,
            feed: parts.feed,
            history: parts.history,
            unstored_fixes_max: UNSTORED_FIXES_MAX / shards,
            failed: Arc::default(),
            waiting_for_store: Arc::default(),
        };
        let books: Vec<Arc<Books>> = (0..shards).map(|_| Arc::default()).collect();
        let inboxes: Vec<_> = (0..shards).map(|_| sync_channel(INBOX_MESSAGES_MAX)).collect();
        let senders = inboxes.iter().map(|(sender, _)| sender.clone()).collect();
        let ingress = Ingress::new(senders, books.clone(), Arc::clone(&registry), shared.history.clone());
        let shards = books.iter().map(|books| Shard::new(shared.clone(), Arc::clone(books))).collect();
        let restored = Restored::default();
        Self { shared, registry, inboxes, stored_sequence, unstored_fixes: 0, restored, books, shards, ingress }
    }

    /// Has what is refused kept as evidence, from the start on.
    pub fn record_refusals(&mut self, recorder: &Recorder) {
        self.shards.iter_mut().for_each(|shard| shard.record_refusals(recorder.clone()));
    }

    /// Takes in one frame's decisions. They are applied, not judged again.
    ///
    /// # Errors
    /// The frame is sound and holds what this version does not know.
    pub fn apply(&mut self, frame: &Frame<'_>) -> Result<(), Malformed> {
        let mut current: Option<(Arc<DriverKey>, usize)> = None;
        let mut tally = (!self.restored.counts(frame)).then(Tally::default);
        for record in frame.records() {
            let record = record?;
            if let Some(tally) = &mut tally {
                tally.add(&record);
            }
            match record {
                Record::Driver { tenant, driver } => {
                    let tenant = self.recover_tenant(tenant).ok_or(Malformed)?;
                    let driver = DriverId::new(driver).map_err(|_| Malformed)?;
                    let key = Arc::new(DriverKey::new(tenant, driver));
                    let shard = self.ingress.shard_of(&key);
                    current = Some((key, shard));
                }
                Record::Fix { fix, .. } => {
                    let (key, shard) = current.as_ref().ok_or(Malformed)?;
                    self.unstored_fixes += usize::from(frame.sequence > self.stored_sequence);
                    let leave = self.leave();
                    self.shards[*shard].recover(key, &fix, frame.sequence, leave);
                }
                // What they change is no matter of the shards'.
                Record::Counters { .. } | Record::Change(_) => {}
            }
        }
        for (tenant, codec, counts) in tally.map_or(Ok(Vec::new()), Tally::finish)? {
            let tenant = self.recover_tenant(tenant).ok_or(Malformed)?;
            self.books[0].recover(&tenant, codec, &counts);
        }
        Ok(())
    }

    /// Whether the store is so far behind the journal that what it lacks could not all be kept in memory. Then the windows
    /// hold less than a shard needs, and the store has to reach the journal's end before [`Recovering::start`].
    pub fn has_outrun_store(&self) -> bool {
        self.unstored_fixes > UNSTORED_FIXES_MAX
    }

    /// Which recovered fixes may leave memory.
    fn leave(&self) -> Leave {
        self.shared.leave(if self.has_outrun_store() { SEQUENCE_MAX } else { self.stored_sequence })
    }

    fn recover_tenant(&self, name: &str) -> Option<TenantId> {
        self.registry.tenant(name).or_else(|| {
            let tenant = TenantId::new(name).ok()?;
            self.registry.recover_tenant(&tenant);
            Some(tenant)
        })
    }

    /// Starts a thread for each shard. `stored_sequence` is the embedded sink's, which runs by now.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub fn start(self, journal: &Journal, stored_sequence: Option<&Arc<AtomicU64>>) -> std::io::Result<Pipeline> {
        let store = self.shared.history.as_ref().map(|history| StoreReach {
            began: history.began,
            applied: self.stored_sequence,
            written: Arc::clone(stored_sequence.unwrap_or(&history.stored_sequence)),
        });
        let snapshots = Snapshots::new(self.inboxes.iter().map(|(sender, _)| sender.clone()).collect(), store);
        let mut threads = Vec::with_capacity(self.shards.len());
        for (index, (mut shard, (sender, inbox))) in self.shards.into_iter().zip(self.inboxes).enumerate() {
            shard.recover_index();
            if let Some(stored_sequence) = stored_sequence {
                shard.follow_store(stored_sequence);
            }
            let told_of_failure = sender.clone();
            let appender = journal.appender(Box::new(move |sequences: &[u64]| {
                for sequence in sequences {
                    // A shard that is gone has given its turns back.
                    drop(sender.send(Message::Durable(*sequence)));
                }
            }));
            journal.on_failure(Box::new(move |_| drop(told_of_failure.send(Message::JournalFailed))));
            let failed = Arc::clone(&self.shared.failed);
            let thread = thread::Builder::new().name(format!("shard-{index}"));
            threads.push(thread.spawn(move || {
                // Its drivers' fixes would wait for good, and nobody would know why.
                if panic::catch_unwind(AssertUnwindSafe(|| shard.run(&inbox, &appender))).is_err() {
                    tracing::error!(shard = index, "a shard panicked, which is a fault of the program's");
                    failed.store(true, Ordering::Release);
                    shard.fail();
                    shard.run(&inbox, &appender);
                }
            })?);
        }
        let Shared { failed, waiting_for_store, rules, registry, .. } = self.shared;
        let bounds = Bounds { rules, registry };
        Ok(Pipeline { ingress: self.ingress, threads, failed, waiting_for_store, snapshots, bounds })
    }
}

impl Bounds {
    /// Judges by these rules from each shard's next turn on, and takes in tenants and drivers up to these bounds from now on.
    pub fn replace(&self, rules: RuleBook, registry: &RegistryConfig) {
        self.rules.replace(rules);
        self.registry.bound(registry);
    }
}

impl Pipeline {
    /// Its rules and bounds, for as long as it lives.
    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// The way in.
    pub fn ingress(&self) -> &Ingress {
        &self.ingress
    }

    /// Whether a shard had to give up, so that the engine must end.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// How many shards take nothing in until the store has caught up, for as long as the pipeline lives.
    pub fn waiting_for_store(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.waiting_for_store)
    }

    /// Takes snapshots, for as long as the pipeline lives.
    pub fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// Ends what is under way and stops. Doors are closed before.
    pub fn stop(self) {
        self.ingress.stop();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a shard panicked");
            }
        }
    }
}

const _: () = assert!(INBOX_MESSAGES_RESERVED < INBOX_MESSAGES_MAX / 2, "the doors' share of an inbox");
