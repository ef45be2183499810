//! Rows to a broker: native JSON at QoS 1, a bounded number of them unacknowledged.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rumqttc::{Client, Connection, Event, MqttOptions, Packet, QoS};

use super::Target;
use super::error::Error;
use super::source::Row;
use super::summary::{Delivery, Summary};
use crate::counts::Counts;
use crate::fix::{Element, Reason, Verdict};
use crate::wire::native;

/// Publishes that the broker may leave unacknowledged.
const IN_FLIGHT_MAX: u16 = 1_000;

/// Publishes that wait for their turn.
const QUEUE_MAX: usize = 256;

/// How long a broker may keep silent about what it was sent.
const SILENCE_MAX: Duration = Duration::from_secs(30);

const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Largest packet either way; a row takes a few hundred bytes.
const PACKET_BYTES_MAX: usize = 64 * 1024;

const DEFAULT_PORT: u16 = 1883;

/// A broker's address, as `--mqtt` gives it: `mqtt://[user[:password]@]host[:port]`.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    host: String,
    port: u16,
    credentials: Option<(String, String)>,
}

impl std::str::FromStr for BrokerUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let rest = text.strip_prefix("mqtt://").ok_or(Error::BadUrl("it begins with mqtt://"))?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (credentials, address) = match rest.rsplit_once('@') {
            Some((credentials, address)) => {
                let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
                (Some((unescaped(user)?, unescaped(password)?)), address)
            }
            None => (None, rest),
        };
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| Error::BadUrl("the port is a number up to 65535"))?)
            }
            _ => (address, DEFAULT_PORT),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || host.contains(['/', '?', '#']) || port == 0 {
            return Err(Error::BadUrl("a host and nothing behind the port"));
        }
        Ok(Self { host: host.to_owned(), port, credentials })
    }
}

/// Without the credentials.
impl std::fmt::Debug for BrokerUrl {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "mqtt://{}:{}", self.host, self.port)
    }
}

/// Text without its %XX escapes.
fn unescaped(text: &str) -> Result<String, Error> {
    const FAULT: Error = Error::BadUrl("a % is followed by two hexadecimal digits");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        (rest, _) = match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                let (Some(high), Some(low)) = (digit(high), digit(low)) else { return Err(FAULT) };
                (tail, bytes.push((high * 16 + low) as u8))
            }
            (b'%', _) => return Err(FAULT),
            _ => (tail, bytes.push(*first)),
        };
    }
    String::from_utf8(bytes).map_err(|_| FAULT)
}

/// A replay to a broker.
///
/// A connection that is lost ends it: rows on the way may have been stored or not, and the way to be sure is to replay
/// again, which stores none twice.
pub struct Mqtt {
    broker: String,
    client: Client,
    link: Arc<Link>,
    reader: Option<JoinHandle<()>>,
    payload: Vec<u8>,
    published: u64,
    /// Rows that cannot be sent.
    refused: Counts,
}

impl Mqtt {
    /// Connects, and waits until the broker has accepted.
    pub fn connect(url: &BrokerUrl) -> Result<Self, Error> {
        let client_id = format!("rhumb-replay-{}", std::process::id());
        let mut options = MqttOptions::new(client_id, url.host.clone(), url.port);
        options.set_keep_alive(KEEP_ALIVE).set_inflight(IN_FLIGHT_MAX);
        options.set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
        if let Some((user, password)) = &url.credentials {
            options.set_credentials(user, password);
        }
        let (client, connection) = Client::new(options, QUEUE_MAX);
        let link = Arc::new(Link::default());
        let broker = format!("{url:?}");
        let reader = {
            let link = Arc::clone(&link);
            thread::Builder::new()
                .name("replay-mqtt".to_owned())
                .spawn(move || link.run(connection))
                .map_err(|error| broker_error(&broker, &error, 0, 0))?
        };
        let mqtt = Self {
            broker,
            client,
            link,
            reader: Some(reader),
            payload: Vec::new(),
            published: 0,
            refused: Counts::default(),
        };
        mqtt.wait("no answer to the connection", |state| state.is_connected)?;
        Ok(mqtt)
    }

