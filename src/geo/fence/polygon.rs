//! A polygon with holes, straight on the map of longitude and latitude [RFC 7946, 3.1.1], its edges sorted into bands of
//! latitude, so that one of ten thousand vertices is looked at only near where it is asked about.

use super::path::{Path, Piece};
use super::stretch::{Stretch, add};
use crate::geo::cells::GeoBox;
use crate::geo::distance::{EARTH_RADIUS_M, distance_m};
use crate::units::Position;

/// A polygon that goes on beyond the antimeridian has places that are numbered differently there.
const TURNS: [f64; 3] = [0.0, 360.0, -360.0];

/// Edges of a band, about.
const BAND_EDGES: usize = 8;

/// An edge that is high stands in many bands. On average no more than this.
const BANDS_PER_EDGE_MAX: usize = 8;

const METRES_PER_DEGREE: f64 = EARTH_RADIUS_M * std::f64::consts::PI / 180.0;

/// See the module. Degrees; longitudes may lie beyond ±180.
#[derive(Debug)]
pub(super) struct Polygon {
    bands: Bands,
    south: f64,
    north: f64,
    west: f64,
    east: f64,
}

#[derive(Clone, Copy, Debug)]
struct Edge {
    from: (f64, f64),
    to: (f64, f64),
}

/// Which edges meet which latitudes.
#[derive(Debug)]
struct Bands {
    per_degree: f64,
    /// Where in `edges` each band begins, and the end of the last.
    begins: Vec<u32>,
    /// Band by band, so that those of one lie side by side.
    edges: Vec<Edge>,
}

