//! Fixes on their way into a sink, gathered from the journal by driver.

use std::hash::BuildHasher;

use hashbrown::HashTable;

use crate::fix::Fix;
use crate::journal::{Frame, Malformed, Record};

/// Fixes of whole frames, by driver, each driver's in the order of the journal.
#[derive(Debug, Default)]
pub struct Batch {
    drivers: Vec<DriverBatch>,
    /// Places in `drivers`, by tenant and driver.
    places: HashTable<usize>,
    hash: foldhash::fast::RandomState,
    fixes: usize,
}

/// The fixes of one driver.
#[derive(Debug)]
pub struct DriverBatch {
    tenant: Box<str>,
    driver: Box<str>,
    fixes: Vec<Fix>,
    late: Vec<bool>,
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

    /// Adds the fixes of a frame. A frame that cannot be read adds those before the fault.
    pub(super) fn gather(&mut self, frame: &Frame<'_>) -> Result<(), Malformed> {
        let mut place = None;
        for record in frame.records() {
            match record? {
                Record::Driver { tenant, driver } => place = Some(self.place_of(tenant, driver)),
                Record::Fix { fix, late } => {
                    let run = &mut self.drivers[place.ok_or(Malformed)?];
                    run.fixes.push(fix);
                    run.late.push(late);
                    self.fixes += 1;
                }
                Record::Counters { .. } => {}
            }
        }
        Ok(())
    }

    /// Empties it. Memory goes back too: the next batch may have other drivers.
    pub(super) fn clear(&mut self) {
        self.drivers.clear();
        self.places.clear();
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
        drivers.push(DriverBatch { tenant: tenant.into(), driver: driver.into(), fixes: Vec::new(), late: Vec::new() });
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
}
