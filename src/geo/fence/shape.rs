//! The shapes of fences, and the four things that are asked of one.

use super::cap::Cap;
use super::corridor::Corridor;
use super::path::Path;
use super::polygon::Polygon;
use super::spec::{InvalidFence, RADIUS_M_MAX, RADIUS_M_MIN, WIDTH_M_MAX, WIDTH_M_MIN};
use super::sphere::{Vector, angle_of_m};
use super::stretch::{Stretch, join};
use crate::geo::area::{Area, InvalidArea, VERTICES_MAX};
use crate::geo::cells::GeoBox;
use crate::geo::distance::{EARTH_RADIUS_M, distance_m};
use crate::geo::geojson::{Geometry, Vertex};
use crate::units::Position;

/// See the module.
#[derive(Debug)]
pub(super) enum Shape {
    Circle { centre: Position, radius_m: f64, cap: Cap },
    Polygons(Vec<Polygon>),
    Corridor(Corridor),
}

impl Shape {
    pub(super) fn new(geometry: &Geometry, radius_m: Option<f64>, width_m: Option<f64>) -> Result<Self, InvalidFence> {
        let is_point = matches!(geometry, Geometry::Point(_));
        let is_line = matches!(geometry, Geometry::LineString(_));
        // Written so that a NaN fails.
        if radius_m.is_some_and(|radius_m| !(RADIUS_M_MIN..=RADIUS_M_MAX).contains(&radius_m))
            || radius_m.is_some() != is_point
        {
            return Err(InvalidFence::Radius);
        }
        if width_m.is_some_and(|width_m| !(WIDTH_M_MIN..=WIDTH_M_MAX).contains(&width_m))
            || width_m.is_some() != is_line
        {
            return Err(InvalidFence::Width);
        }
        Ok(match geometry {
            Geometry::Point(place) => {
                let (centre, radius_m) = (position(place)?, radius_m.unwrap_or_default());
                Self::Circle { centre, radius_m, cap: Cap::new(Vector::of(centre), radius_m) }
            }
            Geometry::LineString(line) => Self::Corridor(Corridor::new(&on_map(line)?, width_m.unwrap_or_default())?),
            Geometry::Polygon(rings) => Self::polygons(&[rings])?,
            Geometry::MultiPolygon(polygons) => Self::polygons(polygons)?,
        })
    }

    fn polygons<R: AsRef<[Vec<Vertex>]>>(polygons: &[R]) -> Result<Self, InvalidFence> {
        let bare = |ring: &Vec<Vertex>| ring.iter().map(|vertex| vertex.0).collect::<Vec<_>>();
        let polygons: Vec<Vec<_>> = polygons.iter().map(|rings| rings.as_ref().iter().map(bare).collect()).collect();
        if polygons.is_empty() {
            return Err(InvalidArea::Ring.into());
        }
        Area::polygons(&polygons)?;
        Ok(Self::Polygons(polygons.iter().map(|rings| Polygon::new(rings)).collect()))
    }

    /// Whether a place is inside, the edge included.
    pub(super) fn contains(&self, position: Position) -> bool {
        self.is_within(position, 0.0)
    }

    /// Whether a place is inside or at most this far outside.
    pub(super) fn is_within(&self, position: Position, margin_m: f64) -> bool {
        match self {
            Self::Circle { centre, radius_m, .. } => distance_m(*centre, position) <= radius_m + margin_m,
            Self::Polygons(polygons) if margin_m == 0.0 => polygons.iter().any(|polygon| polygon.contains(position)),
            Self::Polygons(polygons) => polygons.iter().any(|polygon| polygon.is_within(position, margin_m)),
            Self::Corridor(corridor) => corridor.is_within(position, margin_m),
        }
    }

    /// The stretches of a path that are inside, in order and apart from each other.
    pub(super) fn stretches(&self, path: &Path, stretches: &mut Vec<Stretch>) {
        stretches.clear();
        match self {
            Self::Circle { cap, .. } => stretches.extend(cap.stretch(path)),
            Self::Polygons(polygons) => {
                polygons.iter().for_each(|polygon| polygon.stretches(path, stretches));
                join(stretches);
            }
            Self::Corridor(corridor) => corridor.stretches(path, stretches),
        }
    }

    /// No more than the metres from a place to the nearest edge, at most `limit_m`; of polygons, up to the latitudes where the
    /// map is a measure.
    pub(super) fn clearance_m(&self, position: Position, limit_m: f64) -> f64 {
        match self {
            Self::Circle { centre, radius_m, .. } => (distance_m(*centre, position) - radius_m).abs().min(limit_m),
            Self::Polygons(polygons) => {
                let edges = polygons.iter().filter_map(|polygon| polygon.edge_within_m(position, limit_m));
                edges.min_by(f64::total_cmp).unwrap_or(limit_m)
            }
            Self::Corridor(corridor) => corridor.clearance(position, angle_of_m(limit_m)) * EARTH_RADIUS_M,
        }
    }

    /// Boxes that together hold all of it.
    /// Memory that it takes beside itself.
    pub(super) fn len_bytes(&self) -> usize {
        match self {
            Self::Circle { .. } => 0,
            Self::Polygons(polygons) => polygons.iter().map(|polygon| size_of::<Polygon>() + polygon.len_bytes()).sum(),
            Self::Corridor(corridor) => corridor.len_bytes(),
        }
    }

    pub(super) fn boxes(&self) -> Vec<GeoBox> {
        match self {
            Self::Circle { cap, .. } => cap.boxes(),
            Self::Polygons(polygons) => polygons.iter().flat_map(Polygon::boxes).collect(),
            Self::Corridor(corridor) => corridor.boxes(),
        }
    }
}

fn position(place: &Vertex) -> Result<Position, InvalidArea> {
    let [longitude, latitude] = place.0;
    Position::from_degrees(latitude, longitude).ok_or(InvalidArea::OutOfRange)
}

fn on_map(line: &[Vertex]) -> Result<Vec<[f64; 2]>, InvalidFence> {
    if line.len() > VERTICES_MAX {
        return Err(InvalidArea::TooManyVertices.into());
    }
    if line.len() < 2 {
        return Err(InvalidFence::Line);
    }
    line.iter().map(|place| position(place).map(|_| place.0).map_err(Into::into)).collect()
}
