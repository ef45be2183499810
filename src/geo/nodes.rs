//! The nodes of the tree: inner ones with a link to each quarter, and leaves of drivers.

use std::array;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use super::steps::step;

/// Drivers in a leaf, which then is one cache line.
pub(super) const LEAF_DRIVERS_MAX: usize = 10;

/// No quarter's link, as it is that to a root.
const NOTHING: u32 = 0;
/// No driver's slot.
pub(super) const EMPTY: u32 = u32::MAX;

/// What is in a quarter of an inner node's cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Nothing,
    Inner(u32),
    Leaf(u32),
}

impl Link {
    /// Even is an inner node, odd a leaf. Zero would be the root, which is nobody's quarter.
    pub(super) fn unpack(word: u32) -> Self {
        match (word >> 1, word & 1) {
            (NOTHING, 0) => Self::Nothing,
            (node, 0) => Self::Inner(node),
            (node, _) => Self::Leaf(node),
        }
    }

    pub(super) fn pack(self) -> u32 {
        match self {
            Self::Nothing => NOTHING,
            Self::Inner(node) => node << 1,
            Self::Leaf(node) => node << 1 | 1,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) quarters: [AtomicU32; 4],
}

impl Inner {
    pub(super) fn links(&self) -> [Link; 4] {
        self.quarters.each_ref().map(|word| Link::unpack(word.load(Ordering::Acquire)))
    }

    pub(super) fn link(&self, quarter: usize) -> Link {
        Link::unpack(self.quarters[quarter].load(Ordering::Relaxed))
    }

    pub(super) fn set(&self, quarter: usize, link: Link) {
        self.quarters[quarter].store(link.pack(), Ordering::Release);
        step();
    }
}

#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Leaf {
    pub(super) slots: [AtomicU32; LEAF_DRIVERS_MAX],
    /// Where in the cell each of them is, as [`Place::spot`] counts.
    pub(super) spots: [AtomicU16; LEAF_DRIVERS_MAX],
}

const _: () = assert!(size_of::<Leaf>() == 64, "a leaf is one cache line");

impl Default for Leaf {
    fn default() -> Self {
        Self { slots: array::from_fn(|_| AtomicU32::new(EMPTY)), spots: array::from_fn(|_| AtomicU16::new(0)) }
    }
}

impl Leaf {
    pub(super) fn drivers(&self) -> impl Iterator<Item = u32> + '_ {
        self.slots.iter().map(|slot| slot.load(Ordering::Acquire)).filter(|slot| *slot != EMPTY)
    }

    /// Puts a driver in the first entry that is free, whose number it returns.
    pub(super) fn put(&self, slot: u32, spot: u16) -> Option<u8> {
        let entry = self.slots.iter().position(|entry| entry.load(Ordering::Relaxed) == EMPTY)?;
        self.spots[entry].store(spot, Ordering::Release);
        step();
        self.slots[entry].store(slot, Ordering::Release);
        step();
        Some(entry as u8)
    }
}
