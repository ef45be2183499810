//! Where the engine listens: bound before anything else, and written down for whoever gave it port 0.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Failure;
use crate::config::Config;

/// The file in the data directory that tells it.
const ADDRESSES_FILE: &str = "addresses.json";

/// Connections that may wait to be accepted: a fleet that comes back at once. The system may hold it lower.
const LISTEN_BACKLOG: i32 = 4_096;

/// Where the engine listens.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Addresses {
    /// MQTT.
    pub mqtt: SocketAddr,
    /// MQTT over TLS, if it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mqtt_tls: Option<SocketAddr>,
    /// MQTT over WebSocket, if it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mqtt_websocket: Option<SocketAddr>,
    /// MQTT over WebSocket over TLS, if it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mqtt_websocket_tls: Option<SocketAddr>,
    /// The public API.
    pub http: SocketAddr,
    /// The operator's port.
    pub admin: SocketAddr,
}

impl Addresses {
    /// Where the engine listens that runs on this configuration's data directory, by its own account.
    pub fn of_running(config: &Config) -> Option<Self> {
        serde_json::from_slice(&fs::read(config.data_dir.join(ADDRESSES_FILE)).ok()?).ok()
    }

    /// Writes them to the log.
    pub(super) fn tell(&self) {
        let Self { mqtt, mqtt_tls, mqtt_websocket, mqtt_websocket_tls, http, admin } = self;
        tracing::info!(%mqtt, %http, %admin, "listening");
        let others = [("tls", mqtt_tls), ("websocket", mqtt_websocket), ("websocket over tls", mqtt_websocket_tls)];
        for (over, address) in others {
            if let Some(address) = address {
                tracing::info!(%address, over, "listening for mqtt");
            }
        }
    }
}

/// Every listener, bound.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) mqtt: TcpListener,
    pub(super) mqtt_tls: Option<TcpListener>,
    pub(super) mqtt_websocket: Option<TcpListener>,
    pub(super) mqtt_websocket_tls: Option<TcpListener>,
    pub(super) http: TcpListener,
    pub(super) admin: TcpListener,
}

impl Listeners {
    /// Binds all that are on.
    pub(super) fn bind(config: &Config) -> Result<Self, Failure> {
        let bind_if_on = |key, address: Option<SocketAddr>| address.map(|address| bind(key, address)).transpose();
        let websocket = &config.mqtt.websocket;
        Ok(Self {
            mqtt: bind("mqtt.listen", config.mqtt.listen)?,
            mqtt_tls: bind_if_on("mqtt.tls.listen", config.mqtt.tls.listen)?,
            mqtt_websocket: bind_if_on("mqtt.websocket.listen", websocket.listen)?,
            mqtt_websocket_tls: bind_if_on("mqtt.websocket.tls.listen", websocket.tls.listen)?,
            http: bind("http.listen", config.http.listen)?,
            admin: bind("admin.listen", config.admin.listen)?,
        })
    }

    /// What they were bound to.
    pub(super) fn addresses(&self) -> io::Result<Addresses> {
        let if_on = |listener: &Option<TcpListener>| listener.as_ref().map(TcpListener::local_addr).transpose();
        Ok(Addresses {
            mqtt: self.mqtt.local_addr()?,
            mqtt_tls: if_on(&self.mqtt_tls)?,
            mqtt_websocket: if_on(&self.mqtt_websocket)?,
            mqtt_websocket_tls: if_on(&self.mqtt_websocket_tls)?,
            http: self.http.local_addr()?,
            admin: self.admin.local_addr()?,
        })
    }
}

fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        // The standard library asks for 128 and has no say for more; a second call only changes that.
        rustix::net::listen(&listener, LISTEN_BACKLOG)?;
        Ok(listener)
    });
    bound.map_err(|error| Failure::Listen(format!("cannot listen on {address}: {error}; give `{key}` another address")))
}

/// The file that tells the addresses, for as long as they are listened on.
#[derive(Debug)]
pub(super) struct AddressesFile(PathBuf);

impl AddressesFile {
    /// Writes the whole file or none of it.
    pub(super) fn write(data_dir: &Path, addresses: Addresses) -> io::Result<Self> {
        let path = data_dir.join(ADDRESSES_FILE);
        let unfinished = path.with_extension("json.new");
        fs::write(&unfinished, serde_json::to_vec(&addresses)?)?;
        fs::rename(unfinished, &path)?;
        Ok(Self(path))
    }
}

impl Drop for AddressesFile {
    fn drop(&mut self) {
        // A file that is gone already says the same.
        drop(fs::remove_file(&self.0));
    }
}
