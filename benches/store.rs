//! What the embedded store costs: a fix applied in order and late, a look whether a time is known, a page of a track.

use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rhumb::fix::Fix;
use rhumb::journal::{JournalId, JournalPosition};
use rhumb::store::{Config, DriverFixes, Store};
use rhumb::units::{Position, TimestampMs};
use tempfile::TempDir;

const BEGIN_MS: i64 = 1_708_092_000_000;

/// A fleet that reports once a second of fleet time, and where it has got to.
struct Fleet {
    names: Vec<String>,
    second: i64,
    sequence: u64,
    store: Store,
    _dir: TempDir,
}

impl Fleet {
    fn new(drivers: usize) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Store::open(dir.path(), &Config::default()).expect("a store");
        let names = (0..drivers).map(|driver| format!("vehicle-{driver:06}")).collect();
        Self { names, second: 0, sequence: 0, store, _dir: dir }
    }

    /// The next `seconds` of every driver.
    fn drive(&mut self, seconds: i64) -> Vec<Vec<Fix>> {
        let begin = self.second;
        self.second += seconds;
        let drive = |driver| (begin..begin + seconds).map(|second| fix(driver, second * 1_000)).collect();
        (0..self.names.len()).map(drive).collect()
    }

    fn apply(&mut self, fixes: &[Vec<Fix>]) {
        let batch: Vec<_> =
            self.names.iter().zip(fixes).map(|(driver, fixes)| DriverFixes { tenant: "acme", driver, fixes }).collect();
        self.sequence += 1;
        let upto = JournalPosition { journal: JournalId([1; 16]), sequence: self.sequence };
        self.store.apply(&batch, upto).expect("a store that takes writes");
    }
}

fn fix(driver: usize, time_ms: i64) -> Fix {
    let course = (time_ms / 1_000 + driver as i64 * 7) % 360;
    let jitter = (time_ms.wrapping_mul(0x5851_f42d_4c95_7f2d) >> 33) % 20;
    Fix {
        time: TimestampMs(BEGIN_MS + time_ms),
        received_at: TimestampMs(BEGIN_MS + time_ms + 180 + jitter),
        position: Position {
            latitude_e7: 522_000_000 + (driver as i32 * 1_000) + (time_ms / 10) as i32 + jitter as i32,
            longitude_e7: 210_000_000 + (time_ms / 8) as i32 - jitter as i32,
        },
        speed_mmps: Some((8_300 + jitter * 37) as u32),
        heading_cdeg: Some((course * 100) as u16),
        altitude_cm: None,
        accuracy_cm: None,
        hdop_centi: None,
        seq: None,
        battery_percent: None,
        satellites: None,
    }
}

fn apply(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("apply");
    for (name, drivers, seconds) in
        [("1000_drivers_50_fixes", 1_000, 50), ("1000_drivers_10_fixes", 1_000, 10), ("20000_drivers_1_fix", 20_000, 1)]
    {
        let mut fleet = Fleet::new(drivers);
        group.throughput(Throughput::Elements(drivers as u64 * seconds as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    let fixes = fleet.drive(seconds);
                    let begin = std::time::Instant::now();
                    fleet.apply(&fixes);
                    spent += begin.elapsed();
                }
                spent
            });
        });
    }

    let mut fleet = Fleet::new(1_000);
    for _ in 0..20 {
        let fixes = fleet.drive(100);
        fleet.apply(&fixes);
    }
    group.throughput(Throughput::Elements(10_000));
    let mut round = 0;
    group.bench_function("1000_drivers_10_late_fixes", |bencher| {
        bencher.iter_batched(
            || {
                round += 1;
                let late = |driver| {
                    (0..10).map(|second| fix(driver, (round * 37 % 1_900 + second) * 1_000 + round % 999)).collect()
                };
                (0..1_000).map(late).collect::<Vec<Vec<Fix>>>()
            },
            |fixes| fleet.apply(&fixes),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn read(criterion: &mut Criterion) {
    let mut fleet = Fleet::new(1_000);
    for _ in 0..100 {
        let fixes = fleet.drive(50);
        fleet.apply(&fixes);
    }
    let mut group = criterion.benchmark_group("read");
    let mut round = 0_usize;
    let mut next = || {
        round = round.wrapping_add(7_919);
        (round % 1_000, (round % 4_999) as i64 * 1_000)
    };
    group.bench_function("contains_hit", |bencher| {
        bencher.iter(|| {
            let (driver, time_ms) = next();
            fleet.store.contains("acme", &fleet.names[driver], TimestampMs(BEGIN_MS + time_ms))
        });
    });
    group.bench_function("contains_miss", |bencher| {
        bencher.iter(|| {
            let (driver, time_ms) = next();
            fleet.store.contains("acme", &fleet.names[driver], TimestampMs(BEGIN_MS + time_ms + 1))
        });
    });
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("track_of_1000", |bencher| {
        bencher.iter(|| {
            let (driver, time_ms) = next();
            let from = TimestampMs(BEGIN_MS + time_ms % 4_000_000);
            fleet.store.track("acme", &fleet.names[driver], from, TimestampMs(i64::MAX), 1_000)
        });
    });
    group.finish();
}

criterion_group! {
    name = store;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(4)).warm_up_time(Duration::from_secs(1));
    targets = apply, read
}
criterion_main!(store);
