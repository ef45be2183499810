//! All drivers in an area, through the tree: what is apart from it is not looked at, what is inside not tested.

use std::sync::Arc;

use super::area::{Area, Relation};
use super::cells::Cell;
use super::fleet::Fleet;
use super::moves::{Remainder, Watch};
use super::tree::Link;
use crate::fix::Fix;
use crate::ids::DriverKey;

/// A driver in the area asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Who.
    pub driver: Arc<DriverKey>,
    /// Its latest fix.
    pub fix: Fix,
}

impl Fleet {
    /// The drivers in an area, by id. If they are more than `limit`, which of them is not said. Takes no lock.
    pub fn within(&self, area: &Area, limit: usize) -> Vec<Found> {
        let mut inside = Inside { fleet: self, area, limit, found: Vec::new() };
        let mut watch = self.tree.watch();
        inside.search(&mut watch);
        match watch.finish(inside.found.iter().map(|(slot, _)| *slot)) {
            Remainder::These(moved) => moved.into_iter().for_each(|slot| inside.offer(slot)),
            Remainder::Everything => {
                inside.found.clear();
                self.slots().for_each(|slot| inside.offer(slot));
            }
        }
        let found = inside.found.into_iter().map(|(slot, fix)| Found { driver: Arc::clone(self.driver(slot)), fix });
        let mut found: Vec<_> = found.collect();
        found.sort_unstable_by(|one, other| one.driver.driver().cmp(other.driver.driver()));
        found
    }
}

/// Those found so far.
struct Inside<'a> {
    fleet: &'a Fleet,
    area: &'a Area,
    limit: usize,
    found: Vec<(u32, Fix)>,
}

impl Inside<'_> {
    fn search(&mut self, watch: &mut Watch<'_>) {
        let mut waiting = Vec::with_capacity(64);
        let put = |waiting: &mut Vec<_>, cell: Cell, known: Relation, links: [Link; 4]| {
            let quarters = links.into_iter().enumerate().filter(|(_, link)| *link != Link::Nothing);
            waiting.extend(quarters.map(|(quarter, link)| (cell.quarter(quarter), known, link)));
        };
        put(&mut waiting, Cell::ROOT, Relation::Across, self.fleet.tree.root());
        while let Some((cell, known, link)) = waiting.pop()
            && self.found.len() < self.limit
        {
            let bounds = cell.bounds();
            let relation = if known == Relation::Inside { known } else { self.area.relation(&bounds) };
            match (relation, link) {
                (Relation::Apart, _) | (_, Link::Nothing) => {}
                (_, Link::Inner(inner)) => put(&mut waiting, cell, relation, self.fleet.tree.quarters(inner)),
                (Relation::Inside, Link::Leaf(leaf)) => {
                    for slot in self.fleet.tree.drivers(leaf, watch) {
                        let fix = self.fleet.records.at(slot).fix();
                        // It may have left the cell since the leaf was read.
                        self.take(slot, fix, |area| bounds.contains(fix.position) || area.contains(fix.position));
                    }
                }
                (Relation::Across, Link::Leaf(leaf)) => {
                    self.fleet.tree.drivers(leaf, watch).for_each(|slot| self.offer(slot));
                }
            }
        }
    }

    fn offer(&mut self, slot: u32) {
        let fix = self.fleet.records.at(slot).fix();
        self.take(slot, fix, |area| area.contains(fix.position));
    }

    fn take(&mut self, slot: u32, fix: Fix, belongs: impl FnOnce(&Area) -> bool) {
        if self.found.len() < self.limit && belongs(self.area) {
            self.found.push((slot, fix));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::geo::testing::{bare, mixed_key, position};

    fn area() -> impl Strategy<Value = Area> {
        let bounding_box = (position(), position()).prop_map(|(one, other)| {
            let (south, north) = (one.latitude().min(other.latitude()), one.latitude().max(other.latitude()));
            Area::bounding_box(one.longitude(), south, other.longitude(), north).unwrap()
        });
        let star = |points: Vec<f64>, longitude: f64, latitude: f64, radius: f64| -> Vec<[f64; 2]> {
            let count = points.len() as f64;
            let vertex = |(index, share): (usize, &f64)| {
                let (sine, cosine) = (index as f64 / count * std::f64::consts::TAU).sin_cos();
                [longitude + cosine * share * radius, (latitude + sine * share * radius).clamp(-90.0, 90.0)]
            };
            let mut ring: Vec<_> = points.iter().enumerate().map(vertex).collect();
            ring.push(ring[0]);
            ring
        };
        let radius = prop_oneof![0.0001..0.001_f64, 0.01..0.5_f64, 10.0..80.0_f64];
        let points = || proptest::collection::vec(0.5..1.0_f64, 3..12);
        let polygon = (points(), points(), position(), radius).prop_filter_map(
            "crosses itself",
            move |(outer, inner, centre, radius)| {
                let ring = |points, radius| star(points, centre.longitude(), centre.latitude(), radius);
                Area::polygon(&[ring(outer, radius), ring(inner, radius / 4.0)]).ok()
            },
        );
        prop_oneof![bounding_box, polygon]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn within_is_what_brute_force_finds(
            drivers in proptest::collection::vec(position(), 0..300),
            moves in proptest::collection::vec((any::<prop::sample::Index>(), position()), 0..100),
            areas in proptest::collection::vec(area(), 1..6),
        ) {
            let fleet = Fleet::default();
            let mut fixes: Vec<_> = drivers.into_iter().map(|position| bare(position, 0)).collect();
            let slots: Vec<_> = fixes.iter().enumerate().map(|(index, fix)| fleet.join(mixed_key(index), fix)).collect();
            for (index, position) in moves.into_iter().filter(|_| !slots.is_empty()) {
                let index = index.index(slots.len());
                fixes[index] = bare(position, 0);
                fleet.update(slots[index], &fixes[index]);
            }
            for area in areas {
                let inside = fixes.iter().enumerate().filter(|(_, fix)| area.contains(fix.position));
                let mut expected: Vec<_> = inside.map(|(index, fix)| Found { driver: mixed_key(index), fix: *fix }).collect();
                expected.sort_by(|one, other| one.driver.driver().cmp(other.driver.driver()));
                prop_assert_eq!(fleet.within(&area, 3).len(), expected.len().min(3));
                prop_assert_eq!(fleet.within(&area, usize::MAX), expected);
            }
        }
    }
}
