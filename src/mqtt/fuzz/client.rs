//! One client: the seed says what it sends, in which pieces and when, and whatever the door answers is looked at.

use std::sync::Arc;

use super::{Rng, packets};
use crate::auth::{Principal, Role};
use crate::ids::{DriverId, TenantId};
use crate::mqtt::acl::{Acl, Rule};
use crate::mqtt::close::Close;
use crate::mqtt::codec::Version;
use crate::mqtt::config::{Config, OverRate};
use crate::mqtt::connection::{Connection, Phase};
use crate::mqtt::frame::{Framed, first_packet};
use crate::mqtt::router;
use crate::mqtt::workbench::Workbench;

/// Packets that a client sends at most.
const PACKETS_MAX: usize = 12;

/// What servers send.
const SERVER_PACKETS: [u8; 10] = [2, 3, 4, 5, 6, 7, 9, 11, 13, 14];

pub(super) struct Door {
    bench: Workbench,
    configs: Vec<(Arc<Config>, Arc<Acl>)>,
    pub(super) left_open: usize,
    pub(super) closed: usize,
}

impl Door {
    pub(super) fn new() -> Self {
        let configs = configs();
        let bench = Workbench::new(Config::clone(&configs[0].0));
        Self { bench, configs, left_open: 0, closed: 0 }
    }

    /// A client from its CONNECT to its end.
    pub(super) fn serve(&mut self, rng: &mut Rng) {
        (self.bench.context.config, self.bench.context.acl) = self.configs[rng.below(self.configs.len())].clone();
        let mut connection = self.bench.connection(rng.one_in(100));
        let why = match self.converse(&mut connection, rng) {
            Ok(()) => {
                self.left_open += 1;
                Close::Lost
            }
            Err(why) => {
                self.closed += 1;
                why
            }
        };
        let bytes_max = bytes_max(&connection);
        connection.collect_acks();
        connection.end_session(&mut self.bench.context, why);
        look_at(&mut connection, bytes_max);
    }

    fn converse(&mut self, connection: &mut Connection, rng: &mut Rng) -> Result<(), Close> {
        let version = if rng.one_in(3) { Version::V4 } else { Version::V5 };
        let mut carried = Vec::new();
        for number in 0..=rng.below(PACKETS_MAX) {
            let mut bytes = if number == 0 { packets::connect(rng, version) } else { packets::later(rng, version) };
            if rng.one_in(10) {
                packets::bend(rng, &mut bytes);
            }
            self.bench.context.now_tick += rng.below(3) as u32;
            // In pieces, as the network likes them.
            let cut = rng.below(bytes.len() + 1);
            for piece in [&bytes[..cut], &bytes[cut..]] {
                carried.extend_from_slice(piece);
                let taken = connection.take_packets(&mut self.bench.context, &carried)?;
                carried.drain(..taken);
                self.bench.turn(connection, || !rng.one_in(4))?;
                let bytes_max = bytes_max(connection);
                look_at(connection, bytes_max);
            }
            become_somebody(connection, rng);
        }
        Ok(())
    }
}

/// What the client takes, once it is known.
fn bytes_max(connection: &Connection) -> Option<u32> {
    connection.session.as_ref().and_then(|session| session.packet_bytes_max)
}

/// Holds that what is to be written are whole packets of a server, none larger than the client takes, and takes them.
fn look_at(connection: &mut Connection, bytes_max: Option<u32>) {
    let out = std::mem::take(&mut connection.out);
    let mut rest = &out[..];
    while !rest.is_empty() {
        let Framed::Packet(packet) = first_packet(rest, Some(Version::V5), usize::MAX) else {
            panic!("no packet: {rest:02x?}")
        };
        assert!(SERVER_PACKETS.contains(&(packet.first_byte() >> 4)), "{rest:02x?}");
        let fits = bytes_max.is_none_or(|most| packet.bytes.len() <= most as usize);
        assert!(fits, "more than {bytes_max:?} bytes: {:02x?}", packet.bytes);
        rest = &rest[packet.bytes.len()..];
    }
    assert!(connection.session.is_none() || connection.phase != Phase::AwaitingConnect);
}

/// Makes it a client of a tenant, as if its CONNECT had said so.
fn become_somebody(connection: &mut Connection, rng: &mut Rng) {
    let Some(session) = &mut connection.session else { return };
    // Once there is a link it has its namespace.
    if session.link.is_none() && session.principal.is_none() && connection.route.is_none() && rng.one_in(4) {
        let role = *rng.pick(&[Role::OpsAdmin, Role::Dispatcher, Role::Driver, Role::Device]);
        session.principal = Some(Arc::new(Principal {
            tenant: TenantId::new("acme").unwrap(),
            role,
            subject: "x".into(),
            driver: (!rng.one_in(3)).then(|| DriverId::new("d1").unwrap()),
            expires_at: None,
        }));
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
