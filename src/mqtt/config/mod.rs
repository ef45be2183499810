//! What can be set about the MQTT front door.

mod listeners;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub use self::listeners::{Tls, WebSocket, WebSocketTls};
use super::listener::Limits;
use super::mapping::{IngestTopic, InvalidMapping, Mapping};
use super::router;
use crate::tls::{ClientCertificates, Part};

/// The MQTT front door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port, for MQTT 3.1.1 and 5 alike.
    pub listen: SocketAddr,
    /// Threads that serve connections. 0: one per core.
    pub workers: usize,
    /// Most connections, over all listeners. One more is refused in its CONNACK.
    pub connections_max: usize,
    /// Seconds that a connection may take until its CONNECT is there, whatever has to be spoken before.
    pub connect_timeout_s: u32,
    /// Largest packet in bytes, fixed header included. A larger one ends its connection.
    pub packet_bytes_max: usize,
    /// Publishes of one connection at QoS 1 and 2 that are not acknowledged yet: MQTT 5's receive maximum. A 3.1.1 client
    /// that has more is not read until some are.
    pub in_flight_max: u16,
    /// Bytes that wait for one subscriber to read them, before the router holds back its messages.
    pub subscriber_queue_bytes_max: usize,
    /// Topics that carry fixes beside `tenant/{tenant}/driver/{driver}/location`.
    pub ingest: Vec<IngestTopic>,
    /// What the plain listener takes, beside what holds for all.
    pub tcp: Limits,
    /// MQTT over TLS.
    pub tls: Tls,
    /// MQTT over WebSocket.
    pub websocket: WebSocket,
    /// What stands behind the door for everything that is no telemetry.
    pub router: router::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 1883)),
            workers: 0,
            connections_max: 100_000,
            connect_timeout_s: 10,
            packet_bytes_max: 256 * 1024,
            in_flight_max: 1_024,
            subscriber_queue_bytes_max: 256 * 1024,
            ingest: IngestTopic::defaults(),
            tcp: Limits::default(),
            tls: Tls::default(),
            websocket: WebSocket::default(),
            router: router::Config::default(),
        }
    }
}

impl Config {
    /// Whether every entry of `ingest` can be meant.
    ///
    /// # Errors
    /// The first that cannot: which of its keys, and what it wants.
    pub fn check_ingest(&self) -> Result<(), InvalidMapping> {
        Mapping::new(&self.ingest).map(drop)
    }

    /// Every listener that is on, by its key, and its address.
    pub fn listeners(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let others = [
            ("mqtt.tls.listen", self.tls.listen),
            ("mqtt.websocket.listen", self.websocket.listen),
            ("mqtt.websocket.tls.listen", self.websocket.tls.listen),
        ];
        let others = others.into_iter().filter_map(|(key, address)| Some((key, address?)));
        [("mqtt.listen", self.listen)].into_iter().chain(others)
    }

    /// Whether a listener speaks TLS.
    pub fn serves_tls(&self) -> bool {
        self.tls.listen.is_some() || self.websocket.tls.listen.is_some()
    }

    /// The first file that TLS is to be served with and that nobody named.
    pub fn missing_tls_file(&self) -> Option<Part> {
        if !self.serves_tls() {
            return None;
        }
        let Tls { certificate, key, client_ca, client_certificates, .. } = &self.tls;
        let asks_clients = *client_certificates != ClientCertificates::None;
        let files =
            [(Part::Certificate, certificate, true), (Part::Key, key, true), (Part::ClientCa, client_ca, asks_clients)];
        files.into_iter().find(|(_, path, is_needed)| *is_needed && path.as_os_str().is_empty()).map(|(part, ..)| part)
    }
}
