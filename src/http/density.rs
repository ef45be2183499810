//! `GET /v1/drivers/density?bbox&zoom`: how many drivers are in each tile of the web map, for maps that are zoomed out too
//! far to show each.

use std::f64::consts::PI;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;

use super::answer::json;
use super::error::Error;
use super::extract::{FleetReader, Params, required};
use super::within::{self, bbox};
use crate::geo::{Area, DensityCell, GeoIndex, ZOOM_MAX};

/// What `offline` takes.
const SWITCH: &str = "true or false";

pub(super) fn routes(geo: Arc<GeoIndex>) -> Router {
    Router::new().route("/v1/drivers/density", get(get_density)).with_state(geo)
}

/// Counted aside: a million drivers take some milliseconds.
async fn get_density(
    State(geo): State<Arc<GeoIndex>>,
    FleetReader(principal): FleetReader,
    params: Params,
) -> Result<Response, Error> {
    let area = required("bbox", params.parsed("bbox", bbox, || within::BBOX)?)?;
    let zoom = required("zoom", params.whole("zoom", 0..=usize::from(ZOOM_MAX))?)? as u8;
    let with_offline = params.parsed("offline", |text| text.parse().ok(), || SWITCH)?.unwrap_or(false);
    let counted =
        tokio::task::spawn_blocking(move || count(&geo, principal.tenant.as_str(), &area, zoom, with_offline));
    counted.await.map_err(|error| Error::internal("tiles could not be counted", &error))?
}

fn count(geo: &GeoIndex, tenant: &str, area: &Area, zoom: u8, with_offline: bool) -> Result<Response, Error> {
    // An unknown tenant's question is as good as any other's.
    let fleet = geo.fleet(tenant).unwrap_or_default();
    let cells = fleet.density(area, zoom, with_offline).map_err(|error| Error::parameter("zoom", error.to_string()))?;
    let drivers = cells.iter().map(|cell| u64::from(cell.drivers)).sum();
    let cells: Vec<_> = cells.iter().map(|cell| Tile::of(cell, zoom)).collect();
    Ok(json(StatusCode::OK, &Density { zoom, count: cells.len(), drivers, cells }))
}

/// The answer.
#[derive(Debug, Serialize)]
struct Density {
    zoom: u8,
    cells: Vec<Tile>,
    /// How many are in `cells`.
    count: usize,
    /// In all of them together.
    drivers: u64,
}

/// A tile with drivers in it, as `zoom/x/y` and by its edges in degrees.
#[derive(Debug, Serialize)]
struct Tile {
    x: u32,
    y: u32,
    west: f64,
    south: f64,
    east: f64,
    north: f64,
    drivers: u32,
}

impl Tile {
    fn of(cell: &DensityCell, zoom: u8) -> Self {
        let DensityCell { x, y, drivers } = *cell;
        let (west, east) = (longitude(x, zoom), longitude(x + 1, zoom));
        let (north, south) = (latitude(y, zoom), latitude(y + 1, zoom));
        Self { x, y, west, south, east, north, drivers }
    }
}

fn longitude(x: u32, zoom: u8) -> f64 {
    to_step(f64::from(x) / f64::from(1_u32 << zoom) * 360.0 - 180.0)
}

/// The map ends at 85.05 degrees; who is nearer to a pole counts in its last row.
fn latitude(y: u32, zoom: u8) -> f64 {
    to_step((PI * (1.0 - 2.0 * f64::from(y) / f64::from(1_u32 << zoom))).sinh().atan().to_degrees())
}

/// To 1e-7 degrees, as all positions here are.
fn to_step(degrees: f64) -> f64 {
    (degrees * 1e7).round() / 1e7
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_have_the_edges_of_the_web_map() {
        let world = Tile::of(&DensityCell { x: 0, y: 0, drivers: 3 }, 0);
        let edges = (world.west, world.south, world.east, world.north);
        assert_eq!(edges, (-180.0, -85.051_128_8, 180.0, 85.051_128_8));
        // As published for OpenStreetMap's 7/63/42.
        let tile = Tile::of(&DensityCell { x: 63, y: 42, drivers: 1 }, 7);
        assert_eq!((tile.west, tile.north), (-2.812_5, 52.482_780_2));
        assert_eq!((tile.east, tile.south), (0.0, 50.736_455_1));
    }
}
