//! Answers in JSON.

use std::fmt;

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Serialize, Serializer};

use super::error::Error;
use crate::units::TimestampMs;
use crate::wire::time::write_rfc3339;

/// The media type of every answer that is not an error or asked for in another form.
pub(super) const APPLICATION_JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer of this shape.
pub(super) fn json(status: StatusCode, shape: &impl Serialize) -> Response {
    match serde_json::to_vec(shape) {
        Ok(body) => written(status, body),
        Err(error) => Error::internal("an answer could not be written as json", &error).into_response(),
    }
}

/// An answer that is written already.
pub(super) fn written(status: StatusCode, body: Vec<u8>) -> Response {
    (status, [(CONTENT_TYPE, APPLICATION_JSON)], body).into_response()
}

/// Most drivers in an answer that is made where it is asked for; handing it over would take longer than making it.
const DRIVERS_AT_ONCE_MAX: usize = 100;

/// Makes an answer that looks at about so many drivers: a large one on a thread of its own, so that no other request waits
/// behind it.
pub(super) async fn aside(drivers_max: usize, answer: impl FnOnce() -> Response + Send + 'static) -> Response {
    if drivers_max <= DRIVERS_AT_ONCE_MAX {
        return answer();
    }
    match tokio::task::spawn_blocking(answer).await {
        Ok(response) => response,
        Err(error) => Error::internal("an answer could not be made", &error).into_response(),
    }
}

/// A number that is shown without a point if it is whole, as the `location` shape shows its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decimal(pub(super) f64);

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let whole = self.0 as i64;
        if whole as f64 == self.0 { serializer.serialize_i64(whole) } else { serializer.serialize_f64(self.0) }
    }
}

/// An instant that is shown as RFC 3339, in UTC.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rfc3339(pub(super) TimestampMs);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(24);
        write_rfc3339(self.0, &mut text);
        formatter.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
