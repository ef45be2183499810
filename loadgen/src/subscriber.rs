//! Connections that subscribe to everything the devices publish, and count it.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::bail;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::packet::{self, Packet};
use crate::plan::{Plan, Version};
use crate::worker::{CONNECT_TIMEOUT, KEEP_ALIVE_S};

const READ_BYTES: usize = 256 * 1024;
/// After the run the count is final when nothing came for so long.
const QUIET: Duration = Duration::from_millis(300);
/// It is final in any case after so long.
const TAIL_MAX: Duration = Duration::from_secs(10);
/// How often the thread looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);

/// A thread that counts messages at QoS 0 on all its connections.
#[derive(Debug)]
pub struct Subscribers {
    shared: Arc<Shared>,
    thread: JoinHandle<io::Result<()>>,
}

#[derive(Debug)]
struct Shared {
    received: AtomicU64,
    /// When the last came, in nanoseconds since `begun`.
    last_ns: AtomicU64,
    begun: Instant,
    stop: AtomicBool,
}

/// What all subscribers got.
#[derive(Clone, Debug)]
pub struct Received {
    /// Messages on all connections together.
    pub messages: u64,
    /// When the last of them came.
    pub last_at: Instant,
    /// Why a connection ended early.
    pub failure: Option<String>,
}

impl Subscribers {
    /// Subscribes so many times as the plan says; returns when the broker has confirmed them all.
    pub fn start(plan: &Plan) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let mut connections = Vec::with_capacity(plan.subscribers as usize);
        for number in 0..plan.subscribers {
            let mut connection = Connection::subscribed(plan, number)?;
            poll.registry().register(&mut connection.stream, Token(number as usize), Interest::READABLE)?;
            connections.push(connection);
        }
        let shared = Arc::new(Shared {
            received: AtomicU64::new(0),
            last_ns: AtomicU64::new(0),
            begun: Instant::now(),
            stop: AtomicBool::new(false),
        });
        let (counts, version) = (Arc::clone(&shared), plan.version);
        let thread = std::thread::Builder::new()
            .name("subscribers".to_owned())
            .spawn(move || receive(poll, connections, version, &counts))?;
        Ok(Self { shared, thread })
    }

    /// Waits until no more come, and counts them all.
    #[expect(
        clippy::disallowed_methods,
        reason = "that nothing more comes is only told by a time in which nothing came"
    )]
    pub fn finish(self) -> Received {
        let received = || self.shared.received.load(Ordering::Relaxed);
        let deadline = Instant::now() + TAIL_MAX;
        let mut before = u64::MAX;
        while before != received() && Instant::now() < deadline && !self.thread.is_finished() {
            before = received();
            std::thread::sleep(QUIET);
        }
        self.shared.stop.store(true, Ordering::Relaxed);
        let failure = match self.thread.join() {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("a subscriber lost its connection: {error}")),
            Err(_) => Some("the subscribers' thread panicked".to_owned()),
        };
        let last_ns = self.shared.last_ns.load(Ordering::Relaxed);
        let last_at = self.shared.begun + Duration::from_nanos(last_ns);
        Received { messages: self.shared.received.load(Ordering::Relaxed), last_at, failure }
    }
}

struct Connection {
    stream: TcpStream,
    /// The beginning of a packet whose end has not come yet.
    rest: Vec<u8>,
}

impl Connection {
    fn subscribed(plan: &Plan, number: u32) -> anyhow::Result<Self> {
        let mut stream = std::net::TcpStream::connect(plan.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(CONNECT_TIMEOUT))?;
        let mut out = Vec::new();
        let id = format!("loadgen-subscriber-{}-{number}", std::process::id());
        packet::put_connect(&mut out, plan.version, &id, plan.credentials.as_ref(), false, KEEP_ALIVE_S);
        stream.write_all(&out)?;
        let mut rest = Vec::new();
        match expect_packet(&mut stream, &mut rest, plan.version)? {
            Packet::Connack { code: 0, .. } => {}
            other => bail!("the broker did not let a subscriber in: {other:?}"),
        }
        out.clear();
        let filter = plan.topic.replace("{tenant}", &plan.tenant).replace("{driver}", "+");
        packet::put_subscribe(&mut out, plan.version, &filter);
        stream.write_all(&out)?;
        match expect_packet(&mut stream, &mut rest, plan.version)? {
            Packet::Suback(0..=2) => {}
            other => bail!("the broker refused a subscription to {filter}: {other:?}"),
        }
        stream.set_nonblocking(true)?;
        Ok(Self { stream: TcpStream::from_std(stream), rest })
    }

    /// Reads all that is there, and counts the messages in it.
    fn read(&mut self, buffer: &mut [u8], version: Version) -> io::Result<u64> {
        let mut messages = 0;
        loop {
            let begun = self.rest.len();
            if begun == buffer.len() {
                // One packet is longer than all: nothing that a device published.
                return Err(io::ErrorKind::InvalidData.into());
            }
            let length = match self.stream.read(&mut buffer[begun..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(messages),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            buffer[..begun].copy_from_slice(&self.rest);
            let filled = &buffer[..begun + length];
            let mut taken = 0;
            while let Some((packet, length)) = packet::next(&filled[taken..], version).map_err(io::Error::other)? {
                taken += length;
                messages += u64::from(packet == Packet::Publish);
            }
            self.rest.clear();
            self.rest.extend_from_slice(&filled[taken..]);
        }
    }
}

fn expect_packet(stream: &mut std::net::TcpStream, input: &mut Vec<u8>, version: Version) -> anyhow::Result<Packet> {
    let mut chunk = [0; 1_024];
    loop {
        if let Some((packet, length)) = packet::next(input, version)? {
            input.drain(..length);
            return Ok(packet);
        }
        match stream.read(&mut chunk)? {
            0 => bail!("the broker closed a subscriber's connection"),
            length => input.extend_from_slice(&chunk[..length]),
        }
    }
}

fn receive(mut poll: Poll, mut connections: Vec<Connection>, version: Version, shared: &Shared) -> io::Result<()> {
    let mut events = Events::with_capacity(1_024);
    let mut buffer = vec![0; READ_BYTES];
    let mut pinged = Instant::now();
    while !shared.stop.load(Ordering::Relaxed) {
        if pinged.elapsed() > Duration::from_secs(u64::from(KEEP_ALIVE_S) / 2) {
            for connection in &mut connections {
                // Two bytes, into a socket that nothing was written to since the last two.
                connection.stream.write_all(&packet::PINGREQ)?;
            }
            pinged = Instant::now();
        }
        match poll.poll(&mut events, Some(LOOK)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result?,
        }
        let mut messages = 0;
        for event in &events {
            messages += connections[event.token().0].read(&mut buffer, version)?;
        }
        if messages > 0 {
            shared.received.fetch_add(messages, Ordering::Relaxed);
            shared.last_ns.store(shared.begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
        }
    }
    for connection in &mut connections {
        connection.stream.write_all(&packet::DISCONNECT)?;
    }
    Ok(())
}
