//! A door for tests: everything that stands behind a connection, but for a worker, a socket that is read and shards that
//! judge. Whoever tests does what they would.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use mio::{Poll, Waker};

use super::acl::Acl;
use super::clients::Clients;
use super::close::Close;
use super::config::Config;
use super::connection::Connection;
use super::mailbox::{ConnectionRef, Mailbox, Message};
use super::mapping::Mapping;
use super::outbox::{BATCHES_IN_FLIGHT_MAX, Outbox};
use super::router::{Router, Surroundings};
use super::stats::Tally;
use super::transport::Transport;
use super::wills::Wills;
use super::worker::{Context, WAKER};
use crate::auth::Authority;
use crate::fix::Verdict;
use crate::geo::GeoIndex;
use crate::journal;
use crate::live::Feed;
use crate::pipeline::{self, Recovering};
use crate::units::TimestampMs;

pub(super) struct Workbench {
    pub(super) context: Context,
    mailbox: Arc<Mailbox>,
    /// Connections need one; nothing goes through it.
    socket: TcpStream,
    generation: u32,
    /// Connections that are served in turns. What comes for one while another is served waits; what comes for any other is
    /// lost, as for clients that are gone.
    pub(super) served: Vec<ConnectionRef>,
    waiting: Vec<Message>,
    /// The mailbox wakes it.
    poll: Poll,
}

impl Workbench {
    pub(super) fn new(config: Config) -> Self {
        let poll = Poll::new().unwrap();
        let mailbox = Arc::new(Mailbox::new(Waker::new(poll.registry(), WAKER).unwrap()));
        let directory = tempfile::tempdir().unwrap();
        let (journal, _) = journal::open(directory.path(), &journal::Config::default(), &mut |_| Ok(())).unwrap();
        let pipeline = Recovering::new(pipeline::Parts {
            config: pipeline::Config { shards: 2 },
            dedupe: pipeline::DedupeConfig::default(),
            rules: pipeline::RuleBook::default(),
            registry: pipeline::RegistryConfig::default(),
            geo: Arc::new(GeoIndex::default()),
            feed: Feed::default(),
            history: None,
        });
        let pipeline = pipeline.start(&journal, None).unwrap();
        let ingress = pipeline.ingress().clone();
        // Batches come back at once, and the test says whether they were judged.
        pipeline.stop();
        journal.close().unwrap();
        let claim = ingress.claim(BATCHES_IN_FLIGHT_MAX).unwrap();
        let context = Context {
            mapping: Arc::new(Mapping::new(&config.ingest).unwrap()),
            acl: Arc::new(Acl::new(&config.acl).unwrap()),
            worker: 0,
            transports: vec![Transport::Tcp].into(),
            ingress: ingress.clone(),
            outbox: Outbox::new(ingress, claim, &mailbox),
            router: Router::start(config.router.clone(), Surroundings::default()).unwrap(),
            clients: Arc::<Clients>::default(),
            wills: Arc::<Wills>::default(),
            authority: Authority::open(),
            mailboxes: vec![Arc::clone(&mailbox)].into(),
            now: TimestampMs(1_700_000_000_000),
            now_tick: 0,
            tally: Tally::default(),
            config: Arc::new(config),
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Self { context, mailbox, socket, generation: 0, served: Vec::new(), waiting: Vec::new(), poll }
    }

    /// What a worker is made of.
    pub(super) fn into_parts(self) -> (Context, Poll) {
        (self.context, self.poll)
    }

    /// A connection on which nothing was said.
    pub(super) fn connection(&mut self, over_limit: bool) -> Connection {
        self.generation += 1;
        let me = ConnectionRef { key: 0, generation: self.generation };
        let socket = mio::net::TcpStream::from_std(self.socket.try_clone().unwrap());
        let stream = Transport::Tcp.begin(socket, self.context.config.packet_bytes_max).unwrap();
        Connection::new(stream, 0, me, self.context.now_tick, over_limit)
    }

    /// What a worker does between two reads. `is_judged` says it of each batch.
    pub(super) fn turn(
        &mut self,
        connection: &mut Connection,
        mut is_judged: impl FnMut() -> bool,
    ) -> Result<(), Close> {
        self.context.outbox.flush();
        let mut messages = Vec::new();
        self.mailbox.take(&mut messages);
        let waited = std::mem::take(&mut self.waiting);
        let mut messages = waited.into_iter().chain(messages);
        let ended = messages.try_for_each(|message| self.take(connection, message, &mut is_judged));
        self.waiting.extend(messages);
        ended?;
        connection.collect_acks();
        Ok(())
    }

    fn take(
        &mut self,
        connection: &mut Connection,
        message: Message,
        is_judged: &mut impl FnMut() -> bool,
    ) -> Result<(), Close> {
        match message {
            Message::Judged { shard, mut batch } => {
                if is_judged() {
                    batch.verdicts = vec![Verdict::Accepted; batch.elements.len()];
                }
                self.context.outbox.returned(shard, batch, |run| {
                    if run.connection == connection.me {
                        connection.acks.release(run.first, run.count);
                    }
                });
                Ok(())
            }
            Message::Routed { connection: at, from_router, cost } if at == connection.me => {
                connection.add_out_cost(cost);
                connection.take_routed(&mut self.context, from_router)
            }
            Message::Close { connection: at, why } if at == connection.me => Err(why),
            Message::Routed { connection: at, .. } | Message::Close { connection: at, .. } => {
                if self.served.contains(&at) {
                    self.waiting.push(message);
                }
                Ok(())
            }
            Message::Accepted { .. } | Message::Authenticated { .. } | Message::Stop => panic!("{message:?}"),
        }
    }
}
