//! One shard: a thread that owns its drivers' state outright. Its turn: judge what waits, hand the journal what it
//! decided, and when that is durable, show it and give the batches back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use tokio::sync::oneshot;

use super::account::{Books, TurnCounts};
use super::batch::{Batch, Received};
use super::drivers::{DriverIndex, Drivers};
use super::judge::{Judged, Rules};
use super::registry::Registry;
use super::window::Place;
use crate::counts::Counts;
use crate::fix::{Element, Fix, Reason, Verdict};
use crate::geo::GeoIndex;
use crate::ids::DriverKey;
use crate::journal::{Appender, TURN_TENANTS_MAX, TurnEncoder};
use crate::live::{Feed, LiveFix};
use crate::store::Store;
use crate::units::TimestampMs;

/// Turns that may wait for their sync. More would only make the frames smaller: while these are out, what comes in
/// gathers for the next turn.
pub(super) const TURNS_IN_FLIGHT_MAX: usize = 8;

/// Elements of one turn. A batch that is longer goes on in the next.
const TURN_ELEMENTS_MAX: usize = 8_192;

/// Durable fixes that the store may be behind before the shard waits for it. They are in memory as long.
const UNSTORED_FIXES_MAX: usize = 2_000_000;

/// How often a waiting shard looks whether the store caught up.
const STORE_LOOK: Duration = Duration::from_millis(20);

/// What a shard is told.
#[derive(Debug)]
pub(super) enum Message {
    /// Judge this.
    Batch(Batch),
    /// The oldest turn in flight is durable, as this frame.
    Durable(u64),
    /// Tell the durable fixes in memory of a driver.
    Recent(RecentQuery),
    /// End what is under way, give everything back and leave.
    Stop,
}

/// A look at the newest end of a driver's track.
#[derive(Debug)]
pub(super) struct RecentQuery {
    pub(super) driver: DriverKey,
    pub(super) from: TimestampMs,
    pub(super) to: TimestampMs,
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
}

/// What all shards share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) rules: Arc<Rules>,
    pub(super) window_fixes: usize,
    pub(super) registry: Arc<Registry>,
    pub(super) geo: Arc<GeoIndex>,
    pub(super) feed: Feed,
    /// `None`: the store is off, and what is below the floor is `past`.
    pub(super) history: Option<History>,
    /// Set by a shard that had to give up, for the engine to end on.
    pub(super) failed: Arc<AtomicBool>,
}

impl Shared {
    /// The frame up to which fixes may leave memory.
    fn stored_sequence(&self) -> u64 {
        // Without a store nothing is waited for: a fix may go once it is durable. The highest value is a pending fix's.
        self.history.as_ref().map_or(u64::MAX - 1, |history| history.stored_sequence.load(Ordering::Acquire))
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
}

/// Durable fixes of one frame that the store does not have yet.
#[derive(Debug)]
struct Unstored {
    sequence: u64,
    fixes: usize,
    /// Drivers whose windows are too long until the store has this frame.
    overfull: Vec<DriverIndex>,
}

/// The state of one shard.
pub(super) struct Shard {
    shared: Shared,
    books: Arc<Books>,
    drivers: Drivers,
    waiting: VecDeque<Batch>,
    in_flight: VecDeque<Turn>,
    unstored: VecDeque<Unstored>,
    unstored_fixes: usize,
    encoder: TurnEncoder,
    store_failed: bool,
}

impl Shard {
    pub(super) fn new(shared: Shared, books: Arc<Books>) -> Self {
        Self {
            shared,
            books,
            drivers: Drivers::default(),
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            unstored: VecDeque::new(),
            unstored_fixes: 0,
            encoder: TurnEncoder::new(),
            store_failed: false,
        }
    }

