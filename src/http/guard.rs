//! Who may reach a handler at all, and as whom.
//!
//! In open mode nobody is asked for credentials, so what has to be kept out is a web page that the operator's own
//! browser runs: it may rebind a name of its own to 127.0.0.1 (its `Host` shows), or simply send requests here (its
//! `Origin` shows). Both are refused before any handler runs, on the public and on the operator's port alike.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Uri, uri::Authority};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::Error;
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

/// Whether `host[:port]` is this machine: `localhost`, 127.0.0.0/8 or `[::1]`. Nothing is resolved.
fn is_loopback(host: &str) -> bool {
    // User info would let `127.0.0.1@evil.example` be read two ways.
    let Some(authority) = host.parse::<Authority>().ok().filter(|_| !host.contains('@')) else {
        return false;
    };
    let has_good_port = match host.strip_prefix(authority.host()) {
        Some("") => true,
        Some(port) => port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok()),
        None => false,
    };
    has_good_port && is_loopback_name(authority.host())
}

fn is_loopback_name(name: &str) -> bool {
    if let Some(literal) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return literal.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback());
    }
    name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// Whether an `Origin` is a page that this machine serves itself, on whatever port. `null` is not.
fn is_local_origin(origin: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| origin.strip_prefix(scheme).is_some_and(is_loopback))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn knows_loopback_from_what_only_looks_like_it() {
        for good in ["localhost", "LocalHost:8080", "127.0.0.1", "127.8.9.1:1", "[::1]", "[::1]:8080"] {
            assert!(is_loopback(good), "{good}");
        }
        let bad = [
            "",
            ":80",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "127.0.0.1@evil.example",
            "evil@127.0.0.1",
            "10.0.0.1:8080",
            "0.0.0.0",
            "[::]",
            "[::ffff:127.0.0.1]",
            "::1",
            "127.1",
            "localhost:",
            "localhost:99999",
            "localhost:x",
            "localhost/",
            "localhost evil",
        ];
        for bad in bad {
            assert!(!is_loopback(bad), "{bad}");
        }
    }

    #[test]
    fn knows_pages_of_this_machine() {
        assert!(is_local_origin("http://localhost:3000"));
        assert!(is_local_origin("https://[::1]"));
        for bad in ["null", "http://evil.example", "file://", "localhost:3000", "http://localhost:3000.evil.example"] {
            assert!(!is_local_origin(bad), "{bad}");
        }
    }

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
