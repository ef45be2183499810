//! One shard: a thread that owns its drivers' state outright. Its turn: judge what waits, hand the journal what it
//! decided, and when that is durable, show it and give the batches back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::account::{Books, Counted, TurnCounts};
use super::batch::{Batch, PayloadSizes};
use super::drivers::{DriverIndex, Drivers};
use super::element::{Judge, New, NotStored};
use super::ingress::INBOX_MESSAGES_MAX;
use super::past::Past;
use super::refusals;
use super::registry::Registry;
use super::rules::{LiveRules, RulesInEffect};
use super::snapshot::{Capture, Request, Source};
use super::unstored::Unstored;
use super::window::{Gone, Leave};
use crate::fix::{Fix, Reason, Verdict};
use crate::geo::GeoIndex;
use crate::ids::DriverKey;
use crate::journal::{Appender, TURN_COUNTERS_MAX, TurnEncoder};
use crate::live::{Feed, LiveFix};
use crate::rejected::Recorder;
use crate::store::Store;
use crate::units::TimestampMs;

/// Turns that may wait for their sync. More would only make the frames smaller: while these are out, what comes in
/// gathers for the next turn.
pub(super) const TURNS_IN_FLIGHT_MAX: usize = 8;

/// Elements of one turn. A batch that is longer goes on in a later one.
const TURN_ELEMENTS_MAX: usize = 8_192;

/// As how many elements a look into the store counts: it takes some 15 µs where an element takes a fraction of one, and a turn
/// full of them would keep the shard's other drivers waiting.
const LOOK_ELEMENTS: usize = 32;

/// Durable fixes that the store may be behind, of all shards together, before they wait for it. They are in memory as long,
/// at some 80 bytes each.
pub(super) const UNSTORED_FIXES_MAX: usize = 2_000_000;

/// Beyond every frame of a journal, and below a pending fix's mark.
pub(super) const SEQUENCE_MAX: u64 = u64::MAX - 1;

/// How often a waiting shard looks whether the store caught up, or the journal has room.
const WAITING_LOOK: Duration = Duration::from_millis(20);

/// What a shard is told.
#[derive(Debug)]
pub(super) enum Message {
    /// Judge this.
    Batch(Batch),
    /// The oldest turn in flight is durable, as this frame.
    Durable(u64),
    /// The journal failed: no turn will be durable any more.
    JournalFailed,
    /// Tell the durable fixes in memory of a driver.
    Recent(RecentQuery),
    /// Tell everything, for a snapshot.
    Snapshot(Request),
    /// End what is under way, give everything back and leave.
    Stop,
}

/// A look at the newest end of a driver's track.
#[derive(Debug)]
pub(super) struct RecentQuery {
    pub(super) driver: DriverKey,
    pub(super) from: TimestampMs,
    pub(super) to: TimestampMs,
    pub(super) limit: usize,
    /// Held until the shard has answered, whoever still listens.
    pub(super) permit: OwnedSemaphorePermit,
    /// Answered with `None` if the driver was never heard of.
    pub(super) reply: oneshot::Sender<Option<Vec<Fix>>>,
}

/// Where fixes go that leave memory.
#[derive(Clone, Debug)]
pub struct History {
    /// Asked for fixes below a window's floor.
    pub store: Store,
    /// The frame up to which the store holds everything.
    pub stored_sequence: Arc<AtomicU64>,
    /// The frame behind which the store began: what is older, it never had. 0: it has all from the journal's first on.
    pub began: u64,
}

/// What all shards share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) rules: Arc<LiveRules>,
    pub(super) window_fixes: usize,
    pub(super) registry: Arc<Registry>,
    pub(super) geo: Arc<GeoIndex>,
    pub(super) feed: Feed,
    /// `None`: the store is off, and what left memory is forgotten.
    pub(super) history: Option<History>,
    /// This shard's part of [`UNSTORED_FIXES_MAX`].
    pub(super) unstored_fixes_max: usize,
    /// Set by a shard that had to give up, for the engine to end on.
    pub(super) failed: Arc<AtomicBool>,
    /// How many shards wait for the store.
    pub(super) waiting_for_store: Arc<AtomicUsize>,
}

impl Shared {
    /// The frame up to which the store holds everything.
    fn stored_sequence(&self) -> u64 {
        self.history.as_ref().map_or(SEQUENCE_MAX, |history| history.stored_sequence.load(Ordering::Acquire))
    }

