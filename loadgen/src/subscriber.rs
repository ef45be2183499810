//! One connection that subscribes to everything the devices publish, and counts it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::packet::{self, Packet};
use crate::plan::{Plan, Version};
use crate::worker::{CONNECT_TIMEOUT, KEEP_ALIVE_S};

const READ_BYTES: usize = 256 * 1024;
/// After the run the count is final when nothing came for so long.
const QUIET: Duration = Duration::from_millis(300);
/// It is final in any case after so long.
const TAIL_MAX: Duration = Duration::from_secs(10);

/// A thread that counts messages at QoS 0.
#[derive(Debug)]
pub struct Subscriber {
    received: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<()>>,
}

impl Subscriber {
    /// Subscribes; returns when the broker has confirmed.
    pub fn start(plan: &Plan) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(plan.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(CONNECT_TIMEOUT))?;
        let mut out = Vec::new();
        let id = format!("loadgen-subscriber-{}", std::process::id());
        packet::put_connect(&mut out, plan.version, &id, plan.credentials.as_ref(), false, KEEP_ALIVE_S);
        stream.write_all(&out)?;
        let mut input = Vec::new();
        match expect_packet(&mut stream, &mut input, plan.version)? {
            Packet::Connack { code: 0, .. } => {}
            other => bail!("the broker did not let the subscriber in: {other:?}"),
        }
        out.clear();
        let filter = plan.topic.replace("{tenant}", &plan.tenant).replace("{driver}", "+");
        packet::put_subscribe(&mut out, plan.version, &filter);
        stream.write_all(&out)?;
        match expect_packet(&mut stream, &mut input, plan.version)? {
            Packet::Suback(0..=2) => {}
            other => bail!("the broker refused the subscription to {filter}: {other:?}"),
        }
        let (received, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stopped, version) = (Arc::clone(&received), Arc::clone(&stop), plan.version);
        let thread = std::thread::Builder::new()
            .name("subscriber".to_owned())
            .spawn(move || receive(stream, &input, version, &count, &stopped))?;
        Ok(Self { received, stop, thread })
    }

    /// Messages so far.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Waits until no more come, and counts them all. The second is why its connection ended early.
    #[expect(
        clippy::disallowed_methods,
        reason = "that nothing more comes is only told by a time in which nothing came"
    )]
    pub fn finish(self) -> (u64, Option<String>) {
        let deadline = Instant::now() + TAIL_MAX;
        let mut before = u64::MAX;
        while before != self.received() && Instant::now() < deadline && !self.thread.is_finished() {
            before = self.received();
            std::thread::sleep(QUIET);
        }
        self.stop.store(true, Ordering::Relaxed);
        let failure = match self.thread.join() {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("the subscriber lost its connection: {error}")),
            Err(_) => Some("the subscriber's thread panicked".to_owned()),
        };
        (self.received.load(Ordering::Relaxed), failure)
    }
}

fn expect_packet(stream: &mut TcpStream, input: &mut Vec<u8>, version: Version) -> anyhow::Result<Packet> {
    let mut chunk = [0; 1_024];
    loop {
        if let Some((packet, length)) = packet::next(input, version)? {
            input.drain(..length);
            return Ok(packet);
        }
        match stream.read(&mut chunk)? {
            0 => bail!("the broker closed the subscriber's connection"),
            length => input.extend_from_slice(&chunk[..length]),
        }
    }
}

fn receive(
    mut stream: TcpStream,
    begun: &[u8],
    version: Version,
    received: &AtomicU64,
    stop: &AtomicBool,
) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut buffer = vec![0; READ_BYTES];
    let mut filled = begun.len();
    buffer[..filled].copy_from_slice(begun);
    let mut pinged = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        if pinged.elapsed() > Duration::from_secs(u64::from(KEEP_ALIVE_S) / 2) {
            stream.write_all(&packet::PINGREQ)?;
            pinged = Instant::now();
        }
        if filled == buffer.len() {
            // One packet is longer than all: nothing that a device published.
            return Err(io::ErrorKind::InvalidData.into());
        }
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => filled += length,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        let mut taken = 0;
        let mut messages = 0;
        while let Some((packet, length)) = packet::next(&buffer[taken..filled], version).map_err(io::Error::other)? {
            taken += length;
            messages += u64::from(packet == Packet::Publish);
        }
        buffer.copy_within(taken..filled, 0);
        filled -= taken;
        received.fetch_add(messages, Ordering::Relaxed);
    }
    stream.write_all(&packet::DISCONNECT)
}
