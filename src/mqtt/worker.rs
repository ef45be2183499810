//! One worker: a thread with an event loop that owns its connections outright.
//!
//! It is mio's loop and not tokio's tasks because of what happens between two waits: all that the ready connections brought
//! goes to the shards in one batch, and all that came back is acknowledged with one write a connection. An idle connection
//! is a slot in a slab, without a task, a timer or a read buffer of its own.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::clients::Clients;
use super::close::Close;
use super::config::Config;
use super::connection::{Connection, Phase, ReadOutcome};
use super::mailbox::{ConnectionRef, Mailbox, Message};
use super::outbox::Outbox;
use super::router::{FromRouter, Router};
use super::stats::Stats;
use crate::clock::Clock;
use crate::pipeline::{Batch, Ingress};
use crate::units::TimestampMs;

/// Coarse time since the worker's start, for everything that times out.
pub(super) type Tick = u32;

/// Ticks in a second.
pub(super) const TICKS_PER_S: Tick = 10;

/// The token of the waker; connections have their keys.
pub(super) const WAKER: Token = Token(usize::MAX);

/// How often connections are looked over for silence.
const SWEEP: Duration = Duration::from_millis(250);

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;

/// Reads of one connection in a row, so that a flood does not starve its neighbours.
const READS_IN_A_ROW_MAX: usize = 4;

/// How long a closed connection may take to hang up.
const LINGER: Tick = 2 * TICKS_PER_S;

/// Closed connections that may take their time at once; the next ones are cut.
const LINGERING_MAX: usize = 1_024;

/// How long a client may leave its answers unread.
const WRITE_BLOCKED_MAX: Tick = 60 * TICKS_PER_S;

/// How long a stopping worker waits for its last fixes to be durable.
const DRAIN: Duration = Duration::from_secs(3);

const EVENTS: usize = 1_024;

