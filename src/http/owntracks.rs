//! `POST /owntracks`: OwnTracks apps in their HTTP mode. The driver is `user:device`, as over MQTT.
//!
//! | | user | device |
//! |---|---|---|
//! | headers | `X-Limit-U` | `X-Limit-D` |
//! | query | `u` | `d` |
//! | Basic authentication | its user | |
//! | message | its `topic` | its `topic` |
//!
//! Each is taken from the first place that has it. A user of Basic authentication whose device is nowhere is a driver by
//! itself. Whoever is a driver by its credentials is that one, whatever the app calls itself. The apps want a list of
//! messages for an answer, of which there are none.
//!
//! They keep a message that is not answered with 2xx and send it again, before all that came after it. So 200 says that it was
//! judged, and that its fix is durable if it was stored; one that was refused or cannot be read is counted and on record. 400 is
//! for a message that names no driver.

use std::borrow::Cow;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::post;

use super::answer::json;
use super::basic;
use super::error::Error;
use super::extract::{self, Params};
use super::ingest::Ingest;
use crate::auth::Principal;
use crate::codec::Codec;
use crate::ids::is_driver_id;
use crate::wire::owntracks;

const USER_HEADER: &str = "X-Limit-U";
const DEVICE_HEADER: &str = "X-Limit-D";
const BASIC_HEADER: &str = "Authorization";

pub(super) fn routes(ingest: Ingest) -> Router {
    Router::new().route("/owntracks", post(take)).with_state(ingest)
}

async fn take(
    State(ingest): State<Ingest>,
    principal: Principal,
    params: Params,
    request: Request<Body>,
) -> Result<Response, Error> {
    let (parts, body) = request.into_parts();
    let body = extract::body(&parts.headers, body, ingest.body).await?;
    let nothing: [(); 0] = [];
    if body.is_empty() {
        ingest.ingress.skipped().add(Codec::OwnTracks, 1);
        return Ok(json(StatusCode::OK, &nothing));
    }
    let (driver, parameter) = match &principal.driver {
        Some(own) if principal.role.is_driver() => (own.as_str().to_owned(), BASIC_HEADER),
        _ => driver(&parts.headers, &params, &body)?,
    };
    let driver = ingest.route_for(&principal, &driver, parameter)?;
    ingest.judge(driver, Codec::OwnTracks, &body).await?;
    Ok(json(StatusCode::OK, &nothing))
}

/// A text and where it was found.
type Found<'a> = (&'static str, Cow<'a, str>);

/// Whose message it is, and where most of that was found.
fn driver(headers: &HeaderMap, params: &Params, body: &[u8]) -> Result<(String, &'static str), Error> {
    let topic = owntracks::topic(body);
    let of_topic = topic.as_deref().and_then(|topic| topic.strip_prefix("owntracks/")?.split_once('/'));
    let user = match named(headers, USER_HEADER, params, "u")? {
        Some(user) => Some(user),
        None => basic::user(headers)?.map(|user| (BASIC_HEADER, Cow::Owned(user))),
    };
    let user = user.or_else(|| of_topic.map(|(user, _)| ("topic", Cow::Borrowed(user))));
    let (user_from, user) = extract::required(USER_HEADER, user)?;
    let device = named(headers, DEVICE_HEADER, params, "d")?;
    let device = device.or_else(|| of_topic.map(|(_, device)| ("topic", Cow::Borrowed(device))));
    for (name, text) in
        [Some((user_from, &user)), device.as_ref().map(|(name, text)| (*name, text))].into_iter().flatten()
    {
        if !is_driver_id(text.as_bytes()) {
            return Err(Error::parameter(name, "wants 1 to 64 of A-Z a-z 0-9 . _ : -"));
        }
    }
    match device {
        Some((_, device)) => Ok((format!("{user}:{device}"), user_from)),
        None if user_from == BASIC_HEADER => Ok((user.into_owned(), user_from)),
        None => Err(Error::parameter(DEVICE_HEADER, "is missing")),
    }
}

/// What a header says, or else a parameter of the query; an empty one says nothing.
fn named<'a>(
    headers: &'a HeaderMap,
    header: &'static str,
    params: &'a Params,
    parameter: &'static str,
) -> Result<Option<Found<'a>>, Error> {
    let text = headers.get(header).map(|value| value.to_str().map_err(|_| Error::parameter(header, "is not text")));
    let of_header = text.transpose()?.filter(|text| !text.is_empty()).map(|text| (header, Cow::Borrowed(text)));
    let of_query = params.text(parameter)?.filter(|text| !text.is_empty());
    Ok(of_header.or(of_query.map(|text| (parameter, Cow::Borrowed(text)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Headers<'a> = &'a [(&'static str, &'static str)];

    /// Headers, query, body, and the driver or the name of what is wrong.
    type Case<'a> = (Headers<'a>, &'a str, &'a str, Result<&'a str, &'a str>);

    fn named_by(headers: Headers<'_>, query: &str, body: &str) -> Result<String, String> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let params = Params::of(&format!("/owntracks?{query}").parse().unwrap()).unwrap();
        let found = driver(&headers, &params, body.as_bytes());
        found.map(|(driver, _)| driver).map_err(|error| match error {
            Error::Parameter { name, .. } => name.to_owned(),
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn a_driver_is_named_by_the_first_place_that_does() {
        let (u, d) = (("X-Limit-U", "ann"), ("X-Limit-D", "phone"));
        let basic = ("Authorization", "Basic Ym9iOnNlY3JldA==");
        let topic = r#"{"_type":"location","topic":"owntracks/eve/tab"}"#;
        let cases: &[Case<'_>] = &[
            (&[u, d], "u=x&d=y", topic, Ok("ann:phone")),
            (&[], "u=ann&d=phone", topic, Ok("ann:phone")),
            (&[d, basic], "", "{}", Ok("bob:phone")),
            (&[basic], "", topic, Ok("bob:tab")),
            (&[basic], "", "{}", Ok("bob")),
            (&[], "", topic, Ok("eve:tab")),
            (&[u, basic], "", "{}", Err("X-Limit-D")),
            (&[("X-Limit-U", ""), d, basic], "", "{}", Ok("bob:phone")),
            (&[], "", "{}", Err("X-Limit-U")),
            (&[("X-Limit-U", "an n"), d], "", "{}", Err("X-Limit-U")),
            (&[u], "d=p%20q", "{}", Err("d")),
            (&[], "", r#"{"topic":"owntracks/eve/tab/event"}"#, Err("topic")),
            (&[("Authorization", "Basic !")], "", "{}", Err("Authorization")),
        ];
        for (headers, query, body, expected) in cases {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(named_by(headers, query, body), expected, "{headers:?} {query} {body}");
        }
    }
}
