//! The last refusals of each driver, in memory, for questions.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::{RECENT_PER_DRIVER_MAX, Refusal};
use crate::ids::DriverKey;

/// The last few of each driver, as many as memory is given for: the oldest of all goes first.
#[derive(Debug)]
pub(super) struct Recent {
    bytes_max: usize,
    bytes: usize,
    /// Each driver's, oldest first, by number.
    drivers: HashMap<Arc<DriverKey>, VecDeque<(u64, Arc<Refusal>)>>,
    /// Whose each number is. The lowest is the oldest that is kept.
    order: BTreeMap<u64, Arc<DriverKey>>,
    next_number: u64,
}

impl Recent {
    /// None yet, and never more than `bytes_max`.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: 0, drivers: HashMap::new(), order: BTreeMap::new(), next_number: 0 }
    }

    /// Keeps one, and lets go of what is too much.
    pub(super) fn add(&mut self, refusal: Refusal) {
        let bytes = refusal.cost_bytes();
        if bytes > self.bytes_max {
            return;
        }
        let key = Arc::clone(&refusal.driver);
        if self.drivers.get(&key).is_some_and(|of_driver| of_driver.len() >= RECENT_PER_DRIVER_MAX) {
            self.remove_oldest_of(&key);
        }
        while self.bytes + bytes > self.bytes_max
            && let Some((_, oldest)) = self.order.first_key_value()
        {
            let oldest = Arc::clone(oldest);
            self.remove_oldest_of(&oldest);
        }
        self.bytes += bytes;
        self.order.insert(self.next_number, Arc::clone(&key));
        self.drivers.entry(key).or_default().push_back((self.next_number, Arc::new(refusal)));
        self.next_number += 1;
    }

    /// A driver's, newest first.
    pub(super) fn of(&self, driver: &DriverKey) -> impl Iterator<Item = &Arc<Refusal>> {
        self.drivers.get(driver).into_iter().flatten().rev().map(|(_, refusal)| refusal)
    }

    fn remove_oldest_of(&mut self, driver: &DriverKey) {
        let Some(of_driver) = self.drivers.get_mut(driver) else { return };
        if let Some((number, refusal)) = of_driver.pop_front() {
            self.bytes -= refusal.cost_bytes();
            self.order.remove(&number);
        }
        if of_driver.is_empty() {
            self.drivers.remove(driver);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rejected::testing::{key, refusal};

    fn times(recent: &Recent, driver: &str) -> Vec<i64> {
        recent.of(&key("acme", driver)).map(|refusal| refusal.received_at.0).collect()
    }

    #[test]
    fn a_driver_has_its_last_ones_newest_first() {
        let mut recent = Recent::new(1 << 20);
        for time in 0..20 {
            recent.add(refusal("d1", time, b"x"));
        }
        recent.add(refusal("d2", 99, b"x"));
        assert_eq!(times(&recent, "d1"), [19, 18, 17, 16, 15, 14, 13, 12]);
        assert_eq!(times(&recent, "d2"), [99]);
        assert_eq!(recent.of(&key("other", "d1")).count(), 0);
    }

    #[test]
    fn without_memory_nothing_is_kept() {
        let mut recent = Recent::new(0);
        recent.add(refusal("d1", 1, b"x"));
        assert_eq!((recent.bytes, recent.drivers.len()), (0, 0));
    }

    proptest! {
        /// Against a model: all of them in a list, of which the oldest go.
        #[test]
        fn the_bound_holds_and_the_newest_stay(
            added in proptest::collection::vec((0_usize..12, 0_usize..2_000), 0..300),
            bytes_max in 0_usize..20_000,
        ) {
            let mut recent = Recent::new(bytes_max);
            let mut model: Vec<Refusal> = Vec::new();
            for (time, (driver, len)) in added.into_iter().enumerate() {
                let refusal = refusal(&format!("d{driver}"), time as i64, &vec![b'x'; len]);
                recent.add(refusal.clone());
                if refusal.cost_bytes() <= bytes_max {
                    let of_driver: Vec<usize> =
                        (0..model.len()).filter(|at| model[*at].driver == refusal.driver).collect();
                    if of_driver.len() >= RECENT_PER_DRIVER_MAX {
                        model.remove(of_driver[0]);
                    }
                    model.push(refusal);
                    while model.iter().map(Refusal::cost_bytes).sum::<usize>() > bytes_max {
                        model.remove(0);
                    }
                }
                let kept: usize = recent.drivers.values().flatten().map(|(_, refusal)| refusal.cost_bytes()).sum();
                prop_assert_eq!(kept, recent.bytes);
                prop_assert!(recent.bytes <= bytes_max);
                prop_assert_eq!(recent.order.len(), model.len());
            }
            for driver in 0..12 {
                let name = format!("d{driver}");
                let of_driver = model.iter().filter(|refusal| refusal.driver.driver().as_str() == name);
                let expected: Vec<i64> = of_driver.rev().map(|refusal| refusal.received_at.0).collect();
                prop_assert_eq!(times(&recent, &name), expected);
            }
        }
    }
}
