//! Areas on the map: boxes and polygons as GeoJSON has them, and how a cell lies to them.
//!
//! Edges are straight on the map of longitude and latitude, not great circles [RFC 7946, 3.1.1], and belong to the
//! area. An area that crosses the antimeridian is a box with west > east, a polygon cut in two [RFC 7946, 3.1.9], or a
//! polygon that goes on beyond ±180; all are understood.

use ::geo::{BoundingRect as _, Coord, Intersects as _, LineString, LinesIter as _, MultiPolygon, Polygon, Rect};

use super::cells::GeoBox;
use super::rings;
use crate::units::{E7_PER_DEGREE, Position};

/// Most vertices of an area, all rings together: each is looked at for every cell on the edge.
pub const VERTICES_MAX: usize = 10_000;

/// Fewest positions of a ring, the first again as the last among them [RFC 7946, 3.1.6].
const RING_POSITIONS_MIN: usize = 4;

/// Why something is not an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidArea {
    /// A latitude or longitude that cannot be.
    #[error("latitudes are from -90 to 90 and longitudes from -180 to 180 (of polygons that cross it, to ±540)")]
    OutOfRange,
    /// South of a box is above its north.
    #[error("the south of a box is not above its north")]
    UpsideDown,
    /// A polygon without rings, or a ring that is open or too short.
    #[error("a polygon has rings of at least four positions, the last the same as the first")]
    Ring,
    /// More than [`VERTICES_MAX`].
    #[error("an area has at most 10000 vertices")]
    TooManyVertices,
    /// A polygon whose rings cross themselves or each other.
    #[error("the rings of a polygon do not cross themselves or each other, nor have parts of edges in common")]
    Crossing,
}

/// A part of the map.
#[derive(Clone, Debug, PartialEq)]
pub struct Area {
    /// Together around all of it.
    boxes: Vec<GeoBox>,
    /// What of the boxes belongs to it; all of them without.
    polygons: Option<MultiPolygon<f64>>,
}

/// How a cell lies to an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Apart,
    Inside,
    Across,
}

impl Area {
    /// All between two longitudes and two latitudes, in degrees, the edges included; across the antimeridian if west is
    /// above east.
    pub fn bounding_box(west: f64, south: f64, east: f64, north: f64) -> Result<Self, InvalidArea> {
        let south_west = Position::from_degrees(south, west).ok_or(InvalidArea::OutOfRange)?;
        let north_east = Position::from_degrees(north, east).ok_or(InvalidArea::OutOfRange)?;
        if south_west.latitude_e7 > north_east.latitude_e7 {
            return Err(InvalidArea::UpsideDown);
        }
        let (west_e7, east_e7) = (i64::from(south_west.longitude_e7), i64::from(north_east.longitude_e7));
        let east_e7 = if west_e7 > east_e7 { east_e7 + TURN_E7 } else { east_e7 };
        let boxes = around((west_e7, east_e7), (south_west.latitude_e7, north_east.latitude_e7));
        Ok(Self { boxes, polygons: None })
    }

    /// The `coordinates` of a GeoJSON Polygon: its outer ring, then its holes, of positions `[longitude, latitude]`.
    pub fn polygon(rings: &[Vec<[f64; 2]>]) -> Result<Self, InvalidArea> {
        Self::polygons(&[rings])
    }

    /// The `coordinates` of a GeoJSON MultiPolygon.
    pub fn polygons<R: AsRef<[Vec<[f64; 2]>]>>(polygons: &[R]) -> Result<Self, InvalidArea> {
        let vertices: usize = polygons.iter().flat_map(|rings| rings.as_ref()).map(Vec::len).sum();
        if vertices > VERTICES_MAX {
            return Err(InvalidArea::TooManyVertices);
        }
        let parts = polygons;
        let polygons = parts.iter().map(|rings| polygon(rings.as_ref())).collect::<Result<Vec<_>, _>>()?;
        if parts.iter().any(|rings| rings::cross(rings.as_ref())) {
            return Err(InvalidArea::Crossing);
        }
        let mut boxes = Vec::new();
        for bounds in polygons.iter().filter_map(|polygon| polygon.bounding_rect()) {
            let e7 = |degrees: f64| (degrees * E7_PER_DEGREE).round() as i64;
            let latitudes = (e7(bounds.min().y) as i32, e7(bounds.max().y) as i32);
            boxes.extend(around((e7(bounds.min().x), e7(bounds.max().x)), latitudes));
        }
        Ok(Self { boxes, polygons: Some(MultiPolygon(polygons)) })
    }

