//! A tenant's fences, found by id and by place.
//!
//! The boxes of fences stand in a [grid](super::grid). Fences of one driver do not stand there: arrivals by the ten thousand
//! would be in the way of all others.

use std::collections::HashMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::grid::Grid;
use super::spec::Fence;
use crate::geo::cells::GeoBox;
use crate::ids::{DriverId, FenceId};

/// The fences of one tenant. Owned by whoever judges by it; changing it is as cheap as looking at it.
#[derive(Default)]
pub struct FenceSet {
    /// Of this set of fences; another after every change.
    revision: u64,
    slots: Vec<Option<Arc<Fence>>>,
    free: Vec<u32>,
    by_id: HashMap<FenceId, u32, RandomState>,
    grid: Grid,
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
        self.keep(fence);
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
                for area in fence.shape.boxes() {
                    self.grid.remove(&area, slot);
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
        self.slots.get(slot as usize)?.as_ref()
    }

    /// The fence of an id, which may be found in this slot, and its slot.
    pub(super) fn find(&self, slot: u32, id: &FenceId) -> Option<(u32, &Arc<Fence>)> {
        if let Some(fence) = self.at(slot).filter(|fence| fence.id == *id) {
            return Some((slot, fence));
        }
        let slot = *self.by_id.get(id)?;
        Some((slot, self.at(slot)?))
    }

    /// Calls `each` with the boxes of fences of all drivers that meet this one, until that breaks. A fence may have several.
    pub(super) fn meeting(&self, area: &GeoBox, each: impl FnMut(&GeoBox, u32) -> ControlFlow<()>) -> ControlFlow<()> {
        self.grid.meeting(area, each)
    }

    /// The fences that are this driver's alone.
    pub(super) fn of_driver(&self, driver: &DriverId) -> &[u32] {
        self.by_driver.get(driver).map_or(&[], Vec::as_slice)
    }

    /// Keeps a fence whose id is free.
    fn keep(&mut self, fence: Fence) {
        self.revision += 1;
        let slot = self.free.pop().unwrap_or(self.slots.len() as u32);
        if slot as usize == self.slots.len() {
            self.slots.push(None);
        }
        self.by_id.insert(fence.id.clone(), slot);
        match &fence.driver {
            None => {
                for area in fence.shape.boxes() {
                    self.grid.insert(area, slot);
                }
            }
            Some(driver) => self.by_driver.entry(driver.clone()).or_default().push(slot),
        }
        self.slots[slot as usize] = Some(Arc::new(fence));
    }
}

impl FromIterator<Fence> for FenceSet {
    fn from_iter<I: IntoIterator<Item = Fence>>(fences: I) -> Self {
        let mut set = Self::new();
        for fence in fences {
            set.put(fence);
        }
        set
    }
}
