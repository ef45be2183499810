//! The accept loop: one thread takes connections in and deals them out to the workers.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

use super::mailbox::{Mailbox, Message};
use super::stats::Stats;

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);

/// Pause after the system refused a connection (too many open files), so that the loop does not spin.
pub(super) const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// How often that is told.
const REFUSAL_TOLD_INTERVAL: Duration = Duration::from_secs(10);

/// Connections over the limit that are kept long enough to be told so.
pub const OVER_LIMIT_MAX: usize = 64;

/// The running accept loop.
#[derive(Debug)]
pub(super) struct Acceptor {
    waker: Waker,
    is_stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Acceptor {
    /// Starts accepting.
    pub(super) fn start(
        listener: std::net::TcpListener,
        workers: Vec<Arc<Mailbox>>,
        stats: Arc<Stats>,
        connections_max: usize,
        has_failed: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let mut listener = TcpListener::from_std(listener);
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let is_stopping = Arc::new(AtomicBool::new(false));
        let accepting = Accepting {
            poll,
            listener,
            workers,
            stats,
            connections_max,
            is_stopping: Arc::clone(&is_stopping),
            next_worker: 0,
            refusals: SystemRefusals::default(),
        };
        let thread = thread::Builder::new().name("mqtt-accept".into()).spawn(move || {
            let is_stopping = Arc::clone(&accepting.is_stopping);
            let ended = panic::catch_unwind(AssertUnwindSafe(|| accepting.run()));
            // The port would be gone, and all else look well.
            if ended.is_err() || !is_stopping.load(Ordering::Acquire) {
                tracing::error!("the mqtt accept loop gave up");
                has_failed.store(true, Ordering::Release);
            }
        })?;
        Ok(Self { waker, is_stopping, thread })
    }

    /// Stops accepting and closes the listener.
    pub(super) fn stop(self) {
        self.is_stopping.store(true, Ordering::Release);
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "could not wake the mqtt accept loop");
            return;
        }
        if self.thread.join().is_err() {
            tracing::error!("the mqtt accept loop panicked");
        }
    }
}

struct Accepting {
    poll: Poll,
    listener: TcpListener,
    workers: Vec<Arc<Mailbox>>,
    stats: Arc<Stats>,
    connections_max: usize,
    is_stopping: Arc<AtomicBool>,
    next_worker: usize,
    refusals: SystemRefusals,
}

impl Accepting {
    fn run(mut self) {
        let mut events = Events::with_capacity(4);
        // After a refusal by the system connections wait that no further event tells of.
        let mut pause = None;
        while !self.is_stopping.load(Ordering::Acquire) {
            if let Err(error) = self.poll.poll(&mut events, pause)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "the mqtt accept loop ends: cannot wait for connections");
                return;
            }
            pause = self.accept_all();
        }
    }

    /// Accepts until nobody waits; tells how long to pause if the system gave no more.
    fn accept_all(&mut self) -> Option<Duration> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.deal(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    self.refusals.tell(&error);
                    return Some(REFUSED_PAUSE);
                }
            }
        }
    }

    fn deal(&mut self, stream: TcpStream) {
        if self.stats.connections() >= self.connections_max + OVER_LIMIT_MAX {
            return;
        }
        // Acknowledgements are small and late enough: they must not wait for each other.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let over_limit = self.stats.connect(self.connections_max);
        self.workers[self.next_worker].send(Message::Accepted { stream, over_limit });
        self.next_worker = (self.next_worker + 1) % self.workers.len();
    }
}

/// Connections that the system did not give.
#[derive(Debug, Default)]
pub(super) struct SystemRefusals {
    told: Option<Instant>,
}

impl SystemRefusals {
    /// Tells of one, unless another was told of just now.
    pub(super) fn tell(&mut self, error: &io::Error) {
        if self.told.is_none_or(|told| told.elapsed() >= REFUSAL_TOLD_INTERVAL) {
            self.told = Some(Instant::now());
            tracing::warn!(%error, "no connection taken: raise the limit of open files, or lower `mqtt.connections_max`");
        }
    }
}

/// Errors that only say that one connection ended before it was accepted.
pub(super) fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
