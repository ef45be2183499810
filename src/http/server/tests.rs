//! The accept loop over real sockets: slow, silent, greedy and many clients.

use std::net::SocketAddr;
use std::time::Instant;

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::*;
use crate::http::Error;
use crate::http::extract::{BodyBounds, body};

const BOUNDS: Bounds = Bounds {
    connections_max: 2,
    header_timeout: Duration::from_millis(300),
    write_timeout: Duration::from_millis(300),
    drain_timeout: Duration::from_millis(500),
};

/// Longer than any bound above, shorter than a test run may hang.
const PATIENCE: Duration = Duration::from_secs(10);

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
    /// Lets `/held` answer.
    release: Arc<Notify>,
}

async fn start() -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let release = Arc::new(Notify::new());
    let held = Arc::clone(&release);
    let router = Router::new()
        .route("/", get(|| async { "hello" }))
        .route(
            "/held",
            get(|| async move {
                held.notified().await;
                "released"
            }),
        )
        .route("/huge", get(|| async { vec![b'x'; 64 << 20] }))
        .route("/echo", post(echo));
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(serve(listener, Routes::until_ready(router), BOUNDS, async { drop(stopped.await) }));
    Running { address, stop, served, release }
}

async fn echo(headers: HeaderMap, request: Request) -> Result<String, Error> {
    let bounds = BodyBounds { bytes_max: 1_000, timeout: Duration::from_millis(300) };
    Ok(body(&headers, request.into_body(), bounds).await?.len().to_string())
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn send(&self, text: &str) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const GET_AND_CLOSE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// All that comes until the server closes.
async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset after the answer counts as a close.
    drop(time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the server closes in time"));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What comes in one read.
async fn some(stream: &mut TcpStream) -> String {
    let mut bytes = [0; 4_096];
    let count = time::timeout(PATIENCE, stream.read(&mut bytes)).await.expect("the server answers in time").unwrap();
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let server = start().await;
    let mut stream = server.send(GET).await;
    assert!(some(&mut stream).await.ends_with("hello"));
    stream.write_all(GET_AND_CLOSE.as_bytes()).await.unwrap();
    assert!(rest(stream).await.ends_with("hello"));
}

#[tokio::test]
async fn a_connection_that_is_kept_sees_the_routes_open() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let routes = Routes::until_ready(Router::new().fallback(|| async { Error::Starting }));
    tokio::spawn(serve(listener, routes.clone(), BOUNDS, std::future::pending()));
    stream.write_all(GET.as_bytes()).await.unwrap();
    let refused = some(&mut stream).await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 1\r\n"), "{refused}");
    routes.open(Router::new().route("/", get(|| async { "hello" })));
    stream.write_all(GET_AND_CLOSE.as_bytes()).await.unwrap();
    assert!(rest(stream).await.ends_with("hello"));
}

#[tokio::test]
async fn slow_headers_and_silence_end_a_connection() {
    let server = start().await;
    for begun in ["", "GET / HTTP/1.1\r\nHost: loc"] {
        let started = Instant::now();
        let mut stream = server.send(begun).await;
        for _ in 0..20 {
            // A byte now and then does not buy time.
            time::sleep(Duration::from_millis(25)).await;
            if !begun.is_empty() && stream.write_all(b"x").await.is_err() {
                break;
            }
        }
        assert_eq!(rest(stream).await, "", "{begun:?}");
        assert!(started.elapsed() < Duration::from_secs(3), "{begun:?}");
    }
    let mut kept_alive = server.send(GET).await;
    assert!(some(&mut kept_alive).await.ends_with("hello"));
    assert_eq!(rest(kept_alive).await, "");
}

#[tokio::test]
async fn a_slow_body_is_408() {
    let server = start().await;
    let stream = server.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc").await;
    let answer = rest(stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn a_long_body_is_413_for_a_client_that_listens_only_when_it_has_sent_all() {
    let server = start().await;
    for head in ["Content-Length: 9000", "Transfer-Encoding: chunked"] {
        let chunked = head.starts_with("Transfer");
        let body = if chunked { format!("2328\r\n{}\r\n0\r\n\r\n", "x".repeat(9_000)) } else { "x".repeat(9_000) };
        let stream = server
            .send(&format!("POST /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{head}\r\n\r\n{body}"))
            .await;
        let answer = rest(stream).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{head}: {answer}");
    }
    // So long that it is not waited for.
    let stream = server.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000000\r\n\r\n").await;
    assert!(rest(stream).await.starts_with("HTTP/1.1 413 "));
    let fits = server
        .send("POST /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc")
        .await;
    assert!(rest(fits).await.ends_with("\r\n3"));
}

#[tokio::test]
async fn long_headers_are_431() {
    let server = start().await;
    let stream =
        server.send(&format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}", "x".repeat(HEADER_BYTES_MAX))).await;
    assert!(rest(stream).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn one_connection_too_many_waits_for_a_place() {
    let server = start().await;
    let held = [
        server.send("GET /held HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await,
        server.send("GET /held HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await,
    ];
    time::sleep(Duration::from_millis(50)).await;
    let mut third = server.send(GET_AND_CLOSE).await;
    let mut byte = [0];
    assert!(time::timeout(Duration::from_millis(200), third.read(&mut byte)).await.is_err(), "no place yet");
    server.release.notify_waiters();
    for held in held {
        assert!(rest(held).await.ends_with("released"));
    }
    assert!(rest(third).await.ends_with("hello"));
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_place() {
    let server = start().await;
    let greedy = [
        server.send("GET /huge HTTP/1.1\r\nHost: localhost\r\n\r\n").await,
        server.send("GET /huge HTTP/1.1\r\nHost: localhost\r\n\r\n").await,
    ];
    assert!(rest(server.send(GET_AND_CLOSE).await).await.ends_with("hello"));
    drop(greedy);
}

#[tokio::test]
async fn shutdown_ends_what_is_under_way_and_accepts_no_more() {
    let server = start().await;
    let held = server.send("GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let silent = server.connect().await;
    time::sleep(Duration::from_millis(50)).await;
    server.stop.send(()).unwrap();
    time::sleep(Duration::from_millis(50)).await;
    assert!(TcpStream::connect(server.address).await.is_err());
    server.release.notify_waiters();
    assert!(rest(held).await.ends_with("released"));
    assert_eq!(rest(silent).await, "");
    time::timeout(PATIENCE, server.served).await.unwrap().unwrap();
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let server = start().await;
    let held = server.send("GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    time::sleep(Duration::from_millis(50)).await;
    server.stop.send(()).unwrap();
    time::timeout(PATIENCE, server.served).await.unwrap().unwrap();
    assert_eq!(rest(held).await, "");
}
