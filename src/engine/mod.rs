//! The composition root: builds every part, runs them, drains them. The one place that knows them all.

mod addresses;
mod backing_up;
mod budget;
mod core;
mod devices;
mod fences;
mod http_ports;
mod keeper;
mod metrics;
mod mqtt_listeners;
mod open_files;
mod progress;
mod reload;
mod replaying;
mod resuming;
mod silence;
mod watched;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time;

pub use self::addresses::Addresses;
use self::addresses::{AddressesFile, Listeners};
pub use self::backing_up::{back_up, restore};
use self::core::Core;
use self::http_ports::HttpPorts;
use self::progress::Progress;
use self::reload::Reloads;
pub use self::replaying::{replay, replay_rejected};
use self::watched::Watched;
use crate::auth::devices::file::DEVICES_FILE;
use crate::auth::{Authority, Mode};
use crate::clock::Clock;
use crate::config::{Config, Sources};
use crate::mqtt::router::{Latest, Router, Surroundings};
use crate::mqtt::{Door, LatestFixes, Parts, Unready};
use crate::{http, journal, tls};

/// How often shards and workers are asked whether they still run.
const PARTS_LOOK: Duration = Duration::from_secs(1);

/// The file in the data directory with MQTT sessions and retained messages.
const ROUTER_FILE: &str = "router";

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
    /// Files that TLS cannot be served with.
    #[error("{0}")]
    Certificate(String),
    /// A listener that cannot be bound.
    #[error("{0}")]
    Listen(String),
    /// A thread gave up that nothing works without.
    #[error("a part of the engine gave up; the log says which and why")]
    Part,
    /// A file in `data_dir` that says who may come in is of no use.
    #[error("{0}")]
    Credentials(String),
    /// Another process has the data directory.
    #[error("{} is in use by another process: stop that one, or give this one another `data_dir`", .0.display())]
    InUse(PathBuf),
}

impl From<journal::Error> for Failure {
    fn from(error: journal::Error) -> Self {
        Self::Journal(error.to_string())
    }
}

/// A running engine.
pub struct Engine {
    core: Core,
    door: Door,
    router: Router,
    ports: HttpPorts,
    failures: mpsc::Receiver<String>,
    addresses: Addresses,
    addresses_file: AddressesFile,
    reloads: JoinHandle<()>,
    devices: JoinHandle<()>,
    /// Lets drivers fall silent.
    silence: JoinHandle<()>,
    /// Looks after the certificate's files.
    certificates: Option<JoinHandle<()>>,
}

/// Reads the files that the configuration names, as a start would.
///
/// # Errors
/// [`Failure::Certificate`]: they are not there, or are no certificate and its key.
pub fn check_files(config: &Config) -> Result<(), Failure> {
    mqtt_listeners::certificate(config).map(drop)
}

