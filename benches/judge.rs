//! What it costs to read and judge a fix, from its payload to the journal's hand-over and back to its door, and what a driver
//! takes in memory.
//!
//! `cargo bench --bench judge`

#[path = "../examples/hot_path/engine.rs"]
mod engine;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group};
use rhumb::codec::Codec;
use rhumb::fix::{Fix, Verdict};
use rhumb::ids::DriverKey;
use rhumb::pipeline::{Batch, History, Received, RuleBook, Rules};
use rhumb::store::{self, Store};
use rhumb::units::{Position, TimestampMs};
use rhumb::wire::{self, compact};

use engine::OneShard;

/// Drivers that take turns.
const DRIVERS: usize = 50;

/// Fixes of a driver in a row.
const FIXES_IN_A_ROW: usize = 20;

/// Fixes of a round, which is a batch.
const ROUND_FIXES: usize = DRIVERS * FIXES_IN_A_ROW;

/// When the first fix is.
const START: i64 = 1_708_093_024_000;

/// A vehicle `step` seconds on its way, which leads up and down a degree of latitude at 11 m/s.
fn fix(driver: usize, step: usize) -> Fix {
    let way = step % 20_000;
    let up = way.min(20_000 - way) as i32;
    let position =
        Position { latitude_e7: 520_000_000 + up * 1_000, longitude_e7: 210_000_000 + driver as i32 * 20_000 };
    Fix {
        speed_mmps: Some(11_100),
        heading_cdeg: Some(if way < 10_000 { 0 } else { 18_000 }),
        battery_percent: Some(80),
        ..Fix::at(TimestampMs(START + step as i64 * 1_000), position)
    }
}

/// Payloads of these fixes, which are one driver's, as a codec has them.
fn payloads(codec: Codec, fixes: &[Fix]) -> Vec<Vec<u8>> {
    if codec == Codec::Compact {
        let mut batch = Vec::new();
        compact::encode(fixes, &mut batch);
        return vec![batch];
    }
    fixes.iter().map(|fix| payload(codec, fix).into_bytes()).collect()
}

fn payload(codec: Codec, fix: &Fix) -> String {
    let latitude = f64::from(fix.position.latitude_e7) / 1e7;
    let longitude = f64::from(fix.position.longitude_e7) / 1e7;
    let (time_s, heading) = (fix.time.0 / 1_000, fix.heading_deg().unwrap_or_default());
    match codec {
        Codec::OwnTracks => format!(
            r#"{{"_type":"location","tid":"d1","acc":12,"batt":80,"conn":"m","lat":{latitude},"lon":{longitude},"tst":{time_s},"vel":40,"cog":{heading}}}"#
        ),
        Codec::OsmAnd => format!(
            "id=123456&timestamp={time_s}&lat={latitude}&lon={longitude}&speed=21.6&bearing={heading}&altitude=113.0&batt=80.0"
        ),
        Codec::Traccar => format!(
            r#"{{"device_id":"d1","location":{{"timestamp":{time_s},"coords":{{"latitude":{latitude},"longitude":{longitude},"speed":11.1,"heading":{heading}}},"is_moving":true,"battery":{{"level":0.8}}}}}}"#
        ),
        Codec::Flespi => format!(
            r#"{{"battery.level":80,"ident":"352093081429150","position.direction":{heading},"position.latitude":{latitude},"position.longitude":{longitude},"position.satellites":11,"position.speed":40,"position.valid":true,"timestamp":{time_s}}}"#
        ),
        Codec::Teltonika => format!(
            r#"{{"state":{{"reported":{{"ts":{time_s}000,"pr":0,"latlng":"{latitude},{longitude}","ang":{heading},"sat":11,"sp":40,"evt":240,"239":1}}}}}}"#
        ),
        _ => format!(
            r#"{{"latitude":{latitude},"longitude":{longitude},"timestamp":{time_s},"speed":11.1,"heading":{heading},"battery":80}}"#
        ),
    }
}

/// In what order the fixes of a driver come.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    /// Each after the one before.
    Forward,
    /// The same ones in every round.
    Again,
    /// Of each round the last one first, and then the others as a backlog, which memory still knows the times of.
    Backlog,
}

