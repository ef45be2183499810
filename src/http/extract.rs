//! What handlers take from a request: the principal, the driver in the path, parameters of the query, a bounded body.
//! Whatever is wrong is named by its parameter.

use std::fmt::Display;
use std::future::poll_fn;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{FromRequestParts, Query, RawPathParams};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use tokio::time;

use super::error::Error;
use crate::auth::Principal;
use crate::ids::{DriverId, DriverKey};
use crate::units::TimestampMs;
use crate::wire;

impl<S: Sync> FromRequestParts<S> for Principal {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        // A route that the guard does not stand before serves nobody.
        parts.extensions.get().cloned().ok_or(Error::Internal)
    }
}

/// Whoever may see where all drivers of its tenant are.
#[derive(Debug)]
pub(super) struct FleetReader(pub(super) Principal);

impl<S: Sync> FromRequestParts<S> for FleetReader {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let principal = Principal::from_request_parts(parts, state).await?;
        if principal.may_see_fleet() { Ok(Self(principal)) } else { Err(forbidden(&principal)) }
    }
}

/// What a role has no right to. Whether what was asked for exists does not show.
pub(super) fn forbidden(principal: &Principal) -> Error {
    Error::Forbidden(match &principal.driver {
        Some(driver) if principal.role.is_driver() => {
            format!("a {} has access to its own driver, {driver}", principal.role.as_str())
        }
        _ => format!("a {} may not do this", principal.role.as_str()),
    })
}

/// The driver `{id}` of the path, of the principal's tenant. It need not exist. The principal may see it, and where the
/// method is not one that only reads, report its fixes.
#[derive(Debug)]
pub(super) struct Driver(pub(super) Arc<DriverKey>);

impl<S: Send + Sync> FromRequestParts<S> for Driver {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let principal = Principal::from_request_parts(parts, state).await?;
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|error| Error::parameter("id", error.to_string()))?;
        let (_, id) = params.iter().find(|(name, _)| *name == "id").ok_or(Error::Internal)?;
        let driver = DriverId::new(id).map_err(|error| Error::parameter("id", error.to_string()))?;
        let may = if parts.method.is_safe() { principal.may_see(&driver) } else { principal.may_report(&driver) };
        if !may {
            return Err(forbidden(&principal));
        }
        Ok(Self(Arc::new(DriverKey::new(principal.tenant, driver))))
    }
}

/// The parameters of the query, decoded. Those that nobody asks for are ignored.
#[derive(Debug)]
pub(super) struct Params(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        Self::of(&parts.uri)
    }
}

impl Params {
    /// Those of this target.
    pub(super) fn of(uri: &Uri) -> Result<Self, Error> {
        let Query(pairs) = Query::try_from_uri(uri).map_err(|error| Error::parameter("query", error.to_string()))?;
        Ok(Self(pairs))
    }

    /// The text of a parameter that may be left out but not repeated.
    pub(super) fn text(&self, name: &'static str) -> Result<Option<&str>, Error> {
        let mut values = self.0.iter().filter(|(key, _)| key == name);
        let first = values.next();
        if values.next().is_some() {
            return Err(Error::parameter(name, "is there more than once"));
        }
        Ok(first.map(|(_, value)| value.as_str()))
    }

    /// A decimal number within `range`.
    pub(super) fn number(&self, name: &'static str, range: RangeInclusive<f64>) -> Result<Option<f64>, Error> {
        self.parsed(
            name,
            |text| text.trim().parse().ok().filter(|number| range.contains(number)),
            || format!("a number from {} to {}", range.start(), range.end()),
        )
    }

    /// A whole number within `range`.
    pub(super) fn whole(&self, name: &'static str, range: RangeInclusive<usize>) -> Result<Option<usize>, Error> {
        self.parsed(
            name,
            |text| text.trim().parse().ok().filter(|number| range.contains(number)),
            || format!("a whole number from {} to {}", range.start(), range.end()),
        )
    }

    /// An instant: RFC 3339, or seconds or milliseconds since the epoch.
    pub(super) fn instant(&self, name: &'static str) -> Result<Option<TimestampMs>, Error> {
        self.parsed(name, instant, || "an RFC 3339 date-time or an epoch number")
    }

    /// Reads a parameter with `read`; what it returns `None` for is answered with what is `wanted`.
    pub(super) fn parsed<T, W: Display>(
        &self,
        name: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
        wanted: impl FnOnce() -> W,
    ) -> Result<Option<T>, Error> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match read(text) {
            Some(value) => Ok(Some(value)),
            None => Err(Error::parameter(name, format!("wants {}, found {}", wanted(), quoted(text)))),
        }
    }
}

/// The value of a parameter that has to be there.
pub(super) fn required<T>(name: &'static str, value: Option<T>) -> Result<T, Error> {
    value.ok_or_else(|| Error::parameter(name, "is missing"))
}

/// Characters of a bad value that an answer repeats.
const QUOTED_CHARS_MAX: usize = 40;

fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(QUOTED_CHARS_MAX).collect();
    let dots = if shown.len() < text.len() { "..." } else { "" };
    format!("{shown:?}{dots}")
}

