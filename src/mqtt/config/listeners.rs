//! What can be set about the door's listeners beside the plain one.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::auth::origin::{ORIGINS_MAX, is_origin};
use crate::mqtt::listener::Limits;
use crate::tls::{ClientCertificates, Files};

/// `[mqtt.tls]`: MQTT over TLS, and the certificate of every listener that speaks it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Address and port; `None`, written as an empty text, is off.
    #[serde(with = "or_off")]
    pub listen: Option<SocketAddr>,
    /// Where the certificate is, in PEM, with those that lead to its authority behind it.
    pub certificate: PathBuf,
    /// Where its private key is, in PEM.
    pub key: PathBuf,
    /// Where the authorities of clients' certificates are, in PEM.
    pub client_ca: PathBuf,
    /// Where the lists of those that were revoked are, in PEM; empty: none is.
    pub client_revocations: PathBuf,
    /// Whether clients show certificates.
    pub client_certificates: ClientCertificates,
    /// Most connections to this listener; 0: as many as `mqtt.connections_max` leaves it.
    pub connections_max: usize,
    /// Most new connections to this listener in a second; 0: no limit.
    pub connections_per_s_max: u32,
}

/// `[mqtt.websocket]`: MQTT over WebSocket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebSocket {
    /// Address and port; `None`, written as an empty text, is off.
    #[serde(with = "or_off")]
    pub listen: Option<SocketAddr>,
    /// Most connections to this listener; 0: as many as `mqtt.connections_max` leaves it.
    pub connections_max: usize,
    /// Most new connections to this listener in a second; 0: no limit.
    pub connections_per_s_max: u32,
    /// The same over TLS.
    pub tls: WebSocketTls,
}

/// `[mqtt.websocket.tls]`: MQTT over WebSocket over TLS, with the certificate of `[mqtt.tls]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebSocketTls {
    /// Address and port; `None`, written as an empty text, is off.
    #[serde(with = "or_off")]
    pub listen: Option<SocketAddr>,
    /// Origins of the pages whose visitors' client certificates count, as browsers send them. A browser shows its certificate
    /// for whatever page asks; whoever sends no origin is no page.
    #[serde(deserialize_with = "origins")]
    pub certificate_origins: Vec<String>,
    /// Most connections to this listener; 0: as many as `mqtt.connections_max` leaves it.
    pub connections_max: usize,
    /// Most new connections to this listener in a second; 0: no limit.
    pub connections_per_s_max: u32,
}

fn origins<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let origins = Vec::<String>::deserialize(deserializer)?;
    if origins.len() <= ORIGINS_MAX && origins.iter().all(|origin| is_origin(origin)) {
        return Ok(origins);
    }
    Err(D::Error::custom("a text that is no origin, or too many"))
}

/// Most new connections in a second where nothing else is said, of listeners with TLS: their handshakes, of some 0.3 ms each
/// at most, then take less than a third of one core from those that are connected ([`crate::tls`]).
const HANDSHAKES_PER_S_MAX: u32 = 1_000;

impl Default for Tls {
    fn default() -> Self {
        Self {
            listen: None,
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            client_ca: PathBuf::new(),
            client_revocations: PathBuf::new(),
            client_certificates: ClientCertificates::None,
            connections_max: 0,
            connections_per_s_max: HANDSHAKES_PER_S_MAX,
        }
    }
}

impl Default for WebSocketTls {
    fn default() -> Self {
        Self {
            listen: None,
            certificate_origins: Vec::new(),
            connections_max: 0,
            connections_per_s_max: HANDSHAKES_PER_S_MAX,
        }
    }
}

impl Tls {
    /// The files, for whoever serves TLS with them.
    pub fn files(&self) -> Files {
        Files {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            client_ca: self.client_ca.clone(),
            client_revocations: self.client_revocations.clone(),
            client_certificates: self.client_certificates,
        }
    }

    /// What the listener takes.
    pub fn limits(&self) -> Limits {
        Limits { connections_max: self.connections_max, connections_per_s_max: self.connections_per_s_max }
    }
}

impl WebSocket {
    /// What the listener takes.
    pub fn limits(&self) -> Limits {
        Limits { connections_max: self.connections_max, connections_per_s_max: self.connections_per_s_max }
    }
}

impl WebSocketTls {
    /// What the listener takes.
    pub fn limits(&self) -> Limits {
        Limits { connections_max: self.connections_max, connections_per_s_max: self.connections_per_s_max }
    }
}

/// An address as text, or an empty text for none: a key that is left out would be no key.
mod or_off {
    use std::net::SocketAddr;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(address: &Option<SocketAddr>, serializer: S) -> Result<S::Ok, S::Error> {
        address.map(|address| address.to_string()).unwrap_or_default().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(D::Error::custom) }
    }
}
