//! One element against the rules and its driver's past: what it becomes, and whether anybody knows it already.

use std::sync::Arc;

use super::batch::Received;
use super::drivers::{DriverIndex, Drivers};
use super::judge::Judged;
use super::shard::Shared;
use super::window::Place;
use crate::fix::{Element, Fix, Reason, Verdict};
use crate::ids::DriverKey;
use crate::units::TimestampMs;

/// Why an element was not stored.
#[derive(Debug)]
pub(super) enum NotStored {
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
pub(super) fn judge_element(
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
    if timeless {
        fix.time = window.next_free(fix.time);
        // A look or two into the store, not one for each millisecond that is taken there: above the floor memory knows.
        let is_free = match window.place(fix.time) {
            Place::Forgotten => false,
            Place::BelowFloor => !is_stored(shared, key, fix.time)?,
            Place::Newest | Place::Late | Place::Taken => true,
        };
        if !is_free {
            fix.time = window.next_free_in_memory();
        }
    }
    let late = match window.place(fix.time) {
        Place::Newest => false,
        Place::Late => true,
        Place::Taken => return Err(NotStored::Verdict(Verdict::Duplicate)),
        Place::BelowFloor if is_stored(shared, key, fix.time)? => return Err(NotStored::Verdict(Verdict::Duplicate)),
        Place::BelowFloor => true,
        // What the store has of it, it knows; of the rest nobody can say whether it is new.
        Place::Forgotten if is_stored(shared, key, fix.time)? => return Err(NotStored::Verdict(Verdict::Duplicate)),
        Place::Forgotten => return Err(Reason::Past.into()),
    };
    window.insert(fix);
    Ok((index, fix, late))
}

/// Whether the store holds a fix that memory cannot tell of. None that is off does.
fn is_stored(shared: &Shared, key: &DriverKey, time: TimestampMs) -> Result<bool, NotStored> {
    let Some(history) = &shared.history else { return Ok(false) };
    history.store.contains(key.tenant().as_str(), key.driver().as_str(), time).map_err(|error| {
        tracing::error!(%error, "the store did not say whether a fix is new, and this shard gives up: see to the disk of `data_dir`, then restart");
        NotStored::StoreFailed
    })
}
