//! Every interleaving of a search with one or two changes of the fleet, and of a change with a search, step by step.
//!
//! The code itself runs, not a model of it: a change is made whole between any two steps of a search (a leaf or a link
//! read, the log read, a record looked at), two changes between pairs of them, and a search between any two steps
//! of a change. What happens within a record's sequence is not looked into, as a reader waits for its end.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::Area;
use super::fleet::{Fleet, Slot};
use super::nearest::Nearest;
use super::steps::interleaved;
use super::testing::{bare, mixed_key};
use crate::fix::Fix;
use crate::ids::DriverKey;
use crate::units::{Position, TimestampMs};

/// As many as fill a leaf, so that one more splits it.
const TOGETHER: usize = 10;
/// In other parts of the map.
const ALONE: usize = 3;

fn at(index: usize) -> Position {
    let step = index as i32;
    match index {
        0..TOGETHER => Position { latitude_e7: 520_000_000 + step * 100, longitude_e7: 210_000_000 - step * 70 },
        _ => Position { latitude_e7: 400_000_000 - step * 10_000_000, longitude_e7: -500_000_000 },
    }
}

/// A town of which every driver's fix was received at its number of seconds.
struct Town {
    fleet: Fleet,
    slots: Vec<Slot>,
}

fn fix_of(index: usize, position: Position) -> Fix {
    bare(position, index as i64 * 1_000)
}

fn town() -> Rc<Town> {
    let fleet = Fleet::default();
    let join = |index| fleet.join(mixed_key(index), &fix_of(index, at(index)));
    let slots = (0..TOGETHER + ALONE).map(join).collect();
    // Two have been silent for long.
    while !fleet.advance(TimestampMs(2_000)).is_done {}
    Rc::new(Town { fleet, slots })
}

/// A change of the fleet, and whose.
type Change = (usize, fn(&Town));

/// One of every kind.
const CHANGES: [Change; 8] = [
    (4, |town| town.moved(4, Position { latitude_e7: 520_000_450, ..at(4) })),
    (5, |town| town.moved(5, at(TOGETHER))),
    (6, |town| town.moved(6, Position { latitude_e7: -300_000_000, longitude_e7: 1_790_000_000 })),
    // The leaf in town is full: splits it, or what is left of it.
    (TOGETHER, |town| town.moved(TOGETHER, Position { latitude_e7: 520_000_210, longitude_e7: 209_999_900 })),
    (TOGETHER + ALONE, |town| {
        let index = TOGETHER + ALONE;
        town.fleet.join(mixed_key(index), &fix_of(index, Position { latitude_e7: 520_000_333, ..at(0) }));
    }),
    (3, |town| while !town.fleet.advance(TimestampMs(4_000)).is_done {}),
    (0, |town| town.moved(0, Position { latitude_e7: 520_000_001, ..at(0) })),
    // Goes and returns within one search.
    (7, |town| {
        town.moved(7, at(TOGETHER + 1));
        town.moved(7, at(7));
    }),
];

impl Town {
    fn moved(&self, index: usize, position: Position) {
        self.fleet.update(self.slots[index], &fix_of(50 + index, position));
    }

    fn places(&self) -> HashMap<Arc<DriverKey>, Vec<Fix>> {
        let all = (0..self.fleet.len()).filter_map(|number| self.fleet.nth(number));
        all.map(|(key, fix)| (key, vec![fix])).collect()
    }
}

/// A search, as whoever asks sees it.
#[derive(Clone, Copy, Debug)]
enum Search {
    All,
    Nearest(usize),
    Within,
}

const SEARCHES: [Search; 4] = [Search::All, Search::Nearest(0), Search::Nearest(TOGETHER), Search::Within];

fn search(town: &Town, search: Search) -> Vec<(Arc<DriverKey>, Fix)> {
    let nearest = |query: Nearest<'_>| -> Vec<_> {
        town.fleet.nearest(&query).iter().map(|one| (Arc::clone(one.driver), one.fix)).collect()
    };
    match search {
        Search::All => nearest(Nearest::new(at(0), 100)),
        Search::Nearest(index) => nearest(Nearest { radius_m: Some(1_000.0), ..Nearest::new(at(index), 100) }),
        Search::Within => {
            let area = Area::bounding_box(-180.0, -90.0, 180.0, 90.0).unwrap();
            let count = town.fleet.count_within(&area);
            let found: Vec<_> =
                town.fleet.within(&area, usize::MAX).into_iter().map(|one| (one.driver, one.fix)).collect();
            assert!(count.abs_diff(found.len()) <= 1, "one may have joined in between");
            found
        }
    }
}