impl Order {
    fn steps(self, round: usize) -> Vec<usize> {
        let begin = if self == Self::Again { 0 } else { round * FIXES_IN_A_ROW };
        let mut steps: Vec<usize> = (begin..begin + FIXES_IN_A_ROW).collect();
        if self == Self::Backlog {
            steps.rotate_right(1);
        }
        steps
    }

    /// Holds that a round, but the first, is judged as the bench says.
    fn assert_judged(self, batch: &Batch) {
        let (mut accepted, mut late, mut duplicate) = (0, 0, 0);
        for verdict in &batch.verdicts {
            match verdict {
                Verdict::Accepted => accepted += 1,
                Verdict::Late => late += 1,
                Verdict::Duplicate => duplicate += 1,
                other => panic!("{other:?}"),
            }
        }
        let expected = match self {
            Self::Forward => (ROUND_FIXES, 0, 0),
            Self::Again => (0, 0, ROUND_FIXES),
            Self::Backlog => (DRIVERS, ROUND_FIXES - DRIVERS, 0),
        };
        assert_eq!((accepted, late, duplicate), expected);
    }
}

/// Rounds of one case, one after the other through one engine.
struct Rounds {
    codec: Codec,
    order: Order,
    engine: OneShard,
    drivers: Vec<Arc<DriverKey>>,
    batch: Option<Batch>,
    round: usize,
}

impl Rounds {
    fn new(codec: Codec, order: Order, rules: Rules) -> Self {
        let engine = OneShard::start(RuleBook::from(rules), None).expect("an engine in memory");
        let route = |driver| engine.ingress().route("acme", &format!("truck-{driver}")).expect("an id");
        let drivers = (0..DRIVERS).map(route).collect();
        let batch = Some(engine.batch());
        let mut rounds = Self { codec, order, engine, drivers, batch, round: 0 };
        // The first makes the drivers known.
        rounds.judge();
        rounds
    }

    /// Reads and judges one round, and how long that took. Making the payloads does not count.
    fn judge(&mut self) -> Duration {
        let steps = self.order.steps(self.round);
        let of_driver = |driver| {
            let fixes: Vec<Fix> = steps.iter().map(|step| fix(driver, *step)).collect();
            payloads(self.codec, &fixes)
        };
        let payloads: Vec<Vec<Vec<u8>>> = (0..DRIVERS).map(of_driver).collect();
        let newest = steps.iter().max().copied().unwrap_or_default();
        let mut batch = self.batch.take().expect("it came back");
        batch.received = Received::Live(fix(0, newest).time);

        let begin = Instant::now();
        for (driver, payloads) in self.drivers.iter().zip(&payloads) {
            for payload in payloads {
                batch.add_payload(driver, self.codec, payload, |elements| {
                    wire::decode(self.codec, payload, FIXES_IN_A_ROW, elements);
                });
            }
        }
        let mut batch = self.engine.judge(batch);
        let took = begin.elapsed();

        if self.round > 0 {
            self.order.assert_judged(&batch);
        }
        batch.clear();
        self.batch = Some(batch);
        self.round += 1;
        took
    }
}

fn judge(criterion: &mut Criterion) {
    let stateful = Rules {
        speed_mps_max: 70,
        stationary_m: 5,
        period_ms_min: 500,
        distance_m_min: 5,
        heartbeat_s: 120,
        ..Rules::default()
    };
    let native = Codec::Native;
    let mut cases: Vec<(String, Codec, Order, Rules)> = vec![
        ("native_stateful_rules".into(), native, Order::Forward, stateful),
        ("native_duplicates".into(), native, Order::Again, Rules::default()),
        ("native_backlog".into(), native, Order::Backlog, Rules::default()),
    ];
    let payload_codecs = Codec::ALL.into_iter().filter(|codec| *codec != Codec::Recording);
    cases.splice(0..0, payload_codecs.map(|codec| (codec.to_string(), codec, Order::Forward, Rules::default())));
    let mut group = criterion.benchmark_group("judge");
    group.throughput(Throughput::Elements(ROUND_FIXES as u64));
    for (name, codec, order, rules) in cases {
        group.bench_function(name, |bencher| {
            let mut rounds = Rounds::new(codec, order, rules.clone());
            bencher.iter_custom(|count| (0..count).map(|_| rounds.judge()).sum());
            rounds.engine.stop().expect("nothing fails in memory");
        });
    }
    group.finish();
}

