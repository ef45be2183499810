//! The request that becomes a WebSocket (RFC 6455, section 4.2), and the answers to those that do not.

use std::sync::Arc;

use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, create_response, write_response};
use tungstenite::http::header::{
    HOST, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use tungstenite::http::{Method, StatusCode};

use crate::auth::origin::{is_local_origin, is_loopback};

/// Bytes that a request may have.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// Where MQTT is.
const PATH: &str = "/mqtt";

/// What is spoken there [MQTT-6.0.0-3, MQTT-6.0.0-4].
const SUBPROTOCOL: &str = "mqtt";

/// The only version that there is.
const VERSION: &str = "13";

/// How a request for it begins.
const GET: &[u8] = b"GET ";

/// What a request ends with.
const END: &[u8] = b"\r\n\r\n";

/// The pages that may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Those of this machine: where nobody is asked for credentials, a page of the web must not reach in through the browser
    /// of whoever looks at it.
    Local,
    /// All of them: each has to show who it is. A browser shows its certificate for whatever page asks, so that one counts only
    /// for the pages of `with_certificate`, and for whoever is no page.
    Any {
        /// Origins as browsers send them.
        with_certificate: Arc<[String]>,
    },
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Handshake {
    origins: Origins,
    request: Vec<u8>,
}

/// What becomes of it.
#[derive(Debug)]
pub(super) struct Answer {
    /// Bytes of the last read that belong to it.
    pub(super) taken: usize,
    /// What to send.
    pub(super) response: Vec<u8>,
    /// Whether a certificate says who it is.
    pub(super) counts_certificate: bool,
    /// Why it is no WebSocket, if it is none.
    pub(super) refused: Option<&'static str>,
}

/// A request that is refused: the status, and what is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refusal {
    status: StatusCode,
    why: &'static str,
}

impl Handshake {
    pub(super) fn new(origins: Origins) -> Self {
        Self { origins, request: Vec::new() }
    }

    /// Takes what was read; `None` if the request goes on.
    pub(super) fn take(&mut self, read: &[u8]) -> Option<Answer> {
        let before = self.request.len();
        self.request.extend_from_slice(&read[..read.len().min(REQUEST_BYTES_MAX - before)]);
        let looked_from = before.saturating_sub(END.len() - 1);
        let end = self.request[looked_from..].windows(END.len()).position(|bytes| bytes == END);
        let answer = match end.map(|end| looked_from + end + END.len()) {
            Some(end) => {
                let taken = end - before;
                match answer(&self.request[..end], &self.origins) {
                    Ok((response, counts_certificate)) => Answer { taken, response, counts_certificate, refused: None },
                    Err(refusal) => refusal.answer(taken),
                }
            }
            None => {
                let begin = &self.request[..self.request.len().min(GET.len())];
                let refusal = if !GET.starts_with(begin) {
                    Refusal { status: StatusCode::BAD_REQUEST, why: "the first bytes are of no GET request" }
                } else if self.request.len() == REQUEST_BYTES_MAX {
                    Refusal { status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, why: "the request is over 8 kB" }
                } else {
                    return None;
                };
                refusal.answer(read.len())
            }
        };
        Some(answer)
    }
}

impl Refusal {
    fn answer(self, taken: usize) -> Answer {
        Answer { taken, response: self.response(), counts_certificate: false, refused: Some(self.why) }
    }

    /// The response, which the connection does not outlive.
    fn response(self) -> Vec<u8> {
        let Self { status, why } = self;
        let further = match status {
            StatusCode::UPGRADE_REQUIRED => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            _ => "",
        };
        format!(
            "HTTP/1.1 {status}\r\n{further}Connection: close\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{why}\n",
            why.len() + 1
        )
        .into_bytes()
    }
}

/// The response to a whole request, and whether a certificate says who asks.
fn answer(bytes: &[u8], origins: &Origins) -> Result<(Vec<u8>, bool), Refusal> {
    let refused = |status, why| Err(Refusal { status, why });
    let bad = |why| Refusal { status: StatusCode::BAD_REQUEST, why };
    let unreadable = bad("the request cannot be read");
    let (_, request) = Request::try_parse(bytes).ok().flatten().ok_or(unreadable)?;
    if *origins == Origins::Local && !is_of_this_machine(&request) {
        return refused(StatusCode::FORBIDDEN, "without authentication only this machine's hosts and pages are served");
    }
    if request.uri().path() != PATH {
        return refused(StatusCode::NOT_FOUND, "MQTT is at the path /mqtt");
    }
    if request.method() != Method::GET {
        return refused(StatusCode::METHOD_NOT_ALLOWED, "a WebSocket is asked for with GET");
    }
    if !names(&request, &UPGRADE).any(|name| name.eq_ignore_ascii_case("websocket")) {
        return refused(StatusCode::UPGRADE_REQUIRED, "only WebSocket is spoken here");
    }
    if !names(&request, &SEC_WEBSOCKET_VERSION).any(|version| version == VERSION) {
        return refused(StatusCode::UPGRADE_REQUIRED, "only version 13 of WebSocket is spoken here");
    }
    if !names(&request, &SEC_WEBSOCKET_PROTOCOL).any(|name| name == SUBPROTOCOL) {
        return Err(bad("the subprotocol mqtt has to be offered [MQTT-6.0.0-3]"));
    }
    let mut response =
        create_response(&request).map_err(|_| bad("the request asks for no WebSocket as RFC 6455 has it"))?;
    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let mut written = Vec::new();
    write_response(&mut written, &response).map_err(|_| unreadable)?;
    Ok((written, origins.count_certificate(&request)))
}

impl Origins {
    /// Whether a certificate was shown by whoever asks, and not by a browser for a page of somebody else's.
    fn count_certificate(&self, request: &Request) -> bool {
        let Self::Any { with_certificate } = self else { return true };
        let is_meant = |origin: &HeaderValue| {
            with_certificate.iter().any(|meant| origin.as_bytes().eq_ignore_ascii_case(meant.as_bytes()))
        };
        request.headers().get_all(ORIGIN).iter().all(is_meant)
    }
}

/// The members of a header that is a list.
fn names<'a>(request: &'a Request, header: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = request.headers().get_all(header).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// Whether a request is for a host of this machine, and from no page but this machine's own.
fn is_of_this_machine(request: &Request) -> bool {
    let is = |value: &HeaderValue, holds: fn(&str) -> bool| value.to_str().is_ok_and(holds);
    let mut hosts = request.headers().get_all(HOST).iter();
    let is_local_host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => is(host, is_loopback),
        _ => false,
    };
    let is_local_target = request.uri().authority().is_none_or(|authority| is_loopback(authority.as_str()));
    is_local_host
        && is_local_target
        && request.headers().get_all(ORIGIN).iter().all(|origin| is(origin, is_local_origin))
}