    /// Waits until `is_done`, as long as something moves.
    fn wait(&self, silence: &str, is_done: impl Fn(&State) -> bool) -> Result<(), Error> {
        let mut state = self.link.lock();
        loop {
            if let Some(fault) = &state.fault {
                return Err(broker_error(&self.broker, fault, self.published, state.acknowledged));
            }
            if is_done(&state) {
                return Ok(());
            }
            let before = state.acknowledged;
            let waited = self.link.changed.wait_timeout(state, SILENCE_MAX).unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
            if waited.1.timed_out() && state.acknowledged == before && state.fault.is_none() && !is_done(&state) {
                return Err(broker_error(&self.broker, &silence, self.published, before));
            }
        }
    }

    fn lost(&self) -> Error {
        // The connection's thread writes down its fault before it lets the queue go.
        let state = self.link.lock();
        let fault = state.fault.as_deref().unwrap_or("the connection was closed");
        broker_error(&self.broker, &fault, self.published, state.acknowledged)
    }
}

fn broker_error(broker: &str, reason: &impl ToString, published: u64, acknowledged: u64) -> Error {
    Error::Broker { broker: broker.to_owned(), reason: reason.to_string(), published, acknowledged }
}

impl Target for Mqtt {
    fn send(&mut self, row: Row, _raw: &[u8]) -> Result<(), Error> {
        let report = match publishable(row.element) {
            Ok(report) => report,
            Err(reason) => {
                self.refused.count(Verdict::Rejected(reason));
                return Ok(());
            }
        };
        self.payload.clear();
        native::encode_report(&report, &mut self.payload);
        let topic = format!("tenant/{}/driver/{}/location", row.driver.tenant(), row.driver.driver());
        if self.client.publish(topic, QoS::AtLeastOnce, false, self.payload.as_slice()).is_err() {
            return Err(self.lost());
        }
        self.published += 1;
        Ok(())
    }

    fn flush(&mut self) {}

    fn finish(&mut self, summary: &mut Summary) -> Result<(), Error> {
        let published = self.published;
        self.wait("no acknowledgement for 30 seconds", |state| state.acknowledged >= published)?;
        self.link.lock().is_leaving = true;
        // Should the connection be gone already, there is nothing to take leave of.
        if self.client.disconnect().is_ok()
            && let Some(reader) = self.reader.take()
        {
            drop(reader.join());
        }
        summary.counts = self.refused;
        summary.delivery = Some(Delivery { published, acknowledged: published });
        Ok(())
    }
}

/// The row, unless JSON cannot say it.
fn publishable(element: Element) -> Element {
    match element {
        Ok(report) if !(report.latitude.is_finite() && report.longitude.is_finite()) => Err(Reason::OutOfRange),
        _ => element,
    }
}

