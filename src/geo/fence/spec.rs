//! What a geofence is told to be: the description that is stored and journalled, and what is wrong with it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::shape::Shape;
use crate::geo::area::InvalidArea;
use crate::geo::geojson::Geometry;
use crate::ids::{DriverId, FenceId};
use crate::units::Position;

/// Least radius of a circle, metres.
pub const RADIUS_M_MIN: f64 = 1.0;

/// Largest radius of a circle, metres.
pub const RADIUS_M_MAX: f64 = 1_000_000.0;

/// Least width of a corridor, metres.
pub const WIDTH_M_MIN: f64 = 1.0;

/// Largest width of a corridor, metres.
pub const WIDTH_M_MAX: f64 = 100_000.0;

/// Longest time that a dwell can be told after, seconds: 30 days.
pub const DWELL_S_MAX: u32 = 30 * 86_400;

/// Longest name of a fence.
pub const NAME_BYTES_MAX: usize = 200;

/// A geofence as its owner describes it. As JSON, `geometry` is a GeoJSON geometry and all else members beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FenceSpec {
    /// A Polygon or a MultiPolygon; a Point, with `radius_m`; a LineString, with `width_m`.
    pub geometry: Geometry,
    /// Of a circle, [`RADIUS_M_MIN`] to [`RADIUS_M_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub radius_m: Option<f64>,
    /// Of a corridor from edge to edge, [`WIDTH_M_MIN`] to [`WIDTH_M_MAX`]: all within half of it of the line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width_m: Option<f64>,
    /// What people call it, at most [`NAME_BYTES_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// After how many seconds inside a `dwell` is told, 1 to [`DWELL_S_MAX`]; never without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dwell_s: Option<u32>,
    /// The only driver that it concerns; all of the tenant without.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "write_driver",
        deserialize_with = "read_driver"
    )]
    pub driver_id: Option<DriverId>,
    /// One-shot: a driver's first `enter` is told and nothing further of that driver.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub once: bool,
}

fn write_driver<S: Serializer>(driver: &Option<DriverId>, serializer: S) -> Result<S::Ok, S::Error> {
    driver.as_ref().map(DriverId::as_str).serialize(serializer)
}

fn read_driver<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DriverId>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| DriverId::new(&text)).transpose().map_err(serde::de::Error::custom)
}

/// Why a description is not that of a fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFence {
    /// The polygon, or a position, cannot be.
    #[error(transparent)]
    Area(#[from] InvalidArea),
    /// A line of one place.
    #[error("a line has at least two positions that differ")]
    Line,
    /// A line whose curves on the globe take too many pieces.
    #[error("the line is too long for its width: make the corridor wider or cut it in several")]
    LineTooLong,
    /// The radius of a point is missing or out of range, or something else has one.
    #[error("wants metres from 1 to 1000000 with a Point, and with nothing else")]
    Radius,
    /// The width of a line is missing or out of range, or something else has one.
    #[error("wants metres from 1 to 100000 with a LineString, and with nothing else")]
    Width,
    /// Out of range.
    #[error("wants seconds from 1 to 2592000")]
    Dwell,
    /// Too long.
    #[error("wants at most 200 bytes")]
    Name,
}

impl InvalidFence {
    /// The member of [`FenceSpec`] that is at fault.
    pub fn field(self) -> &'static str {
        match self {
            Self::Area(_) | Self::Line | Self::LineTooLong => "geometry.coordinates",
            Self::Radius => "radius_m",
            Self::Width => "width_m",
            Self::Dwell => "dwell_s",
            Self::Name => "name",
        }
    }
}

/// What a box takes in the cells that it is found by, about.
const BOX_BYTES: usize = 128;

/// A fence that drivers are judged by. Never changes: a new description makes a new one, with a higher version.
#[derive(Debug)]
pub struct Fence {
    pub(super) id: FenceId,
    pub(super) version: u64,
    pub(super) shape: Shape,
    pub(super) dwell_ms: Option<i64>,
    pub(super) driver: Option<DriverId>,
    pub(super) once: bool,
}

impl Fence {
    /// Checks the description and builds the fence. `version` is the caller's: another for every change of the fence. Takes
    /// some milliseconds for polygons of [`VERTICES_MAX`](crate::geo::VERTICES_MAX).
    pub fn new(id: FenceId, version: u64, spec: &FenceSpec) -> Result<Self, InvalidFence> {
        let is_dwell = |seconds: u32| (1..=DWELL_S_MAX).contains(&seconds);
        if !spec.dwell_s.is_none_or(is_dwell) {
            return Err(InvalidFence::Dwell);
        }
        if spec.name.as_ref().is_some_and(|name| name.len() > NAME_BYTES_MAX) {
            return Err(InvalidFence::Name);
        }
        Ok(Self {
            id,
            version,
            shape: Shape::new(&spec.geometry, spec.radius_m, spec.width_m)?,
            dwell_ms: spec.dwell_s.map(|seconds| i64::from(seconds) * 1_000),
            driver: spec.driver_id.clone(),
            once: spec.once,
        })
    }

    /// Its id.
    pub fn id(&self) -> &FenceId {
        &self.id
    }

    /// Which of the fence's descriptions this one is.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The only driver that it concerns, if it is not all.
    pub fn driver(&self) -> Option<&DriverId> {
        self.driver.as_ref()
    }

    /// Memory that it takes, with its place among the others, about. A few positions may stand for a thousand arcs.
    pub fn len_bytes(&self) -> usize {
        size_of::<Self>() + self.shape.len_bytes() + self.shape.boxes().len() * BOX_BYTES
    }

    /// Whether a place is inside, the edge included.
    pub fn contains(&self, position: Position) -> bool {
        self.shape.contains(position)
    }

    /// Whether it has something to say of this driver.
    pub(super) fn concerns(&self, driver: &DriverId) -> bool {
        self.driver.as_ref().is_none_or(|only| only == driver)
    }
}
