//! `GET /v1/geofences/events`: what drivers did at a tenant's geofences, oldest first, as long as it is kept.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Geofences;
use crate::follow::Event;
use crate::http::answer::json;
use crate::http::error::Error;
use crate::http::extract::{FleetReader, Params};

/// Events in an answer to whoever names no `limit`.
const LIMIT_DEFAULT: usize = 100;

/// Highest `limit`.
const LIMIT_MAX: usize = 1_000;

#[derive(Serialize)]
struct Events<'a> {
    events: &'a [Box<RawValue>],
    /// For the `after` of the next request: the last event here, or what was asked for if there is none.
    next_after: u64,
    /// Whether there are more already.
    has_more: bool,
    /// There, and true, if events of any tenant behind `after` are no longer kept.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

pub(super) async fn list(
    State(geofences): State<Geofences>,
    FleetReader(principal): FleetReader,
    params: Params,
) -> Result<Response, Error> {
    let after = params.parsed("after", |text| text.parse().ok(), || "the next_after of another answer, or 0")?;
    let limit = params.whole("limit", 1..=LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT);
    let after: u64 = after.unwrap_or_default();
    let outbox = geofences.fences.outbox;
    let read = move || outbox.of_tenant(&principal.tenant, after, limit);
    let read = tokio::task::spawn_blocking(read).await;
    let read = read.map_err(|error| Error::internal("an answer could not be made", &error))?;
    let page = read.map_err(|error| Error::internal("events cannot be read", &error))?;
    let events: serde_json::Result<Vec<_>> = page.events.iter().map(shown).collect();
    let events = events.map_err(|error| Error::internal("an event does not read", &error))?;
    let next_after = page.events.last().map_or(after, |event| event.sequence);
    let truncated = after < page.dropped;
    Ok(json(StatusCode::OK, &Events { events: &events, next_after, has_more: page.has_more, truncated }))
}

/// The event as it was told, with its place in front.
fn shown(event: &Event) -> serde_json::Result<Box<RawValue>> {
    let told = String::from_utf8_lossy(&event.body);
    let members = told.strip_prefix('{').unwrap_or_default();
    RawValue::from_string(format!(r#"{{"sequence":{},{members}"#, event.sequence))
}