/// What the connection's thread and the replay share.
#[derive(Debug, Default)]
struct Link {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_connected: bool,
    is_leaving: bool,
    acknowledged: u64,
    fault: Option<String>,
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the connection until it ends, which is its first fault or the leave that was taken.
    fn run(&self, mut connection: Connection) {
        for event in connection.iter() {
            let mut state = self.lock();
            match event {
                Ok(Event::Incoming(Packet::ConnAck(_))) => state.is_connected = true,
                Ok(Event::Incoming(Packet::PubAck(_))) => state.acknowledged += 1,
                Ok(Event::Outgoing(rumqttc::Outgoing::Disconnect)) => return,
                Ok(_) => continue,
                Err(_) if state.is_leaving => return,
                Err(error) => state.fault = Some(error.to_string()),
            }
            let has_fault = state.fault.is_some();
            drop(state);
            self.changed.notify_all();
            if has_fault {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::path::Path;

    use bytes::BytesMut;
    use rumqttc::mqttbytes::v4;

    use super::*;
    use crate::fix::Report;
    use crate::ids::TenantId;
    use crate::replay::{Plan, Speed, run};

    /// A broker for one client that acknowledges so many publishes and then hangs up; gives what was published.
    fn broker(acks_max: usize) -> (BrokerUrl, JoinHandle<Vec<rumqttc::Publish>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("mqtt://u:p%40ss@{}", listener.local_addr().unwrap()).parse().unwrap();
        (url, thread::spawn(move || serve(listener.accept().unwrap().0, acks_max)))
    }

    fn serve(mut stream: TcpStream, acks_max: usize) -> Vec<rumqttc::Publish> {
        let mut published = Vec::new();
        let mut received = BytesMut::new();
        let mut chunk = [0; 4_096];
        loop {
            let mut replies = BytesMut::new();
            while let Ok(packet) = v4::Packet::read(&mut received, PACKET_BYTES_MAX) {
                match packet {
                    v4::Packet::Connect(connect) => {
                        let login = connect.login.unwrap();
                        assert_eq!((login.username.as_str(), login.password.as_str()), ("u", "p@ss"));
                        v4::ConnAck::new(v4::ConnectReturnCode::Success, false).write(&mut replies).unwrap();
                    }
                    v4::Packet::Publish(publish) => {
                        if published.len() == acks_max {
                            return published;
                        }
                        v4::PubAck::new(publish.pkid).write(&mut replies).unwrap();
                        published.push(publish);
                    }
                    v4::Packet::Disconnect => return published,
                    _ => {}
                }
            }
            stream.write_all(&replies).unwrap();
            match stream.read(&mut chunk).unwrap() {
                0 => return published,
                count => received.extend_from_slice(&chunk[..count]),
            }
        }
    }

    fn plan(file: &str) -> Plan {
        Plan {
            files: vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/traces").join(file)],
            tenant: TenantId::new("acme").unwrap(),
            driver: None,
            speed: Speed::Max,
            shows_progress: false,
        }
    }

    #[test]
    fn every_row_is_published_and_acknowledged() {
        let (url, broker) = broker(usize::MAX);
        let mut mqtt = Mqtt::connect(&url).unwrap();
        let (summary, result) = run(&plan("gpx/korita_zbevnica_missing_times.gpx"), &mut mqtt);
        result.unwrap();
        assert_eq!(summary.delivery, Some(Delivery { published: 513, acknowledged: 513 }));
        assert_eq!((summary.rows, summary.counts.rejected[Reason::NoTime as usize]), (871, 358));
        let published = broker.join().unwrap();
        assert_eq!(published.len(), 513);
        assert_eq!(published[0].topic, "tenant/acme/driver/korita_zbevnica_missing_times/location");
        let mut elements = Vec::new();
        native::decode(&published[0].payload, 1, &mut elements);
        let Report { latitude, time, .. } = elements[0].unwrap();
        assert!((45.3..45.5).contains(&latitude) && time.is_some());
    }

    #[test]
    fn more_rows_than_may_be_in_flight_go_through() {
        let (url, broker) = broker(usize::MAX);
        let (summary, result) = run(&plan("gpsd_receivers.csv.gz"), &mut Mqtt::connect(&url).unwrap());
        result.unwrap();
        assert_eq!(summary.delivery, Some(Delivery { published: 5_463, acknowledged: 5_463 }));
        assert_eq!(broker.join().unwrap().len(), 5_463);
    }

    #[test]
    fn a_lost_connection_ends_the_replay_and_says_how_far_it_came() {
        let (url, broker) = broker(700);
        let error = run(&plan("gpsd_receivers.csv.gz"), &mut Mqtt::connect(&url).unwrap()).1.unwrap_err();
        assert!(matches!(error, Error::Broker { acknowledged: ..=700, .. }), "{error}");
        broker.join().unwrap();
    }

    #[test]
    fn a_broker_that_is_not_there_is_an_error_at_once() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("mqtt://127.0.0.1:{port}").parse().unwrap();
        assert!(matches!(Mqtt::connect(&url).err(), Some(Error::Broker { .. })));
    }

    #[test]
    fn addresses_are_read() {
        let url = |text: &str| text.parse::<BrokerUrl>();
        let parts = |text: &str| url(text).map(|url| (url.host, url.port, url.credentials)).unwrap();
        let login = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(parts("mqtt://localhost"), ("localhost".to_owned(), 1883, None));
        assert_eq!(parts("mqtt://a:b%3a@h:1/"), ("h".to_owned(), 1, login("a", "b:")));
        assert_eq!(parts("mqtt://a@[::1]:1884"), ("::1".to_owned(), 1884, login("a", "")));
        assert_eq!(parts("mqtt://[::1]"), ("::1".to_owned(), 1883, None));
        for bad in ["localhost", "http://h", "mqtt://", "mqtt://h:x", "mqtt://h:0", "mqtt://h/a", "mqtt://a%4:b@h"] {
            assert!(url(bad).is_err(), "{bad}");
        }
        assert_eq!(format!("{:?}", url("mqtt://a:secret@h").unwrap()), "mqtt://h:1883");
    }
}
