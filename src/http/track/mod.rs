//! `GET /v1/drivers/{id}/track`: a driver's history, oldest first, a page at a time, in four forms.

mod csv;
mod cursor;
mod format;
mod geojson;
mod gpx;
mod json;
mod text;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, LINK, VARY};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use self::format::Format;
use super::error::Error;
use super::extract::{Driver, Params};
use crate::limits::TRACK_LIMIT_MAX;
use crate::pipeline::{Ingress, TrackError};
use crate::units::TimestampMs;
use crate::wire::time::{EARLIEST, LATEST};

/// Names the next page's cursor beside forms that have no place for it.
const NEXT_CURSOR: HeaderName = HeaderName::from_static("rhumb-next-cursor");

pub(super) fn routes(ingress: Ingress) -> Router {
    Router::new().route("/v1/drivers/{id}/track", get(get_track)).with_state(ingress)
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
struct Query {
    from: TimestampMs,
    to: TimestampMs,
    limit: usize,
    format: Format,
}

impl Query {
    fn of(params: &Params, headers: &HeaderMap) -> Result<Self, Error> {
        let from = params.instant("from")?.unwrap_or(EARLIEST);
        let to = params.instant("to")?.unwrap_or(LATEST.saturating_add_ms(1));
        if from > to {
            return Err(Error::parameter("from", "is later than to"));
        }
        let limit = params.whole("limit", 1..=TRACK_LIMIT_MAX)?.unwrap_or(TRACK_LIMIT_MAX);
        let next = params.parsed("cursor", cursor::read, || "the next_cursor of an earlier page")?;
        let format = params.parsed("format", Format::parse, || Format::NAMES)?;
        let format = format.unwrap_or_else(|| Format::accepted(headers));
        Ok(Self { from: next.map_or(from, |next| next.max(from)), to, limit, format })
    }
}

async fn get_track(
    State(ingress): State<Ingress>,
    Driver(driver): Driver,
    params: Params,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let query = Query::of(&params, &headers)?;
    let (tenant, id) = (driver.tenant().as_str(), driver.driver().as_str());
    // One more than asked for tells whether there is a next page.
    let found = ingress.track(tenant, id, query.from, query.to, query.limit + 1).await?;
    let mut fixes = found.ok_or_else(|| Error::UnknownDriver(id.into()))?;
    let has_next = fixes.len() > query.limit;
    fixes.truncate(query.limit);
    // From just after the last one, not from the next one: a late fix between the two is not skipped.
    let next = fixes.last().filter(|_| has_next).map(|last| cursor::write(last.time.saturating_add_ms(1)));

    let next = next.as_deref();
    let body = match query.format {
        Format::Json => json::write(id, &fixes, next),
        Format::GeoJson => geojson::write(id, &fixes, next),
        Format::Csv => csv::write(id, &fixes),
        Format::Gpx => gpx::write(id, &fixes),
    };
    let head = [(CONTENT_TYPE, query.format.content_type()), (VARY, HeaderValue::from_static("accept"))];
    let mut response = (head, body).into_response();
    if let Some(next) = next {
        let headers = response.headers_mut();
        headers.extend(HeaderValue::from_str(next).map(|next| (NEXT_CURSOR, next)));
        headers.extend(HeaderValue::try_from(link(&uri, next)).map(|link| (LINK, link)));
    }
    Ok(response)
}

/// RFC 8288: the same request with the next page's cursor.
fn link(uri: &Uri, next: &str) -> String {
    let kept =
        uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
    let query: String = kept.flat_map(|pair| [pair, "&"]).collect();
    format!("<{}?{query}cursor={next}>; rel=\"next\"", uri.path())
}

impl From<TrackError> for Error {
    fn from(error: TrackError) -> Self {
        match error {
            TrackError::Unavailable(_) => Self::Unavailable,
            TrackError::Store(_) => Self::internal("a track could not be read", &error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fix::Fix;
    use crate::units::Position;

    /// A fix of which only the place and the time are known.
    pub(super) fn bare() -> Fix {
        let fix = Fix::at(TimestampMs(1_708_093_024_000), Position::from_degrees(52.1, 21.0).unwrap());
        Fix { received_at: TimestampMs(1_708_093_025_000), ..fix }
    }

    /// A fix of which everything is known, on the antimeridian and as near to the equator as a fix can be.
    pub(super) fn full() -> Fix {
        Fix {
            time: TimestampMs(1_708_093_034_250),
            received_at: TimestampMs(1_708_093_035_000),
            position: Position { latitude_e7: -1, longitude_e7: 1_800_000_000 },
            speed_mmps: Some(8_300),
            heading_cdeg: Some(27_000),
            altitude_cm: Some(11_250),
            accuracy_cm: Some(400),
            hdop_centi: Some(90),
            seq: Some(7),
            battery_percent: Some(80),
            satellites: Some(9),
        }
    }

    fn asked(text: &str) -> Result<Query, Error> {
        Query::of(&Params::of(&format!("/?{text}").parse().unwrap()).unwrap(), &HeaderMap::new())
    }

    #[test]
    fn everything_is_optional_and_bounded() {
        let all = asked("").unwrap();
        assert_eq!(
            (all.from, all.to, all.limit, all.format),
            (EARLIEST, TimestampMs(LATEST.0 + 1), 1_000, Format::Json)
        );
        let some = asked("from=1708093024&to=2024-02-16T14:17:14Z&limit=5&format=gpx").unwrap();
        let wanted = Query {
            from: TimestampMs(1_708_093_024_000),
            to: TimestampMs(1_708_093_034_000),
            limit: 5,
            format: Format::Gpx,
        };
        assert_eq!(some, wanted);
        let bad = [
            ("from=x", "from"),
            ("to=2024-13-01T00:00:00Z", "to"),
            ("from=20&to=10", "from"),
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("cursor=12", "cursor"),
            ("format=xml", "format"),
        ];
        for (text, wanted) in bad {
            assert!(matches!(asked(text), Err(Error::Parameter { name, .. }) if name == wanted), "{text}");
        }
    }

    #[test]
    fn a_cursor_moves_the_start_and_never_before_from() {
        let cursor = cursor::write(TimestampMs(50_000));
        assert_eq!(asked(&format!("from=10&cursor={cursor}")).unwrap().from, TimestampMs(50_000));
        assert_eq!(asked(&format!("from=90&cursor={cursor}")).unwrap().from, TimestampMs(90_000));
    }

    #[test]
    fn the_link_is_the_same_request_with_another_cursor() {
        let link = |uri: &str| link(&uri.parse().unwrap(), "n");
        assert_eq!(link("/t"), r#"</t?cursor=n>; rel="next""#);
        assert_eq!(link("/t?from=1&cursor=old&format=csv"), r#"</t?from=1&format=csv&cursor=n>; rel="next""#);
    }
}