impl Polygon {
    /// Of rings that are closed and on the map, at least one.
    pub(super) fn new(rings: &[Vec<[f64; 2]>]) -> Self {
        let edge = |pair: &[[f64; 2]]| Edge { from: (pair[0][0], pair[0][1]), to: (pair[1][0], pair[1][1]) };
        let edges: Vec<Edge> =
            rings.iter().flat_map(|ring| ring.windows(2).map(edge)).filter(|edge| edge.from != edge.to).collect();
        let extent = |of: fn((f64, f64)) -> f64| {
            let ends = rings.iter().flatten().map(|vertex| of((vertex[0], vertex[1])));
            ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), end| (low.min(end), high.max(end)))
        };
        let ((west, east), (south, north)) = (extent(|end| end.0), extent(|end| end.1));
        let bands = Bands::new(&edges, south, north);
        Self { bands, south, north, west, east }
    }

    /// The edges that may meet these latitudes; some of them more than once.
    fn edges_between(&self, south: f64, north: f64) -> impl Iterator<Item = &Edge> {
        let meets = south <= self.north && north >= self.south;
        let band = |latitude: f64| self.bands.of(latitude - self.south);
        let edges = if meets { self.bands.between(band(south), band(north)) } else { &[] };
        edges.iter()
    }

    pub(super) fn contains(&self, position: Position) -> bool {
        let (longitude, latitude) = (position.longitude(), position.latitude());
        if latitude.abs() == 90.0 {
            // All longitudes meet here.
            return self.south == latitude || self.north == latitude;
        }
        TURNS.iter().any(|turn| self.contains_place(longitude + turn, latitude))
    }

    /// By the edges that a line to the west crosses; places on an edge belong to it.
    fn contains_place(&self, x: f64, y: f64) -> bool {
        if !(self.west..=self.east).contains(&x) || !(self.south..=self.north).contains(&y) {
            return false;
        }
        let mut is_inside = false;
        for edge in self.edges_between(y, y) {
            let ((x0, y0), (x1, y1)) = (edge.from, edge.to);
            let side = (x1 - x0) * (y - y0) - (x - x0) * (y1 - y0);
            if side == 0.0 && (x0.min(x1)..=x0.max(x1)).contains(&x) && (y0.min(y1)..=y0.max(y1)).contains(&y) {
                return true;
            }
            if (y0 > y) != (y1 > y) && (side > 0.0) == (y1 < y0) {
                is_inside = !is_inside;
            }
        }
        is_inside
    }

    /// Whether a place lies inside or within a distance of an edge.
    pub(super) fn is_within(&self, position: Position, margin_m: f64) -> bool {
        self.contains(position) || self.edge_within_m(position, margin_m).is_some()
    }

    /// Metres to the nearest edge, if they are at most `limit_m`, which is small beside the earth.
    pub(super) fn edge_within_m(&self, position: Position, limit_m: f64) -> Option<f64> {
        let (longitude, latitude) = (position.longitude(), position.latitude());
        let reach = limit_m / METRES_PER_DEGREE * 1.001;
        let narrow = latitude.to_radians().cos();
        let mut nearest_m = None::<f64>;
        for turn in TURNS {
            let x = longitude + turn;
            if (self.west - x).max(x - self.east) * narrow > reach && narrow >= NARROW {
                continue;
            }
            for edge in self.edges_between(latitude - reach, latitude + reach) {
                let off_m = if narrow < NARROW {
                    edge.metres_on_sphere(position)
                } else {
                    edge.metres_on_map(position, (x, latitude), narrow, nearest_m.unwrap_or(limit_m))
                };
                if off_m <= nearest_m.unwrap_or(limit_m) {
                    nearest_m = Some(off_m);
                }
            }
        }
        nearest_m
    }

    pub(super) fn stretches(&self, path: &Path, stretches: &mut Vec<Stretch>) {
        let mut crossings = Vec::new();
        path.pieces(|piece| {
            for turn in TURNS {
                let turned =
                    Piece { from: (piece.from.0 + turn, piece.from.1), to: (piece.to.0 + turn, piece.to.1), ..piece };
                self.stretches_of_piece(&turned, &mut crossings, stretches);
            }
        });
    }

    /// Cuts the piece wherever it meets an edge, and asks of the middle of each cut whether it is inside.
    fn stretches_of_piece(&self, piece: &Piece, crossings: &mut Vec<f64>, stretches: &mut Vec<Stretch>) {
        let ((x0, y0), (x1, y1)) = (piece.from, piece.to);
        let (south, north) = (y0.min(y1), y0.max(y1));
        if x0.max(x1) < self.west || x0.min(x1) > self.east || north < self.south || south > self.north {
            return;
        }
        crossings.clear();
        crossings.extend([0.0, 1.0]);
        for edge in self.edges_between(south, north) {
            edge.crossings(piece, crossings);
        }
        crossings.sort_unstable_by(f64::total_cmp);
        let (begin, end) = piece.shares;
        for cut in crossings.windows(2).filter(|cut| cut[0] < cut[1] || x0 == x1 && y0 == y1) {
            let middle = (cut[0] + cut[1]) / 2.0;
            if self.contains_place(x0 + (x1 - x0) * middle, y0 + (y1 - y0) * middle) {
                add(stretches, begin + (end - begin) * cut[0], begin + (end - begin) * cut[1]);
            }
        }
    }

    /// Memory that it takes beside itself.
    pub(super) fn len_bytes(&self) -> usize {
        self.bands.begins.len() * size_of::<u32>() + self.bands.edges.len() * size_of::<Edge>()
    }

    pub(super) fn boxes(&self) -> Vec<GeoBox> {
        super::cap::boxes((self.west, self.east), (self.south, self.north))
    }
}

/// The cosine of the latitude, 89 degrees, from which a map bends within a kilometre.
const NARROW: f64 = 0.02;

impl Edge {
    /// Metres to a place (`position`, on this turn `(x, y)`), found on the map around it, which is stretched so that it is as
    /// wide as high there, and measured on the sphere if they may be at most `limit_m`.
    fn metres_on_map(&self, position: Position, (x, y): (f64, f64), narrow: f64, limit_m: f64) -> f64 {
        let (x0, y0) = ((self.from.0 - x) * narrow, self.from.1 - y);
        let (east, north) = ((self.to.0 - self.from.0) * narrow, self.to.1 - self.from.1);
        let share = (-(x0 * east + y0 * north) / (east * east + north * north)).clamp(0.0, 1.0);
        let off_m = (x0 + share * east).hypot(y0 + share * north) * METRES_PER_DEGREE;
        if off_m <= limit_m * 1.1 { self.metres_from(share, position) } else { off_m }
    }

