//! The door while the engine is not ready: whoever connects is told "server unavailable", and to come again.
//!
//! It is tasks on tokio, since nothing that is only refused is worth an event loop. It counts in the same [`Stats`] as the
//! door that opens on its listener afterwards, so that both together keep within `mqtt.connections_max`.
//!
//! Only the plain listener has one. On the others whoever comes waits in the backlog: what they would be told takes a
//! handshake that costs more than the answer is worth, and there is no answer in TLS or HTTP that every MQTT client takes
//! for "come again".

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time;

use super::accept::{REFUSED_PAUSE, SystemRefusals, is_of_one_connection};
use super::close::Close;
use super::config::Config;
use super::frame::{CONNECT_BYTES_MAX, Framed, Packet, first_packet};
use super::opening::{self, Refused};
use super::stats::Stats;

/// Connections that are answered at once. The next ones wait in the listener's backlog, and may still be there when the
/// door opens.
const CONNECTIONS_MAX: usize = 1_024;

/// Bytes read at once; most CONNECTs have fewer.
const READ_BYTES: usize = 1_024;

/// How long a client that was refused may take to hang up.
const LINGER: Duration = Duration::from_secs(2);

/// The number of the listener that it has; [`Door::start`](super::Door::start) gets it first.
const PLAIN: u8 = 0;

/// The running refusal.
#[derive(Debug)]
pub struct Unready {
    stop: oneshot::Sender<()>,
    accepting: JoinHandle<TcpListener>,
    stats: Arc<Stats>,
}

impl Unready {
    /// Starts refusing on a bound listener that does not block. Called within a tokio runtime.
    ///
    /// # Errors
    /// The listener cannot be waited on.
    pub fn start(listener: std::net::TcpListener, config: &Config) -> io::Result<Self> {
        let listener = TcpListener::from_std(listener)?;
        let stats = Arc::new(Stats::default());
        let refusing = Refusing {
            stats: Arc::clone(&stats),
            places: Arc::new(Semaphore::new(config.connections_max.min(CONNECTIONS_MAX))),
            connect_timeout: Duration::from_secs(u64::from(config.connect_timeout_s)),
            packet_bytes_max: config.packet_bytes_max,
        };
        let (stop, stopping) = oneshot::channel();
        Ok(Self { stop, accepting: tokio::spawn(refusing.run(listener, stopping)), stats })
    }

    /// Takes no more connections and hands on the listener, with all that wait in its backlog, and the counts. Those who
    /// were accepted get their answer, within `mqtt.connect_timeout_s`.
    ///
    /// # Errors
    /// The accept loop panicked, or the listener cannot be given back.
    pub async fn stop(self) -> io::Result<(std::net::TcpListener, Arc<Stats>)> {
        // It ends for nothing else.
        drop(self.stop);
        let listener = self.accepting.await.map_err(io::Error::other)?;
        Ok((listener.into_std()?, self.stats))
    }
}

struct Refusing {
    stats: Arc<Stats>,
    places: Arc<Semaphore>,
    connect_timeout: Duration,
    packet_bytes_max: usize,
}

impl Refusing {
    /// Accepts until the other end of `stopping` is dropped.
    async fn run(self, listener: TcpListener, mut stopping: oneshot::Receiver<()>) -> TcpListener {
        let mut refusals = SystemRefusals::default();
        loop {
            let (stream, place) = tokio::select! {
                biased;
                _ = &mut stopping => return listener,
                accepted = self.accept(&listener, &mut refusals) => accepted,
            };
            tokio::spawn(refuse(stream, place, self.connect_timeout, self.packet_bytes_max));
        }
    }

    /// The next connection. Whoever stops to wait for it has lost none.
    async fn accept(&self, listener: &TcpListener, refusals: &mut SystemRefusals) -> (TcpStream, Place) {
        let permit = Arc::clone(&self.places).acquire_owned().await.expect("the semaphore is never closed");
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    self.stats.connect(PLAIN);
                    return (stream, Place { stats: Arc::clone(&self.stats), _permit: permit });
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    refusals.tell(&error);
                    time::sleep(REFUSED_PAUSE).await;
                }
            }
        }
    }
}

/// A connection's place among those that are answered, counted out when dropped.
struct Place {
    stats: Arc<Stats>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stats.release(PLAIN);
    }
}

/// Answers one connection and ends it.
async fn refuse(mut stream: TcpStream, place: Place, connect_timeout: Duration, packet_bytes_max: usize) {
    let answered = time::timeout(connect_timeout, answer(&mut stream, packet_bytes_max)).await;
    let why = answered.unwrap_or(Close::ConnectTimeout);
    place.stats.disconnect(why, "");
    // Closing over unread bytes would take the answer away from the client. Who stays longer is cut.
    if why.reason_code().is_some() && stream.shutdown().await.is_ok() {
        drop(time::timeout(LINGER, tokio::io::copy(&mut stream, &mut tokio::io::sink())).await);
    }
}

/// Reads the first packet and writes what there is to say to it; tells why the connection ends.
async fn answer(stream: &mut TcpStream, packet_bytes_max: usize) -> Close {
    let mut read = Vec::new();
    let mut chunk = [0; READ_BYTES];
    loop {
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return Close::Lost,
            Ok(count) => read.extend_from_slice(&chunk[..count]),
        }
        // At once, and not when a packet of the length that its second byte may mean is there.
        if !opening::is_connect(read[0]) {
            return Close::Malformed(opening::NO_CONNECT);
        }
        let packet = match first_packet(&read, None, packet_bytes_max.min(CONNECT_BYTES_MAX)) {
            Framed::Incomplete => continue,
            Framed::Packet(packet) => packet,
            Framed::Malformed(malformed) => return Close::Malformed(malformed),
            Framed::TooLarge => return Close::PacketTooLarge,
        };
        let (why, refusal) = refusal(&packet);
        return if stream.write_all(&refusal).await.is_ok() { why } else { Close::Lost };
    }
}

/// Why the client is refused, and the CONNACK that says so; empty if it speaks no MQTT.
fn refusal(packet: &Packet<'_>) -> (Close, Vec<u8>) {
    let mut out = Vec::new();
    let (why, connect) = match opening::read_connect(packet) {
        Ok(connect) => (Close::Starting, connect),
        Err(Refused { why, version }) => {
            if let Some(version) = version {
                opening::put_refusal(&mut out, version, why, None);
            }
            return (why, out);
        }
    };
    opening::put_refusal(&mut out, connect.version, why, connect.packet_bytes_max);
    (why, out)
}

#[cfg(test)]
mod tests;