    /// Whether a place belongs to it.
    pub fn contains(&self, position: Position) -> bool {
        self.boxes.iter().any(|area| area.contains(position))
            && self.polygons.as_ref().is_none_or(|polygons| {
                TURNS
                    .iter()
                    .any(|turn| polygons.intersects(&Coord { x: position.longitude() + turn, y: position.latitude() }))
            })
    }

    /// Boxes that together hold all of it.
    pub(super) fn boxes(&self) -> &[GeoBox] {
        &self.boxes
    }

    pub(super) fn relation(&self, cell: &GeoBox) -> Relation {
        if !self.boxes.iter().any(|area| area.meets(cell)) {
            return Relation::Apart;
        }
        match &self.polygons {
            Some(polygons) => relation_to_polygons(polygons, cell),
            None if self.boxes.iter().any(|area| area.covers(cell)) => Relation::Inside,
            None => Relation::Across,
        }
    }
}

const TURN_E7: i64 = 3_600_000_000;

/// A polygon that goes on beyond the antimeridian has places that are numbered differently there.
const TURNS: [f64; 3] = [0.0, 360.0, -360.0];

/// The boxes of this width, as seen from the turns of the globe on which it has part.
pub(super) fn around((west_e7, east_e7): (i64, i64), (south_e7, north_e7): (i32, i32)) -> Vec<GeoBox> {
    let on_turn = |turn: i64| {
        // Both ends of a turn are the same meridian.
        let (west, east) = ((west_e7 - turn * TURN_E7).max(-TURN_E7 / 2), (east_e7 - turn * TURN_E7).min(TURN_E7 / 2));
        (west <= east).then_some(GeoBox { south_e7, north_e7, west_e7: west as i32, east_e7: east as i32 })
    };
    [-1, 0, 1].into_iter().filter_map(on_turn).collect()
}

fn polygon(rings: &[Vec<[f64; 2]>]) -> Result<Polygon<f64>, InvalidArea> {
    let mut rings = rings.iter().map(|ring| line_string(ring));
    let exterior = rings.next().ok_or(InvalidArea::Ring)??;
    Ok(Polygon::new(exterior, rings.collect::<Result<_, _>>()?))
}

fn line_string(ring: &[[f64; 2]]) -> Result<LineString<f64>, InvalidArea> {
    // Written so that a NaN fails.
    if !ring.iter().all(|[longitude, latitude]| longitude.abs() <= 540.0 && latitude.abs() <= 90.0) {
        return Err(InvalidArea::OutOfRange);
    }
    if ring.len() < RING_POSITIONS_MIN || ring.first() != ring.last() {
        return Err(InvalidArea::Ring);
    }
    Ok(ring.iter().map(|[longitude, latitude]| (*longitude, *latitude)).collect())
}

