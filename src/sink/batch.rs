//! Fixes on their way into a sink, gathered from the journal by driver.

use std::hash::BuildHasher;

use hashbrown::HashTable;

use super::Sink;
use crate::fix::Fix;
use crate::journal::{Change, ChangeKind, Frame, Malformed, Record};

/// Fixes of whole frames, by driver, each driver's in the order of the journal.
#[derive(Debug, Default)]
pub struct Batch {
    drivers: Vec<DriverBatch>,
    /// Places in `drivers`, by tenant and driver.
    places: HashTable<usize>,
    hash: foldhash::fast::RandomState,
    fixes: usize,
    /// The sequence of each frame that has fixes, with the number of its first.
    frames: Vec<(u32, u64)>,
    /// What changed in the last frame, for sinks that ask for it.
    change: Option<OwnedChange>,
}

/// A change in the last frame of a batch: it holds for all that is behind the batch, and for nothing in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedChange {
    /// The frame that it was in: the version of what it made.
    pub sequence: u64,
    /// Whose.
    pub tenant: Box<str>,
    /// What became otherwise.
    pub kind: ChangeKind,
    /// Its name within the tenant.
    pub id: Box<str>,
    /// What it is now.
    pub body: Box<[u8]>,
}

/// The fixes of one driver.
#[derive(Debug)]
pub struct DriverBatch {
    tenant: Box<str>,
    driver: Box<str>,
    fixes: Vec<Fix>,
    late: Vec<bool>,
    /// The number of each among all fixes of the batch, as the journal has them.
    numbers: Vec<u32>,
}

impl Batch {
    /// The drivers that have fixes in it, in the order of their first.
    pub fn drivers(&self) -> &[DriverBatch] {
        &self.drivers
    }

    /// How many fixes it has.
    pub fn fixes(&self) -> usize {
        self.fixes
    }

    /// The frame that the fix of this number is of, see [`DriverBatch::numbered`].
    pub fn frame_of(&self, number: u32) -> u64 {
        let behind = self.frames.partition_point(|(first, _)| *first <= number);
        behind.checked_sub(1).map_or(0, |frame| self.frames[frame].1)
    }

    /// What changed behind all of its fixes; `None` too for sinks that did not ask for changes.
    pub fn change(&self) -> Option<&OwnedChange> {
        self.change.as_ref()
    }

    /// Adds what a sink wants of a frame; nothing may be added behind a change. A frame that cannot be read adds what is
    /// before the fault.
    pub(crate) fn gather(&mut self, frame: &Frame<'_>, sink: &impl Sink) -> Result<(), Malformed> {
        debug_assert!(self.change.is_none(), "a change ends its batch");
        if frame.fixes > 0 {
            if !sink.wants_fixes() {
                // A change has a frame of its own.
                return Ok(());
            }
            self.frames.push((self.fixes as u32, frame.sequence));
        }
        // `None`: of a driver whose fixes are not wanted.
        let mut place = None;
        let mut has_driver = false;
        for record in frame.records() {
            match record? {
                Record::Driver { tenant, driver } => {
                    has_driver = true;
                    place = sink.wants_fixes_of(tenant).then(|| self.place_of(tenant, driver));
                }
                Record::Fix { .. } if !has_driver => return Err(Malformed),
                Record::Fix { fix, late } => {
                    let Some(place) = place else { continue };
                    let run = &mut self.drivers[place];
                    run.fixes.push(fix);
                    run.late.push(late);
                    run.numbers.push(self.fixes as u32);
                    self.fixes += 1;
                }
                Record::Change(change) if sink.takes_changes() => {
                    self.change = Some(OwnedChange::of(change, frame.sequence));
                }
                Record::Change(_) | Record::Counters { .. } => {}
            }
        }
        Ok(())
    }

    /// Empties it. Memory goes back too: the next batch may have other drivers.
    pub(super) fn clear(&mut self) {
        self.drivers.clear();
        self.places.clear();
        self.frames.clear();
        self.change = None;
        self.fixes = 0;
    }

    fn place_of(&mut self, tenant: &str, driver: &str) -> usize {
        let Self { drivers, places, hash, .. } = self;
        let hashed = hash.hash_one((tenant, driver));
        let same = |place: &usize| *drivers[*place].driver == *driver && *drivers[*place].tenant == *tenant;
        if let Some(place) = places.find(hashed, same) {
            return *place;
        }
        let place = drivers.len();
        drivers.push(DriverBatch {
            tenant: tenant.into(),
            driver: driver.into(),
            fixes: Vec::new(),
            late: Vec::new(),
            numbers: Vec::new(),
        });
        places
            .insert_unique(hashed, place, |place| hash.hash_one((&*drivers[*place].tenant, &*drivers[*place].driver)));
        place
    }
}

impl DriverBatch {
    /// Whose driver.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The driver's name within its tenant.
    pub fn driver(&self) -> &str {
        &self.driver
    }

    /// Its fixes in the order of the journal, which is not that of their times where some are late.
    pub fn fixes(&self) -> &[Fix] {
        &self.fixes
    }

    /// The same, each with whether it was late: history, but not the driver's "now".
    pub fn judged(&self) -> impl DoubleEndedIterator<Item = (&Fix, bool)> {
        self.fixes.iter().zip(self.late.iter().copied())
    }

    /// The same, each with its number among all fixes of the batch: 0, 1, .. in the order of the journal, whosever they are.
    pub fn numbered(&self) -> impl Iterator<Item = (u32, &Fix, bool)> {
        self.numbers.iter().zip(self.judged()).map(|(number, (fix, late))| (*number, fix, late))
    }
}

impl OwnedChange {
    fn of(change: Change<'_>, sequence: u64) -> Self {
        let Change { tenant, kind, id, body } = change;
        Self { sequence, tenant: tenant.into(), kind, id: id.into(), body: body.into() }
    }
}
