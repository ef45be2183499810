//! One client: the seed says what it sends, in which pieces and when, who it turns out to be, and whatever the door answers is
//! looked at.

use std::sync::Arc;

use super::identity::{Asks, TENANTS};
use super::packets::FROM;
use super::{Rng, packets};
use crate::auth::{Principal, Role};
use crate::mqtt::acl::{Acl, Rule};
use crate::mqtt::close::Close;
use crate::mqtt::codec::{Connect, Version};
use crate::mqtt::config::{Config, OverRate};
use crate::mqtt::connection::{Connection, Phase, Source};
use crate::mqtt::credentials::Pending;
use crate::mqtt::frame::{CONNECT_BYTES_MAX, Framed, first_packet};
use crate::mqtt::workbench::Workbench;
use crate::mqtt::worker::TICKS_PER_S;
use crate::mqtt::{ingest, router};

/// Packets that a client sends at most.
const PACKETS_MAX: usize = 12;

/// What servers send.
const SERVER_PACKETS: [u8; 10] = [2, 3, 4, 5, 6, 7, 9, 11, 13, 14];

/// How often clients ended so, to see that it was tried.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ends {
    pub(super) left_open: usize,
    pub(super) closed: usize,
    pub(super) refused: usize,
    pub(super) unanswered: usize,
    pub(super) expired: usize,
    pub(super) revoked: usize,
    pub(super) taken_over: usize,
}

impl Ends {
    fn count(&mut self, result: Result<(), Close>) {
        let ended = match result {
            Ok(()) => &mut self.left_open,
            Err(Close::BadCredentials | Close::NotAuthorized) => &mut self.refused,
            Err(Close::AuthBusy) => &mut self.unanswered,
            Err(Close::Expired) => &mut self.expired,
            Err(Close::Revoked) => &mut self.revoked,
            Err(Close::TakenOver) => &mut self.taken_over,
            Err(_) => &mut self.closed,
        };
        *ended += 1;
    }

    /// Whether there was one of each.
    pub(super) fn is_complete(self) -> bool {
        let Self { left_open, closed, refused, unanswered, expired, revoked, taken_over } = self;
        [left_open, closed, refused, unanswered, expired, revoked, taken_over].iter().all(|count| *count > 0)
    }
}

pub(super) struct Door {
    bench: Workbench,
    configs: Vec<(Arc<Config>, Arc<Acl>)>,
    pub(super) ends: Ends,
}

impl Door {
    pub(super) fn new() -> Self {
        let configs = configs();
        let bench = Workbench::new(Config::clone(&configs[0].0));
        Self { bench, configs, ends: Ends::default() }
    }

    /// A client from its CONNECT to its end, which may be another client that comes in its place.
    pub(super) fn serve(&mut self, rng: &mut Rng) {
        (self.bench.context.config, self.bench.context.acl) = self.configs[rng.below(self.configs.len())].clone();
        let mut asks = Asks::of(rng, self.bench.context.now);
        let mut connection = self.bench.connection(rng.one_in(100));
        self.bench.served = vec![connection.me];
        let mut rivalry = asks.clone();
        let mut result = self.converse(&mut connection, rng, &mut asks);
        if result.is_ok() && rng.one_in(2) {
            if rng.one_in(4) {
                rivalry = Asks::of(rng, self.bench.context.now);
            }
            let mut rival = self.bench.connection(false);
            self.bench.served.push(rival.me);
            let ended = self.converse(&mut rival, rng, &mut rivalry);
            let is_displaced = match (&connection.session, &rival.session) {
                (Some(former), Some(latter)) => former.name() == latter.name(),
                _ => false,
            };
            result = self.bench.turn(&mut connection, || true);
            assert!(!is_displaced || result.is_err(), "two clients under one name");
            self.end(connection, result);
            self.end(rival, ended);
        } else {
            self.end(connection, result);
        }
    }