/// A cell that no edge meets is all inside or all outside, as any of its corners is.
fn relation_to_polygons(polygons: &MultiPolygon<f64>, cell: &GeoBox) -> Relation {
    let degrees = |e7: i32| f64::from(e7) / E7_PER_DEGREE;
    let mut relation = Relation::Apart;
    for turn in TURNS {
        let corner = Coord { x: degrees(cell.west_e7) + turn, y: degrees(cell.south_e7) };
        let opposite = Coord { x: degrees(cell.east_e7) + turn, y: degrees(cell.north_e7) };
        let rect = Rect::new(corner, opposite);
        if polygons.lines_iter().any(|edge| rect.intersects(&edge)) {
            return Relation::Across;
        }
        if polygons.intersects(&corner) {
            relation = Relation::Inside;
        }
    }
    relation
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(latitude: f64, longitude: f64) -> Position {
        Position::from_degrees(latitude, longitude).unwrap()
    }

    fn ring(west: f64, south: f64, east: f64, north: f64) -> Vec<[f64; 2]> {
        vec![[west, south], [east, south], [east, north], [west, north], [west, south]]
    }

    #[test]
    fn boxes_hold_their_edges_and_cross_the_antimeridian() {
        let europe = Area::bounding_box(-10.0, 35.0, 30.1, 70.0).unwrap();
        assert!(europe.contains(at(35.0, -10.0)) && europe.contains(at(70.0, 30.1)));
        assert!(!europe.contains(at(34.9999999, 0.0)) && !europe.contains(at(50.0, 30.1000001)));
        let fiji = Area::bounding_box(177.0, -20.0, -178.0, -15.0).unwrap();
        for longitude in [177.0, 179.0, 180.0, -180.0, -178.0] {
            assert!(fiji.contains(at(-17.0, longitude)), "{longitude}");
        }
        assert!(!fiji.contains(at(-17.0, 0.0)) && !fiji.contains(at(-17.0, -177.9)));
        assert!(Area::bounding_box(170.0, 0.0, 180.0, 1.0).unwrap().contains(at(0.5, -180.0)));
        assert!(Area::bounding_box(-180.0, 0.0, -170.0, 1.0).unwrap().contains(at(0.5, 180.0)));
        let world = Area::bounding_box(-180.0, -90.0, 180.0, 90.0).unwrap();
        assert!(world.contains(at(90.0, 180.0)) && world.contains(at(-90.0, -180.0)) && world.contains(at(0.0, 0.0)));
    }

    #[test]
    fn polygons_have_holes_and_cross_the_antimeridian() {
        let ring_road = Area::polygon(&[ring(20.0, 50.0, 22.0, 53.0), ring(20.5, 51.0, 21.5, 52.0)]).unwrap();
        assert!(ring_road.contains(at(50.5, 21.0)) && ring_road.contains(at(50.0, 20.0)));
        assert!(!ring_road.contains(at(51.5, 21.0)) && !ring_road.contains(at(49.9, 21.0)));
        for across in [ring(177.0, -20.0, 182.0, -15.0), ring(-183.0, -20.0, -178.0, -15.0)] {
            let area = Area::polygon(&[across]).unwrap();
            for longitude in [177.5, 180.0, -180.0, -178.5] {
                assert!(area.contains(at(-17.0, longitude)), "{longitude}");
            }
            assert!(!area.contains(at(-17.0, -177.9)) && !area.contains(at(-17.0, 176.0)));
        }
        let halves = [vec![ring(177.0, -20.0, 180.0, -15.0)], vec![ring(-180.0, -20.0, -178.0, -15.0)]];
        let area = Area::polygons(&halves).unwrap();
        assert!(area.contains(at(-17.0, 178.0)) && area.contains(at(-17.0, -179.0)) && !area.contains(at(-17.0, 0.0)));
    }

    #[test]
    fn what_is_not_an_area_says_why() {
        let reason = |area: Result<Area, InvalidArea>| area.unwrap_err();
        assert_eq!(reason(Area::bounding_box(0.0, 1.0, 1.0, 0.0)), InvalidArea::UpsideDown);
        assert_eq!(reason(Area::bounding_box(0.0, f64::NAN, 1.0, 0.0)), InvalidArea::OutOfRange);
        assert_eq!(reason(Area::bounding_box(0.0, 0.0, 180.1, 0.0)), InvalidArea::OutOfRange);
        assert_eq!(reason(Area::polygon(&[])), InvalidArea::Ring);
        assert_eq!(reason(Area::polygon(&[vec![[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [2.0, 2.0]]])), InvalidArea::Ring);
        assert_eq!(reason(Area::polygon(&[vec![[0.0, 91.0]; 4]])), InvalidArea::OutOfRange);
        let bow_tie = vec![[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]];
        assert_eq!(reason(Area::polygon(&[bow_tie])), InvalidArea::Crossing);
        assert_eq!(reason(Area::polygon(&[vec![[0.0, 0.0]; VERTICES_MAX + 1]])), InvalidArea::TooManyVertices);
    }
}
