//! A tenant's fences, found by id and by place.
//!
//! The boxes of fences stand in an R-tree, which takes one more in the time that it takes to find one. Fences of one
//! driver do not stand there: arrivals by the ten thousand would be in the way of all others.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use foldhash::quality::RandomState;
use rstar::primitives::{GeomWithData, Rectangle};
use rstar::{AABB, RTree};

use super::spec::Fence;
use crate::geo::cells::GeoBox;
use crate::ids::{DriverId, FenceId};

/// A box on the map, in steps of 1e-7 degrees, and whose it is.
type Entry = GeomWithData<Rectangle<[f64; 2]>, u32>;

/// The fences of one tenant. Owned by whoever judges by it; changing it is as cheap as looking at it.
#[derive(Default)]
pub struct FenceSet {
    /// Of this set of fences; another after every change.
    revision: u64,
    slots: Vec<Option<Arc<Fence>>>,
    free: Vec<u32>,
    by_id: HashMap<FenceId, u32, RandomState>,
    tree: RTree<Entry>,
    by_driver: HashMap<DriverId, Vec<u32>, RandomState>,
}

impl fmt::Debug for FenceSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("FenceSet").field("revision", &self.revision).field("len", &self.len()).finish()
    }
}

impl FenceSet {
    /// No fences.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a fence in the place of the one with its id, which it gives back. Some microseconds.
    pub fn put(&mut self, fence: Fence) -> Option<Arc<Fence>> {
        let former = self.remove(fence.id.as_str());
        let (slot, fence) = self.keep(fence);
        if fence.driver.is_none() {
            for entry in entries(&fence, slot) {
                self.tree.insert(entry);
            }
        }
        former
    }

    /// Takes a fence away. Drivers that were inside are told nothing.
    pub fn remove(&mut self, id: &str) -> Option<Arc<Fence>> {
        let slot = self.by_id.remove(id)?;
        self.revision += 1;
        let fence = self.slots[slot as usize].take()?;
        self.free.push(slot);
        match &fence.driver {
            None => {
                for entry in entries(&fence, slot) {
                    self.tree.remove(&entry);
                }
            }
            Some(driver) => {
                if let Some(slots) = self.by_driver.get_mut(driver) {
                    slots.retain(|kept| *kept != slot);
                    if slots.is_empty() {
                        self.by_driver.remove(driver);
                    }
                }
            }
        }
        Some(fence)
    }

    /// The fence of an id.
    pub fn get(&self, id: &str) -> Option<&Arc<Fence>> {
        self.slots[*self.by_id.get(id)? as usize].as_ref()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Fence>> {
        self.slots.iter().flatten()
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn at(&self, slot: u32) -> Option<&Arc<Fence>> {
        self.slots[slot as usize].as_ref()
    }

    /// The boxes of fences of all drivers that meet this one; a fence may have several.
    pub(super) fn meeting(&self, area: &GeoBox) -> impl Iterator<Item = (GeoBox, u32)> {
        let envelope = AABB::from_corners(
            [f64::from(area.west_e7), f64::from(area.south_e7)],
            [f64::from(area.east_e7), f64::from(area.north_e7)],
        );
        self.tree.locate_in_envelope_intersecting(&envelope).map(|entry| {
            let ([west, south], [east, north]) = (entry.geom().lower(), entry.geom().upper());
            let [south_e7, north_e7, west_e7, east_e7] = [south, north, west, east].map(|edge| edge as i32);
            (GeoBox { south_e7, north_e7, west_e7, east_e7 }, entry.data)
        })
    }

    /// The fences that are this driver's alone.
    pub(super) fn of_driver(&self, driver: &DriverId) -> &[u32] {
        self.by_driver.get(driver).map_or(&[], Vec::as_slice)
    }

    /// Keeps a fence whose id is free, but for the tree.
    fn keep(&mut self, fence: Fence) -> (u32, Arc<Fence>) {
        self.revision += 1;
        let fence = Arc::new(fence);
        let slot = self.free.pop().unwrap_or(self.slots.len() as u32);
        if slot as usize == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[slot as usize] = Some(Arc::clone(&fence));
        self.by_id.insert(fence.id.clone(), slot);
        if let Some(driver) = &fence.driver {
            self.by_driver.entry(driver.clone()).or_default().push(slot);
        }
        (slot, fence)
    }
}

/// The same as putting one after the other, in a third of the time.
impl FromIterator<Fence> for FenceSet {
    fn from_iter<I: IntoIterator<Item = Fence>>(fences: I) -> Self {
        let mut set = Self::new();
        for fence in fences {
            set.remove(fence.id.as_str());
            set.keep(fence);
        }
        let of_all = set.slots.iter().zip(0..).filter_map(|(fence, slot)| Some((fence.as_ref()?, slot)));
        let entries_of_all = of_all.filter(|(fence, _)| fence.driver.is_none());
        set.tree = RTree::bulk_load(entries_of_all.flat_map(|(fence, slot)| entries(fence, slot)).collect());
        set
    }
}

fn entries(fence: &Fence, slot: u32) -> impl Iterator<Item = Entry> {
    fence.shape.boxes().into_iter().map(move |area| {
        let south_west = [f64::from(area.west_e7), f64::from(area.south_e7)];
        let north_east = [f64::from(area.east_e7), f64::from(area.north_e7)];
        GeomWithData::new(Rectangle::from_corners(south_west, north_east), slot)
    })
}