/// What a worker's connections share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) config: Arc<Config>,
    pub(super) worker: usize,
    pub(super) ingress: Ingress,
    pub(super) outbox: Outbox,
    pub(super) router: Router,
    pub(super) clients: Arc<Clients>,
    /// Of all workers.
    pub(super) mailboxes: Arc<[Arc<Mailbox>]>,
    pub(super) now: TimestampMs,
    pub(super) now_tick: Tick,
    /// Ingest publishes since the last turn of the loop.
    pub(super) publishes: u64,
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
    pub(super) fn new(poll: Poll, clock: Clock, stats: Arc<Stats>, context: Context) -> Self {
        let buffer = vec![0; READ_BYTES + context.config.packet_bytes_max];
        Self {
            poll,
            mailbox: Arc::clone(&context.mailboxes[context.worker]),
            clock,
            stats,
            started: Instant::now(),
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
        while !self.is_stopping {
            if let Err(error) = self.poll.poll(&mut events, self.wait())
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "cannot wait for connections");
                break;
            }
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
            if self.context.publishes > 0 {
                self.stats.count_publishes(std::mem::take(&mut self.context.publishes));
            }
            if self.swept.elapsed() >= SWEEP {
                self.sweep();
            }
        }
        let was_told = self.is_stopping;
        self.drain(&mut events);
        was_told
    }

    fn wait(&self) -> Option<Duration> {
        if !self.unfinished.is_empty() {
            return Some(Duration::ZERO);
        }
        (!self.connections.is_empty()).then(|| SWEEP.saturating_sub(self.swept.elapsed()))
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
        }
        if event.is_writable()
            && let Some(connection) = self.connections.get_mut(key as usize)
            && !connection.out.is_empty()
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
            .is_some_and(|connection| !connection.out.is_empty() || connection.acks.len() > 0)
        {
            self.mark_dirty(key);
        }
    }

    fn take_messages(&mut self) {
        let mut messages = std::mem::take(&mut self.messages);
        self.mailbox.take(&mut messages);
        for message in messages.drain(..) {
            match message {
                Message::Accepted { stream, over_limit } => self.accept(stream, over_limit),
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

    fn accept(&mut self, stream: TcpStream, over_limit: bool) {
        if self.is_stopping {
            self.stats.disconnect(Close::Stopping, "");
            return;
        }
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        let me = ConnectionRef { key: key as u32, generation: self.next_generation };
        self.next_generation = self.next_generation.wrapping_add(1);
        let mut connection = Connection::new(stream, me, self.context.now_tick, over_limit);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(connection.stream_mut(), Token(key), interest) {
            tracing::warn!(%error, "a connection could not be served");
            self.stats.disconnect(Close::Lost, "");
            return;
        }
        entry.insert(connection);
        self.serve(key as u32);
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
        match connection.take_routed(&self.context, from_router) {
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
            if connection.out.is_empty() {
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

    /// Ends a connection: says why if it can be said, and lingers for that to arrive.
    fn close(&mut self, key: u32, why: Close) {
        let Some(connection) = self.connections.get_mut(key as usize) else { return };
        if connection.phase == Phase::Lingering {
            return;
        }
        let client_id = connection.session.as_ref().map(|session| session.client_id.clone()).unwrap_or_default();
        connection.collect_acks();
        connection.end_session(&mut self.context, why);
        self.stats.disconnect(why, &client_id);
        let Some(connection) = self.connections.get_mut(key as usize) else { return };
        connection.phase = Phase::Lingering;
        connection.phase_since = self.context.now_tick;
        connection.carried = Vec::new();
        let is_gone = why == Close::Lost
            || connection.write(self.context.now_tick, usize::MAX).is_err()
            || !connection.out.is_empty()
            || connection.shut_write().is_err();
        if is_gone || self.lingering >= LINGERING_MAX {
            self.connections.remove(key as usize);
            return;
        }
        self.lingering += 1;
        self.discard(key);
    }

    /// Throws away what a closed connection still sends, and removes it when it hangs up.
    fn discard(&mut self, key: u32) {
        let Some(connection) = self.connections.get_mut(key as usize) else { return };
        for _ in 0..READS_IN_A_ROW_MAX {
            match connection.read(&mut self.buffer) {
                ReadOutcome::Some(_) if connection.is_readable => {}
                ReadOutcome::Some(_) | ReadOutcome::Nothing => return,
                ReadOutcome::End => break,
            }
        }
        // It hung up, or it floods on.
        self.remove(key);
    }

    fn remove(&mut self, key: u32) {
        self.connections.remove(key as usize);
        self.lingering -= 1;
    }

    /// Ends what took too long. One pass over all connections instead of a timer for each.
    fn sweep(&mut self) {
        self.swept = Instant::now();
        let now = self.context.now_tick;
        let connect_timeout = self.context.config.connect_timeout_s * TICKS_PER_S;
        let mut timed_out = Vec::new();
        for (key, connection) in &self.connections {
            let why = match connection.phase {
                Phase::AwaitingConnect | Phase::AwaitingLink => {
                    (now - connection.phase_since > connect_timeout).then_some(Close::ConnectTimeout)
                }
                Phase::Lingering => (now - connection.phase_since > LINGER).then_some(Close::Lost),
                Phase::Open => {
                    let is_silent = connection.silence_max > 0
                        && !connection.is_paused
                        && now - connection.heard_at > connection.silence_max;
                    let is_blocked = connection.blocked_since.is_some_and(|since| now - since > WRITE_BLOCKED_MAX);
                    match (is_silent, is_blocked) {
                        (true, _) => Some(Close::KeepAliveTimeout),
                        (_, true) => Some(Close::WriteTimeout),
                        _ => None,
                    }
                }
            };
            if let Some(why) = why {
                timed_out.push((key as u32, connection.phase, why));
            }
        }
        for (key, phase, why) in timed_out {
            if phase == Phase::Lingering {
                self.remove(key);
            } else {
                self.close(key, why);
            }
        }
    }

    /// Reads no more, waits for what was read to be durable and acknowledged, and says goodbye. Wills on ingest topics, which
    /// the goodbye makes due, are waited for as well.
    fn drain(mut self, events: &mut Events) {
        self.is_stopping = true;
        let deadline = Instant::now() + DRAIN;
        self.drain_outbox(events, deadline);
        let keys: Vec<u32> = self.connections.iter().map(|(key, _)| key as u32).collect();
        for key in keys {
            self.close(key, Close::Stopping);
        }
        self.drain_outbox(events, deadline);
        if !self.context.outbox.is_empty() {
            tracing::warn!("stopped before the last fixes were durable; they were not acknowledged");
        }
    }

    fn drain_outbox(&mut self, events: &mut Events, deadline: Instant) {
        loop {
            self.context.outbox.flush();
            self.write_dirty();
            let left = deadline.saturating_duration_since(Instant::now());
            if self.context.outbox.is_empty() || left.is_zero() {
                return;
            }
            // Only the mailbox matters now; events of connections pass by.
            if self.poll.poll(events, Some(left)).is_err() {
                return;
            }
            self.read_clocks();
            self.take_messages();
        }
    }
}

/// How far reading a connection went.
enum Pumped {
    /// Nothing more for now.
    Done,
    /// It may not be read until something frees it.
    Paused,
    /// There is more than its share.
    Unfinished,
}

/// Reads a connection into the shared buffer and takes the packets that are whole.
fn pump(connection: &mut Connection, context: &mut Context, buffer: &mut [u8]) -> Result<Pumped, Close> {
    // After a pause whole packets may be among what was carried.
    if !connection.carried.is_empty() {
        let carried = std::mem::take(&mut connection.carried);
        let taken = connection.take_packets(context, &carried)?;
        connection.carried = carried;
        connection.carried.drain(..taken);
    }
    for _ in 0..READS_IN_A_ROW_MAX {
        if !connection.may_take(context) {
            return Ok(Pumped::Paused);
        }
        if !connection.is_readable {
            return Ok(Pumped::Done);
        }
        let carried = connection.carried.len();
        buffer[..carried].copy_from_slice(&connection.carried);
        let fresh = match connection.read(&mut buffer[carried..]) {
            ReadOutcome::Some(count) => count,
            ReadOutcome::Nothing => return Ok(Pumped::Done),
            ReadOutcome::End => return Err(Close::Lost),
        };
        connection.heard_at = context.now_tick;
        let bytes = &buffer[..carried + fresh];
        let taken = connection.take_packets(context, bytes)?;
        if taken == bytes.len() {
            connection.carried = Vec::new();
        } else {
            connection.carried.clear();
            connection.carried.extend_from_slice(&bytes[taken..]);
        }
    }
    Ok(if connection.is_readable { Pumped::Unfinished } else { Pumped::Done })
}