    /// Which fixes may leave memory, and where to, when the store holds everything up to this frame.
    pub(super) fn leave(&self, stored_sequence: u64) -> Leave {
        if self.history.is_some() { Leave::ToStore(stored_sequence) } else { Leave::ForGood }
    }
}

/// A fix that a turn accepted.
#[derive(Debug)]
struct Accepted {
    driver: DriverIndex,
    fix: Fix,
    late: bool,
}

/// A turn that waits for its sync.
#[derive(Debug, Default)]
struct Turn {
    batches: Vec<Batch>,
    accepted: Vec<Accepted>,
    counts: TurnCounts,
    /// Something in its batches was refused.
    has_refusals: bool,
}

/// The state of one shard.
pub(super) struct Shard {
    shared: Shared,
    rules: RulesInEffect,
    books: Arc<Books>,
    drivers: Drivers,
    past: Past,
    waiting: VecDeque<Batch>,
    in_flight: VecDeque<Turn>,
    unstored: Unstored,
    encoder: TurnEncoder,
    /// The last of its turns that ended, by its frame; 0 if none did since the start.
    ended: u64,
    /// Its part of a snapshot that is being taken.
    capture: Option<Capture>,
    /// Fixes from a snapshot that the store lacks, by frame, until all have come.
    restored_unstored: Vec<(u64, DriverIndex)>,
    /// The journal takes nothing more, or the store does not say what is new: nothing can be judged any more.
    has_failed: bool,
    is_waiting_for_store: bool,
    /// The journal has no room for what waits.
    is_waiting_for_room: bool,
    /// Who keeps what was refused; `None`: nobody.
    recorder: Option<Recorder>,
}

impl Shard {
    pub(super) fn new(shared: Shared, books: Arc<Books>) -> Self {
        Self {
            rules: RulesInEffect::new(Arc::clone(&shared.rules)),
            shared,
            books,
            drivers: Drivers::default(),
            past: Past::default(),
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            unstored: Unstored::default(),
            encoder: TurnEncoder::new(),
            ended: 0,
            capture: None,
            restored_unstored: Vec::new(),
            has_failed: false,
            is_waiting_for_store: false,
            is_waiting_for_room: false,
            recorder: None,
        }
    }

    /// Has what is refused kept as evidence.
    pub(super) fn record_refusals(&mut self, recorder: Recorder) {
        self.recorder = Some(recorder);
    }

    /// Takes in a fix that the journal holds. Nothing is judged: the journal's decisions stand.
    pub(super) fn recover(&mut self, key: &Arc<DriverKey>, fix: &Fix, sequence: u64, leave: Leave) {
        let index = self.recovered_driver(key);
        let window = &mut self.drivers.at(index).window;
        window.insert(*fix);
        window.mark_durable(fix.time, sequence);
        window.trim(self.shared.window_fixes, leave);
        let is_overfull = window.len() > self.shared.window_fixes;
        if matches!(leave, Leave::ToStore(stored_sequence) if sequence > stored_sequence) {
            self.unstored.add(sequence, 1, is_overfull.then_some(index));
        }
    }

    /// Takes in what a snapshot has of a driver: fixes with their frames, and what left. `is_unstored` tells the frames that
    /// the store lacks, as far as they are not recovered from the journal behind.
    pub(super) fn restore(
        &mut self,
        key: &Arc<DriverKey>,
        gone: Gone,
        fixes: &[(Fix, u64)],
        leave: Leave,
        is_unstored: impl Fn(u64) -> bool,
    ) {
        let index = self.recovered_driver(key);
        let window = &mut self.drivers.at(index).window;
        window.recover_gone(gone);
        for (fix, sequence) in fixes {
            window.insert(*fix);
            window.mark_durable(fix.time, *sequence);
            if matches!(leave, Leave::ToStore(_)) && is_unstored(*sequence) {
                self.restored_unstored.push((*sequence, index));
            }
        }
        window.trim(self.shared.window_fixes, leave);
    }

    /// All of the snapshot has come.
    pub(super) fn restored(&mut self) {
        let mut unstored = std::mem::take(&mut self.restored_unstored);
        unstored.sort_unstable();
        for (sequence, index) in unstored {
            self.unstored.add(sequence, 1, [index]);
        }
    }

    fn recovered_driver(&mut self, key: &Arc<DriverKey>) -> DriverIndex {
        self.drivers.find(key).unwrap_or_else(|| {
            self.shared.registry.add_driver();
            self.drivers.insert(Arc::clone(key))
        })
    }

