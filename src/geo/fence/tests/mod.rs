//! Fences against models that know nothing of indexes, boxes and closed forms.

mod model;
mod properties;
mod rules;
mod scenes;

use super::*;
use crate::fix::Fix;
use crate::geo::{Geometry, Vertex};
use crate::ids::{DriverId, FenceId};
use crate::units::{Position, TimestampMs};

fn at(latitude: f64, longitude: f64) -> Position {
    Position::from_degrees(latitude, longitude).unwrap()
}

fn driver() -> DriverId {
    DriverId::new("d1").unwrap()
}

fn bare(geometry: Geometry) -> FenceSpec {
    FenceSpec { geometry, radius_m: None, width_m: None, name: None, dwell_s: None, driver_id: None, once: false }
}

fn circle(latitude: f64, longitude: f64, radius_m: f64) -> FenceSpec {
    FenceSpec { radius_m: Some(radius_m), ..bare(Geometry::Point(Vertex([longitude, latitude]))) }
}

fn corridor(line: &[[f64; 2]], width_m: f64) -> FenceSpec {
    FenceSpec { width_m: Some(width_m), ..bare(Geometry::LineString(line.iter().copied().map(Vertex).collect())) }
}

fn polygon(rings: &[Vec<[f64; 2]>]) -> FenceSpec {
    bare(Geometry::Polygon(rings.iter().map(|ring| ring.iter().copied().map(Vertex).collect()).collect()))
}

fn fence(id: &str, version: u64, spec: &FenceSpec) -> Fence {
    Fence::new(FenceId::new(id).unwrap(), version, spec).unwrap()
}

/// One driver on its way.
struct Drive {
    judge: Judge,
    state: DriverFences,
}

impl Drive {
    fn new(rules: FenceRules) -> Self {
        Self { judge: Judge::new(rules), state: DriverFences::default() }
    }

    fn take(&mut self, set: &FenceSet, fix: &Fix) -> Vec<FenceEvent> {
        let mut events = Vec::new();
        self.judge.judge(set, &driver(), &mut self.state, fix, &mut events);
        events
    }

    /// As if the state had been put away and read back.
    fn put_away(&mut self) {
        let mut bytes = Vec::new();
        self.state.encode(&mut bytes);
        self.state = DriverFences::decode(&bytes).unwrap();
    }
}

fn fix(time_s: f64, position: Position) -> Fix {
    Fix::at(TimestampMs((time_s * 1_000.0).round() as i64), position)
}