    /// What a worker does with a connection that ends.
    fn end(&mut self, mut connection: Connection, result: Result<(), Close>) {
        self.ends.count(result);
        let why = result.err().unwrap_or(Close::Lost);
        let bytes_max = bytes_max(&connection);
        connection.refuse_pending(why);
        connection.collect_acks();
        connection.end_session(&mut self.bench.context, why);
        look_at(&mut connection, bytes_max, None);
    }

    fn converse(&mut self, connection: &mut Connection, rng: &mut Rng, asks: &mut Asks) -> Result<(), Close> {
        let version = if rng.one_in(3) { Version::V4 } else { Version::V5 };
        let mut carried = Vec::new();
        let from = asks.tenant().map_or(String::new(), |tenant| tenant.to_string());
        for number in 0..=rng.below(PACKETS_MAX) {
            let mut bytes =
                if number == 0 { packets::connect(rng, version, &from) } else { packets::later(rng, version, &from) };
            if rng.one_in(10) {
                packets::bend(rng, &mut bytes);
            }
            // In pieces, as the network likes them.
            let cut = rng.below(bytes.len() + 1);
            for piece in [&bytes[..cut], &bytes[cut..]] {
                carried.extend_from_slice(piece);
                self.take(connection, &mut carried, asks)?;
                self.bench.turn(connection, || !rng.one_in(4))?;
                let bytes_max = bytes_max(connection);
                let who = connection.session.as_ref().and_then(|session| session.principal.clone());
                look_at(connection, bytes_max, who.as_deref());
                keeps_apart(connection, asks);
            }
            self.sweep(connection, rng)?;
        }
        Ok(())
    }

    /// Takes what came, and the verdict on who it comes from when it is there.
    fn take(&mut self, connection: &mut Connection, carried: &mut Vec<u8>, asks: &mut Asks) -> Result<(), Close> {
        let context = &mut self.bench.context;
        if connection.phase == Phase::AwaitingAuth {
            let before = connection.out.len();
            assert_eq!(connection.take_packets(context, carried), Ok(0), "nobody knows yet who it is");
            assert_eq!(connection.out.len(), before);
            if let Some(verdict) = asks.next_turn() {
                connection.authenticated(context, verdict)?;
            }
        }
        let is_asked = connection.phase == Phase::AwaitingConnect && !matches!(asks, Asks::Nobody);
        if is_asked
            && let Framed::Packet(packet) =
                first_packet(carried, None, context.config.packet_bytes_max.min(CONNECT_BYTES_MAX))
        {
            let connect = connection.read_connect(&packet)?;
            connection.ask_in_vain(connect, context.now_tick);
            let taken = packet.bytes.len();
            carried.drain(..taken);
            return Ok(());
        }
        let taken = connection.take_packets(context, carried)?;
        carried.drain(..taken);
        Ok(())
    }

    /// Lets time go by, and does what a worker's sweep does.
    fn sweep(&mut self, connection: &Connection, rng: &mut Rng) -> Result<(), Close> {
        let ticks = if rng.one_in(30) { 12 * TICKS_PER_S } else { rng.below(3) as u32 };
        let context = &mut self.bench.context;
        context.now_tick += ticks;
        context.now.0 += i64::from(ticks * 1_000 / TICKS_PER_S);
        let now = context.now_tick;
        ingest::publish_wills(context, |wills| wills.due(now));
        let connect_timeout = context.config.connect_timeout_s * TICKS_PER_S;
        let why = match (connection.phase, &connection.session) {
            (Phase::AwaitingAuth, _) => connection.refusal_due(context.now_tick, connect_timeout),
            (Phase::Open, Some(session)) if session.principal.is_some() && rng.one_in(30) => Some(Close::Revoked),
            (Phase::Open, Some(session)) => session.lapsed(context.now),
            _ => None,
        };
        why.map_or(Ok(()), Err)
    }
}

