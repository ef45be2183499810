//! The MQTT front door: 3.1.1 and 5 on every listener, over TCP, TLS, WebSocket or both.
//!
//! Telemetry takes the fast path: a PUBLISH on an ingest topic is read in place and goes to its shard; its PUBACK or PUBREC is
//! sent when the journal says durable, in the order of the packets. Every other packet is decoded by the codec and goes to
//! the [`router`], which a tracker that only publishes fixes never touches. Nothing on a worker's thread blocks: not on a
//! shard (its share of the inbox is claimed beforehand), not on the router (bounded tries), not on a client (what it does
//! not read stays bounded, and it is not read either).
//!
//! Until the engine is ready there is [`Unready`] on the plain listener, which refuses whoever comes; on the others they wait.

mod accept;
mod acks;
mod acl;
mod aliases;
mod clients;
mod close;
pub mod codec;
mod config;
mod connect;
mod connection;
mod credentials;
mod fanout;
mod frame;
#[cfg(test)]
mod fuzz;
mod ingest;
mod latest;
mod listener;
mod mailbox;
mod mapping;
mod opening;
mod outbound;
mod outbox;
mod publish;
mod rate;
pub mod router;
mod say;
mod session;
mod stats;
mod subscribe;
mod terms;
mod topic;
mod transport;
mod unready;
mod wills;
#[cfg(test)]
mod workbench;
mod worker;

use std::io;
use std::num::NonZeroUsize;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use mio::{Poll, Waker};

pub use accept::OVER_LIMIT_MAX;
pub use acl::{InvalidRule, Rule as AclRule};
pub use config::{Config, OverRate, Tls, WebSocket, WebSocketTls};
pub use latest::LatestFixes;
pub use listener::{Limits, Listener};
pub use mapping::{IngestTopic, InvalidMapping};
pub use stats::Stats;
pub use transport::{Origins, Transport};
pub use unready::Unready;

use crate::auth::Authority;
use crate::clock::Clock;
use crate::live::Feed;
use crate::pipeline::Ingress;
use accept::Acceptor;
use acl::Acl;
use clients::Clients;
use mailbox::{Mailbox, Message};
use mapping::Mapping;
use outbox::{BATCHES_IN_FLIGHT_MAX, Outbox};
use router::Router;
use stats::Tally;
use wills::Wills;
use worker::{Context, WAKER, Worker};

/// What the door works with.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// Says who connects.
    pub authority: &'a Authority,
    /// Receive times.
    pub clock: &'a Clock,
    /// Takes the fixes.
    pub ingress: &'a Ingress,
    /// Takes everything else.
    pub router: &'a Router,
    /// The accepted fixes, for subscribers.
    pub feed: &'a Feed,
}

/// The running door.
#[derive(Debug)]
pub struct Door {
    acceptor: Acceptor,
    mailboxes: Arc<[Arc<Mailbox>]>,
    workers: Vec<JoinHandle<()>>,
    stats: Arc<Stats>,
    has_failed: Arc<AtomicBool>,
}

impl Door {
    /// Starts serving bound listeners, four at most. The first is the plain one, with the counts of what it was used for
    /// before: both are what [`Unready::stop`] gives.
    ///
    /// # Errors
    /// The operating system gives no thread or no event queue, the shards have no room for so many workers, or an ingest
    /// topic or a rule is none, which [`Config::check_ingest`] and [`Config::check_acl`] tell beforehand.
    pub fn start(listeners: Vec<Listener>, stats: Arc<Stats>, config: &Config, parts: Parts<'_>) -> io::Result<Self> {
        let Parts { authority, clock, ingress, router, feed } = parts;
        let worker_count = match config.workers {
            0 => thread::available_parallelism().map_or(1, NonZeroUsize::get),
            workers => workers,
        };
        let mut polls = Vec::with_capacity(worker_count);
        let mut mailboxes = Vec::with_capacity(worker_count);
        for _ in 0..worker_count {
            let poll = Poll::new()?;
            mailboxes.push(Arc::new(Mailbox::new(Waker::new(poll.registry(), WAKER)?)));
            polls.push(poll);
        }
        let mailboxes: Arc<[Arc<Mailbox>]> = mailboxes.into();
        let mapping = Mapping::new(&config.ingest)
            .map_err(|invalid| io::Error::other(format!("`mqtt.ingest` has {}", invalid.found)))?;
        let mapping = Arc::new(mapping);
        let acl =
            Acl::new(&config.acl).map_err(|invalid| io::Error::other(format!("`mqtt.acl` has {}", invalid.found)))?;
        let acl = Arc::new(acl);
        let config = Arc::new(config.clone());
        let transports: Arc<[Transport]> = listeners.iter().map(|listener| listener.transport.clone()).collect();
        stats.name_listeners(transports.iter().map(Transport::as_str).collect());
        let clients = Arc::<Clients>::default();
        let wills = Arc::<Wills>::default();
        let started = Instant::now();
        let mut workers = Vec::with_capacity(worker_count);
        let has_failed = Arc::new(AtomicBool::new(false));
        for (worker, poll) in polls.into_iter().enumerate() {
            let claim = ingress
                .claim(BATCHES_IN_FLIGHT_MAX)
                .ok_or_else(|| io::Error::other("`mqtt.workers` is more than the shards have room for"))?;
            let context = Context {
                config: Arc::clone(&config),
                mapping: Arc::clone(&mapping),
                acl: Arc::clone(&acl),
                worker,
                transports: Arc::clone(&transports),
                ingress: ingress.clone(),
                outbox: Outbox::new(ingress.clone(), claim, &mailboxes[worker]),
                router: router.clone(),
                clients: Arc::clone(&clients),
                wills: Arc::clone(&wills),
                authority: authority.clone(),
                mailboxes: Arc::clone(&mailboxes),
                now: clock.now(),
                now_tick: 0,
                tally: Tally::default(),
            };
            let worker_loop = Worker::new(poll, clock.clone(), started, Arc::clone(&stats), context);
            let failed = Arc::clone(&has_failed);
            let thread = thread::Builder::new().name(format!("mqtt-{worker}"));
            workers.push(thread.spawn(move || {
                // Its connections would hang, and the next ones be dealt out to nobody.
                if !matches!(panic::catch_unwind(AssertUnwindSafe(|| worker_loop.run())), Ok(true)) {
                    tracing::error!(worker, "an mqtt worker gave up");
                    failed.store(true, Ordering::Release);
                }
            })?);
        }
        fanout::start(feed, router, &has_failed)?;
        let acceptor = Acceptor::start(
            listeners,
            mailboxes.to_vec(),
            Arc::clone(&stats),
            config.connections_max,
            Arc::clone(&has_failed),
        )?;
        Ok(Self { acceptor, mailboxes, workers, stats, has_failed })
    }

    /// What the door counts.
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    /// Whether a worker gave up, so that the engine must end.
    pub fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// Takes no more connections, acknowledges what was read, says goodbye, and ends. Blocks for 3 s at most, as long as the
    /// shards run.
    pub fn stop(self) {
        self.acceptor.stop();
        for mailbox in self.mailboxes.iter() {
            mailbox.send(Message::Stop);
        }
        for worker in self.workers {
            if worker.join().is_err() {
                tracing::error!("an mqtt worker panicked");
            }
        }
    }
}
