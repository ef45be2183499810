//! Durable fixes that the store does not have yet: how many they are, and whose windows are too long until it has them.

use std::collections::VecDeque;

use super::drivers::DriverIndex;

/// What one frame made durable.
#[derive(Debug)]
struct Frame {
    sequence: u64,
    fixes: usize,
    overfull: Vec<DriverIndex>,
}

/// The frames that the store lacks, oldest first.
#[derive(Debug, Default)]
pub(super) struct Unstored {
    frames: VecDeque<Frame>,
    fixes: usize,
}

impl Unstored {
    /// Whether the store has everything.
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// How many fixes it lacks.
    pub(super) fn fixes(&self) -> usize {
        self.fixes
    }

    /// A frame became durable, with this many fixes of a shard, and left these windows too long.
    pub(super) fn add(&mut self, sequence: u64, fixes: usize, overfull: impl IntoIterator<Item = DriverIndex>) {
        self.fixes += fixes;
        match self.frames.back_mut() {
            Some(newest) if newest.sequence == sequence => {
                newest.fixes += fixes;
                newest.overfull.extend(overfull);
            }
            _ => self.frames.push_back(Frame { sequence, fixes, overfull: overfull.into_iter().collect() }),
        }
    }

    /// Takes the oldest frame if the store has it by now, and gives the windows that may let go.
    pub(super) fn take_stored(&mut self, stored_sequence: u64) -> Option<Vec<DriverIndex>> {
        let stored = self.frames.pop_front_if(|oldest| oldest.sequence <= stored_sequence)?;
        self.fixes -= stored.fixes;
        Some(stored.overfull)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_leave_as_the_store_passes_them() {
        let mut unstored = Unstored::default();
        unstored.add(3, 2, [7]);
        unstored.add(3, 1, [8]);
        unstored.add(5, 4, []);
        assert_eq!(unstored.fixes(), 7);
        assert_eq!(unstored.take_stored(2), None);
        assert_eq!(unstored.take_stored(4), Some(vec![7, 8]));
        assert_eq!(unstored.take_stored(4), None);
        assert_eq!((unstored.fixes(), unstored.take_stored(5)), (4, Some(vec![])));
        assert!(unstored.is_empty());
    }
}
