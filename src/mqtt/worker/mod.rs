//! One worker: a thread with an event loop that owns its connections outright.
//!
//! It is mio's loop and not tokio's tasks because of what happens between two waits: all that the ready connections brought
//! goes to the shards in one batch, and all that came back is acknowledged with one write a connection. An idle connection
//! is a slot in a slab, without a task, a timer or a read buffer of its own.

mod ending;
mod pace;
mod pump;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use self::pace::Pace;
use self::pump::{Pumped, pump};
use super::acl::Acl;
use super::clients::Clients;
use super::close::Close;
use super::config::Config;
use super::connection::{Connection, Phase};
use super::mailbox::{ConnectionRef, Mailbox, Message};
use super::mapping::Mapping;
use super::outbox::Outbox;
use super::router::{FromRouter, Router};
use super::stats::{Stats, Tally};
use super::transport::Transport;
use super::wills::Wills;
use crate::auth::{Authority, Verdict};
use crate::clock::Clock;
use crate::pipeline::{Batch, Ingress};
use crate::units::TimestampMs;

/// Coarse time since the workers' start, for everything that times out.
pub(super) type Tick = u32;

/// Ticks in a second.
pub(super) const TICKS_PER_S: Tick = 10;

/// The token of the waker; connections have their keys.
pub(super) const WAKER: Token = Token(usize::MAX);

/// How often connections are looked over for silence.
const SWEEP: Duration = Duration::from_millis(250);

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;

const EVENTS: usize = 1_024;

/// What a worker's connections share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) config: Arc<Config>,
    pub(super) mapping: Arc<Mapping>,
    pub(super) acl: Arc<Acl>,
    pub(super) worker: usize,
    /// What is spoken on the listeners, by their numbers.
    pub(super) transports: Arc<[Transport]>,
    pub(super) ingress: Ingress,
    pub(super) outbox: Outbox,
    pub(super) router: Router,
    pub(super) clients: Arc<Clients>,
    pub(super) wills: Arc<Wills>,
    pub(super) authority: Authority,
    /// Of all workers.
    pub(super) mailboxes: Arc<[Arc<Mailbox>]>,
    pub(super) now: TimestampMs,
    pub(super) now_tick: Tick,
    /// What was counted since the last turn of the loop.
    pub(super) tally: Tally,
}

/// A worker with all that it owns.
pub(super) struct Worker {
    poll: Poll,
    mailbox: Arc<Mailbox>,
    clock: Clock,
    stats: Arc<Stats>,
    started: Instant,
    swept: Instant,
    connections: Slab<Connection>,
    next_generation: u32,
    lingering: usize,
    context: Context,
    /// Shared by all connections: what is left of a packet is carried, the rest is done with.
    buffer: Vec<u8>,
    dirty: Vec<u32>,
    paused: Vec<ConnectionRef>,
    unfinished: Vec<u32>,
    messages: Vec<Message>,
    is_stopping: bool,
}

impl Worker {
    /// Ticks count from `started` on, for all workers of a door alike.
    pub(super) fn new(poll: Poll, clock: Clock, started: Instant, stats: Arc<Stats>, context: Context) -> Self {
        let buffer = vec![0; READ_BYTES + context.config.packet_bytes_max];
        Self {
            poll,
            mailbox: Arc::clone(&context.mailboxes[context.worker]),
            clock,
            stats,
            started,
            swept: Instant::now(),
            connections: Slab::new(),
            next_generation: 0,
            lingering: 0,
            context,
            buffer,
            dirty: Vec::new(),
            paused: Vec::new(),
            unfinished: Vec::new(),
            messages: Vec::new(),
            is_stopping: false,
        }
    }

