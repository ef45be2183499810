//! All drivers in an area, through the tree: what is apart from it is not looked at, what is inside not tested.

use std::sync::Arc;

use super::area::{Area, Relation};
use super::cells::{Cell, GeoBox};
use super::fleet::Fleet;
use super::moves::{Remainder, Watch};
use super::nodes::Link;
use super::record::Snapshot;
use super::tree::Root;
use crate::fix::Fix;
use crate::ids::DriverKey;
use crate::units::Position;

/// A driver in the area asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Who.
    pub driver: Arc<DriverKey>,
    /// Its latest fix.
    pub fix: Fix,
    /// Whether it is on a shipment.
    pub on_shipment: bool,
}

impl Fleet {
    /// The drivers in an area, heard of or silent, by id. If they are more than `limit`, which of them is not said. Takes
    /// no lock.
    pub fn within(&self, area: &Area, limit: usize) -> Vec<Found> {
        let inside = self.inside(area, &Root::ALL, limit, |_| None, |found| *found);
        let found = inside.into_iter().map(|(slot, found)| Found {
            driver: Arc::clone(self.driver(slot)),
            fix: found.fix(),
            on_shipment: found.traits.on_shipment(),
        });
        let mut found: Vec<_> = found.collect();
        found.sort_unstable_by(|one, other| one.driver.driver().cmp(other.driver.driver()));
        found
    }

    /// How many drivers are in an area, heard of or silent. Takes four bytes for each of them, and no lock.
    pub fn count_within(&self, area: &Area) -> usize {
        self.inside(area, &Root::ALL, usize::MAX, |_| Some(()), |_| ()).len()
    }

    /// Drivers in an area and below some roots, up to `limit`, each with what `of_cell` makes of the cell that it is in,
    /// if that is inside as a whole, or else with what `of_record` makes of its record.
    pub(super) fn inside<T>(
        &self,
        area: &Area,
        roots: &[Root],
        limit: usize,
        of_cell: impl Fn(&GeoBox) -> Option<T>,
        of_record: impl Fn(&Snapshot) -> T,
    ) -> Vec<(u32, T)>
    where
        T: Copy,
    {
        let mut inside = Inside { fleet: self, area, limit, of_cell, of_record, taken: Vec::new() };
        let mut watch = self.tree.watch();
        roots.iter().for_each(|root| inside.search(*root, &mut watch));
        let is_below = |slot: &u32| roots.contains(&self.records.at(*slot).root());
        match watch.finish(inside.taken.iter().map(|(slot, _)| *slot)) {
            Remainder::These(moved) => {
                moved.into_iter().filter(is_below).for_each(|slot| inside.offer(slot, |area, at| area.contains(at)));
            }
            Remainder::Everything => {
                inside.taken.clear();
                self.slots().filter(is_below).for_each(|slot| inside.offer(slot, |area, at| area.contains(at)));
            }
        }
        inside.taken
    }
}

/// Those taken so far.
struct Inside<'a, T, C, R> {
    fleet: &'a Fleet,
    area: &'a Area,
    limit: usize,
    of_cell: C,
    of_record: R,
    taken: Vec<(u32, T)>,
}

impl<T: Copy, C: Fn(&GeoBox) -> Option<T>, R: Fn(&Snapshot) -> T> Inside<'_, T, C, R> {
    fn search(&mut self, root: Root, watch: &mut Watch<'_>) {
        let mut waiting = Vec::with_capacity(64);
        let put = |waiting: &mut Vec<_>, cell: Cell, known: Relation, links: [Link; 4]| {
            let quarters = links.into_iter().enumerate().filter(|(_, link)| *link != Link::Nothing);
            waiting.extend(quarters.map(|(quarter, link)| (cell.quarter(quarter), known, link)));
        };
        let tree = &self.fleet.tree;
        put(&mut waiting, Cell::ROOT, Relation::Across, tree.quarters(root.node()));
        while let Some((cell, known, link)) = waiting.pop()
            && self.taken.len() < self.limit
        {
            let bounds = cell.bounds();
            let relation = if known == Relation::Inside { known } else { self.area.relation(&bounds) };
            match (relation, link) {
                (Relation::Apart, _) | (_, Link::Nothing) => {}
                (_, Link::Inner(inner)) => put(&mut waiting, cell, relation, tree.quarters(inner)),
                (Relation::Inside, Link::Leaf(leaf)) => match (self.of_cell)(&bounds) {
                    Some(value) => tree.visit(leaf, watch, |slot, _| self.take(slot, value)),
                    // It may have left the cell since the leaf was read.
                    None => tree.visit(leaf, watch, |slot, _| {
                        self.offer(slot, |area, at| bounds.contains(at) || area.contains(at));
                    }),
                },
                (Relation::Across, Link::Leaf(leaf)) => {
                    tree.visit(leaf, watch, |slot, _| self.offer(slot, |area, at| area.contains(at)));
                }
            }
        }
    }

    fn offer(&mut self, slot: u32, belongs: impl FnOnce(&Area, Position) -> bool) {
        let found = self.fleet.records.at(slot).snapshot();
        if belongs(self.area, found.position()) {
            self.take(slot, (self.of_record)(&found));
        }
    }

    fn take(&mut self, slot: u32, value: T) {
        if self.taken.len() < self.limit {
            self.taken.push((slot, value));
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
                let mut expected: Vec<_> = inside.map(|(index, fix)| Found { driver: mixed_key(index), fix: *fix, on_shipment: false }).collect();
                expected.sort_by(|one, other| one.driver.driver().cmp(other.driver.driver()));
                prop_assert_eq!(fleet.count_within(&area), expected.len());
                prop_assert_eq!(fleet.within(&area, 3).len(), expected.len().min(3));
                prop_assert_eq!(fleet.within(&area, usize::MAX), expected);
            }
        }
    }
}
