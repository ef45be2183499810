//! Who may reach a handler at all, and as whom.
//!
//! In open mode nobody is asked for credentials, so what has to be kept out is a web page that the operator's own
//! browser runs: it may rebind a name of its own to 127.0.0.1 (its `Host` shows), or simply send requests here (its
//! `Origin` shows). Both are refused before any handler runs, on the public and on the operator's port alike.

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::Error;
use crate::auth::origin::{is_local_origin, is_loopback};
use crate::auth::{Mode, Principal};

/// The header that names the tenant in open mode.
const TENANT_HEADER: &str = "X-Tenant";

/// Lets a request pass with its [`Principal`] as an extension, or answers in its place.
pub(super) async fn admit(State(mode): State<Mode>, mut request: Request, next: Next) -> Response {
    let principal = match mode {
        Mode::Open => open(request.uri(), request.headers()),
    };
    match principal {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Err(error) => error.into_response(),
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
