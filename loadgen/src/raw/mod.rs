//! Raw mode: all connections of a thread in one event loop, with an encoder of its own.

mod connection;
mod flights;
mod outgoing;
mod socket;
mod timer;

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Registry, Token};

use self::connection::{Connection, State};
use self::timer::Timer;
use crate::acked_log::AckedLines;
use crate::device::Device;
use crate::plan::{Load, Plan};
use crate::schedule::nanoseconds;
use crate::tally::Tally;
use crate::worker::{CONNECT_TIMEOUT, Event, Link, OPENING_MAX, RunClock, STALL_TIMEOUT};

const TIMER: Token = Token(usize::MAX);
const EVENTS_MAX: usize = 1_024;
const READ_BYTES: usize = 64 * 1024;
/// Pings, reconnects and the end of the run are looked after this often.
const TICK: Duration = Duration::from_millis(50);
/// Writes between two looks at what the broker sent, while sockets take all that comes.
const WRITES_AT_ONCE_MAX: usize = 64;

/// What all connections of the thread share.
struct Context<'a> {
    plan: &'a Plan,
    registry: Registry,
    clock: RunClock,
    /// The time of the current turn of the loop.
    now_ns: u64,
    running: bool,
    tally: Tally,
    acked: AckedLines,
    scratch: Vec<u8>,
    /// Connections that are in, or out for good.
    greeted: usize,
    /// Connections with nothing left to do.
    finished: usize,
    /// The last sign of life of the broker.
    progressed_ns: u64,
}

struct Worker<'a> {
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    /// Connections that had more to send than their turn allowed.
    runnable: VecDeque<usize>,
    context: Context<'a>,
    next_tick_ns: u64,
}

/// Plays `devices` (in the order of their numbers) from the first connection to the last acknowledgement.
pub fn run(plan: &Plan, devices: Vec<Device>, link: Link) -> anyhow::Result<()> {
    let poll = Poll::new()?;
    let context = Context {
        plan,
        registry: poll.registry().try_clone()?,
        clock: RunClock::start(),
        now_ns: 0,
        running: false,
        tally: Tally::default(),
        acked: link.acked,
        scratch: vec![0; READ_BYTES],
        greeted: 0,
        finished: 0,
        progressed_ns: 0,
    };
    let connections = devices.into_iter().map(|device| Connection::new(device, plan)).collect();
    let events = Events::with_capacity(EVENTS_MAX);
    let mut worker = Worker { poll, events, connections, runnable: VecDeque::new(), context, next_tick_ns: 0 };

    worker.connect()?;
    link.events.send(Event::Ready { open: worker.let_in() })?;
    if link.start.recv().is_err() {
        return Ok(());
    }
    worker.start();
    worker.work(|worker| link.progress.show(&worker.context.tally.counts, worker.open()))?;
    for connection in &worker.connections {
        connection.account(&mut worker.context);
    }
    link.events.send(Event::Ended(Box::new(std::mem::take(&mut worker.context.tally))))?;
    // Connections stay open until the main thread has taken its measurements.
    let _over = link.start.recv();
    worker.connections.into_iter().for_each(Connection::close);
    Ok(())
}

