//! What can be set about the MQTT front door.

mod listeners;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub use self::listeners::{Tls, WebSocket, WebSocketTls};
use super::acl::{self, Acl};
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
    /// Whether a new subscription is offered the last accepted fix of each driver that it matches, as a retained message.
    pub retain_latest: bool,
    /// Publishes of one client in a second, and every SUBSCRIBE and UNSUBSCRIBE counts as one. 0: any number.
    pub publishes_per_s_max: u32,
    /// Bytes of these in a second, headers included. 0: any number.
    pub publish_bytes_per_s_max: u32,
    /// Seconds' worth of both that a client that was silent may send at once.
    pub publish_burst_s: u32,
    /// What becomes of publishes beyond that. To subscribe or unsubscribe waits, whatever this says.
    pub over_rate: OverRate,
    /// Longest topic or filter of a client, bytes.
    pub topic_bytes_max: usize,
    /// Most levels of one.
    pub topic_levels_max: usize,
    /// Topic aliases of each direction and connection (MQTT 5). 0: none.
    pub topic_alias_max: u16,
    /// Longest keep-alive, seconds: a client of MQTT 5 that asks for more is told this one (Server Keep Alive); one of 3.1.1
    /// cannot be told and keeps its own. 0: any.
    pub keep_alive_s_max: u16,
    /// With `keep_alive_s_max`: whether a client that asks for no keep-alive at all may have that.
    pub keep_alive_never: bool,
    /// Rules about who may publish and subscribe where, before those of the roles.
    pub acl: Vec<acl::Rule>,
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
            retain_latest: false,
            publishes_per_s_max: 0,
            publish_bytes_per_s_max: 0,
            publish_burst_s: 10,
            over_rate: OverRate::Delay,
            topic_bytes_max: 4_096,
            topic_levels_max: 128,
            topic_alias_max: 16,
            keep_alive_s_max: 0,
            keep_alive_never: true,
            acl: Vec::new(),
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

    /// Whether a topic or filter is no longer and no deeper than may be.
    pub(super) fn takes_topic(&self, topic: &str) -> bool {
        topic.len() <= self.topic_bytes_max && topic.split('/').count() <= self.topic_levels_max
    }

    /// Whether any message can be retained.
    pub(super) fn offers_retain(&self) -> bool {
        self.router.retained_max > 0
    }

    /// Whether every rule of `acl` can be meant.
    ///
    /// # Errors
    /// The first that cannot: which entry, which of its keys, and what it wants.
    pub fn check_acl(&self) -> Result<(), acl::InvalidRule> {
        Acl::new(&self.acl).map(drop)
    }
}

/// What becomes of publishes beyond a client's rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OverRate {
    /// The client is not read until they fit.
    Delay,
    /// At QoS 0 they are dropped and counted; above, the client is not read until they fit.
    Drop,
}
