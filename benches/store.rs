//! What the embedded store costs the thread that calls it: a fix applied in order and late, a look whether a time is
//! known, a page of a track. In time on the CPU, so that other load on the machine shows less; flushing and compaction
//! are on the database's own threads and not in it.

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rhumb::fix::Fix;
use rhumb::journal::{JournalId, JournalPosition};
use rhumb::store::{Config, DriverFixes, Store, Stretch};
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

/// Time that `work` was on the CPU.
fn on_cpu(work: impl FnOnce()) -> Duration {
    let begin = thread_cpu();
    work();
    thread_cpu() - begin
}

/// What the kernel has counted for this thread so far, on the CPU.
fn thread_cpu() -> Duration {
    let counted = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux with scheduler statistics");
    let nanos = counted.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("nanoseconds on the CPU"))
}

fn fix(driver: usize, time_ms: i64) -> Fix {
    let course = (time_ms / 1_000 + driver as i64 * 7) % 360;
    let jitter = (time_ms.wrapping_mul(0x5851_f42d_4c95_7f2d) >> 33) % 20;
    let position = Position {
        latitude_e7: 522_000_000 + (driver as i32 * 1_000) + (time_ms / 10) as i32 + jitter as i32,
        longitude_e7: 210_000_000 + (time_ms / 8) as i32 - jitter as i32,
    };
    Fix {
        received_at: TimestampMs(BEGIN_MS + time_ms + 180 + jitter),
        speed_mmps: Some((8_300 + jitter * 37) as u32),
        heading_cdeg: Some((course * 100) as u16),
        ..Fix::at(TimestampMs(BEGIN_MS + time_ms), position)
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
                    spent += on_cpu(|| fleet.apply(&fixes));
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
    let mut round = 0_i64;
    group.bench_function("1000_drivers_10_late_fixes", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                round += 1;
                let time_ms = |second| (round * 37 % 1_900 + second) * 1_000 + round % 999;
                let late = |driver| (0..10).map(|second| fix(driver, time_ms(second))).collect();
                let fixes: Vec<Vec<Fix>> = (0..1_000).map(late).collect();
                spent += on_cpu(|| fleet.apply(&fixes));
            }
            spent
        });
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
    for (name, off_ms) in [("stretch_around_a_fix", 0), ("stretch_around_a_gap", 1)] {
        group.bench_function(name, |bencher| {
            let mut stretch = Stretch::nothing();
            bencher.iter_custom(|rounds| {
                on_cpu(|| {
                    for _ in 0..rounds {
                        let (driver, time_ms) = next();
                        let time = TimestampMs(BEGIN_MS + time_ms + off_ms);
                        fleet.store.stretch("acme", &fleet.names[driver], time, &mut stretch).expect("a store");
                        assert_eq!(stretch.at(time).is_some(), off_ms == 0);
                    }
                })
            });
        });
    }
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("track_of_1000", |bencher| {
        bencher.iter_custom(|rounds| {
            on_cpu(|| {
                for _ in 0..rounds {
                    let (driver, time_ms) = next();
                    let from = TimestampMs(BEGIN_MS + time_ms % 4_000_000);
                    let track = fleet.store.track("acme", &fleet.names[driver], from, TimestampMs(i64::MAX), 1_000);
                    assert_eq!(track.expect("a store").len(), 1_000);
                }
            })
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
