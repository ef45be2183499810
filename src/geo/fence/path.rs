//! The way from one fix to the next: the shorter arc of the great circle between them, at one speed.
//!
//! Places on it are told by their share of the way, 0 at the first fix and 1 at the second: shares of the chord, which
//! differ from shares of the arc by less than 1e-4 on the longest way that is judged.

use super::sphere::Vector;
use crate::geo::distance::EARTH_RADIUS_M;
use crate::units::{Position, TimestampMs};

/// How far a straight piece on the map of longitude and latitude may lie off the great circle, metres.
pub(super) const PIECE_OFF_M_MAX: f64 = 0.1;

/// A way is halved so often at most. That is never enough where it goes over a pole, and what is left there is short.
const HALVINGS_MAX: u32 = 24;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    from: (Position, TimestampMs),
    to: (Position, TimestampMs),
    pub(super) start: Vector,
    /// From the start to the end through the earth.
    pub(super) chord: Vector,
}

/// A part of a path that is as good as straight on the map. Degrees; the longitudes go on beyond ±180 where it crosses the
/// antimeridian.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Piece {
    pub(super) shares: (f64, f64),
    pub(super) from: (f64, f64),
    pub(super) to: (f64, f64),
}

impl Path {
    pub(super) fn new(from: (Position, TimestampMs), to: (Position, TimestampMs)) -> Self {
        let start = Vector::of(from.0);
        Self { from, to, start, chord: Vector::of(to.0) - start }
    }

    pub(super) fn from(&self) -> Position {
        self.from.0
    }

    /// Where who goes on like this will be after as long again, about.
    pub(super) fn next(&self) -> Position {
        let (from, to) = (self.from.0, self.to.0);
        let onwards = |from: i32, to: i32| to.saturating_add(to.saturating_sub(from));
        Position {
            latitude_e7: onwards(from.latitude_e7, to.latitude_e7),
            longitude_e7: onwards(from.longitude_e7, to.longitude_e7),
        }
    }

    /// The place at a share of the way.
    pub(super) fn at(&self, share: f64) -> Position {
        if share <= 0.0 {
            self.from.0
        } else if share >= 1.0 {
            self.to.0
        } else {
            (self.start + self.chord * share).position()
        }
    }

    /// When it is passed there.
    pub(super) fn time(&self, share: f64) -> TimestampMs {
        let took_ms = self.to.1.0 - self.from.1.0;
        TimestampMs(self.from.1.0 + (took_ms as f64 * share).round() as i64)
    }

    /// Which share of the way is done at an instant, if it is on its way then.
    pub(super) fn share_at(&self, time: TimestampMs) -> Option<f64> {
        let (passed_ms, took_ms) = (time.0 - self.from.1.0, self.to.1.0 - self.from.1.0);
        (0..=took_ms).contains(&passed_ms).then(|| passed_ms as f64 / took_ms as f64)
    }

    /// The path as pieces that are straight on the map, one after the other: one piece but for long ways and near the
    /// poles.
    pub(super) fn pieces(&self, mut each: impl FnMut(Piece)) {
        let ends = [self.from.0, self.to.0].map(|position| (position.longitude(), position.latitude()));
        self.split((0.0, 1.0), ends[0], ends[1], HALVINGS_MAX, &mut each);
    }

    fn split(
        &self,
        shares: (f64, f64),
        from: (f64, f64),
        to: (f64, f64),
        halvings_left: u32,
        each: &mut impl FnMut(Piece),
    ) {
        let east = eastwards(from.0, to.0);
        if halvings_left == 0 || off_map_m(east.to_radians(), (to.1 - from.1).to_radians()) <= PIECE_OFF_M_MAX {
            each(Piece { shares, from, to: (from.0 + east, to.1) });
            return;
        }
        let middle_share = (shares.0 + shares.1) / 2.0;
        let middle = (self.start + self.chord * middle_share).degrees();
        self.split((shares.0, middle_share), from, middle, halvings_left - 1, each);
        self.split((middle_share, shares.1), middle, to, halvings_left - 1, each);
    }
}

/// The shorter way around from one longitude to another, degrees, positive to the east.
pub(super) fn eastwards(from: f64, to: f64) -> f64 {
    let east = to - from;
    if east > 180.0 {
        east - 360.0
    } else if east < -180.0 {
        east + 360.0
    } else {
        east
    }
}

/// How far a great circle between two places that are `east` and `north` radians apart can lie from the straight line
/// between them on the map, metres. On a way of length `l` with the course `a` at latitude `φ` it is about
/// `l² tan φ sin a (1 + cos² a) / 8`, and `l sin a` is `east cos φ`, `l cos a` is `north`; a fifth more is added for ways
/// that are not small.
pub(super) fn off_map_m(east: f64, north: f64) -> f64 {
    EARTH_RADIUS_M * east.abs() * (east.abs() / 16.0 + north.abs() / 4.0) * 1.2
}

/// How far a great circle between two places that are `east` radians of longitude apart can lead further towards a pole
/// than both, metres: furthest if they are of one latitude. Of longitudes it never leaves the range between them.
pub(super) fn poleward_m(east: f64) -> f64 {
    if east.abs() > 1.0 { f64::INFINITY } else { off_map_m(east, 0.0) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::geo::distance::distance_m;
    use crate::geo::testing::position;

    proptest! {
        #[test]
        fn a_path_is_the_shortest_way_and_its_pieces_are_on_it(from in position(), north in -0.3..0.3_f64, east in -0.5..0.5_f64, share in 0.0..1.0_f64) {
            let latitude = (from.latitude() + north).clamp(-90.0, 90.0);
            let longitude = eastwards(0.0, from.longitude() + east).clamp(-180.0, 180.0);
            let to = Position::from_degrees(latitude, longitude).unwrap();
            let path = Path::new((from, TimestampMs(0)), (to, TimestampMs(60_000)));
            let on_path = path.at(share);
            let length_m = distance_m(from, to);
            prop_assert!((distance_m(from, on_path) + distance_m(on_path, to) - length_m).abs() < 0.05);
            prop_assert!((distance_m(from, on_path) - share * length_m).abs() < 0.05 + length_m * 1e-4);
            let mut last = (0.0, (from.longitude(), from.latitude()));
            let mut worst_m: f64 = 0.0;
            path.pieces(|piece| {
                assert_eq!(piece.shares.0, last.0);
                assert!(eastwards(piece.from.0, last.1.0).abs() < 1e-9 && piece.from.1 == last.1.1);
                last = (piece.shares.1, piece.to);
                let middle = ((piece.from.0 + piece.to.0) / 2.0, (piece.from.1 + piece.to.1) / 2.0);
                let off = Vector::of_degrees(middle.0, middle.1).dot(path.start.cross(path.chord).unit());
                if length_m > 1.0 { worst_m = worst_m.max(off.abs() * EARTH_RADIUS_M); }
            });
            prop_assert_eq!(last.0, 1.0);
            prop_assert!(worst_m < 3.0 * PIECE_OFF_M_MAX, "{}", worst_m);
        }
    }
}
