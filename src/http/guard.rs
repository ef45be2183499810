//! Who may reach a handler at all, and as whom.
//!
//! In open mode nobody is asked for credentials, so what has to be kept out is a web page that the operator's own
//! browser runs: it may rebind a name of its own to 127.0.0.1 (its `Host` shows), or simply send requests here (its
//! `Origin` shows). Both are refused before any handler runs, on the public and on the operator's port alike.
//!
//! In required mode every request shows who it is, which no page of somebody else's can do. The operator's port serves
//! an `ops_admin`; only what liveness and readiness probes ask for, which know no tokens, it tells everybody.

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::credentials::{self, TENANT_HEADER};
use super::error::Error;
use crate::auth::origin::{is_local_origin, is_loopback};
use crate::auth::{Authority, Principal};

/// What the operator's port tells whoever asks.
const PROBE_PATHS: [&str; 2] = ["/health", "/readyz"];

/// Who stands before the routes of a port.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    pub(super) authority: Authority,
    /// Whether it is the operator's.
    pub(super) is_operators: bool,
}

/// Lets a request pass with its [`Principal`] as an extension, or answers in its place.
pub(super) async fn admit(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match guard.principal(&parts).await {
        Ok(principal) => {
            principal.map(|principal| parts.extensions.insert(principal));
            next.run(Request::from_parts(parts, body)).await
        }
        Err(error) => error.into_response(),
    }
}

impl Guard {
    /// Who asks; `None` for what is told everybody.
    async fn principal(&self, request: &Parts) -> Result<Option<Principal>, Error> {
        if self.authority.is_open() {
            return open(&request.uri, &request.headers).map(Some);
        }
        if self.is_operators && PROBE_PATHS.contains(&request.uri.path()) {
            return Ok(None);
        }
        let principal = credentials::principal(&self.authority, request).await?;
        if self.is_operators && !self.authority.may_operate(&principal) {
            return Err(Error::Forbidden(
                "the operator's port is for an ops_admin, of auth.operator_tenant if set".into(),
            ));
        }
        Ok(Some(principal))
    }
}

/// The principal of a request in open mode.
fn open(uri: &Uri, headers: &HeaderMap) -> Result<Principal, Error> {
    let host = host(uri, headers)?;
    if !is_loopback(host) {
        return Err(Error::Forbidden(format!("without authentication only loopback hosts are served, not {host:?}")));
    }
    for origin in headers.get_all(ORIGIN) {
        if !origin.to_str().is_ok_and(is_local_origin) {
            return Err(Error::Forbidden("without authentication no foreign Origin is served".into()));
        }
    }
    let mut tenants = headers.get_all(TENANT_HEADER).iter();
    let tenant = tenants.next().map(|value| value.to_str().unwrap_or_default());
    if tenants.next().is_some() {
        return Err(Error::parameter(TENANT_HEADER, "is there more than once"));
    }
    Principal::open(tenant).map_err(|error| Error::parameter(TENANT_HEADER, error.to_string()))
}

/// The host that the client means: the one in the request's target, which overrides the header (RFC 9112, 3.2.2), or
/// the only `Host` header.
///
/// A request that names none is refused in HTTP/1.0 too, where it would be allowed: nothing would show that it is not
/// a page's. Whoever probes with HTTP/1.0 can send the header.
fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<&'a str, Error> {
    if let Some(authority) = uri.authority() {
        return Ok(authority.as_str());
    }
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().map_err(|_| Error::parameter("Host", "is not text")),
        (None, _) => Err(Error::parameter("Host", "is missing")),
        (Some(_), Some(_)) => Err(Error::parameter("Host", "is there more than once")),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn asked(uri: &str, headers: &[(&'static str, &'static str)]) -> Result<Principal, Error> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        open(&uri.parse().unwrap(), &map)
    }

    #[test]
    fn admits_and_refuses() {
        assert_eq!(asked("/", &[("host", "localhost")]).unwrap().tenant.as_str(), "default");
        assert_eq!(asked("/", &[("host", "localhost"), ("x-tenant", "acme")]).unwrap().tenant.as_str(), "acme");
        assert!(asked("http://127.0.0.1:8080/", &[("host", "evil.example")]).is_ok());
        assert!(asked("/", &[("host", "localhost"), ("origin", "http://localhost:8080")]).is_ok());

        let forbidden: [(&str, &[(&str, &str)]); 4] = [
            ("/", &[("host", "evil.example")]),
            ("http://evil.example/", &[("host", "localhost")]),
            ("/", &[("host", "localhost"), ("origin", "null")]),
            ("/", &[("host", "localhost"), ("origin", "http://localhost"), ("origin", "http://evil.example")]),
        ];
        for (uri, headers) in forbidden {
            assert!(matches!(asked(uri, headers), Err(Error::Forbidden(_))), "{uri} {headers:?}");
        }
        let bad: [(&[(&str, &str)], &str); 5] = [
            (&[], "Host"),
            (&[("host", "localhost"), ("host", "localhost")], "Host"),
            (&[("host", "localhost"), ("x-tenant", "")], "X-Tenant"),
            (&[("host", "localhost"), ("x-tenant", "a/b")], "X-Tenant"),
            (&[("host", "localhost"), ("x-tenant", "a"), ("x-tenant", "b")], "X-Tenant"),
        ];
        for (headers, wanted) in bad {
            assert!(matches!(asked("/", headers), Err(Error::Parameter { name, .. }) if name == wanted), "{headers:?}");
        }
    }
}
