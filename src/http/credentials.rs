//! What a request shows of who it is (RFC 6750 bearer tokens, RFC 7617 Basic), and what the authority makes of it.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, ORIGIN};
use axum::http::request::Parts;
use tokio::sync::oneshot;
use tokio::time;

use super::basic;
use super::error::Error;
use crate::auth::{Admitted, Answer, Authority, Credentials, Denied, Principal, Refusal};
use crate::clock::Clock;

/// The header that names the tenant in open mode.
pub(super) const TENANT_HEADER: &str = "X-Tenant";

/// Paths that phones post to, whose apps know no other than Basic authentication. A browser that was told such
/// credentials sends them along for whatever page asks, so that no other path takes them, and these take none from
/// pages.
const BASIC_PATHS: [&str; 2] = ["/osmand", "/owntracks"];

/// Where the other end of a request's connection is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// Who asks, as far as he shows it. A refusal is held back for as long as the authority wants.
pub(super) async fn principal(authority: &Authority, request: &Parts) -> Result<Principal, Error> {
    let takes_basic = BASIC_PATHS.contains(&request.uri.path());
    let credentials = match shown(&request.headers, takes_basic) {
        // Counted and held back as any other.
        Err(Error::Unauthorized { .. }) => Credentials::Unreadable,
        shown => shown?,
    };
    let (tell, told) = oneshot::channel();
    let address = request.extensions.get::<Peer>().map(|peer| peer.0);
    // Nobody is there to be told if the client has gone meanwhile.
    let answer = authority.ask(credentials, address, Clock::System.now(), |verdict| drop(tell.send(verdict)));
    let verdict = match answer {
        Answer::Now(verdict) => verdict,
        // Held until it is told: who hangs up meanwhile withdraws the question.
        Answer::Later(_waiting) => told.await.map_err(|_| Error::Unavailable)?,
    };
    let Admitted { principal, .. } = match verdict {
        Ok(admitted) => admitted,
        Err(Denied { refusal: Refusal::Busy, .. }) => return Err(Error::Unavailable),
        Err(Denied { refusal, delay }) => {
            time::sleep(delay).await;
            return Err(Error::Unauthorized { refusal, takes_basic });
        }
    };
    refuse_other_tenant(&request.headers, &principal)?;
    Ok(Principal::clone(&principal))
}

fn shown(headers: &HeaderMap, takes_basic: bool) -> Result<Credentials, Error> {
    let malformed = || Error::Unauthorized { refusal: Refusal::Malformed, takes_basic };
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, further) = (values.next(), values.next());
    let Some(value) = value else { return Ok(Credentials::None) };
    if further.is_some() {
        return Err(malformed());
    }
    let (scheme, rest) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(malformed)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Credentials::Password { user: String::new(), password: rest.trim().as_bytes().to_vec() });
    }
    if !takes_basic || !scheme.eq_ignore_ascii_case("basic") {
        return Err(malformed());
    }
    if headers.contains_key(ORIGIN) {
        return Err(Error::Forbidden("a page asks for this with Basic authentication".into()));
    }
    let (user, password) = basic::user_and_password(headers)?.ok_or_else(malformed)?;
    Ok(Credentials::Password { user, password: password.into_bytes() })
}

/// Whoever names a tenant means it: to be given another's data, even his own, would be a surprise.
fn refuse_other_tenant(headers: &HeaderMap, principal: &Principal) -> Result<(), Error> {
    if headers.get_all(TENANT_HEADER).iter().any(|tenant| tenant.as_bytes() != principal.tenant.as_str().as_bytes()) {
        return Err(Error::Forbidden(format!("{TENANT_HEADER} names another tenant than the credentials")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&'static str, &str)], takes_basic: bool) -> Result<Credentials, Error> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        shown(&map, takes_basic)
    }

    #[test]
    fn bearer_tokens_and_on_some_paths_basic_are_read() {
        let is = |credentials: Result<Credentials, Error>, wanted: (&str, &str)| match credentials {
            Ok(Credentials::Password { user, password }) => {
                (user.as_str(), &*password) == (wanted.0, wanted.1.as_bytes())
            }
            _ => false,
        };
        assert!(is(read(&[("authorization", "Bearer a.b.c")], false), ("", "a.b.c")));
        assert!(is(read(&[("authorization", "bearer  x ")], true), ("", "x")));
        // acme/d1:secret:x
        let basic = ("authorization", "Basic YWNtZS9kMTpzZWNyZXQ6eA==");
        assert!(is(read(&[basic], true), ("acme/d1", "secret:x")));
        assert!(matches!(read(&[basic], false), Err(Error::Unauthorized { refusal: Refusal::Malformed, .. })));
        assert!(matches!(read(&[basic, ("origin", "http://localhost")], true), Err(Error::Forbidden(_))));
        assert!(matches!(read(&[], true), Ok(Credentials::None)));
        for bad in ["Bearer", "Digest x", "x"] {
            let refused = read(&[("authorization", bad)], true);
            assert!(matches!(refused, Err(Error::Unauthorized { refusal: Refusal::Malformed, .. })), "{bad}");
        }
        let twice = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
        assert!(matches!(read(&twice, false), Err(Error::Unauthorized { refusal: Refusal::Malformed, .. })));
    }

    #[test]
    fn a_tenant_header_names_the_own_tenant_or_is_refused() {
        let principal = Principal::open(Some("acme")).unwrap();
        let named = |tenants: &[&str]| {
            let headers = tenants.iter().map(|tenant| (TENANT_HEADER.parse().unwrap(), tenant.parse().unwrap()));
            refuse_other_tenant(&headers.collect(), &principal)
        };
        assert!(named(&[]).is_ok() && named(&["acme"]).is_ok());
        for bad in [&["blue"][..], &["acme", "blue"], &[""]] {
            assert!(matches!(named(bad), Err(Error::Forbidden(_))), "{bad:?}");
        }
    }
}