    /// Takes in a fix that the journal holds. Nothing is judged: the journal's decisions stand.
    pub(super) fn recover(&mut self, key: &Arc<DriverKey>, fix: &Fix, sequence: u64) {
        let index = self.drivers.find(key).unwrap_or_else(|| {
            self.shared.registry.add_driver();
            self.drivers.insert(Arc::clone(key))
        });
        let stored_sequence = self.shared.stored_sequence();
        let window = &mut self.drivers.at(index).window;
        window.insert(*fix);
        window.mark_durable(fix.time, sequence);
        window.trim(self.shared.window_fixes, stored_sequence);
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
    pub(super) fn run(mut self, inbox: &Receiver<Message>, appender: &Appender) {
        let mut stopping = false;
        let mut failed = false;
        loop {
            let told = if self.unstored.is_empty() {
                inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                inbox.recv_timeout(STORE_LOOK)
            };
            match told {
                Ok(message) => stopping |= self.told(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            // All that is there already goes into the same turn. The inbox is bounded, and so is this.
            while let Ok(message) = inbox.try_recv() {
                stopping |= self.told(message);
            }
            self.forget_stored();
            while !failed && self.may_turn() {
                failed = !self.turn(appender);
            }
            if failed {
                self.give_back_unjudged();
                self.shared.failed.store(true, Ordering::Release);
            }
            if stopping && self.waiting.is_empty() && self.in_flight.is_empty() {
                break;
            }
        }
    }

    /// Takes one message; true if it was the last.
    fn told(&mut self, message: Message) -> bool {
        match message {
            Message::Batch(batch) => self.waiting.push_back(batch),
            Message::Durable(sequence) => self.end_turn(sequence),
            Message::Recent(query) => self.tell_recent(query),
            Message::Stop => return true,
        }
        false
    }

    fn may_turn(&self) -> bool {
        !self.waiting.is_empty()
            && self.in_flight.len() < TURNS_IN_FLIGHT_MAX
            && self.unstored_fixes < UNSTORED_FIXES_MAX
    }

    /// Judges what waits and hands it to the journal; false if that is over for good: the journal takes nothing any more,
    /// or the store does not say what is new.
    fn turn(&mut self, appender: &Appender) -> bool {
        let Some(first) = self.waiting.front() else { return true };
        self.encoder.begin(received_at(first));
        let mut turn = Turn::default();
        let mut elements_left = TURN_ELEMENTS_MAX;
        while let Some(mut batch) = self.waiting.pop_front() {
            self.judge_batch(&mut batch, &mut turn, &mut elements_left);
            if batch.verdicts.len() < batch.elements.len() {
                self.waiting.push_front(batch);
                break;
            }
            turn.batches.push(batch);
        }
        for (tenant, counts) in turn.counts.as_slice() {
            // What was stored is counted from the fixes themselves when the journal is read.
            if counts.received() > counts.stored {
                self.encoder.counters(tenant, &Counts { stored: 0, late: 0, ..*counts });
            }
        }
        self.books.open_turn(turn.counts.as_slice());
        self.in_flight.push_back(turn);
        !self.store_failed && appender.append(self.encoder.finish()).is_ok()
    }

    /// Judges a batch, or as much of it as the turn has room for: the verdicts tell how far it came, and the next turn goes
    /// on from there.
    fn judge_batch(&mut self, batch: &mut Batch, turn: &mut Turn, elements_left: &mut usize) {
        let Batch { received, runs, elements, verdicts, .. } = batch;
        let mut judged = verdicts.len();
        verdicts.reserve(elements.len() - judged);
        let mut elements = elements[judged..].iter();
        for run in runs {
            let len = run.len as usize;
            if judged >= len {
                judged -= len;
                continue;
            }
            let counts = turn.counts.of(run.driver.tenant());
            let mut index = self.drivers.find(&run.driver);
            for element in elements.by_ref().take(len - std::mem::take(&mut judged)) {
                if *elements_left == 0 || self.encoder.is_full() {
                    return;
                }
                *elements_left -= 1;
                let key = &run.driver;
                let verdict = match judge_element(&self.shared, &mut self.drivers, key, &mut index, element, *received)
                {
                    Ok((driver, fix, late)) => {
                        self.encoder.fix(key, &fix, late);
                        turn.accepted.push(Accepted { driver, fix, late });
                        if late { Verdict::Late } else { Verdict::Accepted }
                    }
                    Err(NotStored::Verdict(verdict)) => verdict,
                    Err(NotStored::StoreFailed) => {
                        self.store_failed = true;
                        return;
                    }
                };
                counts.count(verdict);
                verdicts.push(verdict);
            }
            if turn.counts.as_slice().len() >= TURN_TENANTS_MAX {
                *elements_left = 0;
            }
        }
    }

    /// The oldest turn is durable: remember it, show it, and give its batches back.
    fn end_turn(&mut self, sequence: u64) {
        // None: the shard gave up and gave this turn back; the store may have it, and nobody was told.
        let Some(turn) = self.in_flight.pop_front() else { return };
        let stored_sequence = self.shared.stored_sequence();
        let mut overfull = Vec::new();
        for (at, accepted) in turn.accepted.iter().enumerate() {
            let driver = self.drivers.at(accepted.driver);
            driver.window.mark_durable(accepted.fix.time, sequence);
            // Of a driver's fixes in a row only the last is worth an index move.
            let followed = turn.accepted.get(at + 1).is_some_and(|next| next.driver == accepted.driver && !next.late);
            if followed {
                continue;
            }
            driver.window.trim(self.shared.window_fixes, stored_sequence);
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
            self.unstored_fixes += turn.accepted.len();
            self.unstored.push_back(Unstored { sequence, fixes: turn.accepted.len(), overfull });
        }
        if self.shared.feed.is_wanted() {
            self.feed_live(&turn.accepted);
        }
        self.books.close_turn(turn.counts.as_slice());
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
        while let Some(unstored) = self.unstored.pop_front_if(|oldest| oldest.sequence <= stored_sequence) {
            self.unstored_fixes -= unstored.fixes;
            for driver in unstored.overfull {
                self.drivers.at(driver).window.trim(self.shared.window_fixes, stored_sequence);
            }
        }
    }

    fn tell_recent(&mut self, query: RecentQuery) {
        let recent = self
            .drivers
            .find(&query.driver)
            .map(|index| self.drivers.at(index).window.durable_between(query.from, query.to).copied().collect());
        // Whoever asked may have gone.
        drop(query.reply.send(recent));
    }

    /// Nothing that is here will ever be durable, and nobody may think it is.
    fn give_back_unjudged(&mut self) {
        let turns = self.in_flight.drain(..).flat_map(|turn| turn.batches);
        for mut batch in turns.chain(self.waiting.drain(..)) {
            batch.verdicts.clear();
            let origin = Arc::clone(&batch.origin);
            origin.judged(batch);
        }
    }
}

/// The receive time that stands in a turn's frame: its first batch's.
fn received_at(batch: &Batch) -> TimestampMs {
    match batch.received {
        Received::Live(received_at) => received_at,
        Received::Recorded => batch.elements.iter().flatten().find_map(|report| report.time).unwrap_or_default(),
    }
}

/// Why an element was not stored.
#[derive(Debug)]
enum NotStored {
    /// Judged, and that is its verdict.
    Verdict(Verdict),
    /// The store could not say whether it is new, so that no verdict would be true.
    StoreFailed,
}

impl From<Reason> for NotStored {
    fn from(reason: Reason) -> Self {
        Self::Verdict(Verdict::Rejected(reason))
    }
}

/// Judges one element against the rules and its driver's past. A fix that is new is in the window afterwards, pending.
///
/// `index` is the driver's place if it is known; a driver's first good fix makes it known.
fn judge_element(
    shared: &Shared,
    drivers: &mut Drivers,
    key: &Arc<DriverKey>,
    index: &mut Option<DriverIndex>,
    element: &Element,
    received: Received,
) -> Result<(DriverIndex, Fix, bool), NotStored> {
    let report = element.as_ref().map_err(|reason| *reason)?;
    let judged = shared.rules.judge(report, received)?;
    if index.is_none() && !shared.registry.has_room() {
        return Err(Reason::UnknownDriver.into());
    }
    shared.rules.judge_accuracy(report)?;
    let index = *index.get_or_insert_with(|| {
        shared.registry.add_driver();
        drivers.insert(Arc::clone(key))
    });
    let window = &mut drivers.at(index).window;
    let (mut fix, timeless) = match judged {
        Judged::Timed(fix) => (fix, false),
        Judged::Timeless(fix) => (fix, true),
    };
    let late = loop {
        if timeless {
            fix.time = window.next_free(fix.time);
        }
        match window.place(fix.time) {
            Place::Newest => break false,
            Place::Late => break true,
            Place::Taken => return Err(NotStored::Verdict(Verdict::Duplicate)),
            Place::BelowFloor if !is_stored(shared, key, fix.time)? => break true,
            Place::BelowFloor if timeless => fix.time = fix.time.saturating_add_ms(1),
            Place::BelowFloor => return Err(NotStored::Verdict(Verdict::Duplicate)),
        }
    };
    window.insert(fix);
    Ok((index, fix, late))
}

/// Whether the store holds a fix that memory cannot tell of.
fn is_stored(shared: &Shared, key: &DriverKey, time: TimestampMs) -> Result<bool, NotStored> {
    let Some(history) = &shared.history else { return Err(Reason::Past.into()) };
    history.store.contains(key.tenant().as_str(), key.driver().as_str(), time).map_err(|error| {
        tracing::error!(%error, "the store did not say whether a fix is new: this shard stops, check the disk of `data_dir`");
        NotStored::StoreFailed
    })
}
