//! Drivers by name and by slot: who joined a fleet.

use std::array;
use std::hash::BuildHasher;
use std::hint;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use super::slab::Slab;
use crate::ids::DriverKey;

/// Parts of the table, each grown by itself, so that no join waits for a million names to be hashed anew.
const PARTS: usize = 16;

/// See the module. Names are only added.
#[derive(Debug)]
pub(super) struct Names {
    hasher: RandomState,
    by_name: [RwLock<HashTable<u32>>; PARTS],
    by_slot: Slab<OnceLock<Arc<DriverKey>>>,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            hasher: RandomState::default(),
            by_name: array::from_fn(|_| RwLock::default()),
            by_slot: Slab::default(),
        }
    }
}

impl Names {
    /// The slot of a driver that joined.
    pub(super) fn slot(&self, driver: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(driver);
        let part = self.part(hash).read().unwrap_or_else(PoisonError::into_inner);
        part.find(hash, |slot| self.text(*slot) == driver).copied()
    }

    /// The slot of a driver, and whether it is new: then it is the one that `place` gave it.
    pub(super) fn slot_or_place(&self, driver: &str, place: impl FnOnce() -> u32) -> (u32, bool) {
        let hash = self.hasher.hash_one(driver);
        let mut part = self.part(hash).write().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = part.find(hash, |slot| self.text(*slot) == driver) {
            return (*slot, false);
        }
        let slot = place();
        part.insert_unique(hash, slot, |slot| self.hasher.hash_one(self.text(*slot)));
        (slot, true)
    }

    /// Gives a slot its driver, once, before anybody can find the slot.
    pub(super) fn set(&self, slot: u32, driver: Arc<DriverKey>) {
        let was_free = self.by_slot.grown_to(slot).set(driver).is_ok();
        debug_assert!(was_free, "a slot is given out once");
    }

    /// Asks memory for the driver of a slot, without waiting for it.
    #[inline]
    pub(super) fn touch(&self, slot: u32) {
        hint::black_box(self.by_slot.at(slot).get().is_some());
    }

    /// Whose slot it is.
    pub(super) fn driver(&self, slot: u32) -> &Arc<DriverKey> {
        self.by_slot.at(slot).get().expect("a slot is found by others after its name was set")
    }

    fn text(&self, slot: u32) -> &str {
        self.driver(slot).driver().as_str()
    }

    fn part(&self, hash: u64) -> &RwLock<HashTable<u32>> {
        // The table uses the lowest and the highest bits.
        &self.by_name[(hash >> 32) as usize % PARTS]
    }
}