    /// Puts every recovered driver where it was last.
    pub(super) fn recover_index(&mut self) {
        for driver in self.drivers.iter_mut() {
            if let Some(newest) = driver.window.newest() {
                let fleet = self.shared.geo.fleet_or_new(driver.key.tenant());
                let slot = fleet.join(Arc::clone(&driver.key), newest);
                driver.slot = Some((fleet, slot));
            }
        }
    }

    /// Lets fixes go as the running sink stores them.
    pub(super) fn follow_store(&mut self, stored_sequence: &Arc<AtomicU64>) {
        if let Some(history) = &mut self.shared.history {
            history.stored_sequence = Arc::clone(stored_sequence);
        }
    }

    /// Runs until told to stop, or until nobody is left to tell it anything.
    pub(super) fn run(&mut self, inbox: &Receiver<Message>, appender: &Appender) {
        let mut stopping = false;
        loop {
            let told = match self.pause() {
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(pause) => inbox.recv_timeout(pause),
            };
            match told {
                Ok(message) => stopping |= self.told(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            // All that is there already goes into the same turn, an inbox full of it at most.
            for message in inbox.try_iter().take(INBOX_MESSAGES_MAX) {
                stopping |= self.told(message);
            }
            self.forget_stored();
            while !self.has_failed && self.may_turn(appender) {
                self.turn(appender);
            }
            self.go_on_with_capture(appender);
            if self.has_failed {
                self.give_back_unjudged();
                self.shared.failed.store(true, Ordering::Release);
            } else if stopping && (self.is_waiting_for_store || self.is_waiting_for_room) && self.in_flight.is_empty() {
                // The store may never catch up, there may never be room, and no door acknowledges by now.
                self.give_back_unjudged();
            }
            if stopping && self.waiting.is_empty() && self.in_flight.is_empty() {
                break;
            }
        }
    }

    /// How long to wait for a message; `None`: there is nothing to do before one comes.
    fn pause(&self) -> Option<Duration> {
        let capture = self.capture.as_ref().and_then(Capture::pause);
        capture.or((!self.unstored.is_empty() || self.is_waiting_for_room).then_some(WAITING_LOOK))
    }

    /// After a panic: whatever it was doing, it does no more, and what comes is given back.
    pub(super) fn fail(&mut self) {
        self.has_failed = true;
    }

    /// Takes one message; true if it was the last.
    fn told(&mut self, message: Message) -> bool {
        match message {
            Message::Batch(batch) => self.waiting.push_back(batch),
            Message::Durable(sequence) => self.end_turn(sequence),
            Message::JournalFailed => self.has_failed = true,
            Message::Recent(query) => self.tell_recent(query),
            // One that was under way is not wanted any more.
            Message::Snapshot(request) => self.capture = Some(Capture::new(request, self.in_flight.len())),
            Message::Stop => return true,
        }
        false
    }

    fn may_turn(&mut self, appender: &Appender) -> bool {
        // Once it waits, it waits for more than one batch of the store's, or it would start and stop with each.
        let fixes_max = self.shared.unstored_fixes_max;
        let is_store_behind =
            self.unstored.fixes() >= if self.is_waiting_for_store { fixes_max / 2 } else { fixes_max };
        if is_store_behind != self.is_waiting_for_store {
            self.is_waiting_for_store = is_store_behind;
            if is_store_behind {
                tracing::warn!(
                    fixes = self.unstored.fixes(),
                    "the embedded store is too far behind: a shard waits for it"
                );
                self.shared.waiting_for_store.fetch_add(1, Ordering::Relaxed);
            } else {
                tracing::info!("the embedded store caught up: the shard goes on");
                self.shared.waiting_for_store.fetch_sub(1, Ordering::Relaxed);
            }
        }
        // Asked only if it matters, and before each turn: what this one hands over may be what was left.
        self.is_waiting_for_room = !self.waiting.is_empty() && appender.is_full();
        if self.is_waiting_for_room {
            self.give_back_impatient();
        }
        !self.waiting.is_empty()
            && self.in_flight.len() < TURNS_IN_FLIGHT_MAX
            && !is_store_behind
            && !self.is_waiting_for_room
    }

    /// Gives those batches back that do not wait for room.
    fn give_back_impatient(&mut self) {
        let is_patient = |batch: &Batch| batch.origin.outwaits_full_journal();
        if self.waiting.iter().all(is_patient) {
            return;
        }
        let (patient, impatient): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(is_patient);
        self.waiting = patient;
        give_back(impatient);
    }

    /// Judges what waits and hands it to the journal.
    fn turn(&mut self, appender: &Appender) {
        let Some(first) = self.waiting.front() else { return };
        self.rules.refresh();
        self.past.forget();
        self.encoder.begin(received_at(first));
        let mut turn = Turn::default();
        let mut elements_left = TURN_ELEMENTS_MAX;
        while let Some(mut batch) = self.waiting.pop_front() {
            let judged_before = batch.verdicts.len();
            self.judge_batch(&mut batch, &mut turn, &mut elements_left);
            if batch.verdicts.len() < batch.elements.len() {
                // One that had nothing of this turn is the first of the next.
                if batch.verdicts.len() > judged_before {
                    self.put_back(batch);
                } else {
                    self.waiting.push_front(batch);
                }
                break;
            }
            // What of it was judged by earlier turns is not in the counts of this one.
            turn.has_refusals |= judged_before > 0;
            turn.batches.push(batch);
        }
        turn.has_refusals |= turn.counts.have_refusals();
        for Counted { tenant, codec, counts } in turn.counts.as_slice() {
            self.encoder.counters(tenant, *codec, counts);
        }
        self.books.open_turn(turn.counts.as_slice());
        self.in_flight.push_back(turn);
        if !self.has_failed {
            self.has_failed = appender.append(self.encoder.finish()).is_err();
        }
    }

    /// Lets a batch that the turn had no more room for wait for another: behind those of other origins, which are not to wait
    /// for a backlog, and in front of those of its own, which come back in their order.
    fn put_back(&mut self, batch: Batch) {
        let is_own = |waiting: &Batch| Arc::ptr_eq(&waiting.origin, &batch.origin);
        if self.waiting.iter().all(is_own) {
            self.waiting.push_front(batch);
            return;
        }
        let (own, others): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.waiting).into_iter().partition(is_own);
        self.waiting = others;
        self.waiting.push_back(batch);
        self.waiting.extend(own);
    }

    /// Judges a batch, or as much of it as the turn has room for: the verdicts tell how far it came, and the next turn goes
    /// on from there.
    fn judge_batch(&mut self, batch: &mut Batch, turn: &mut Turn, elements_left: &mut usize) {
        let Batch { received, runs, elements, payloads, verdicts, .. } = batch;
        let mut judged = verdicts.len();
        let mut sizes = PayloadSizes::of(payloads);
        verdicts.reserve(elements.len() - judged);
        let mut elements = elements[judged..].iter();
        for run in runs {
            let len = run.len as usize;
            if judged >= len {
                judged -= len;
                continue;
            }
            let key = &run.driver;
            let rules = self.rules.of(key.tenant());
            let counts = turn.counts.of(key.tenant(), run.codec);
            let index = self.drivers.find(key);
            let past = &mut self.past;
            let mut judge = Judge { shared: &self.shared, rules, key, received: *received, index, past };
            for element in elements.by_ref().take(len - std::mem::take(&mut judged)) {
                if *elements_left == 0 || self.encoder.is_full() {
                    return;
                }
                let is_too_large =
                    rules.payload_bytes_max > 0 && sizes.bytes_around(verdicts.len()) > rules.payload_bytes_max;
                let element = if is_too_large { &Err(Reason::TooLarge) } else { element };
                let new = judge.element(&mut self.drivers, element);
                let cost = 1 + judge.past.take_looks() * LOOK_ELEMENTS;
                *elements_left = elements_left.saturating_sub(cost);
                let verdict = match new {
                    Ok(New { driver, fix, late, repaired }) => {
                        self.encoder.fix(key, &fix, late);
                        turn.accepted.push(Accepted { driver, fix, late });
                        counts.repaired += u64::from(repaired);
                        if late { Verdict::Late } else { Verdict::Accepted }
                    }
                    Err(NotStored::Verdict(verdict)) => verdict,
                    Err(NotStored::StoreFailed) => {
                        self.has_failed = true;
                        return;
                    }
                };
                counts.count(verdict);
                verdicts.push(verdict);
            }
            if turn.counts.as_slice().len() >= TURN_COUNTERS_MAX {
                *elements_left = 0;
            }
        }
    }

    /// The oldest turn is durable: remember it, show it, and give its batches back.
    fn end_turn(&mut self, sequence: u64) {
        // None: the shard gave up and gave this turn back; the store may have it, and nobody was told.
        let Some(turn) = self.in_flight.pop_front() else { return };
        self.ended = sequence;
        if let Some(capture) = &mut self.capture {
            capture.turn_ended();
        }
        let leave = self.shared.leave(self.shared.stored_sequence());
        let mut overfull = Vec::new();
        for (at, accepted) in turn.accepted.iter().enumerate() {
            let driver = self.drivers.at(accepted.driver);
            driver.window.mark_durable(accepted.fix.time, sequence);
            // Of a driver's fixes in a row only the last is worth an index move.
            let followed = turn.accepted.get(at + 1).is_some_and(|next| next.driver == accepted.driver && !next.late);
            if followed {
                continue;
            }
            driver.window.trim(self.shared.window_fixes, leave);
            if driver.window.len() > self.shared.window_fixes {
                overfull.push(accepted.driver);
            }
            if accepted.late {
                continue;
            }
            match &driver.slot {
                Some((fleet, slot)) => fleet.update(*slot, &accepted.fix),
                None => {
                    let fleet = self.shared.geo.fleet_or_new(driver.key.tenant());
                    let slot = fleet.join(Arc::clone(&driver.key), &accepted.fix);
                    driver.slot = Some((fleet, slot));
                }
            }
        }
        if self.shared.history.is_some() && !turn.accepted.is_empty() {
            self.unstored.add(sequence, turn.accepted.len(), overfull);
        }
        if self.shared.feed.is_wanted() {
            self.feed_live(&turn.accepted);
        }
        self.books.close_turn(turn.counts.as_slice());
        if let Some(recorder) = self.recorder.as_ref().filter(|_| turn.has_refusals) {
            refusals::hand_over(recorder, &turn.batches);
        }
        for batch in turn.batches {
            let origin = Arc::clone(&batch.origin);
            origin.judged(batch);
        }
    }

    fn feed_live(&mut self, accepted: &[Accepted]) {
        let drivers = &mut self.drivers;
        let live: Vec<LiveFix> = accepted
            .iter()
            .filter(|accepted| !accepted.late)
            .map(|accepted| LiveFix { driver: Arc::clone(&drivers.at(accepted.driver).key), fix: accepted.fix })
            .collect();
        if !live.is_empty() {
            self.shared.feed.publish(live);
        }
    }

    /// Lets fixes go that had to wait for the store.
    fn forget_stored(&mut self) {
        if self.unstored.is_empty() {
            return;
        }
        let stored_sequence = self.shared.stored_sequence();
        let leave = self.shared.leave(stored_sequence);
        while let Some(overfull) = self.unstored.take_stored(stored_sequence) {
            for driver in overfull {
                self.drivers.at(driver).window.trim(self.shared.window_fixes, leave);
            }
        }
    }

    fn go_on_with_capture(&mut self, appender: &Appender) {
        let Some(capture) = &mut self.capture else { return };
        let source =
            Source { appender: appender.number(), ended: self.ended, books: &self.books, drivers: &self.drivers };
        if self.has_failed || !capture.go_on(source) {
            self.capture = None;
        }
    }

    fn tell_recent(&mut self, query: RecentQuery) {
        let RecentQuery { driver, from, to, limit, permit, reply } = query;
        let recent = self.drivers.find(&driver).map(|index| {
            let window = &self.drivers.at(index).window;
            window.durable_between(from, to).take(limit).copied().collect()
        });
        // Whoever asked may have gone.
        drop(reply.send(recent));
        drop(permit);
    }

    /// Nothing that is here will ever be durable, and nobody may think it is.
    fn give_back_unjudged(&mut self) {
        give_back(self.in_flight.drain(..).flat_map(|turn| turn.batches).chain(self.waiting.drain(..)));
    }
}

/// Gives batches back without verdicts.
fn give_back(batches: impl IntoIterator<Item = Batch>) {
    for mut batch in batches {
        batch.verdicts.clear();
        let origin = Arc::clone(&batch.origin);
        origin.judged(batch);
    }
}

/// The receive time that stands in a turn's frame: its first batch's.
fn received_at(batch: &Batch) -> TimestampMs {
    let first_fix = || batch.elements.iter().flatten().find_map(|report| report.time);
    batch.received.at().or_else(first_fix).unwrap_or_default()
}
