//! What can go wrong with a request, and the one place that says with which status: RFC 9457 problem documents.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::auth::Refusal;

/// The media type of every error.
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// When whoever met a full or stopped journal, or an engine that is starting, may try again.
const RETRY_AFTER_S: u64 = 1;

/// How to show who asks (RFC 6750, 3).
const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"rhumb\"");

/// The same for whoever tried.
const BEARER_INVALID: HeaderValue = HeaderValue::from_static("Bearer realm=\"rhumb\", error=\"invalid_token\"");

/// What else some paths take (RFC 7617, 2).
const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"rhumb\", charset=\"UTF-8\"");

/// What whoever was not let in is told: of a token what its holder sees in it anyway, and nothing of names and passwords.
fn unauthorized(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Missing => "this wants Authorization: Bearer with a token",
        Refusal::ExpiredToken => "the token has expired",
        Refusal::EarlyToken => "the token is not good yet",
        Refusal::BadClaims => {
            "the token lacks one of sub, tenant, role and exp (and driver where the role is one), or has one that cannot be meant"
        }
        Refusal::Malformed | Refusal::BadPassword | Refusal::BadToken | Refusal::BadCertificate | Refusal::Busy => {
            "these credentials are not good here"
        }
    }
}

/// Why a request was not done. The text is the `detail` that the client reads.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A parameter of the path, the query or a header is missing or out of its range.
    #[error("{name}: {detail}")]
    Parameter {
        /// As the client spelled it, or should have.
        name: &'static str,
        /// What is wrong with it and what would be right.
        detail: String,
    },
    /// The body cannot be read as what it should be.
    #[error("the body cannot be read: {0}")]
    Body(String),
    /// Who asks does not show, or not rightly.
    #[error("{}", unauthorized(*refusal))]
    Unauthorized {
        /// What is wrong.
        refusal: Refusal,
        /// Whether the path takes Basic authentication as well.
        takes_basic: bool,
    },
    /// Whoever asks may not: a web page of somewhere else, or a role that has no right to it.
    #[error("{0}")]
    Forbidden(String),
    /// No driver of this id has a position that the tenant may see.
    #[error("there is no driver {0} with a position")]
    UnknownDriver(String),
    /// The tenant has no geofence of this id.
    #[error("there is no geofence {0}")]
    UnknownGeofence(String),
    /// What the request depends on is not so.
    #[error("{0}")]
    Precondition(String),
    /// No such path.
    #[error("there is nothing at this path")]
    UnknownPath,
    /// The path exists, not with this method. The `Allow` header is the router's.
    #[error("this path does not take this method; Allow lists those it does")]
    Method,
    /// What is asked for cannot be done beside what is being done.
    #[error("{0}")]
    Conflict(String),
    /// The body did not arrive in time.
    #[error("the body did not arrive within {seconds} s")]
    BodyTimeout {
        /// `http.body_timeout_s`
        seconds: u64,
    },
    /// The body is longer than `http.body_bytes_max`.
    #[error("the body is longer than {bytes_max} bytes; send it in parts")]
    BodyTooLarge {
        /// `http.body_bytes_max`
        bytes_max: usize,
    },
    /// The body has more elements than `http.fixes_max`.
    #[error("the body has more than {fixes_max} fixes; send it in parts")]
    TooManyFixes {
        /// `http.fixes_max`
        fixes_max: usize,
    },
    /// The body is compressed.
    #[error("a body with Content-Encoding is not taken; send it as it is")]
    BodyEncoded,
    /// The engine cannot take it now: the journal is full, has stopped or is too slow. Nothing is promised of what was sent.
    #[error("the engine cannot take this now; nothing sent is promised to be stored")]
    Unavailable,
    /// The engine still reads its journal.
    #[error("the engine is starting and cannot answer yet; /readyz on the operator's port tells how far it is")]
    Starting,
    /// The engine's own fault. The reason is in its log and not for the client.
    #[error("the engine failed; its log says why")]
    Internal,
}