impl Worker<'_> {
    fn open(&self) -> usize {
        self.connections.iter().filter(|connection| connection.state == State::Open).count()
    }

    /// Devices that were let in, also those that have lost their connection again and come back.
    fn let_in(&self) -> usize {
        self.connections.iter().filter(|connection| connection.state != State::Ended).count()
    }

    fn connect(&mut self) -> io::Result<()> {
        let mut deadline = Instant::now() + CONNECT_TIMEOUT;
        let (mut opened, mut greeted_before) = (0, 0);
        while self.context.greeted < self.connections.len() {
            while opened < self.connections.len() && opened - self.context.greeted.min(opened) < OPENING_MAX {
                self.connections[opened].open(Token(opened), &mut self.context);
                opened += 1;
            }
            self.wait(Some(TICK))?;
            self.context.now_ns = self.context.clock.now_ns();
            if self.context.now_ns >= self.next_tick_ns {
                self.tick_connections();
            }
            if self.context.greeted > greeted_before {
                greeted_before = self.context.greeted;
                deadline = Instant::now() + CONNECT_TIMEOUT;
            }
            if Instant::now() > deadline {
                for connection in &mut self.connections {
                    if connection.state != State::Open {
                        connection.give_up(&mut self.context);
                    }
                }
            }
        }
        Ok(())
    }

    fn start(&mut self) {
        let context = &mut self.context;
        context.clock = RunClock::start();
        context.now_ns = 0;
        context.progressed_ns = 0;
        context.running = true;
        self.next_tick_ns = 0;
        self.connections.iter_mut().for_each(Connection::restart_clock);
        if context.plan.load == Load::Closed {
            self.runnable.extend(0..self.connections.len());
            self.connections.iter_mut().for_each(|connection| connection.runnable = true);
        }
    }

    fn work(&mut self, show: impl Fn(&Self)) -> anyhow::Result<()> {
        let mut timer = Timer::new(self.poll.registry(), TIMER)?;
        // The open loop's place: which device is next, in which round.
        let (mut round, mut place) = (0, 0);
        while self.context.finished < self.connections.len() {
            self.context.now_ns = self.context.clock.now_ns();
            let mut next_due_ns = None;
            if matches!(self.context.plan.load, Load::Open { .. }) {
                while let Some(due_ns) = self.connections[place].schedule.intended_ns(round) {
                    if due_ns > self.context.now_ns {
                        next_due_ns = Some(due_ns);
                        break;
                    }
                    self.pump(place);
                    place += 1;
                    if place == self.connections.len() {
                        (round, place) = (round + 1, 0);
                    }
                }
            }
            self.write_some();
            if self.context.now_ns >= self.next_tick_ns {
                self.tick();
                show(self);
            }
            self.context.acked.flush()?;
            let wake_ns = self.next_tick_ns.min(next_due_ns.unwrap_or(u64::MAX));
            let now_ns = self.context.clock.now_ns();
            if !self.runnable.is_empty() || wake_ns <= now_ns {
                self.wait(Some(Duration::ZERO))?;
            } else {
                timer.set(now_ns, wake_ns)?;
                self.wait(None)?;
            }
        }
        self.context.acked.flush()?;
        show(self);
        Ok(())
    }

    fn write_some(&mut self) {
        for _ in 0..WRITES_AT_ONCE_MAX.min(self.runnable.len()) {
            let Some(index) = self.runnable.pop_front() else { break };
            self.connections[index].runnable = false;
            self.context.now_ns = self.context.clock.now_ns();
            self.pump(index);
        }
    }

    fn pump(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if connection.pump(&mut self.context) && !std::mem::replace(&mut connection.runnable, true) {
            self.runnable.push_back(index);
        }
    }

    fn tick_connections(&mut self) {
        for (index, connection) in self.connections.iter_mut().enumerate() {
            connection.tick(Token(index), &mut self.context);
        }
        self.next_tick_ns = self.context.now_ns + nanoseconds(TICK);
    }

    fn tick(&mut self) {
        self.tick_connections();
        let silent_ns = self.context.now_ns.saturating_sub(self.context.progressed_ns);
        if silent_ns > nanoseconds(STALL_TIMEOUT) && self.connections.iter().any(Connection::waits) {
            self.context.tally.error(&"the broker neither acknowledged nor read for 30 s", 1);
            self.context.finished = self.connections.len();
        }
    }

    /// Waits for events and handles them.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in &self.events {
            let Some(connection) = self.connections.get_mut(event.token().0) else { continue };
            self.context.now_ns = self.context.clock.now_ns();
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                connection.readable(&mut self.context);
            }
            if event.is_writable() {
                connection.writable(&mut self.context);
            }
            if connection.pump(&mut self.context) && !std::mem::replace(&mut connection.runnable, true) {
                self.runnable.push_back(event.token().0);
            }
        }
        Ok(())
    }
}
