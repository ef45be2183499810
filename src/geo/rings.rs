//! Whether the rings of a polygon cross themselves or each other.
//!
//! A line sweeps over the map from west to east and keeps the edges that it meets in the order from south to north. The
//! westernmost crossing is one of two edges that were beside each other just before, so that only neighbours need be
//! looked at (M. Shamos, D. Hoey, "Geometric intersection problems", 1976). Edges in the order of whatever they meet first,
//! by longitude and then by latitude, stand as if none were upright. On which side of an edge a place lies is decided
//! exactly, so that the order never contradicts itself.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Unbounded};

use ::geo::kernels::{Kernel as _, Orientation};
use ::geo::{Coord, GeoNum};

/// Whether two edges of a polygon cross, or lie on each other by more than a place. Rings may touch themselves and each
/// other.
pub(super) fn cross(rings: &[Vec<[f64; 2]>]) -> bool {
    // A pole is one place, whatever the longitude.
    let is_edge = |pair: &&[[f64; 2]]| pair[0] != pair[1] && !(pair[0][1] == pair[1][1] && pair[0][1].abs() == 90.0);
    let edges = rings.iter().flat_map(|ring| ring.windows(2).filter(is_edge)).map(|pair| Edge::new(pair[0], pair[1]));
    // An edge that ends where another begins is gone by then.
    let mut events: Vec<(Coord<f64>, bool, Edge)> =
        edges.flat_map(|edge| [(edge.west, true, edge), (edge.east, false, edge)]).collect();
    events.sort_unstable_by(|one, other| order(one.0, other.0).then(one.1.cmp(&other.1)));
    let mut met = BTreeSet::new();
    events.into_iter().any(|(_, begins, edge)| {
        let south = met.range((Unbounded, Excluded(&edge))).next_back().copied();
        let north = met.range((Excluded(&edge), Unbounded)).next().copied();
        if begins {
            // Equal is an edge that lies on this one.
            [south, north].into_iter().flatten().any(|other| edge.crosses(&other)) || !met.insert(edge)
        } else {
            let parted = south.zip(north).is_some_and(|(south, north)| south.crosses(&north));
            parted || !met.remove(&edge)
        }
    })
}

/// By longitude, then by latitude.
fn order(one: Coord<f64>, other: Coord<f64>) -> Ordering {
    one.x.total_cmp(&other.x).then(one.y.total_cmp(&other.y))
}

/// An edge by the end that is met first, and the other. Ordered from south to north beside others that are met at one time.
#[derive(Clone, Copy, Debug)]
struct Edge {
    west: Coord<f64>,
    east: Coord<f64>,
}

impl Edge {
    fn new(from: [f64; 2], to: [f64; 2]) -> Self {
        // Without a negative zero, which is ordered apart.
        let [from, to] = [from, to].map(|[x, y]| Coord { x: x + 0.0, y: y + 0.0 });
        if order(from, to).is_le() { Self { west: from, east: to } } else { Self { west: to, east: from } }
    }

    fn side_of(&self, place: Coord<f64>) -> Orientation {
        <f64 as GeoNum>::Ker::orient2d(self.west, self.east, place)
    }

    /// Whether this edge, met no later than the other, lies south of it.
    fn order_beside(&self, other: &Self) -> Ordering {
        let side = match self.side_of(other.west) {
            Orientation::Collinear => self.side_of(other.east),
            side => side,
        };
        match side {
            Orientation::CounterClockwise => Ordering::Less,
            Orientation::Collinear => Ordering::Equal,
            Orientation::Clockwise => Ordering::Greater,
        }
    }

    /// Whether each parts the ends of the other. Edges that lie on each other are equal.
    fn crosses(&self, other: &Self) -> bool {
        let is_parted = |one: Orientation, two: Orientation| {
            one != two && one != Orientation::Collinear && two != Orientation::Collinear
        };
        is_parted(self.side_of(other.west), self.side_of(other.east))
            && is_parted(other.side_of(self.west), other.side_of(self.east))
    }
}

impl Ord for Edge {
    fn cmp(&self, other: &Self) -> Ordering {
        if order(self.west, other.west).is_le() { self.order_beside(other) } else { other.order_beside(self).reverse() }
    }
}

impl PartialOrd for Edge {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Edge {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Edge {}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;
    use crate::geo::area::VERTICES_MAX;

