//! `GET /v1/drivers/within?bbox=` and `POST /v1/drivers/within` with a polygon: all drivers inside, offline ones too.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

use super::answer::aside;
use super::drivers::Drivers;
use super::error::Error;
use super::extract::{self, BodyBounds, FleetReader, Params, required};
use super::presence::Presence;
use crate::auth::Principal;
use crate::clock::Clock;
use crate::geo::{Area, GeoIndex};

/// Most drivers in one answer, some 20 MB of text. If more are inside, the answer says that it is `truncated`, and how many there are in `total`.
const DRIVERS_MAX: usize = 100_000;

/// What [`bbox`] takes.
pub(super) const BBOX: &str =
    "west,south,east,north in degrees, south not above north; west > east crosses the antimeridian";

/// What the handlers need.
#[derive(Clone, Debug)]
pub(super) struct Within {
    pub(super) clock: Clock,
    pub(super) geo: Arc<GeoIndex>,
    pub(super) offline_after_ms: i64,
    pub(super) body: BodyBounds,
}

pub(super) fn routes(within: Within) -> Router {
    Router::new().route("/v1/drivers/within", get(get_within).post(post_within)).with_state(within)
}

async fn get_within(
    State(within): State<Within>,
    FleetReader(principal): FleetReader,
    params: Params,
) -> Result<Response, Error> {
    let area = required("bbox", params.parsed("bbox", bbox, || BBOX)?)?;
    let limit = limit(&params)?;
    Ok(aside(usize::MAX, move || within.answer(&principal, &area, limit)).await)
}

async fn post_within(
    State(within): State<Within>,
    FleetReader(principal): FleetReader,
    params: Params,
    request: Request<Body>,
) -> Result<Response, Error> {
    let limit = limit(&params)?;
    let (parts, body) = request.into_parts();
    let body = extract::body(&parts.headers, body, within.body).await?;
    // Ten thousand vertices take a while to read, too.
    let answer = move || polygon(&body).map(|area| within.answer(&principal, &area, limit));
    Ok(aside(usize::MAX, move || answer().unwrap_or_else(IntoResponse::into_response)).await)
}

fn limit(params: &Params) -> Result<usize, Error> {
    Ok(params.whole("limit", 1..=DRIVERS_MAX)?.unwrap_or(DRIVERS_MAX))
}

impl Within {
    fn answer(&self, principal: &Principal, area: &Area, limit: usize) -> Response {
        let presence = Presence { now: self.clock.now(), offline_after_ms: self.offline_after_ms };
        let Some(fleet) = self.geo.fleet(principal.tenant.as_str()) else {
            return Drivers::with_room_for(0, presence).of_total(None);
        };
        // One more than asked for tells whether that is all.
        let mut found = fleet.within(area, limit + 1);
        let is_truncated = found.len() > limit;
        found.truncate(limit);
        let mut drivers = Drivers::with_room_for(found.len(), presence);
        for one in &found {
            drivers.add(one.driver.driver().as_str(), &one.fix, one.on_shipment, None);
        }
        // Drivers move between the two looks.
        drivers.of_total(is_truncated.then(|| fleet.count_within(area).max(limit)))
    }
}

/// A box on the map.
pub(super) fn bbox(text: &str) -> Option<Area> {
    let mut edges = text.split(',').map(|edge| edge.trim().parse::<f64>().ok());
    let (west, south, east, north) = (edges.next()??, edges.next()??, edges.next()??, edges.next()??);
    if edges.next().is_some() { None } else { Area::bounding_box(west, south, east, north).ok() }
}

/// The members of GeoJSON (RFC 7946) that are looked at: those of a Polygon, or of a Feature that holds one.
#[derive(Debug, Deserialize)]
struct GeoJson {
    r#type: String,
    #[serde(default)]
    coordinates: Vec<Vec<Vec<f64>>>,
    geometry: Option<Box<Geometry>>,
}

#[derive(Debug, Deserialize)]
struct Geometry {
    r#type: String,
    coordinates: Vec<Vec<Vec<f64>>>,
}

fn polygon(body: &[u8]) -> Result<Area, Error> {
    let read: GeoJson =
        serde_json::from_slice(body).map_err(|error| Error::Body(format!("as a GeoJSON Polygon: {error}")))?;
    let rings = match (read.r#type.as_str(), read.geometry) {
        ("Polygon", _) => read.coordinates,
        ("Feature", Some(geometry)) if geometry.r#type == "Polygon" => geometry.coordinates,
        _ => return Err(Error::parameter("type", "wants Polygon, or a Feature whose geometry is one")),
    };
    let rings: Option<Vec<Vec<_>>> =
        rings.iter().map(|ring| ring.iter().map(|position| vertex(position)).collect()).collect();
    let rings = rings.ok_or_else(|| Error::parameter("coordinates", "wants positions of longitude and latitude"))?;
    Area::polygon(&rings).map_err(|error| Error::parameter("coordinates", error.to_string()))
}

/// Longitude first; an altitude behind them means nothing here.
fn vertex(position: &[f64]) -> Option<[f64; 2]> {
    let [longitude, latitude, ..] = *position else { return None };
    Some([longitude, latitude])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes() {
        for good in ["20,52,22,53", " 20.5 , -52 , 22,53 ", "170,-10,-170,10", "-180,-90,180,90", "20,52,20,52"] {
            assert!(bbox(good).is_some(), "{good}");
        }
        for bad in
            ["", "20,52,22", "20,52,22,53,1", "20,53,22,52", "20,52,22,x", "20,52,22,91", "181,52,22,53", "NaN,0,1,1"]
        {
            assert!(bbox(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn polygons() {
        let square = r#"{"type":"Polygon","coordinates":[[[20,52],[22,52,100],[22,53],[20,53],[20,52]]]}"#;
        assert!(polygon(square.as_bytes()).is_ok());
        let feature = format!(r#"{{"type":"Feature","properties":{{"a":[[]]}},"geometry":{square}}}"#);
        assert!(polygon(feature.as_bytes()).is_ok());

        let fault = |text: &str| polygon(text.as_bytes()).unwrap_err();
        for ill_formed in ["", "hello", "[]", r#"{"coordinates":[]}"#, r#"{"type":"Polygon","coordinates":[1]}"#] {
            assert!(matches!(fault(ill_formed), Error::Body(_)), "{ill_formed}");
        }
        let named = [
            (r#"{"type":"Point"}"#, "type"),
            (r#"{"type":"Feature"}"#, "type"),
            (r#"{"type":"Polygon"}"#, "coordinates"),
            (r#"{"type":"Polygon","coordinates":[]}"#, "coordinates"),
            (r#"{"type":"Polygon","coordinates":[[]]}"#, "coordinates"),
            (r#"{"type":"Polygon","coordinates":[[[20,52],[22,52],[20,52]]]}"#, "coordinates"),
            (r#"{"type":"Polygon","coordinates":[[[20],[22,52],[22,53],[20]]]}"#, "coordinates"),
            (r#"{"type":"Polygon","coordinates":[[[20,95],[22,52],[22,53],[20,95]]]}"#, "coordinates"),
        ];
        for (text, wanted) in named {
            assert!(matches!(fault(text), Error::Parameter { name, .. } if name == wanted), "{text}");
        }
    }
}