impl Error {
    /// A parameter that is not what it should be.
    pub(super) fn parameter(name: &'static str, detail: impl Into<String>) -> Self {
        Self::Parameter { name, detail: detail.into() }
    }

    /// Logs what failed and hides it from the client.
    pub(super) fn internal(what: &'static str, error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "{what}");
        Self::Internal
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Parameter { .. } | Self::Body(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized { .. } => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::UnknownDriver(_) | Self::UnknownGeofence(_) | Self::UnknownPath => StatusCode::NOT_FOUND,
            Self::Precondition(_) => StatusCode::PRECONDITION_FAILED,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::BodyTimeout { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge { .. } | Self::TooManyFixes { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyEncoded => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unavailable | Self::Starting => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// RFC 9457. `about:blank` says that the status is all there is to the type.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<&'a str>,
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = self.status();
        let parameter = if let Self::Parameter { name, .. } = self { Some(name) } else { None };
        let problem = Problem {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail: &self.to_string(),
            parameter,
        };
        let body = serde_json::to_vec(&problem).expect("a struct of texts and a number serialises");
        let mut response = (status, [(CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
        if let Self::Unauthorized { refusal, takes_basic } = self {
            let headers = response.headers_mut();
            headers.append(WWW_AUTHENTICATE, if refusal == Refusal::Missing { BEARER } else { BEARER_INVALID });
            if takes_basic {
                headers.append(WWW_AUTHENTICATE, BASIC);
            }
        } else if matches!(self, Self::Unavailable | Self::Starting) {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    async fn shown(error: Error) -> (StatusCode, Value) {
        let response = error.into_response();
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn a_bad_parameter_is_named() {
        let (status, problem) = shown(Error::parameter("lat", "wants degrees")).await;
        assert_eq!(status, 400);
        let wanted = json!({"type": "about:blank", "title": "Bad Request", "status": 400, "detail": "lat: wants degrees", "parameter": "lat"});
        assert_eq!(problem, wanted);
    }

    #[tokio::test]
    async fn every_error_has_its_status() {
        let statuses = [
            (Error::Body("x".into()), 400),
            (Error::Unauthorized { refusal: Refusal::Missing, takes_basic: false }, 401),
            (Error::Forbidden("x".into()), 403),
            (Error::UnknownDriver("x".into()), 404),
            (Error::UnknownGeofence("x".into()), 404),
            (Error::UnknownPath, 404),
            (Error::Precondition("x".into()), 412),
            (Error::Method, 405),
            (Error::BodyTimeout { seconds: 1 }, 408),
            (Error::Conflict("x".into()), 409),
            (Error::BodyTooLarge { bytes_max: 1 }, 413),
            (Error::BodyEncoded, 415),
            (Error::TooManyFixes { fixes_max: 1 }, 413),
            (Error::internal("x", &std::fmt::Error), 500),
            (Error::Unavailable, 503),
            (Error::Starting, 503),
        ];
        for (error, wanted) in statuses {
            let (status, problem) = shown(error).await;
            assert_eq!((status.as_u16(), problem["status"].as_u64()), (wanted, Some(u64::from(wanted))));
        }
    }

    #[test]
    fn unauthorized_says_what_is_wanted() {
        let wanted = |refusal, takes_basic| {
            let response = Error::Unauthorized { refusal, takes_basic }.into_response();
            let values =
                response.headers().get_all(WWW_AUTHENTICATE).iter().map(|value| value.to_str().unwrap().to_owned());
            values.collect::<Vec<_>>()
        };
        assert_eq!(wanted(Refusal::Missing, false), ["Bearer realm=\"rhumb\""]);
        assert_eq!(
            wanted(Refusal::BadToken, true),
            ["Bearer realm=\"rhumb\", error=\"invalid_token\"", "Basic realm=\"rhumb\", charset=\"UTF-8\""]
        );
    }

    #[test]
    fn unavailable_says_when_to_come_back() {
        for error in [Error::Unavailable, Error::Starting] {
            assert_eq!(error.into_response().headers()[RETRY_AFTER], "1");
        }
    }
}