    fn square(west: f64, south: f64, side: f64) -> Vec<[f64; 2]> {
        let (east, north) = (west + side, south + side);
        vec![[west, south], [east, south], [east, north], [west, north], [west, south]]
    }

    #[test]
    fn what_crosses_is_told_from_what_touches() {
        let bow_tie = vec![[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]];
        let spike = vec![[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [2.0, 4.0], [2.0, 6.0], [2.0, 4.0], [0.0, 0.0]];
        let back_and_forth = vec![[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [0.0, 0.0]];
        for (crosses, rings) in [
            (false, vec![square(0.0, 0.0, 4.0)]),
            (false, vec![square(0.0, 0.0, 4.0), square(1.0, 1.0, 2.0)]),
            // A hole that touches with a corner, and two that touch each other.
            (false, vec![square(0.0, 0.0, 4.0), vec![[0.0, 2.0], [1.0, 1.0], [1.0, 3.0], [0.0, 2.0]]]),
            (false, vec![square(0.0, 0.0, 4.0), square(1.0, 1.0, 1.0), square(2.0, 2.0, 1.0)]),
            (false, vec![vec![[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]]),
            (false, vec![vec![[-180.0, 80.0], [180.0, 80.0], [180.0, 90.0], [-180.0, 90.0], [-180.0, 80.0]]]),
            (true, vec![bow_tie]),
            (true, vec![spike]),
            (true, vec![back_and_forth]),
            (true, vec![square(0.0, 0.0, 4.0), square(3.0, 3.0, 2.0)]),
            // A hole with an edge of the ring around it.
            (true, vec![square(0.0, 0.0, 4.0), square(0.0, 1.0, 2.0)]),
        ] {
            assert_eq!(cross(&rings), crosses, "{rings:?}");
        }
    }

    /// Zigzags between two slanted lines: the boxes of all edges meet each other.
    fn comb(vertices: usize) -> Vec<[f64; 2]> {
        let mut ring: Vec<_> = (0..vertices - 2)
            .map(|index| {
                let step = index as f64 * 1e-4;
                if index.is_multiple_of(2) { [step, step] } else { [step + 10.0, step + 10.0 - 1e-5] }
            })
            .collect();
        ring.extend([[20.0, 0.0], [0.0, 0.0]]);
        ring
    }

    #[test]
    fn the_largest_polygons_are_checked_in_bounded_time() {
        let circle = |index: usize| {
            let (sine, cosine) = (index as f64 / VERTICES_MAX as f64 * std::f64::consts::TAU).sin_cos();
            let radius = if index.is_multiple_of(2) { 1.0 } else { 0.999 };
            [21.0 + radius * cosine, 52.0 + radius * sine]
        };
        let mut round: Vec<_> = (0..VERTICES_MAX - 1).map(circle).collect();
        round.push(round[0]);
        for (name, ring) in [("round", round), ("comb", comb(VERTICES_MAX))] {
            let begin = Instant::now();
            let crosses = cross(&[ring]);
            println!("{name} of {VERTICES_MAX}: crosses {crosses}, {:?}", begin.elapsed());
            assert!(!crosses && begin.elapsed().as_secs() < 2, "{name}");
        }
    }

    proptest! {
        #[test]
        fn neighbours_tell_what_all_pairs_tell(ring in proptest::collection::vec((0..7_i32, 0..7_i32), 3..9)) {
            let mut ring: Vec<_> = ring.into_iter().map(|(x, y)| [f64::from(x), f64::from(y)]).collect();
            ring.push(ring[0]);
            let edges: Vec<_> = ring.windows(2).filter(|pair| pair[0] != pair[1]).map(|pair| Edge::new(pair[0], pair[1])).collect();
            let overlap = |one: &Edge, other: &Edge| {
                let collinear = [other.west, other.east].into_iter().all(|end| one.side_of(end) == Orientation::Collinear);
                let begin = if order(one.west, other.west).is_gt() { one.west } else { other.west };
                let end = if order(one.east, other.east).is_lt() { one.east } else { other.east };
                collinear && order(begin, end).is_lt()
            };
            let expected = edges.iter().enumerate().any(|(index, edge)| {
                edges[index + 1..].iter().any(|other| edge.crosses(other) || overlap(edge, other))
            });
            prop_assert_eq!(cross(&[ring]), expected);
        }
    }
}
