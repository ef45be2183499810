//! `GET|POST /osmand`: OsmAnd, Traccar Client and whatever else speaks the OsmAnd protocol. The parameters are in the query or
//! in a form; newer Traccar Clients post JSON to the same path.
//!
//! OsmAnd and Traccar Client forget a fix that is answered with 2xx, and send it again, with all others waiting behind it, for
//! anything else, whatever its code. So 200 says that the fix was judged, and that it is durable if it was stored; one that was
//! refused or cannot be read is counted and on record, and sending it again would change nothing. 400 is for a request that
//! names no driver, which nothing can be made of until somebody sets the app right.
//!
//! Whoever is a driver by its credentials need not name one, and may name no other.

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;

use super::error::Error;
use super::extract;
use super::ingest::Ingest;
use crate::auth::Principal;
use crate::codec::Codec;
use crate::wire::{osmand, traccar};

/// Where a browser says whose page has it ask.
const SEC_FETCH_SITE: &str = "sec-fetch-site";

pub(super) fn routes(ingest: Ingest) -> Router {
    Router::new().route("/osmand", get(take).head(refuse_head).post(take)).with_state(ingest)
}

async fn take(State(ingest): State<Ingest>, principal: Principal, request: Request<Body>) -> Result<StatusCode, Error> {
    let (parts, body) = request.into_parts();
    refuse_foreign_page(&parts.headers)?;
    let body = extract::body(&parts.headers, body, ingest.body).await?;
    let query = parts.uri.query().unwrap_or_default().as_bytes();
    let (codec, payload) = if is_json(&parts.headers, &body) {
        (Codec::Traccar, &*body)
    } else {
        (Codec::OsmAnd, if query.is_empty() { &*body } else { query })
    };
    let (parameter, driver) = match codec {
        Codec::Traccar => ("device_id", traccar::device_id(payload)),
        _ => ("id", osmand::device_id(payload)),
    };
    let own = || principal.driver.as_ref().map(|driver| driver.as_str().into());
    let driver = extract::required(parameter, driver.or_else(own))?;
    let driver = ingest.route_for(&principal, &driver, parameter)?;
    ingest.judge(driver, codec, payload).await?;
    Ok(StatusCode::OK)
}

/// HEAD asks what GET would answer and must not have the effect of it, which is to store.
async fn refuse_head() -> impl IntoResponse {
    ([(ALLOW, "GET,POST")], Error::Method)
}

/// A page of somewhere else can have a browser GET this address without an `Origin`, which the guard looks at: nothing of
/// the API but this stores by GET.
fn refuse_foreign_page(headers: &HeaderMap) -> Result<(), Error> {
    if headers.get_all(SEC_FETCH_SITE).iter().any(|site| site == "cross-site") {
        return Err(Error::Forbidden("a page of another site asks for this".into()));
    }
    Ok(())
}

/// Whether a body is JSON: some clients say so, and of others it shows.
fn is_json(headers: &HeaderMap, body: &[u8]) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.and_then(|value| value.split(';').next()).map_or("", str::trim);
    !body.is_empty()
        && (media_type.eq_ignore_ascii_case("application/json") || body.trim_ascii_start().first() == Some(&b'{'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_told_by_its_type_or_its_beginning() {
        let cases: &[(&str, &str, bool)] = &[
            ("application/json; charset=utf-8", "id=1", true),
            ("Application/JSON", "{}", true),
            ("application/x-www-form-urlencoded", "id=1&lat=2", false),
            ("application/x-www-form-urlencoded", " {\"device_id\":\"1\"}", true),
            ("", "{", true),
            ("application/json", "", false),
        ];
        for (media_type, body, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, media_type.parse().unwrap());
            assert_eq!(is_json(&headers, body.as_bytes()), *expected, "{media_type} {body}");
        }
        assert!(is_json(&HeaderMap::new(), b"{}") && !is_json(&HeaderMap::new(), b"id=1"));
    }
}