/// Checks that each driver was found once, as it was before or after (or between) the changes; one that joined
/// meanwhile, or went into or out of the radius, may be missing.
fn check(what: &str, asked: Search, found: Vec<(Arc<DriverKey>, Fix)>, seen: &HashMap<Arc<DriverKey>, Vec<Fix>>) {
    let mut left = seen.clone();
    for (key, fix) in found {
        let fixes = left.remove(&key).unwrap_or_else(|| panic!("{what}: {key:?} is nobody, or twice"));
        assert!(fixes.contains(&fix), "{what}: {key:?} never was at {fix:?}");
    }
    let is_in = |fix: &Fix| match asked {
        Search::Nearest(index) => super::distance_m(at(index), fix.position) <= 1_000.0,
        Search::All | Search::Within => true,
    };
    for (key, fixes) in left {
        let joined = key == mixed_key(TOGETHER + ALONE);
        assert!(joined || !fixes.iter().all(is_in), "{what}: {key:?} is lost");
    }
}

/// All that drivers were at before and after a change.
fn seen_by(changes: &[Change]) -> HashMap<Arc<DriverKey>, Vec<Fix>> {
    let town = town();
    let mut seen = town.places();
    for (index, change) in changes {
        change(&town);
        for (key, fixes) in town.places() {
            seen.entry(key).or_default().extend(fixes);
        }
        if *index == 7 {
            seen.entry(mixed_key(7)).or_default().push(fix_of(57, at(TOGETHER + 1)));
        }
    }
    town.fleet.tree.check(&town.fleet.records, town.fleet.len() as u32);
    seen
}

#[test]
fn a_change_between_any_two_steps_of_a_search() {
    let mut count = 0;
    for asked in SEARCHES {
        for change in CHANGES {
            let seen = seen_by(&[change]);
            for step in 0.. {
                let town = town();
                let meanwhile = {
                    let town = Rc::clone(&town);
                    Box::new(move || change.1(&town))
                };
                let (found, steps) = interleaved(vec![(step, meanwhile)], || search(&town, asked));
                check(&format!("{asked:?}, change of {} at {step}", change.0), asked, found, &seen);
                count += 1;
                if step > steps {
                    break;
                }
            }
        }
    }
    assert!(count > 500, "{count}");
}

/// Steps that the second of two changes comes after the first, at most: further apart they have less to do with each
/// other, and all pairs would take minutes.
const APART_MAX: usize = 12;

#[test]
fn two_changes_between_any_steps_of_a_search() {
    let mut count = 0;
    for asked in [Search::All, Search::Within] {
        for (one, other) in CHANGES.into_iter().flat_map(|one| CHANGES.map(|other| (one, other))) {
            let seen = seen_by(&[one, other]);
            let (mut first, mut steps) = (0, 0);
            while first <= steps {
                for second in first..first + APART_MAX {
                    let town = town();
                    let plan = [(first, one), (second, other)].map(|(step, (_, change))| {
                        let town = Rc::clone(&town);
                        (step, Box::new(move || change(&town)) as Box<dyn FnOnce()>)
                    });
                    let (found, all) = interleaved(plan.into(), || search(&town, asked));
                    steps = all;
                    let what = format!("{asked:?}, changes of {} at {first} and {} at {second}", one.0, other.0);
                    check(&what, asked, found, &seen);
                    count += 1;
                }
                first += 1;
            }
        }
    }
    assert!(count > 10_000, "{count}");
}

#[test]
fn a_search_between_any_two_steps_of_a_change() {
    let mut count = 0;
    for asked in SEARCHES {
        for change in CHANGES {
            let seen = Rc::new(seen_by(&[change]));
            for step in 0.. {
                let town = town();
                let meanwhile = {
                    let (town, seen) = (Rc::clone(&town), Rc::clone(&seen));
                    let what = format!("{asked:?} at {step} of the change of {}", change.0);
                    Box::new(move || check(&what, asked, search(&town, asked), &seen))
                };
                let ((), steps) = interleaved(vec![(step, meanwhile)], || change.1(&town));
                count += 1;
                if step > steps {
                    break;
                }
            }
        }
    }
    assert!(count > 200, "{count}");
}
