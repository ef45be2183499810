//! The accept loop: one thread takes connections in from every listener and deals them out to the workers.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

use super::listener::{Limits, Listener, Rate};
use super::mailbox::{Mailbox, Message};
use super::stats::{LISTENERS_MAX, Stats};

/// The token of the waker; listeners have their numbers.
const WAKER: Token = Token(usize::MAX);

/// Pause after the system refused a connection (too many open files), so that the loop does not spin.
pub(super) const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// How often that is told.
const REFUSAL_TOLD_INTERVAL: Duration = Duration::from_secs(10);

/// Connections over the limit that are kept long enough to be told so.
pub const OVER_LIMIT_MAX: usize = 64;

/// Connections of one listener in a row, so that a flood on it does not keep the others waiting.
const ACCEPTS_IN_A_ROW_MAX: usize = 256;

/// The running accept loop.
#[derive(Debug)]
pub(super) struct Acceptor {
    waker: Waker,
    is_stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Acceptor {
    /// Starts accepting. The listeners' numbers are their places.
    pub(super) fn start(
        listeners: Vec<Listener>,
        workers: Vec<Arc<Mailbox>>,
        stats: Arc<Stats>,
        connections_max: usize,
        has_failed: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        if listeners.len() > LISTENERS_MAX {
            return Err(io::Error::other("more listeners than are counted"));
        }
        let poll = Poll::new()?;
        let mut gates = Vec::with_capacity(listeners.len());
        for (number, listener) in listeners.into_iter().enumerate() {
            let mut socket = TcpListener::from_std(listener.socket);
            poll.registry().register(&mut socket, Token(number), Interest::READABLE)?;
            let Limits { connections_max: own_max, connections_per_s_max } = listener.limits;
            gates.push(Gate {
                socket,
                number: number as u8,
                connections_max: if own_max == 0 { connections_max } else { own_max },
                rate: Rate::new(connections_per_s_max, Instant::now()),
                may_have_more: true,
            });
        }
        let waker = Waker::new(poll.registry(), WAKER)?;
        let is_stopping = Arc::new(AtomicBool::new(false));
        let accepting = Accepting {
            poll,
            gates,
            dealer: Dealer { workers, next_worker: 0, stats, connections_max },
            is_stopping: Arc::clone(&is_stopping),
            refusals: SystemRefusals::default(),
        };
        let thread = thread::Builder::new().name("mqtt-accept".into()).spawn(move || {
            let is_stopping = Arc::clone(&accepting.is_stopping);
            let ended = panic::catch_unwind(AssertUnwindSafe(|| accepting.run()));
            // The ports would be gone, and all else look well.
            if ended.is_err() || !is_stopping.load(Ordering::Acquire) {
                tracing::error!("the mqtt accept loop gave up");
                has_failed.store(true, Ordering::Release);
            }
        })?;
        Ok(Self { waker, is_stopping, thread })
    }

    /// Stops accepting and closes the listeners.
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

/// A listener, and when it may be looked at.
struct Gate {
    socket: TcpListener,
    number: u8,
    connections_max: usize,
    rate: Rate,
    /// Connections may wait that no further event tells of.
    may_have_more: bool,
}

/// Who gets the next connection.
struct Dealer {
    workers: Vec<Arc<Mailbox>>,
    next_worker: usize,
    stats: Arc<Stats>,
    connections_max: usize,
}

struct Accepting {
    poll: Poll,
    gates: Vec<Gate>,
    dealer: Dealer,
    is_stopping: Arc<AtomicBool>,
    refusals: SystemRefusals,
}

impl Accepting {
    fn run(mut self) {
        let mut events = Events::with_capacity(LISTENERS_MAX + 1);
        let mut pause = None;
        while !self.is_stopping.load(Ordering::Acquire) {
            if let Err(error) = self.poll.poll(&mut events, pause)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "the mqtt accept loop ends: cannot wait for connections");
                return;
            }
            for event in &events {
                if let Some(gate) = self.gates.get_mut(event.token().0) {
                    gate.may_have_more = true;
                }
            }
            pause = None;
            for gate in self.gates.iter_mut().filter(|gate| gate.may_have_more) {
                let wait = gate.accept_all(&mut self.dealer, &mut self.refusals);
                pause = match (pause, wait) {
                    (Some(pause), Some(wait)) => Some(std::cmp::min::<Duration>(pause, wait)),
                    (one, None) | (None, one) => one,
                };
            }
        }
    }
}

impl Gate {
    /// Accepts until nobody waits; otherwise tells how long to pause before the next look.
    fn accept_all(&mut self, dealer: &mut Dealer, refusals: &mut SystemRefusals) -> Option<Duration> {
        for _ in 0..ACCEPTS_IN_A_ROW_MAX {
            let now = Instant::now();
            let wait = self.rate.wait(now);
            if !wait.is_zero() {
                return Some(wait);
            }
            match self.socket.accept() {
                Ok((socket, _)) => {
                    self.rate.pass(now);
                    dealer.deal(socket, self);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.may_have_more = false;
                    return None;
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    refusals.tell(&error);
                    return Some(REFUSED_PAUSE);
                }
            }
        }
        Some(Duration::ZERO)
    }
}

impl Dealer {
    fn deal(&mut self, socket: TcpStream, gate: &Gate) {
        let (of_all, of_gate) = (self.stats.connections(), self.stats.connections_of(gate.number));
        if of_all >= self.connections_max + OVER_LIMIT_MAX || of_gate >= gate.connections_max + OVER_LIMIT_MAX {
            return;
        }
        // Acknowledgements are small and late enough: they must not wait for each other.
        if socket.set_nodelay(true).is_err() {
            return;
        }
        self.stats.connect(gate.number);
        let over_limit = of_all >= self.connections_max || of_gate >= gate.connections_max;
        self.workers[self.next_worker].send(Message::Accepted { socket, listener: gate.number, over_limit });
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
