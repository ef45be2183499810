//! `POST /v1/drivers/{id}/location`: a fix or an array of them, answered once what it stored is durable. What it is made of
//! serves the other doors for fixes as well.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use serde::Serialize;
use serde::de::IgnoredAny;

use super::answer::json;
use super::error::Error;
use super::extract::{self, BodyBounds, Driver};
use crate::auth::Principal;
use crate::clock::Clock;
use crate::codec::Codec;
use crate::fix::{Reason, Verdict};
use crate::ids::{DriverId, DriverKey, TenantId};
use crate::pipeline::{Ingress, RouteError, Unavailable};
use crate::wire::{self, Decoded};

/// What the handler needs.
#[derive(Clone, Debug)]
pub(super) struct Ingest {
    pub(super) clock: Clock,
    pub(super) ingress: Ingress,
    pub(super) body: BodyBounds,
    /// Most fixes in a request: what a body holds is in memory at once.
    pub(super) fixes_max: usize,
}

pub(super) fn routes(ingest: Ingest) -> Router {
    Router::new().route("/v1/drivers/{id}/location", post(post_location)).with_state(ingest)
}

async fn post_location(
    State(ingest): State<Ingest>,
    Driver(driver): Driver,
    request: Request<Body>,
) -> Result<Response, Error> {
    let (parts, body) = request.into_parts();
    let body = extract::body(&parts.headers, body, ingest.body).await?;
    let driver = ingest.route(driver.tenant(), driver.driver().as_str(), "id")?;
    let verdicts = ingest.judge(driver, wire::native_or_compact(&body), &body).await?;
    // What cannot be read was received all the same, so it is counted before it is refused.
    match fault_of(&body, &verdicts) {
        Some(fault) => Err(Error::Body(fault)),
        None => Ok(json(StatusCode::ACCEPTED, &Answer::of(&verdicts))),
    }
}

impl Ingest {
    /// The driver that a request names by `parameter`, if the principal may report for it.
    pub(super) fn route_for(
        &self,
        principal: &Principal,
        driver: &str,
        parameter: &'static str,
    ) -> Result<Arc<DriverKey>, Error> {
        let named = DriverId::new(driver).map_err(|error| Error::parameter(parameter, error.to_string()))?;
        if !principal.may_report(&named) {
            return Err(extract::forbidden(principal));
        }
        self.route(&principal.tenant, driver, parameter)
    }

    /// The driver that a request names by `parameter`.
    fn route(&self, tenant: &TenantId, driver: &str, parameter: &'static str) -> Result<Arc<DriverKey>, Error> {
        // From the registry, so that a name costs memory only once it sends something.
        self.ingress.route(tenant.as_str(), driver).map_err(|error| match error {
            RouteError::Id(error) => Error::parameter(parameter, error.to_string()),
            RouteError::TooManyTenants => Error::Forbidden(error.to_string()),
        })
    }

    /// Reads a payload, and returns what became of its elements once what was stored of it is durable.
    pub(super) async fn judge(
        &self,
        driver: Arc<DriverKey>,
        codec: Codec,
        payload: &[u8],
    ) -> Result<Vec<Verdict>, Error> {
        let mut elements = Vec::new();
        let Decoded { skipped, is_over } = wire::decode(codec, payload, self.fixes_max, &mut elements);
        if is_over {
            return Err(Error::TooManyFixes { fixes_max: self.fixes_max });
        }
        self.ingress.skipped().add(codec, skipped);
        Ok(self.ingress.judge(driver, codec, payload, elements, self.clock.now()).await?)
    }
}

/// What is wrong with a body that is no JSON; one that is, however odd, gets a verdict instead.
fn fault_of(body: &[u8], verdicts: &[Verdict]) -> Option<String> {
    let [Verdict::Rejected(Reason::Malformed)] = verdicts else { return None };
    match std::str::from_utf8(body) {
        Ok(text) => serde_json::from_str::<IgnoredAny>(text).err().map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    }
}

impl From<Unavailable> for Error {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

#[derive(Debug, Default, Serialize)]
struct Answer {
    /// Late ones too.
    accepted: usize,
    duplicate: usize,
    rejected: usize,
    verdicts: Vec<Shown>,
}

#[derive(Debug, Serialize)]
struct Shown {
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl Answer {
    fn of(verdicts: &[Verdict]) -> Self {
        let mut answer = Self { verdicts: Vec::with_capacity(verdicts.len()), ..Self::default() };
        for verdict in verdicts {
            let (count, verdict, reason) = match verdict {
                Verdict::Accepted => (&mut answer.accepted, "accepted", None),
                Verdict::Late => (&mut answer.accepted, "late", None),
                Verdict::Duplicate | Verdict::Conflict => (&mut answer.duplicate, "duplicate", None),
                Verdict::Rejected(reason) => (&mut answer.rejected, "rejected", Some(reason.as_str())),
            };
            *count += 1;
            answer.verdicts.push(Shown { verdict, reason });
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn verdicts_are_counted_and_listed() {
        let verdicts = [Verdict::Accepted, Verdict::Late, Verdict::Duplicate, Verdict::Rejected(Reason::NullIsland)];
        let wanted = json!({"accepted": 2, "duplicate": 1, "rejected": 1, "verdicts": [
            {"verdict": "accepted"}, {"verdict": "late"}, {"verdict": "duplicate"},
            {"verdict": "rejected", "reason": "null_island"},
        ]});
        assert_eq!(serde_json::to_value(Answer::of(&verdicts)).unwrap(), wanted);
        let nothing = json!({"accepted": 0, "duplicate": 0, "rejected": 0, "verdicts": []});
        assert_eq!(serde_json::to_value(Answer::of(&[])).unwrap(), nothing);
    }

    #[test]
    fn only_what_is_no_json_is_a_fault_of_the_body() {
        let fault = |body: &str| {
            let mut elements = Vec::new();
            wire::decode(Codec::Native, body.as_bytes(), 10, &mut elements);
            let verdicts: Vec<_> = elements.into_iter().filter_map(Result::err).map(Verdict::Rejected).collect();
            fault_of(body.as_bytes(), &verdicts)
        };
        let ill_formed = ["", "hello", "{\"latitude\":1", r#"[{"latitude":1,"longitude":2},{"lat"#, "{}{}", "NaN"];
        for body in ill_formed {
            assert!(fault(body).is_some(), "{body}");
        }
        for body in ["{}", "[]", "null", "42", "[1]", r#"{"latitude":"x","longitude":2}"#] {
            assert_eq!(fault(body), None, "{body}");
        }
    }
}