    /// Metres to a place near a pole, where no map is a measure: the nearest of some places of the edge, and then between
    /// its neighbours.
    fn metres_on_sphere(&self, position: Position) -> f64 {
        const PLACES: u32 = 16;
        let metres = |share| self.metres_from(share, position);
        let shares = (0..=PLACES).map(|place| f64::from(place) / f64::from(PLACES));
        let nearest = shares.min_by(|one, other| metres(*one).total_cmp(&metres(*other))).unwrap_or_default();
        let (mut low, mut high) =
            ((nearest - 1.0 / f64::from(PLACES)).max(0.0), (nearest + 1.0 / f64::from(PLACES)).min(1.0));
        for _ in 0..PLACES * 2 {
            let (one, other) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
            if metres(one) < metres(other) { high = other } else { low = one }
        }
        metres((low + high) / 2.0).min(metres(nearest))
    }

    fn metres_from(&self, share: f64, position: Position) -> f64 {
        let longitude = self.from.0 + share * (self.to.0 - self.from.0);
        let longitude = longitude - 360.0 * (longitude / 360.0).round();
        let latitude = self.from.1 + share * (self.to.1 - self.from.1);
        // In range but for rounding.
        let place = Position::from_degrees(latitude.clamp(-90.0, 90.0), longitude.clamp(-180.0, 180.0));
        place.map_or(f64::INFINITY, |place| distance_m(position, place))
    }

    /// Adds the shares of the piece at which it meets the edge: too many rather than too few, as at an end of an edge.
    fn crossings(&self, piece: &Piece, crossings: &mut Vec<f64>) {
        const NEAR: f64 = 1e-9;
        let ((px, py), (qx, qy)) = (piece.from, self.from);
        let (along_x, along_y) = (piece.to.0 - px, piece.to.1 - py);
        let (edge_x, edge_y) = (self.to.0 - qx, self.to.1 - qy);
        let (apart_x, apart_y) = (qx - px, qy - py);
        let area = along_x * edge_y - along_y * edge_x;
        if area != 0.0 {
            let share = (apart_x * edge_y - apart_y * edge_x) / area;
            let on_edge = (apart_x * along_y - apart_y * along_x) / area;
            if (0.0..=1.0).contains(&share) && (-NEAR..=1.0 + NEAR).contains(&on_edge) {
                crossings.push(share);
            }
            return;
        }
        // One beside the other: where it might lie on the piece it ends.
        let length = along_x * along_x + along_y * along_y;
        for (x, y) in [(apart_x, apart_y), (apart_x + edge_x, apart_y + edge_y)] {
            let share = (x * along_x + y * along_y) / length;
            if (0.0..=1.0).contains(&share) {
                crossings.push(share);
            }
        }
    }
}

impl Bands {
    fn new(edges: &[Edge], south: f64, north: f64) -> Self {
        let mut count = (edges.len() / BAND_EDGES).max(1);
        loop {
            let per_degree = if north > south { count as f64 / (north - south) } else { 0.0 };
            let mut bands = Self { per_degree, begins: vec![0; count + 1], edges: Vec::new() };
            let span = |bands: &Self, edge: &Edge| {
                let (low, high) = (edge.from.1.min(edge.to.1), edge.from.1.max(edge.to.1));
                bands.of(low - south)..=bands.of(high - south)
            };
            let standing: usize = edges.iter().map(|edge| span(&bands, edge).count()).sum();
            if count > 1 && standing > edges.len() * BANDS_PER_EDGE_MAX {
                count /= 2;
                continue;
            }
            for edge in edges {
                span(&bands, edge).for_each(|band| bands.begins[band + 1] += 1);
            }
            for band in 0..count {
                bands.begins[band + 1] += bands.begins[band];
            }
            let mut next = bands.begins.clone();
            bands.edges = vec![Edge { from: (0.0, 0.0), to: (0.0, 0.0) }; standing];
            for edge in edges {
                for band in span(&bands, edge) {
                    bands.edges[next[band] as usize] = *edge;
                    next[band] += 1;
                }
            }
            return bands;
        }
    }

    /// The band of a latitude, degrees north of the south of all.
    fn of(&self, north: f64) -> usize {
        // A negative number and a NaN become 0.
        ((north * self.per_degree) as usize).min(self.begins.len() - 2)
    }

    fn between(&self, first: usize, last: usize) -> &[Edge] {
        if self.begins.len() == 2 {
            return &self.edges;
        }
        &self.edges[self.begins[first] as usize..self.begins[last + 1] as usize]
    }
}
