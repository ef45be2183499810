//! `/v1/geofences`: to put, show, list and remove a tenant's geofences, and to read their events.

mod events;
mod feature;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;

use self::feature::{Described, Feature};
use super::answer::json;
use super::error::Error;
use super::extract::{self, BodyBounds, FleetReader, Params};
use crate::clock::Clock;
use crate::follow::{Applied, Changes, Condition, Kept, Outbox, Refused};
use crate::ids::FenceId;
use crate::journal::CHANGE_BODY_BYTES_MAX;

/// Geofences in a list that names no `limit`.
const LIMIT_DEFAULT: usize = 100;

/// Highest `limit` of a list.
const LIMIT_MAX: usize = 1_000;

/// Bytes of descriptions in one list, before the one that goes beyond.
const LIST_BYTES_MAX: usize = 8 << 20;

/// What the engine has of geofences.
#[derive(Clone, Debug)]
pub struct Fences {
    /// The way to change them, and those in force.
    pub changes: Changes,
    /// Their events.
    pub outbox: Outbox,
}

/// What the handlers need.
#[derive(Clone, Debug)]
pub(super) struct Geofences {
    pub(super) clock: Clock,
    pub(super) fences: Fences,
    pub(super) body: BodyBounds,
}

pub(super) fn routes(geofences: Geofences) -> Router {
    Router::new()
        .route("/v1/geofences", get(list))
        .route("/v1/geofences/events", get(events::list))
        .route("/v1/geofences/{id}", get(show).put(put).delete(remove))
        .with_state(geofences)
}

/// The geofence `{id}` of the path. It need not exist.
struct Id(FenceId);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|error| Error::parameter("id", error.to_string()))?;
        let (_, id) = params.iter().find(|(name, _)| *name == "id").ok_or(Error::Internal)?;
        FenceId::new(id).map(Self).map_err(|error| Error::parameter("id", error.to_string()))
    }
}

async fn show(
    State(geofences): State<Geofences>,
    FleetReader(principal): FleetReader,
    Id(id): Id,
) -> Result<Response, Error> {
    let kept = geofences.fences.changes.registry().get(principal.tenant.as_str(), id.as_str());
    let kept = kept.ok_or_else(|| Error::UnknownGeofence(id.to_string()))?;
    Ok(with_tag(json(StatusCode::OK, &Feature::of(&id, &kept)?), kept.version))
}

async fn put(
    State(geofences): State<Geofences>,
    FleetReader(principal): FleetReader,
    Id(id): Id,
    request: Request<Body>,
) -> Result<Response, Error> {
    let (parts, body) = request.into_parts();
    let condition = condition(&parts.headers)?;
    let body = extract::body(&parts.headers, body, geofences.body).await?;
    let at = id.clone();
    // Large polygons take milliseconds.
    let read = tokio::task::spawn_blocking(move || feature::read(&at, &body)).await;
    let Described { spec, built_bytes } =
        read.map_err(|error| Error::internal("a geofence could not be read", &error))??;
    let changes = &geofences.fences.changes;
    let ticket = changes.put(&principal.tenant, &id, (&spec, built_bytes), &condition, geofences.clock.now());
    let ticket = ticket.map_err(|refused| error(refused, &id))?;
    let existed = ticket.existed;
    let Applied { version, in_force } = changes.finish(ticket).await.map_err(|refused| error(refused, &id))?;
    let status = match (in_force, existed) {
        (false, _) => StatusCode::ACCEPTED,
        (true, true) => StatusCode::OK,
        (true, false) => StatusCode::CREATED,
    };
    let kept = Kept { version, spec: spec.into(), built_bytes };
    Ok(with_tag(json(status, &Feature::of(&id, &kept)?), version))
}

async fn remove(
    State(geofences): State<Geofences>,
    FleetReader(principal): FleetReader,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<StatusCode, Error> {
    let condition = condition(&headers)?;
    let changes = &geofences.fences.changes;
    let ticket = changes.remove(&principal.tenant, &id, &condition, geofences.clock.now());
    let ticket = ticket.map_err(|refused| error(refused, &id))?;
    let applied = changes.finish(ticket).await.map_err(|refused| error(refused, &id))?;
    Ok(if applied.in_force { StatusCode::NO_CONTENT } else { StatusCode::ACCEPTED })
}

#[derive(Serialize)]
struct Collection<'a> {
    r#type: &'static str,
    features: Vec<Feature<'a>>,
    /// Behind which the next page begins; none after the last.
    next_cursor: Option<&'a str>,
}

