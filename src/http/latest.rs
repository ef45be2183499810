//! `GET /v1/drivers/{id}/location`: a driver's newest accepted fix.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::answer::APPLICATION_JSON;
use super::error::Error;
use super::extract::Driver;
use crate::geo::GeoIndex;
use crate::wire::native;

pub(super) fn routes(geo: Arc<GeoIndex>) -> Router {
    Router::new().route("/v1/drivers/{id}/location", get(get_location)).with_state(geo)
}

async fn get_location(State(geo): State<Arc<GeoIndex>>, Driver(driver): Driver) -> Result<Response, Error> {
    let id = driver.driver().as_str();
    let fix = geo
        .fleet(driver.tenant().as_str())
        .and_then(|fleet| fleet.latest(id))
        .ok_or_else(|| Error::UnknownDriver(id.into()))?;
    let mut body = Vec::new();
    native::encode(id, &fix, &mut body);
    Ok(([(CONTENT_TYPE, APPLICATION_JSON)], body).into_response())
}
