//! `GET /v1/drivers/{id}/rejections`: the last fixes of a driver that were refused, and why.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;

use super::answer::{Rfc3339, json};
use super::error::Error;
use super::extract::{self, Driver, Params};
use crate::auth::Principal;
use crate::geo::GeoIndex;
use crate::rejected::{Recorder, Refusal};

/// Highest `limit`. There are fewer in memory.
const LIMIT_MAX: usize = 1_000;

/// What the handler needs.
#[derive(Clone, Debug)]
pub(super) struct Rejections {
    /// `None`: nothing is kept.
    pub(super) recorder: Option<Recorder>,
    pub(super) geo: Arc<GeoIndex>,
}

pub(super) fn routes(rejections: Rejections) -> Router {
    Router::new().route("/v1/drivers/{id}/rejections", get(get_rejections)).with_state(rejections)
}

async fn get_rejections(
    State(rejections): State<Rejections>,
    principal: Principal,
    Driver(driver): Driver,
    params: Params,
) -> Result<Response, Error> {
    if !principal.may_see_rejections(driver.driver()) {
        return Err(extract::forbidden(&principal));
    }
    let limit = params.whole("limit", 1..=LIMIT_MAX)?.unwrap_or(LIMIT_MAX);
    let id = driver.driver().as_str();
    let refusals = rejections.recorder.map(|recorder| recorder.recent(&driver, limit)).unwrap_or_default();
    // A driver that never had a good fix may well have bad ones.
    let is_known = || rejections.geo.fleet(driver.tenant().as_str()).and_then(|fleet| fleet.latest(id)).is_some();
    if refusals.is_empty() && !is_known() {
        return Err(Error::UnknownDriver(id.into()));
    }
    let rejections = refusals.iter().map(|refusal| Shown::of(refusal)).collect();
    Ok(json(StatusCode::OK, &Answer { driver_id: id, rejections }))
}

#[derive(Debug, Serialize)]
struct Answer<'a> {
    driver_id: &'a str,
    /// Newest first.
    rejections: Vec<Shown<'a>>,
}

#[derive(Debug, Serialize)]
struct Shown<'a> {
    received_at: Rfc3339,
    reason: &'static str,
    codec: &'static str,
    /// Of how many fixes, where a payload of several could not be taken apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    fixes: Option<u32>,
    /// There, and true, if more came than is shown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
    /// There if it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    /// There if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_hex: Option<String>,
}

impl<'a> Shown<'a> {
    fn of(refusal: &'a Refusal) -> Self {
        let text = refusal.payload.text();
        Self {
            received_at: Rfc3339(refusal.received_at),
            reason: refusal.reason.as_str(),
            codec: refusal.codec.as_str(),
            fixes: Some(refusal.fixes).filter(|fixes| *fixes > 1),
            cut: refusal.payload.is_cut(),
            payload: text,
            payload_hex: text.is_none().then(|| refusal.payload.hex().to_string()),
        }
    }
}
