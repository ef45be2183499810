//! The composition root: builds every part, runs them, drains them. The one place that knows them all.

mod core;
mod metrics;
mod open_files;
mod replaying;

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time;

use self::core::Core;
pub use self::replaying::replay;
use crate::clock::Clock;
use crate::config::Config;
use crate::mqtt::Door;
use crate::mqtt::router::Router;
use crate::{http, journal};

/// The file in the data directory that tells where the engine listens, for whoever gave it port 0.
const ADDRESSES_FILE: &str = "addresses.json";

/// Connections that may wait to be accepted: a fleet that comes back at once. The system may hold it lower.
const LISTEN_BACKLOG: i32 = 4_096;

/// How often shards and workers are asked whether they still run.
const PARTS_LOOK: Duration = Duration::from_secs(1);

/// Why the engine did not start or ended, as far as the exit code tells.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The journal could not be read, written or synced.
    #[error("{0}")]
    Journal(String),
    /// Journal and store in `data_dir` do not belong together.
    #[error("{0}")]
    Mismatch(String),
    /// `data_dir` cannot be made or written.
    #[error("{0}")]
    DataDir(String),
    /// A listener that cannot be bound.
    #[error("{0}")]
    Listen(String),
    /// A thread gave up that nothing works without.
    #[error("a part of the engine gave up; the log says which and why")]
    Part,
    /// Another process has the data directory.
    #[error("{} is in use by another process: stop that one, or give this one another `data_dir`", .0.display())]
    InUse(PathBuf),
}

impl From<journal::Error> for Failure {
    fn from(error: journal::Error) -> Self {
        Self::Journal(error.to_string())
    }
}

/// Where the engine listens.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Addresses {
    /// MQTT.
    pub mqtt: SocketAddr,
    /// The public API.
    pub http: SocketAddr,
    /// The operator's port.
    pub admin: SocketAddr,
}

/// A running engine.
pub struct Engine {
    core: Core,
    door: Door,
    router: Router,
    servers: Vec<JoinHandle<()>>,
    stop_servers: watch::Sender<bool>,
    failures: mpsc::Receiver<String>,
    addresses: Addresses,
    addresses_file: PathBuf,
}

impl Engine {
    /// Binds every listener, recovers the data directory and starts serving. Blocks for as long as recovery takes; called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// A part that did not start; [`Failure`] within where the exit code depends on it.
    pub fn start(mut config: Config) -> anyhow::Result<Self> {
        open_files::fit(&mut config);
        // Before recovery, which may take long: an address in use is told at once.
        let mqtt_listener = bind("mqtt.listen", config.mqtt.listen)?;
        let http_listener = bind("http.listen", config.http.listen)?;
        let admin_listener = bind("admin.listen", config.admin.listen)?;
        let addresses = Addresses {
            mqtt: mqtt_listener.local_addr()?,
            http: http_listener.local_addr()?,
            admin: admin_listener.local_addr()?,
        };
        let core = Core::start(&config)?;
        let (failed, failures) = mpsc::channel(1);
        core.journal.on_failure(Box::new(move |reason| drop(failed.try_send(reason.to_owned()))));

        let clock = Clock::System;
        let router = Router::start(config.mqtt.router.clone()).context("cannot start the MQTT router")?;
        let ingress = core.pipeline.ingress();
        let door = Door::start(mqtt_listener, &config.mqtt, &clock, ingress, &router, &core.feed)
            .context("cannot start the MQTT door")?;

        let state = http::State {
            clock,
            geo: std::sync::Arc::clone(&core.geo),
            ingress: ingress.clone(),
            auth: config.auth.mode,
            offline_after_ms: i64::from(config.geo.offline_after_s) * 1_000,
        };
        let operator = metrics::operator(&core, door.stats(), router.clone());
        let (stop_servers, stopping) = watch::channel(false);
        let mut servers = Vec::new();
        for (listener, routes) in [
            (http_listener, http::router(state, &config.http)),
            (admin_listener, http::operator_router(operator, config.auth.mode, &config.http)),
        ] {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let mut stopping = stopping.clone();
            let stop = async move { drop(stopping.wait_for(|stopping| *stopping).await) };
            servers.push(tokio::spawn(http::serve(listener, routes, config.http.bounds(), stop)));
        }

        let addresses_file = config.data_dir.join(ADDRESSES_FILE);
        write_addresses(&addresses_file, addresses).context("cannot write the addresses into `data_dir`")?;
        tracing::info!(mqtt = %addresses.mqtt, http = %addresses.http, admin = %addresses.admin, "serving");
        Ok(Self { core, door, router, servers, stop_servers, failures, addresses, addresses_file })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Serves until `stop` resolves, then takes nothing more, makes durable and acknowledges what was taken, and closes.
    ///
    /// # Errors
    /// The journal failed, and nothing was acknowledged since; or a thread gave up that nothing works without.
    pub async fn serve_until(mut self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let failure = tokio::select! {
            biased;
            () = stop => None,
            Some(reason) = self.failures.recv() => Some(Failure::Journal(reason)),
            () = has_failed(&self.core, &self.door, &self.servers) => Some(Failure::Part),
        };
        let stopped = self.stop().await;
        // After a failure closing fails too, and the first reason is the one to tell.
        failure.map_or(stopped, |failure| Err(failure.into()))
    }

    async fn stop(self) -> anyhow::Result<()> {
        let Self { core, door, router, servers, stop_servers, addresses_file, .. } = self;
        // A file that is gone already says the same.
        drop(fs::remove_file(addresses_file));
        stop_servers.send_replace(true);
        let door = tokio::task::spawn_blocking(move || door.stop());
        for server in servers {
            if let Err(error) = server.await {
                tracing::error!(%error, "an HTTP port panicked");
            }
        }
        door.await?;
        drop(router);
        tokio::task::spawn_blocking(move || core.stop()).await?
    }
}

/// Resolves once a thread gave up that nothing works without.
async fn has_failed(core: &Core, door: &Door, servers: &[JoinHandle<()>]) {
    let mut look = time::interval(PARTS_LOOK);
    let has_ended = |server: &JoinHandle<()>| server.is_finished();
    while !core.pipeline.has_failed() && !door.has_failed() && !servers.iter().any(has_ended) {
        look.tick().await;
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

/// Writes the whole file or none of it.
fn write_addresses(path: &Path, addresses: Addresses) -> io::Result<()> {
    let unfinished = path.with_extension("json.new");
    fs::write(&unfinished, serde_json::to_vec(&addresses)?)?;
    fs::rename(unfinished, path)
}