    /// Serves until told to stop. False: it had to end before.
    pub(super) fn run(mut self) -> bool {
        let mut events = Events::with_capacity(EVENTS);
        let mut woken = Instant::now();
        let mut pace = Pace::new(woken);
        while !self.is_stopping {
            if self.unfinished.is_empty() {
                Self::rest(&mut pace, woken);
            }
            if let Err(error) = self.poll.poll(&mut events, self.wait())
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "cannot wait for connections");
                break;
            }
            woken = Instant::now();
            self.read_clocks();
            for event in &events {
                self.event(event);
            }
            self.take_messages();
            self.go_on();
            self.write_dirty();
            self.resume_paused();
            self.context.outbox.flush();
            self.write_dirty();
            self.stats.count(std::mem::take(&mut self.context.tally));
            if self.swept.elapsed() >= SWEEP {
                self.sweep();
            }
        }
        let was_told = self.is_stopping;
        self.drain(&mut events);
        was_told
    }

    /// Waits for more to come, if rounds follow each other too fast.
    #[expect(
        clippy::disallowed_methods,
        reason = "half a millisecond, which the acknowledgements of this thread wait for"
    )]
    fn rest(pace: &mut Pace, woken: Instant) {
        let now = Instant::now();
        let rest = pace.begin(now, now - woken);
        if !rest.is_zero() {
            std::thread::sleep(rest);
        }
    }

    fn wait(&self) -> Option<Duration> {
        if !self.unfinished.is_empty() {
            return Some(Duration::ZERO);
        }
        let is_idle = self.connections.is_empty() && self.context.wills.is_empty();
        (!is_idle).then(|| SWEEP.saturating_sub(self.swept.elapsed()))
    }

    fn read_clocks(&mut self) {
        self.context.now = self.clock.now();
        self.context.now_tick = (self.started.elapsed().as_millis() / u128::from(1_000 / TICKS_PER_S)) as Tick;
    }

    fn event(&mut self, event: &mio::event::Event) {
        let Some(connection) = self.connections.get_mut(event.token().0) else { return };
        let key = event.token().0 as u32;
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            connection.is_readable = true;
            connection.is_peer_closed |= event.is_read_closed() || event.is_error();
            self.serve(key);
            // A paused connection is not read, and would not tell that nobody is there any more.
            let is_broken = event.is_error() || event.is_write_closed();
            if let Some(connection) = self.connections.get_mut(key as usize).filter(|connection| connection.is_paused)
                && (is_broken || (event.is_read_closed() && connection.has_given_up()))
            {
                self.close(key, Close::Lost);
            }
        }
        if event.is_writable()
            && let Some(connection) = self.connections.get_mut(key as usize)
            && connection.has_unwritten()
        {
            self.mark_dirty(key);
        }
    }

    /// Reads and takes what a connection has, within its share.
    fn serve(&mut self, key: u32) {
        let Some(connection) = self.connections.get_mut(key as usize) else { return };
        if connection.phase == Phase::Lingering {
            self.discard(key);
            return;
        }
        match pump(connection, &mut self.context, &mut self.buffer) {
            Ok(Pumped::Done) => {}
            Ok(Pumped::Paused) => {
                if !std::mem::replace(&mut connection.is_paused, true) {
                    self.paused.push(connection.me);
                }
            }
            Ok(Pumped::Unfinished) => {
                if !std::mem::replace(&mut connection.is_unfinished, true) {
                    self.unfinished.push(key);
                }
            }
            Err(why) => {
                self.close(key, why);
                return;
            }
        }
        self.mark_dirty_if_needed(key);
    }

    fn mark_dirty(&mut self, key: u32) {
        if let Some(connection) = self.connections.get_mut(key as usize)
            && !std::mem::replace(&mut connection.is_dirty, true)
        {
            self.dirty.push(key);
        }
    }

    fn mark_dirty_if_needed(&mut self, key: u32) {
        if self
            .connections
            .get(key as usize)
            .is_some_and(|connection| connection.has_unwritten() || connection.acks.len() > 0)
        {
            self.mark_dirty(key);
        }
    }

    fn take_messages(&mut self) {
        let mut messages = std::mem::take(&mut self.messages);
        self.mailbox.take(&mut messages);
        for message in messages.drain(..) {
            match message {
                Message::Accepted { socket, listener, over_limit } => self.accept(socket, listener, over_limit),
                Message::Authenticated { connection, verdict } => self.authenticated(connection, verdict),
                Message::Judged { shard, batch } => self.judged(shard, batch),
                Message::Routed { connection, from_router, cost } => self.routed(connection, from_router, cost),
                Message::Close { connection, why } => {
                    if self.is_current(connection) {
                        self.close(connection.key, why);
                    }
                }
                Message::Stop => self.is_stopping = true,
            }
        }
        self.messages = messages;
    }

    fn accept(&mut self, socket: TcpStream, listener: u8, over_limit: bool) {
        if self.is_stopping {
            self.stats.disconnect(Close::Stopping, "");
            self.stats.release(listener);
            return;
        }
        match self.begin(socket, listener, over_limit) {
            Ok(key) => self.serve(key),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be served");
                self.stats.disconnect(Close::Lost, "");
                self.stats.release(listener);
            }
        }
    }

    /// Gives a connection its place.
    fn begin(&mut self, socket: TcpStream, listener: u8, over_limit: bool) -> io::Result<u32> {
        let transport = self.context.transports.get(usize::from(listener)).ok_or(io::ErrorKind::NotFound)?;
        let stream = transport.begin(socket, self.context.config.packet_bytes_max)?;
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        let me = ConnectionRef { key: key as u32, generation: self.next_generation };
        self.next_generation = self.next_generation.wrapping_add(1);
        let mut connection = Connection::new(stream, listener, me, self.context.now_tick, over_limit);
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(connection.socket_mut(), Token(key), interest)?;
        entry.insert(connection);
        Ok(key as u32)
    }

    fn authenticated(&mut self, at: ConnectionRef, verdict: Verdict) {
        if !self.is_current(at) {
            return;
        }
        let Some(connection) = self.connections.get_mut(at.key as usize) else { return };
        if connection.phase != Phase::AwaitingAuth {
            return;
        }
        match connection.authenticated(&mut self.context, verdict) {
            Ok(()) => self.mark_dirty(at.key),
            Err(why) => self.close(at.key, why),
        }
    }

    fn judged(&mut self, shard: usize, batch: Batch) {
        let Self { context, connections, dirty, .. } = self;
        context.outbox.returned(shard, batch, |run| {
            let Some(connection) = connections.get_mut(run.connection.key as usize) else { return };
            // The slot may be another's by now: its acknowledgements died with its connection.
            if connection.me != run.connection {
                return;
            }
            connection.acks.release(run.first, run.count);
            if !std::mem::replace(&mut connection.is_dirty, true) {
                dirty.push(run.connection.key);
            }
        });
    }

    fn routed(&mut self, at: ConnectionRef, from_router: FromRouter, cost: usize) {
        if !self.is_current(at) {
            return;
        }
        let Some(connection) = self.connections.get_mut(at.key as usize) else { return };
        if connection.phase == Phase::Lingering {
            return;
        }
        connection.add_out_cost(cost);
        match connection.take_routed(&mut self.context, from_router) {
            Ok(()) => self.mark_dirty(at.key),
            Err(why) => self.close(at.key, why),
        }
    }

    fn is_current(&self, at: ConnectionRef) -> bool {
        self.connections.get(at.key as usize).is_some_and(|connection| connection.me == at)
    }

    /// Serves connections on which a flood was cut short.
    fn go_on(&mut self) {
        for key in std::mem::take(&mut self.unfinished) {
            if let Some(connection) = self.connections.get_mut(key as usize)
                && std::mem::replace(&mut connection.is_unfinished, false)
            {
                self.serve(key);
            }
        }
    }

    /// Serves paused connections that may be read again. Who has waited longest comes first, and whoever is paused anew
    /// stands behind all that wait.
    fn resume_paused(&mut self) {
        let mut waiting = Vec::new();
        for at in std::mem::take(&mut self.paused) {
            let Some(connection) = self.connections.get_mut(at.key as usize) else { continue };
            if connection.me != at || !connection.is_paused {
                continue;
            }
            if connection.phase != Phase::Lingering && !connection.may_take(&self.context) {
                waiting.push(at);
                continue;
            }
            connection.is_paused = false;
            // It was not silent: it was not heard.
            connection.heard_at = self.context.now_tick;
            self.serve(at.key);
        }
        waiting.append(&mut self.paused);
        self.paused = waiting;
    }

    fn write_dirty(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for key in dirty.drain(..) {
            let Some(connection) = self.connections.get_mut(key as usize) else { continue };
            if !std::mem::replace(&mut connection.is_dirty, false) {
                continue;
            }
            connection.collect_acks();
            if connection.has_nothing_to_write() {
                continue;
            }
            let written = connection.write(self.context.now_tick, self.context.config.subscriber_queue_bytes_max);
            if written.is_err() {
                if connection.phase == Phase::Lingering {
                    self.remove(key);
                } else {
                    self.close(key, Close::Lost);
                }
            }
        }
        // A close may have marked others meanwhile.
        dirty.append(&mut self.dirty);
        self.dirty = dirty;
    }
}
