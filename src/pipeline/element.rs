//! One element against the rules and its driver's past: what it becomes, and whether anybody knows it already.

use std::sync::Arc;

use super::batch::Received;
use super::drivers::{Driver, DriverIndex, Drivers};
use super::judge::Judged;
use super::motion::{self, Neighbours, Trail};
use super::past::Past;
use super::rules::Rules;
use super::shard::Shared;
use super::window::{InMemory, Place, Window};
use crate::fix::{Element, Fix, Reason, Verdict};
use crate::ids::DriverKey;
use crate::store::Stretch;
use crate::units::TimestampMs;

/// An element that is new and is to be stored.
#[derive(Debug)]
pub(super) struct New {
    /// Whose it is: known by now.
    pub(super) driver: DriverIndex,
    /// In the window already, pending.
    pub(super) fix: Fix,
    /// Older than the driver's newest.
    pub(super) late: bool,
    /// Its time is not the one that it came with.
    pub(super) repaired: bool,
}

/// Why an element was not stored.
#[derive(Debug)]
pub(super) enum NotStored {
    /// Judged, and that is its verdict.
    Verdict(Verdict),
    /// The store could not say whether it is new, so that no verdict would be true.
    StoreFailed,
}

impl NotStored {
    /// What a fix is whose time is taken, by a fix that is elsewhere or by the same.
    fn duplicate(fix: &Fix, stored: Option<&Fix>, trail: &mut Option<Box<Trail>>) -> Self {
        if stored.is_some_and(|stored| stored.position != fix.position) {
            return Self::Verdict(Verdict::Conflict);
        }
        motion::end_before(fix.time, trail);
        Self::Verdict(Verdict::Duplicate)
    }
}

impl From<Reason> for NotStored {
    fn from(reason: Reason) -> Self {
        Self::Verdict(Verdict::Rejected(reason))
    }
}

/// One driver's elements before the rules and its past.
pub(super) struct Judge<'a> {
    pub(super) shared: &'a Shared,
    pub(super) rules: &'a Rules,
    pub(super) key: &'a Arc<DriverKey>,
    pub(super) received: Received,
    /// The driver's place if it is known; its first good fix makes it known.
    pub(super) index: Option<DriverIndex>,
    /// What the store said of the past.
    pub(super) past: &'a mut Past,
}

impl Judge<'_> {
    /// Judges one element.
    pub(super) fn element(&mut self, drivers: &mut Drivers, element: &Element) -> Result<New, NotStored> {
        let report = element.as_ref().map_err(|reason| *reason)?;
        let judged = self.rules.judge(report, self.received)?;
        if self.index.is_none() && !self.shared.registry.has_room() {
            return Err(Reason::UnknownDriver.into());
        }
        self.rules.judge_accuracy(report)?;
        let index = *self.index.get_or_insert_with(|| {
            self.shared.registry.add_driver();
            drivers.insert(Arc::clone(self.key))
        });
        let Driver { window, trail, .. } = drivers.at(index);
        let repaired = matches!(judged, Judged::Repaired(_));
        let fix = match judged {
            Judged::Timed(fix) | Judged::Repaired(fix) => fix,
            Judged::Timeless(fix) => self.at_free_time(index, window, fix)?,
        };
        // Duplicates first, so that whatever was stored once is told as that, however its neighbours look by now.
        let late = match window.place(fix.time) {
            Place::Newest => false,
            Place::Late => true,
            Place::Taken => return Err(NotStored::duplicate(&fix, window.at(fix.time), trail)),
            below @ (Place::BelowFloor | Place::Forgotten) => {
                let stored = self.stored_at(index, fix.time)?;
                if stored.is_some() {
                    return Err(NotStored::duplicate(&fix, stored.as_ref(), trail));
                }
                // What the store has of it, it knows; of the rest nobody can say whether it is new.
                if below == Place::Forgotten {
                    return Err(Reason::Past.into());
                }
                true
            }
        };
        if self.rules.judge_by_motion() {
            let neighbours = self.neighbours(index, window, fix.time)?;
            let its_own = &mut None;
            let trail = if matches!(self.received, Received::Again(_)) { its_own } else { trail };
            self.rules.judge_motion(&fix, neighbours, trail)?;
        }
        window.insert(fix);
        Ok(New { driver: index, fix, late, repaired })
    }

    /// The fix, at the first free millisecond from its time on.
    fn at_free_time(&mut self, index: DriverIndex, window: &Window, fix: Fix) -> Result<Fix, NotStored> {
        let time = window.next_free(fix.time);
        // A look or two into the store, not one for each millisecond that is taken there: above the floor memory knows.
        let is_free = match window.place(time) {
            Place::Forgotten => false,
            Place::BelowFloor => self.stored_at(index, time)?.is_none(),
            Place::Newest | Place::Late | Place::Taken => true,
        };
        Ok(Fix { time: if is_free { time } else { window.next_free_in_memory() }, ..fix })
    }

    /// Where the driver was right before and right after a time that no fix of it has.
    fn neighbours(&mut self, index: DriverIndex, window: &Window, time: TimestampMs) -> Result<Neighbours, NotStored> {
        let InMemory { neighbours, store_has_nearer } = window.neighbours(time);
        if !store_has_nearer {
            return Ok(neighbours);
        }
        let stretch = self.stretch(index, time)?;
        Ok(stretch.map_or(neighbours, |stretch| neighbours.or_nearer(stretch.beside(time))))
    }

    /// What the store holds at a time that memory cannot tell of. One that is off holds nothing.
    fn stored_at(&mut self, index: DriverIndex, time: TimestampMs) -> Result<Option<Fix>, NotStored> {
        Ok(self.stretch(index, time)?.and_then(|stretch| stretch.at(time).copied()))
    }

    /// What the store has around a time; `None` if it is off.
    fn stretch(&mut self, index: DriverIndex, time: TimestampMs) -> Result<Option<&Stretch>, NotStored> {
        let Some(history) = &self.shared.history else { return Ok(None) };
        self.past.around(&history.store, index, self.key, time).map(Some).map_err(|error| {
            tracing::error!(%error, "the store did not say what it has of a driver, and this shard gives up: see to the disk of `data_dir`, then restart");
            NotStored::StoreFailed
        })
    }
}
