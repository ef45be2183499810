//! The drivers of one shard: found by the hash that their key carries, owned by one thread.

use std::sync::Arc;

use hashbrown::HashTable;

use super::motion::Trail;
use super::window::Window;
use crate::geo::{Fleet, Slot};
use crate::ids::DriverKey;

/// A driver's place in its shard's table. Drivers never leave, so it stays good.
pub(super) type DriverIndex = u32;

/// What a shard knows of one driver.
#[derive(Debug)]
pub(super) struct Driver {
    /// Whose.
    pub(super) key: Arc<DriverKey>,
    /// Its newest fixes.
    pub(super) window: Window,
    /// Fixes that contradict them, if its last ones did and a rule looks for it.
    pub(super) trail: Option<Box<Trail>>,
    /// Where its latest position stands in the index, once it has a durable one.
    pub(super) slot: Option<(Arc<Fleet>, Slot)>,
}

/// All drivers of one shard.
#[derive(Debug, Default)]
pub(super) struct Drivers {
    index_by_hash: HashTable<DriverIndex>,
    drivers: Vec<Driver>,
}

impl Drivers {
    /// The place of a driver that is known.
    pub(super) fn find(&self, key: &DriverKey) -> Option<DriverIndex> {
        self.index_by_hash
            .find(key.hash_value(), |index| {
                let known: &DriverKey = &self.drivers[*index as usize].key;
                std::ptr::eq(known, key) || known == key
            })
            .copied()
    }

    /// Takes in a driver that is not known yet.
    pub(super) fn insert(&mut self, key: Arc<DriverKey>) -> DriverIndex {
        debug_assert!(self.find(&key).is_none(), "a driver has one place");
        let index = self.drivers.len() as DriverIndex;
        let drivers = &self.drivers;
        self.index_by_hash.insert_unique(key.hash_value(), index, |index| drivers[*index as usize].key.hash_value());
        self.drivers.push(Driver { key, window: Window::default(), trail: None, slot: None });
        index
    }

    /// How many there are: their places are those below.
    pub(super) fn len(&self) -> DriverIndex {
        self.drivers.len() as DriverIndex
    }

    /// The driver at a place.
    pub(super) fn get(&self, index: DriverIndex) -> &Driver {
        &self.drivers[index as usize]
    }

    /// The driver at a place, to change it.
    pub(super) fn at(&mut self, index: DriverIndex) -> &mut Driver {
        &mut self.drivers[index as usize]
    }

    /// All of them.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Driver> {
        self.drivers.iter_mut()
    }
}
