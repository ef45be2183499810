//! The accept loop under both ports: a listener and a shutdown are handed in, every connection is a task that holds a
//! permit, and no client can hold one for longer than it sends something.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time;

use super::credentials::Peer;
use super::routes::Routes;
use super::stall::StallTimeout;

/// Room for a request's line and headers; what is longer gets 431.
const HEADER_BYTES_MAX: usize = 32 * 1_024;

/// The wait after a failed accept, doubled while it goes on failing.
const ACCEPT_BACKOFF_MIN: Duration = Duration::from_millis(5);

/// The longest such wait. Mostly it is for file descriptors, which come back when connections close.
const ACCEPT_BACKOFF_MAX: Duration = Duration::from_secs(1);

/// What a client may take of the server.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at once; the next one waits in the listener's backlog.
    pub connections_max: usize,
    /// From the start of a connection, or from the last answer, to the end of the next request's headers. A connection
    /// that is kept alive but silent ends by it as well.
    pub header_timeout: Duration,
    /// How long an answer may wait for a client that does not read.
    pub write_timeout: Duration,
    /// How long requests under way may go on after the shutdown.
    pub drain_timeout: Duration,
}

/// Serves `routes` on `listener` until `shutdown` completes, then stops accepting, lets each connection end the request
/// it is at, and returns when all have or `bounds.drain_timeout` is over.
pub async fn serve(listener: TcpListener, routes: Routes, bounds: Bounds, shutdown: impl Future<Output = ()>) {
    let permits = Arc::new(Semaphore::new(bounds.connections_max));
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => report(ended),
            (stream, permit) = accept(&listener, &permits) => {
                connections.spawn(connection(stream, routes.clone(), bounds, stopped.clone(), permit));
            }
        }
    }
    drop(listener);
    // An error says that no connection is there to hear it.
    stop.send_replace(true);
    let drain = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if time::timeout(bounds.drain_timeout, drain).await.is_err() {
        tracing::warn!(connections = connections.len(), "http connections were cut at shutdown");
        connections.shutdown().await;
    }
}

/// The next connection together with its permit; an accept that fails is tried again, later and later.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let permit = Arc::clone(permits).acquire_owned().await.expect("the semaphore is never closed");
    let mut backoff = ACCEPT_BACKOFF_MIN;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            // The client went away between its connect and our accept; the next one may be fine.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "http accept failed");
                time::sleep(backoff).await;
                backoff = (backoff * 2).min(ACCEPT_BACKOFF_MAX);
            }
        }
    }
}

/// Serves one connection to its end. The permit is free again when this returns.
async fn connection(
    stream: TcpStream,
    routes: Routes,
    bounds: Bounds,
    mut stopped: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
) {
    // Answers are small and complete: waiting for more to send only delays them. A socket that refuses still works.
    drop(stream.set_nodelay(true));
    let peer = stream.peer_addr().ok().map(|address| Peer(address.ip()));
    let io = TokioIo::new(StallTimeout::new(stream, bounds.write_timeout));
    // Asked for at each request, and not once a connection: a probe that keeps its connection sees the engine get ready.
    let answer = service_fn(|mut request: Request<Incoming>| {
        peer.map(|peer| request.extensions_mut().insert(peer));
        TowerToHyperService::new(routes.current()).call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header_timeout)
        .max_header_size(HEADER_BYTES_MAX)
        .serve_connection(io, answer)
        .with_upgrades();
    let mut served = pin!(served);
    // An error says that the server is gone, which is a shutdown too.
    let stop = async { drop(stopped.wait_for(|is_stopped| *is_stopped).await) };
    let ended = tokio::select! {
        ended = &mut served => ended,
        () = stop => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "http connection ended early");
    }
}

/// A task that panicked took only its own connection with it.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "an http request panicked");
    }
}

#[cfg(test)]
mod tests;
