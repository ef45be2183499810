//! The HTTP door: a public API and an operator's port, each a router over the same accept loop.
//!
//! A file is a resource; [`error`] alone knows statuses. Handlers take what they need and no more: [`State`] is what the
//! engine hands in, and [`router`] shares it out.

mod answer;
mod backup;
mod basic;
mod books;
mod config;
mod credentials;
mod density;
mod drivers;
mod error;
mod extract;
mod geofences;
mod guard;
mod ingest;
mod latest;
mod nearest;
mod operator;
mod osmand;
mod owntracks;
mod presence;
mod rejections;
mod routes;
mod server;
mod stall;
mod track;
mod within;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio::time;

pub use self::books::collect_fixes;
pub use self::config::{AdminConfig, Config};
pub use self::error::Error;
use self::extract::BodyBounds;
pub use self::geofences::Fences;
use self::guard::Guard;
pub use self::operator::Operator;
pub use self::routes::Routes;
pub use self::server::{Bounds, serve};
use crate::auth::Authority;
use crate::clock::Clock;
use crate::geo::GeoIndex;
use crate::pipeline::Ingress;
use crate::rejected::Recorder;

/// What the public API is built from.
#[derive(Clone, Debug)]
pub struct State {
    /// Receive times, and the ages that count from them.
    pub clock: Clock,
    /// Latest positions.
    pub geo: Arc<GeoIndex>,
    /// The way into the pipeline, and to tracks.
    pub ingress: Ingress,
    /// What was refused; `None`: nothing is kept of it.
    pub recorder: Option<Recorder>,
    /// Geofences; `None`: there are none.
    pub fences: Option<Fences>,
    /// Who says who asks.
    pub authority: Authority,
    /// `geo.offline_after_s` in milliseconds.
    pub offline_after_ms: i64,
}

/// The public API.
pub fn router(state: State, config: &Config) -> Router {
    let State { clock, geo, ingress, recorder, fences, authority, offline_after_ms } = state;
    let body = BodyBounds { bytes_max: config.body_bytes_max, timeout: config.body_timeout() };
    let ingest = ingest::Ingest { clock: clock.clone(), ingress: ingress.clone(), body, fixes_max: config.fixes_max };
    let nearest = nearest::Nearest { clock: clock.clone(), geo: Arc::clone(&geo), offline_after_ms };
    let geofences = fences.map(|fences| geofences::Geofences { clock: clock.clone(), fences, body });
    let within = within::Within { clock, geo: Arc::clone(&geo), offline_after_ms, body };
    let rejections = rejections::Rejections { recorder, geo: Arc::clone(&geo) };
    let routes = Router::new()
        .merge(osmand::routes(ingest.clone()))
        .merge(owntracks::routes(ingest.clone()))
        .merge(ingest::routes(ingest))
        .merge(nearest::routes(nearest))
        .merge(within::routes(within))
        .merge(density::routes(Arc::clone(&geo)))
        .merge(latest::routes(geo))
        .merge(rejections::routes(rejections))
        .merge(geofences.map_or_else(Router::new, geofences::routes))
        .merge(track::routes(ingress));
    finish(routes, Guard { authority, is_operators: false }, config.request_timeout())
}

/// The public API of an engine that is starting: every request is refused, and told to come again.
pub fn unready_router(authority: Authority, config: &Config) -> Router {
    let guard = Guard { authority, is_operators: false };
    guarded(Router::new().fallback(|| async { Error::Starting }), guard, config.request_timeout())
}

/// The operator's port.
pub fn operator_router(operator: Operator, authority: Authority, config: &Config) -> Router {
    let guard = Guard { authority, is_operators: true };
    finish(operator::routes(operator), guard, config.request_timeout())
}

/// What stands around the routes of both ports: answers for unknown paths and methods, and what [`guarded`] adds.
fn finish(routes: Router, guard: Guard, timeout: Duration) -> Router {
    let routes =
        routes.fallback(|| async { Error::UnknownPath }).method_not_allowed_fallback(|| async { Error::Method });
    guarded(routes, guard, timeout)
}

/// A bound in time, and the guard before everything.
fn guarded(routes: Router, guard: Guard, timeout: Duration) -> Router {
    routes
        .layer(middleware::from_fn(move |request: Request, next: Next| bounded(timeout, request, next)))
        .layer(middleware::from_fn_with_state(guard, guard::admit))
}

async fn bounded(timeout: Duration, request: Request, next: Next) -> Response {
    match time::timeout(timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Error::Unavailable.into_response(),
    }
}

#[cfg(test)]
mod tests;
