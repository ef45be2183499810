//! Answers in JSON.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::error::Error;
use super::presence::Shown;

/// The media type of every answer that is not an error or asked for in another form.
pub(super) const APPLICATION_JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer of this shape.
pub(super) fn json(status: StatusCode, shape: &impl Serialize) -> Response {
    match serde_json::to_vec(shape) {
        Ok(body) => (status, [(CONTENT_TYPE, APPLICATION_JSON)], body).into_response(),
        Err(error) => Error::internal("an answer could not be written as json", &error).into_response(),
    }
}

/// Most drivers in an answer that is made where it is asked for; handing it over would take longer than making it.
const DRIVERS_AT_ONCE_MAX: usize = 100;

/// Makes an answer of up to so many drivers: a large one on a thread of its own, so that no other request waits behind it.
pub(super) async fn aside(drivers_max: usize, answer: impl FnOnce() -> Response + Send + 'static) -> Response {
    if drivers_max <= DRIVERS_AT_ONCE_MAX {
        return answer();
    }
    match tokio::task::spawn_blocking(answer).await {
        Ok(response) => response,
        Err(error) => Error::internal("an answer could not be made", &error).into_response(),
    }
}

/// What `nearest` and `within` answer.
#[derive(Debug, Serialize)]
pub(super) struct Drivers<'a> {
    pub(super) drivers: Vec<Shown<'a>>,
    /// How many are in `drivers`.
    pub(super) count: usize,
    /// There, and true, if more are inside than an answer holds.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) truncated: bool,
    /// Of `nearest`: what to ask with for those that follow, and `null` if that is all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_cursor: Option<Option<String>>,
}