async fn list(
    State(geofences): State<Geofences>,
    FleetReader(principal): FleetReader,
    params: Params,
) -> Result<Response, Error> {
    let limit = params.whole("limit", 1..=LIMIT_MAX)?.unwrap_or(LIMIT_DEFAULT);
    let after = params.parsed("cursor", |text| FenceId::new(text).ok(), || "the next_cursor of another page")?;
    let registry = geofences.fences.changes;
    let answer = move || {
        let (page, has_more) =
            registry.registry().list(principal.tenant.as_str(), after.as_ref(), limit, LIST_BYTES_MAX);
        let features: Result<Vec<_>, Error> = page.iter().map(|(id, kept)| Feature::of(id, kept)).collect();
        let next_cursor = page.last().filter(|_| has_more).map(|(id, _)| id.as_str());
        let collection = features.map(|features| Collection { r#type: "FeatureCollection", features, next_cursor });
        collection.map_or_else(IntoResponse::into_response, |collection| json(StatusCode::OK, &collection))
    };
    let answer = tokio::task::spawn_blocking(answer).await;
    answer.map_err(|error| Error::internal("an answer could not be made", &error))
}

fn with_tag(mut response: Response, version: u64) -> Response {
    if let Ok(tag) = HeaderValue::try_from(format!("\"{version}\"")) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// What the headers want of the fence as it is [RFC 9110, 13.1]. Of `If-None-Match` only `*` has a meaning here.
fn condition(headers: &HeaderMap) -> Result<Condition, Error> {
    let text = |name| {
        let values: Result<Vec<&str>, _> = headers.get_all(name).iter().map(HeaderValue::to_str).collect();
        values.map(|values| values.join(","))
    };
    let malformed = |name| Error::parameter(name, "wants * or entity tags in quotes");
    let wanted = text(IF_MATCH).map_err(|_| malformed("If-Match"))?;
    let unwanted = text(IF_NONE_MATCH).map_err(|_| malformed("If-None-Match"))?;
    match (wanted.trim(), unwanted.trim()) {
        ("", "") => Ok(Condition::None),
        ("", "*") => Ok(Condition::Absent),
        ("*", "") => Ok(Condition::Exists),
        (tags, "") => {
            let version = |tag: &str| {
                let tag = tag.trim();
                // One that is not ours is of no version.
                tag.strip_prefix('"')?.strip_suffix('"').map(|digits| digits.parse().ok())
            };
            let versions: Option<Vec<Option<u64>>> = tags.split(',').map(version).collect();
            let versions = versions.ok_or_else(|| malformed("If-Match"))?;
            Ok(Condition::Versions(versions.into_iter().flatten().collect()))
        }
        _ => Err(Error::parameter("If-None-Match", "wants * and no If-Match beside it")),
    }
}

fn error(refused: Refused, id: &FenceId) -> Error {
    match refused {
        Refused::Unknown => Error::UnknownGeofence(id.to_string()),
        Refused::Condition => Error::Precondition(refused.to_string()),
        Refused::TenantFull { .. } | Refused::Full => Error::Conflict(refused.to_string()),
        Refused::TooLong => Error::BodyTooLarge { bytes_max: CHANGE_BODY_BYTES_MAX },
        Refused::Unavailable => Error::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_from_headers() {
        let read = |headers: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, HeaderValue::from_static(value));
            }
            condition(&map)
        };
        let versions = |versions: &[u64]| Condition::Versions(versions.to_vec());
        assert_eq!(read(&[]).unwrap(), Condition::None);
        assert_eq!(read(&[("if-match", "*")]).unwrap(), Condition::Exists);
        assert_eq!(read(&[("if-none-match", "*")]).unwrap(), Condition::Absent);
        assert_eq!(read(&[("if-match", "\"7\"")]).unwrap(), versions(&[7]));
        assert_eq!(read(&[("if-match", "\"7\", \"8\""), ("if-match", "\"x\"")]).unwrap(), versions(&[7, 8]));
        for bad in [
            &[("if-match", "7")][..],
            &[("if-match", "W/\"7\"")],
            &[("if-none-match", "\"7\"")],
            &[("if-match", "*"), ("if-none-match", "*")],
        ] {
            assert!(matches!(read(bad), Err(Error::Parameter { .. })), "{bad:?}");
        }
    }
}
