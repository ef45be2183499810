//! The distinct sets of tags of a fleet's drivers, by number: a record keeps the number, a query the numbers that match.

use std::sync::{PoisonError, RwLock};

/// Most distinct sets of tags in a fleet. A number once given stays taken while the process runs.
pub const TAG_SETS_MAX: usize = 4_096;

/// A fleet has [`TAG_SETS_MAX`] distinct sets of tags, and this would be one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the drivers of a tenant have at most 4096 different sets of tags: use fewer tags, or fewer combinations of them"
)]
pub struct TooManyTagSets;

/// See the module. The empty set has number 0.
#[derive(Debug)]
pub(super) struct Profiles {
    sets: RwLock<Vec<Box<[Box<str>]>>>,
}

impl Default for Profiles {
    fn default() -> Self {
        Self { sets: RwLock::new(vec![Box::default()]) }
    }
}

impl Profiles {
    /// The number of a set; order and repetition do not matter. Waits for queries that begin.
    pub(super) fn number(&self, tags: &[&str]) -> Result<u16, TooManyTagSets> {
        let mut set: Vec<Box<str>> = tags.iter().map(|tag| (*tag).into()).collect();
        set.sort_unstable();
        set.dedup();
        let mut sets = self.sets.write().unwrap_or_else(PoisonError::into_inner);
        let number = sets.iter().position(|known| **known == *set).unwrap_or(sets.len());
        if number == TAG_SETS_MAX {
            return Err(TooManyTagSets);
        }
        if number == sets.len() {
            sets.push(set.into_boxed_slice());
        }
        Ok(number as u16)
    }

    /// The sets that hold all of these tags.
    pub(super) fn with(&self, tags: &[&str]) -> TagSets {
        let mut matching = TagSets { bits: vec![0; TAG_SETS_MAX / 64].into_boxed_slice() };
        let sets = self.sets.read().unwrap_or_else(PoisonError::into_inner);
        for (number, set) in sets.iter().enumerate() {
            if tags.iter().all(|tag| set.iter().any(|known| **known == **tag)) {
                matching.bits[number / 64] |= 1 << (number % 64);
            }
        }
        matching
    }
}

/// Some of the numbers.
#[derive(Debug)]
pub(super) struct TagSets {
    bits: Box<[u64]>,
}

impl TagSets {
    pub(super) fn has(&self, number: u16) -> bool {
        self.bits.get(usize::from(number) / 64).is_some_and(|bits| bits >> (number % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_found_by_each_of_its_tags() {
        let profiles = Profiles::default();
        let van = profiles.number(&["van", "cold"]).unwrap();
        assert_eq!(profiles.number(&["cold", "van", "cold"]), Ok(van));
        let bike = profiles.number(&["bike"]).unwrap();
        assert_eq!(profiles.number(&[]), Ok(0));
        for (tags, expected) in [
            (&[][..], [true, true, true]),
            (&["van"], [false, true, false]),
            (&["cold", "van"], [false, true, false]),
            (&["bike"], [false, false, true]),
            (&["bike", "van"], [false, false, false]),
            (&["va"], [false, false, false]),
        ] {
            let matching = profiles.with(tags);
            assert_eq!([0, van, bike].map(|number| matching.has(number)), expected, "{tags:?}");
        }
    }

    #[test]
    fn there_is_a_last_set() {
        let profiles = Profiles::default();
        for number in 1..TAG_SETS_MAX {
            assert_eq!(profiles.number(&[&number.to_string()]), Ok(number as u16));
        }
        assert_eq!(profiles.number(&["one more"]), Err(TooManyTagSets));
        assert_eq!(profiles.number(&["7"]), Ok(7));
        assert!(profiles.with(&["4095"]).has(4_095));
    }
}