impl Engine {
    /// Binds every listener, recovers the data directory and starts serving with `config`, which was loaded from `sources`;
    /// rules and limits are read again from there while it runs. For as long as recovery takes, the ports
    /// answer that the engine is not ready. Called within a tokio runtime; dropped before it is done, it leaves a recovery
    /// behind that goes on reading.
    ///
    /// # Errors
    /// A part that did not start; [`Failure`] within where the exit code depends on it.
    pub async fn start(mut config: Config, sources: Sources) -> anyhow::Result<Self> {
        let reloads = Reloads::listen(sources, &config).context("cannot listen for SIGHUP")?;
        open_files::fit(&mut config);
        // Before recovery, which may take long: a missing key or an address in use is told at once.
        let certificate = mqtt_listeners::certificate(&config)?;
        let mut listeners = Listeners::bind(&config)?;
        let addresses = listeners.addresses()?;
        let lock = core::take(&config.data_dir)?;
        // In open mode nobody reads it.
        let devices_file = (config.auth.mode == Mode::Required).then(|| config.data_dir.join(DEVICES_FILE));
        let devices_file = Watched::new(devices_file);
        let authority = authority(&config)?;
        let addresses_file =
            AddressesFile::write(&config.data_dir, addresses).context("cannot write the addresses into `data_dir`")?;
        let config = Arc::new(config);
        let progress = Arc::new(Progress::new());
        let waiting = mqtt_listeners::Waiting::new(&mut listeners, certificate.as_ref(), &config);
        let Listeners { mqtt, http, admin, .. } = listeners;
        let unready = Unready::start(mqtt, &config.mqtt).context("cannot start the MQTT door")?;
        let ports = HttpPorts::start(http, admin, metrics::unready(&progress), &authority, &config)?;
        addresses.tell();

        let core = recover(Arc::clone(&config), lock, Arc::clone(&progress)).await?;
        let (failed, failures) = mpsc::channel(1);
        core.journal.on_failure(Box::new(move |reason| drop(failed.try_send(reason.to_owned()))));

        let clock = Clock::System;
        let router = start_router(&config, &core, &clock).await?;
        let ingress = core.pipeline.ingress();
        let (mqtt, stats) = unready.stop().await.context("cannot open the MQTT port")?;
        let listeners = waiting.with_plain(mqtt, &config);
        let parts = Parts { authority: &authority, clock: &clock, ingress, router: &router, feed: &core.feed };
        let door = Door::start(listeners, stats, &config.mqtt, parts).context("cannot start the MQTT door")?;

        let offline_after_ms = i64::from(config.geo.offline_after_s) * 1_000;
        let silence = silence::keep(Arc::clone(&core.geo), clock.clone(), offline_after_ms);
        let state = http::State {
            clock: clock.clone(),
            geo: Arc::clone(&core.geo),
            ingress: ingress.clone(),
            recorder: core.recorder(),
            fences: core
                .fences
                .as_ref()
                .map(|fences| http::Fences { changes: fences.changes(), outbox: fences.outbox() }),
            authority: authority.clone(),
            offline_after_ms,
        };
        let (reloads, reload_status) = reloads.start(core.pipeline.bounds().clone());
        let operator =
            metrics::operator(&core, door.stats(), router.clone(), authority.clone(), progress, reload_status);
        ports.open(http::router(state, &config.http), http::operator_router(operator, authority.clone(), &config.http));
        let devices = devices::watch(authority, config.data_dir.clone(), devices_file);
        let certificates = certificate.map(|server| tokio::spawn(tls::watch(server, clock)));
        tracing::info!("serving");
        Ok(Self {
            core,
            door,
            router,
            ports,
            failures,
            addresses,
            addresses_file,
            reloads,
            devices,
            silence,
            certificates,
        })
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
            () = has_failed(&self.core, &self.door, &self.ports) => Some(Failure::Part),
        };
        let stopped = self.stop().await;
        // After a failure closing fails too, and the first reason is the one to tell.
        failure.map_or(stopped, |failure| Err(failure.into()))
    }

    async fn stop(self) -> anyhow::Result<()> {
        let Self { mut core, door, router, ports, addresses_file, reloads, devices, silence, certificates, .. } = self;
        reloads.abort();
        devices.abort();
        silence.abort();
        certificates.iter().for_each(JoinHandle::abort);
        drop(addresses_file);
        // Doors and shards wait for what is under way, which is no longer a matter of the disk budget.
        core.journal.release_brake();
        let door = tokio::task::spawn_blocking(move || door.stop());
        ports.stop().await;
        door.await?;
        tokio::task::spawn_blocking(move || {
            // The door is closed: whatever its connections had for the router is there. What follows from their fixes is not.
            core.stop_fences();
            router.stop();
            core.stop()
        })
        .await?
    }
}

/// Who says who is who, by this configuration and what is in its data directory.
fn authority(config: &Config) -> anyhow::Result<Authority> {
    Ok(match config.auth.mode {
        Mode::Open => Authority::open(),
        Mode::Required => Authority::required(&config.auth, &config.data_dir)
            .map_err(|error| Failure::Credentials(error.to_string()))?,
    })
}

/// Starts the MQTT router with what was saved of the last one, which may take the disk a while.
async fn start_router(config: &Config, core: &Core, clock: &Clock) -> anyhow::Result<Router> {
    let latest = || Arc::new(LatestFixes::new(Arc::clone(&core.geo))) as Arc<dyn Latest>;
    let surroundings = Surroundings {
        file: Some(config.data_dir.join(ROUTER_FILE)),
        clock: clock.clone(),
        latest: config.mqtt.retain_latest.then(latest),
        are_tenants_apart: config.auth.mode != Mode::Open,
    };
    let bounds = config.mqtt.router.clone();
    let router = tokio::task::spawn_blocking(|| Router::start(bounds, surroundings)).await?;
    router.context("cannot start the MQTT router")
}

/// Recovers on a thread of its own, which blocks for as long as that takes.
async fn recover(config: Arc<Config>, lock: File, progress: Arc<Progress>) -> anyhow::Result<Core> {
    let recovery = move || progress.told_during(|| Core::start(&config, lock, &progress));
    tokio::task::spawn_blocking(recovery).await.context("the start panicked")?
}

/// Resolves once a thread gave up that nothing works without.
async fn has_failed(core: &Core, door: &Door, ports: &HttpPorts) {
    let mut look = time::interval(PARTS_LOOK);
    while !core.pipeline.has_failed() && !door.has_failed() && !ports.has_failed() {
        look.tick().await;
    }
}