/// What the client takes, once it is known.
fn bytes_max(connection: &Connection) -> Option<u32> {
    match connection.pending.as_deref() {
        Some(
            Pending::Asked { connect: Connect { packet_bytes_max, .. }, .. }
            | Pending::Refused { packet_bytes_max, .. },
        ) => *packet_bytes_max,
        None => connection.session.as_ref().and_then(|session| session.packet_bytes_max),
    }
}

/// Holds that what is to be written are whole packets of a server, none larger than the client takes and none of another
/// tenant's, and takes them.
fn look_at(connection: &mut Connection, bytes_max: Option<u32>, who: Option<&Principal>) {
    let out = std::mem::take(&mut connection.out);
    let mut rest = &out[..];
    while !rest.is_empty() {
        let Framed::Packet(packet) = first_packet(rest, Some(Version::V5), usize::MAX) else {
            panic!("no packet: {rest:02x?}")
        };
        assert!(SERVER_PACKETS.contains(&(packet.first_byte() >> 4)), "{rest:02x?}");
        let fits = bytes_max.is_none_or(|most| packet.bytes.len() <= most as usize);
        assert!(fits, "more than {bytes_max:?} bytes: {:02x?}", packet.bytes);
        if let (3, Some(who)) = (packet.first_byte() >> 4, who) {
            let text = String::from_utf8_lossy(packet.body);
            for other in TENANTS.iter().filter(|other| **other != who.tenant.as_str()) {
                assert!(!text.contains(&format!("{FROM}{other}")), "{who:?} is told {text:?}");
            }
        }
        rest = &rest[packet.bytes.len()..];
    }
    assert!(connection.session.is_none() || connection.phase != Phase::AwaitingConnect);
}

/// Holds that nobody is in who was not let in, and that whoever is publishes fixes of its own alone.
fn keeps_apart(connection: &Connection, asks: &Asks) {
    let Some(session) = &connection.session else { return };
    let Some(who) = &session.principal else {
        assert!(matches!(asks, Asks::Nobody), "a session of nobody");
        return;
    };
    let route = connection.route.as_ref().map(|route| &route.source);
    for Source { driver, .. } in route.into_iter().chain(session.ingest_will.as_ref().map(|will| &will.source)) {
        assert_eq!(*driver.tenant(), who.tenant, "{who:?}");
        match who.role {
            Role::OpsAdmin => {}
            Role::Driver | Role::Device => assert_eq!(Some(driver.driver()), who.driver.as_ref(), "{who:?}"),
            Role::Dispatcher => panic!("a dispatcher publishes fixes of {driver:?}"),
        }
    }
}

/// Doors with all limits, some and none; the first one's router serves all.
fn configs() -> Vec<(Arc<Config>, Arc<Acl>)> {
    let rule = |effect: &str, topic: &str| Rule {
        role: "*".into(),
        action: "all".into(),
        effect: effect.into(),
        topic: topic.into(),
    };
    let ruled = vec![rule("deny", "secret/#"), rule("allow", "a/#"), rule("deny", "tenant/+/driver/d2/#")];
    let router =
        router::Config { queue_messages_max: 512, sessions_max: 64, retained_max: 64, ..router::Config::default() };
    let limited = Config {
        publishes_per_s_max: 3,
        publish_burst_s: 1,
        over_rate: OverRate::Drop,
        topic_bytes_max: 40,
        topic_levels_max: 6,
        topic_alias_max: 2,
        in_flight_max: 2,
        packet_bytes_max: 128,
        keep_alive_s_max: 50,
        keep_alive_never: false,
        acl: ruled.clone(),
        ..Config::default()
    };
    let delayed = Config { publish_bytes_per_s_max: 50, publish_burst_s: 2, topic_alias_max: 0, ..Config::default() };
    let open = Config { router, ..Config::default() };
    let configs = [open, limited, delayed, Config { acl: ruled, ..Config::default() }];
    configs.map(|config| (Arc::new(config.clone()), Arc::new(Acl::new(&config.acl).unwrap()))).into()
}
