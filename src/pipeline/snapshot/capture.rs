//! A shard's part of a snapshot: its books at one instant, then its drivers a few at a time, between its turns.

use std::collections::VecDeque;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use super::content::{self, DRIVER_FIXES_MAX, DriversEncoder};
use super::{Limits, UnderWay};
use crate::fix::Fix;
use crate::pipeline::account::Books;
use crate::pipeline::drivers::{Driver, DriverIndex, Drivers};
use crate::pipeline::window::UNSTORED;
use crate::units::TimestampMs;

/// What a driver costs a slice, in the tens of nanoseconds that looking at one more fix of its window does.
const DRIVER_COST: usize = 8;

/// What a fix costs beyond a look, if it goes into the snapshot.
const FIX_COST: usize = 3;

/// How often a shard with nothing else to do looks whether there is room for another chunk.
const ROOM_LOOK: Duration = Duration::from_millis(1);

/// What a shard is asked for.
#[derive(Debug)]
pub(in crate::pipeline) struct Request {
    /// The frame that the snapshot stands for.
    pub(super) sequence: u64,
    /// Fixes up to this frame are left to the store; 0 if there is none.
    pub(super) stored: u64,
    pub(super) limits: Limits,
    pub(super) parts: SyncSender<Part>,
    /// Held until the shard is done with it.
    pub(super) _under_way: UnderWay,
}

/// What a shard tells.
#[derive(Debug)]
pub(super) enum Part {
    /// A chunk of the snapshot.
    Chunk(Vec<u8>),
    /// That was all; it holds nothing of later frames than this.
    End { upto: u64 },
}

/// The shard that is asked, between two of its turns.
#[derive(Clone, Copy)]
pub(in crate::pipeline) struct Source<'a> {
    pub(in crate::pipeline) appender: u16,
    /// The last of its frames that is in its state; 0 if there was none since the start.
    pub(in crate::pipeline) ended: u64,
    pub(in crate::pipeline) books: &'a Books,
    pub(in crate::pipeline) drivers: &'a Drivers,
}

/// What there is to do for a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Nothing before turns have ended that were in flight when it was asked for.
    AwaitsTurns(usize),
    /// Something, now.
    MayGoOn,
    /// Nothing until somebody takes what it has.
    AwaitsRoom,
}

/// A capture under way.
#[derive(Debug)]
pub(in crate::pipeline) struct Capture {
    request: Request,
    progress: Progress,
    /// Parts for which there is no room yet.
    waiting: VecDeque<Part>,
    /// The drivers to be told: those that there were at the beginning. Of later ones every frame is behind the snapshot.
    drivers: Option<std::ops::Range<DriverIndex>>,
    /// Of the first of them, the fixes from here on.
    from: TimestampMs,
    has_ended: bool,
    encoder: DriversEncoder,
    fixes: Vec<(Fix, u64)>,
}

impl Capture {
    /// One that begins when the turns have ended that are in flight now: the snapshot stands for some of them.
    pub(in crate::pipeline) fn new(request: Request, turns_in_flight: usize) -> Self {
        let encoder = DriversEncoder::new(request.sequence);
        let progress = Progress::MayGoOn;
        let mut capture = Self {
            request,
            progress,
            waiting: VecDeque::new(),
            drivers: None,
            from: TimestampMs(i64::MIN),
            has_ended: false,
            encoder,
            fixes: Vec::new(),
        };
        capture.await_turns(turns_in_flight);
        capture
    }

    /// The oldest turn in flight has ended.
    pub(in crate::pipeline) fn turn_ended(&mut self) {
        if let Progress::AwaitsTurns(turns) = self.progress {
            self.await_turns(turns - 1);
        }
    }

    fn await_turns(&mut self, turns: usize) {
        self.progress = if turns > 0 { Progress::AwaitsTurns(turns) } else { Progress::MayGoOn };
    }

    /// How long the shard may wait for messages before the capture goes on; `None`: it cannot without one.
    pub(in crate::pipeline) fn pause(&self) -> Option<Duration> {
        match self.progress {
            Progress::AwaitsTurns(_) => None,
            Progress::MayGoOn => Some(Duration::ZERO),
            Progress::AwaitsRoom => Some(ROOM_LOOK),
        }
    }

    /// Goes on for one slice, if it can; false if there is nothing more to do. Never blocks.
    pub(in crate::pipeline) fn go_on(&mut self, source: Source<'_>) -> bool {
        if matches!(self.progress, Progress::AwaitsTurns(_)) {
            return true;
        }
        if self.drivers.is_none() {
            self.drivers = Some(0..source.drivers.len());
            let books = content::books(source.appender, source.ended, &source.books.judged());
            self.waiting.extend(books.into_iter().map(Part::Chunk));
        }
        while let Some(part) = self.waiting.pop_front() {
            match self.request.parts.try_send(part) {
                Ok(()) => {}
                Err(TrySendError::Full(part)) => {
                    self.waiting.push_front(part);
                    self.progress = Progress::AwaitsRoom;
                    return true;
                }
                // Nobody wants it any more.
                Err(TrySendError::Disconnected(_)) => return false,
            }
        }
        self.progress = Progress::MayGoOn;
        if self.has_ended {
            return false;
        }
        self.has_ended = self.slice(source.drivers);
        if self.has_ended || self.encoder.len_bytes() >= self.request.limits.chunk_bytes {
            self.waiting.extend(self.encoder.take().map(Part::Chunk));
        }
        if self.has_ended {
            self.waiting.push_back(Part::End { upto: source.ended });
        }
        true
    }

    /// Adds drivers to the chunk, as many as a slice may take; true if those were the last.
    fn slice(&mut self, drivers: &Drivers) -> bool {
        let Limits { slice_cost_max, chunk_bytes, .. } = self.request.limits;
        let mut cost_left = slice_cost_max;
        while let Some(index) = self.drivers.as_ref().and_then(|drivers| drivers.clone().next()) {
            if cost_left == 0 || self.encoder.len_bytes() >= chunk_bytes {
                return false;
            }
            let cost = self.add(drivers.get(index), cost_left);
            cost_left = cost_left.saturating_sub(cost);
        }
        true
    }

    /// Adds one driver, or a part of it, and tells what it cost.
    fn add(&mut self, driver: &Driver, cost_max: usize) -> usize {
        let window = &driver.window;
        let mut cost = DRIVER_COST;
        let mut goes_on_at = None;
        // A driver without a durable fix is not known yet.
        if let Some(newest) = window.newest_durable() {
            let mut gone = window.gone();
            self.fixes.clear();
            for (looked_at, (fix, sequence)) in window.durable_from(self.from).enumerate() {
                if looked_at > 0 && (cost >= cost_max || self.fixes.len() == DRIVER_FIXES_MAX) {
                    goes_on_at = Some(fix.time);
                    break;
                }
                cost += 1;
                if sequence <= self.request.stored && sequence != UNSTORED && fix.time != newest {
                    gone.floor = gone.floor.max(fix.time);
                } else {
                    cost += FIX_COST;
                    self.fixes.push((*fix, sequence));
                }
            }
            self.encoder.driver(driver.key.tenant(), driver.key.driver().as_str(), gone, &self.fixes);
        }
        match (goes_on_at, &mut self.drivers) {
            (None, Some(drivers)) => {
                drivers.next();
                self.from = TimestampMs(i64::MIN);
            }
            (from, _) => self.from = from.unwrap_or(self.from),
        }
        cost
    }
}
