//! Which hosts and pages are this machine's own: what keeps web pages out of a door that asks nobody for credentials.
//!
//! A page that the operator's own browser runs may rebind a name of its own to 127.0.0.1 (its `Host` shows), or simply send
//! requests here (its `Origin` shows). Nothing is resolved.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether `host[:port]` is this machine: `localhost`, 127.0.0.0/8 or `[::1]`.
pub fn is_loopback(host: &str) -> bool {
    let end_of_literal = if host.starts_with('[') { host.find(']').map_or(0, |bracket| bracket + 1) } else { 0 };
    let (name, port) = match host[end_of_literal..].find(':') {
        Some(colon) => (&host[..end_of_literal + colon], Some(&host[end_of_literal + colon + 1..])),
        None => (host, None),
    };
    port.is_none_or(is_port) && is_loopback_name(name)
}

/// Whether an `Origin` is a page that this machine serves itself, on whatever port. `null` is not.
pub fn is_local_origin(origin: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| origin.strip_prefix(scheme).is_some_and(is_loopback))
}

/// Most pages that a list of them names.
pub const ORIGINS_MAX: usize = 64;

/// Whether a text can be what browsers send as `Origin`: scheme, host and port if it is not the scheme's own, and nothing behind
/// (RFC 6454, 6.2). `null`, which is many pages', is none.
pub fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let is_of = |text: &str, further: &[u8]| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || further.contains(&byte))
    };
    is_of(scheme, b"+-.") && is_of(host, b".-_:[]")
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn is_loopback_name(name: &str) -> bool {
    if let Some(literal) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return literal.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback());
    }
    name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
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
            "127.0.0.1:80@evil.example",
            "10.0.0.1:8080",
            "0.0.0.0",
            "[::]",
            "[::1",
            "[::1]x",
            "[::1]x:80",
            "[::ffff:127.0.0.1]",
            "::1",
            "127.1",
            "localhost:",
            "localhost:+80",
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
    fn knows_what_browsers_send_from_what_only_people_write() {
        for good in ["https://fleet.example", "https://fleet.example:8443", "http://[::1]:80", "moz-extension://a-b"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in ["", "null", "*", "fleet.example", "https://", "://x", "https://a/", "https://a b", "https://*.a"] {
            assert!(!is_origin(bad), "{bad}");
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
}