/// Drivers of the measurement of memory.
const FLEET: usize = 10_000;

/// Drivers of one batch of it.
const FLEET_IN_A_BATCH: usize = 1_000;

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4_096
}

/// Has a fleet send, and what each driver took beyond its key; `lag_fixes` is `None` without a store. The store holds nothing: it
/// is told that it has all but the newest fixes, as its sink would.
fn bytes_a_driver(fixes: usize, lag_fixes: Option<u64>) -> u64 {
    let dir = tempfile::tempdir().expect("a directory for a store");
    let store = Store::open(dir.path(), &store::Config::default()).expect("an empty store");
    let stored = Arc::new(AtomicU64::new(0));
    let history = |_| History { store: store.clone(), stored_sequence: Arc::clone(&stored), began: 0 };
    let engine = OneShard::start(RuleBook::default(), lag_fixes.map(history)).expect("an engine in memory");
    let route = |driver| engine.ingress().route("acme", &format!("truck-{driver}")).expect("an id");
    let drivers: Vec<_> = (0..FLEET).map(route).collect();
    let mut batch = engine.batch();
    let mut send = |step: Option<usize>, frames: &mut u64| {
        for first in (0..FLEET).step_by(FLEET_IN_A_BATCH) {
            batch.received = Received::Live(fix(0, step.unwrap_or_default()).time);
            for (index, driver) in drivers.iter().enumerate().skip(first).take(FLEET_IN_A_BATCH) {
                let payload = step.map_or_else(|| "hello".to_owned(), |step| payload(Codec::Native, &fix(index, step)));
                batch.add_payload(driver, Codec::Native, payload.as_bytes(), |elements| {
                    wire::decode(Codec::Native, payload.as_bytes(), 1, elements);
                });
            }
            let empty = engine.batch();
            batch = engine.judge(std::mem::replace(&mut batch, empty));
            batch.clear();
            *frames += 1;
            let lag_frames = lag_fixes.unwrap_or_default() * (FLEET / FLEET_IN_A_BATCH) as u64;
            stored.store(frames.saturating_sub(lag_frames), Ordering::Release);
        }
    };
    let mut frames = 0;
    // What batches and turns take is there before.
    send(None, &mut frames);
    let before = resident_bytes();
    for step in 0..fixes {
        send(Some(step), &mut frames);
    }
    let bytes = resident_bytes().saturating_sub(before) / FLEET as u64;
    engine.stop().expect("nothing fails in memory");
    bytes
}

/// The argument with which this program measures one case of [`memory`] alone, so that none takes what another gave back.
const ONE_MEMORY: &str = "--one-memory";

/// Not a time: what a driver takes beyond its key, in the shard, the index and the registry, by the fixes that it sent, of which
/// its window keeps 64.
#[expect(clippy::print_stderr, reason = "a bench talks to whoever runs it")]
fn memory(_: &mut Criterion) {
    let program = std::env::current_exe().expect("this program");
    for (name, lag) in [("no store", "none"), ("a store", "0"), ("a store that lags by 100 fixes", "100")] {
        for fixes in ["0", "1", "64", "200"] {
            let said = Command::new(&program).args([ONE_MEMORY, fixes, lag]).output().expect("this program runs");
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
            let bytes = String::from_utf8_lossy(&said.stdout);
            eprintln!("memory: {bytes} bytes a driver beyond its key after {fixes} fixes, with {name}");
        }
    }
}

/// Measures the case that the arguments name, if they name one.
#[expect(clippy::print_stdout, reason = "the answer to whoever asked")]
fn one_memory(arguments: &[String]) -> bool {
    let [_, what, fixes, lag] = arguments else { return false };
    if what != ONE_MEMORY {
        return false;
    }
    print!("{}", bytes_a_driver(fixes.parse().expect("a number of fixes"), lag.parse().ok()));
    true
}

fn short() -> Criterion {
    Criterion::default()
        .without_plots()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
}

criterion_group! { name = benches; config = short(); targets = memory, judge }

fn main() {
    if one_memory(&std::env::args().collect::<Vec<_>>()) {
        return;
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