/// Reads an instant. In a query a bare `+` means a space, so that `12:00:00+02:00` arrives as `12:00:00 02:00`.
fn instant(text: &str) -> Option<TimestampMs> {
    let text = text.trim();
    wire::time::parse(text.as_bytes()).or_else(|| {
        let (local, offset) = text.rsplit_once(' ')?;
        wire::time::parse(format!("{local}+{offset}").as_bytes())
    })
}

/// What a body may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyBounds {
    /// Its length.
    pub(super) bytes_max: usize,
    /// The time until its end has arrived.
    pub(super) timeout: Duration,
}

/// Room that is made before any of the body has come, so that nobody is given memory for a length that he only names.
const BODY_BYTES_AHEAD_MAX: usize = 16 * 1_024;

/// How many times `bytes_max` of a body that is too long are read and dropped before the answer: most clients listen only
/// when they have sent everything, and closing before would cost them the answer.
const BODY_OVERRUN_FACTOR: usize = 16;

/// Reads a whole body.
pub(super) async fn body(headers: &HeaderMap, body: Body, bounds: BodyBounds) -> Result<Vec<u8>, Error> {
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Error::BodyEncoded);
    }
    let named = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if named.is_some_and(|length| length > bounds.bytes_max.saturating_mul(BODY_OVERRUN_FACTOR)) {
        return Err(Error::BodyTooLarge { bytes_max: bounds.bytes_max });
    }
    match time::timeout(bounds.timeout, collect(named, body, bounds.bytes_max)).await {
        Ok(read) => read,
        Err(_) => Err(Error::BodyTimeout { seconds: bounds.timeout.as_secs() }),
    }
}

async fn collect(named: Option<usize>, mut body: Body, bytes_max: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(named.unwrap_or_default().min(bytes_max).min(BODY_BYTES_AHEAD_MAX));
    let mut length: usize = 0;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|error| Error::Body(error.to_string()))?;
        // Frames that are not data are trailers, which mean nothing here.
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length > bytes_max.saturating_mul(BODY_OVERRUN_FACTOR) {
            break;
        }
        if length <= bytes_max {
            bytes.extend_from_slice(&data);
        } else {
            bytes = Vec::new();
        }
    }
    if length > bytes_max { Err(Error::BodyTooLarge { bytes_max }) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        Params::of(&format!("/?{query}").parse().unwrap()).unwrap()
    }

    fn complaint<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn numbers_keep_to_their_range() {
        let params = params("lat=52.5&far=91&odd=x&none=&nan=NaN&inf=inf&limit=7&many=1001");
        assert_eq!(params.number("lat", -90.0..=90.0).unwrap(), Some(52.5));
        assert_eq!(params.number("lon", -180.0..=180.0).unwrap(), None);
        for bad in ["far", "odd", "none", "nan", "inf"] {
            assert!(params.number(bad, -90.0..=90.0).is_err(), "{bad}");
        }
        assert_eq!(complaint(params.number("far", -90.0..=90.0)), r#"far: wants a number from -90 to 90, found "91""#);
        assert_eq!(params.whole("limit", 1..=1_000).unwrap(), Some(7));
        assert!(params.whole("many", 1..=1_000).is_err());
        assert!(params.whole("lat", 1..=1_000).is_err());
    }

    #[test]
    fn a_parameter_stands_once() {
        assert_eq!(complaint(params("a=1&a=1").text("a")), "a: is there more than once");
        assert_eq!(complaint(required::<f64>("lat", None)), "lat: is missing");
    }

    #[test]
    fn instants_in_every_form_that_clients_send() {
        let wanted = Some(TimestampMs(1_708_093_024_000));
        let forms = [
            "t=2024-02-16T14:17:04Z",
            "t=2024-02-16T15:17:04+01:00",
            "t=2024-02-16T15:17:04%2B01:00",
            "t=2024-02-16%2015:17:04%2B01:00",
            "t=1708093024",
            "t=1708093024000",
            "t=1708093024.0004",
        ];
        for form in forms {
            assert_eq!(params(form).instant("t").unwrap(), wanted, "{form}");
        }
        for bad in ["t=", "t=yesterday", "t=2024-02-30T00:00:00Z"] {
            assert!(params(bad).instant("t").is_err(), "{bad}");
        }
    }

    #[test]
    fn a_long_bad_value_is_cut() {
        assert_eq!(quoted(&"ä".repeat(50)), format!("\"{}\"...", "ä".repeat(40)));
    }

    const BOUNDS: BodyBounds = BodyBounds { bytes_max: 10, timeout: Duration::from_millis(50) };

    #[tokio::test]
    async fn bodies_are_read_up_to_their_bound() {
        let headers = HeaderMap::new();
        assert_eq!(body(&headers, Body::from("0123456789"), BOUNDS).await.unwrap(), b"0123456789");
        assert_eq!(body(&headers, Body::empty(), BOUNDS).await.unwrap(), b"");
        for length in [11, 160, 161, 100_000] {
            let long = body(&headers, Body::from("x".repeat(length)), BOUNDS).await;
            assert!(matches!(long, Err(Error::BodyTooLarge { bytes_max: 10 })), "{length}");
        }
    }

    #[tokio::test]
    async fn a_body_that_names_too_great_a_length_is_not_waited_for() {
        let headers = HeaderMap::from_iter([(CONTENT_LENGTH, "1000000".parse().unwrap())]);
        assert!(matches!(body(&headers, Body::empty(), BOUNDS).await, Err(Error::BodyTooLarge { .. })));
    }
}
