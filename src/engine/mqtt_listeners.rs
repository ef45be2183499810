//! The listeners of the MQTT door: what is spoken on each, and the certificate that those with TLS show.

use std::net::TcpListener;
use std::sync::Arc;

use super::Failure;
use super::addresses::Listeners;
use crate::auth::Mode;
use crate::config::Config;
use crate::mqtt::{Listener, Origins, Transport};
use crate::tls;

/// Those beside the plain one, bound and waiting until the door opens.
#[derive(Debug)]
pub(super) struct Waiting(Vec<Listener>);

/// Reads the certificate, if a listener needs one.
pub(super) fn certificate(config: &Config) -> Result<Option<Arc<tls::Server>>, Failure> {
    if !config.mqtt.serves_tls() {
        return Ok(None);
    }
    let loaded = tls::Server::load(config.mqtt.tls.files());
    let server = loaded.map_err(|error| Failure::Certificate(format!("mqtt.tls.{}: {error}", error.part().key())))?;
    Ok(Some(Arc::new(server)))
}

impl Waiting {
    /// Takes the listeners that are to wait.
    pub(super) fn new(listeners: &mut Listeners, certificate: Option<&Arc<tls::Server>>, config: &Config) -> Self {
        let (tls, websocket) = (&config.mqtt.tls, &config.mqtt.websocket);
        let origins = match config.auth.mode {
            Mode::Open => Origins::Local,
            Mode::Required => Origins::Any { with_certificate: websocket.tls.certificate_origins.as_slice().into() },
        };
        let with_certificate = |socket: Option<TcpListener>| socket.zip(certificate.cloned());
        let tls = with_certificate(listeners.mqtt_tls.take()).map(|(socket, server)| Listener {
            socket,
            transport: Transport::Tls(server),
            limits: tls.limits(),
        });
        let plain_websocket = listeners.mqtt_websocket.take().map(|socket| Listener {
            socket,
            transport: Transport::WebSocket(origins.clone()),
            limits: websocket.limits(),
        });
        let tls_websocket = with_certificate(listeners.mqtt_websocket_tls.take()).map(|(socket, server)| Listener {
            socket,
            transport: Transport::WebSocketTls(server, origins),
            limits: websocket.tls.limits(),
        });
        Self([tls, plain_websocket, tls_websocket].into_iter().flatten().collect())
    }

    /// All of the door's, the plain one first.
    pub(super) fn with_plain(self, socket: TcpListener, config: &Config) -> Vec<Listener> {
        let plain = Listener { socket, transport: Transport::Tcp, limits: config.mqtt.tcp };
        [plain].into_iter().chain(self.0).collect()
    }
}
