//! The journal's parts: encoding a turn, handing over, a commit that waits for the disk, reading the tail, recovery.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

use std::hint::black_box;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rhumb::codec::Codec;
use rhumb::counts::Counts;
use rhumb::fix::{Fix, Verdict};
use rhumb::ids::{DriverId, DriverKey, TenantId};
use rhumb::journal::{self, Appender, Config, Journal, Record, TURNS_IN_FLIGHT_MAX, Turn, TurnEncoder};
use rhumb::units::{Position, TimestampMs};

const DRIVERS: usize = 1_000;
const FIXES_A_TURN: usize = 50;
const EPOCH_MS: i64 = 1_700_000_000_000;

/// A fleet in a town that reports once a second, one driver after the other.
struct Fleet {
    drivers: Vec<DriverKey>,
    reported: usize,
}

impl Fleet {
    fn new() -> Self {
        let tenant = TenantId::new("acme").unwrap();
        let key = |index| DriverKey::new(tenant.clone(), DriverId::new(&format!("bus-{index:05}")).unwrap());
        Self { drivers: (0..DRIVERS).map(key).collect(), reported: 0 }
    }

    fn next(&mut self) -> (&DriverKey, Fix) {
        let (index, round) = (self.reported % DRIVERS, (self.reported / DRIVERS) as i64);
        self.reported += 1;
        // Spread over 0.3 degrees by a multiplicative hash, on a way of 8 m/s.
        let scattered = (index as u32).wrapping_mul(2_654_435_761);
        let place = |bits: u32, speed: i64| (i64::from(bits & 0xffff) * 45 + round * speed) as i32;
        let time = EPOCH_MS + round * 1_000 + i64::from(scattered % 997);
        let position = Position {
            latitude_e7: 521_000_000 + place(scattered, 500),
            longitude_e7: 209_000_000 + place(scattered >> 16, 700),
        };
        let fix = Fix {
            received_at: TimestampMs(time + 80 + i64::from(scattered >> 8 & 63)),
            speed_mmps: Some(8_000 + (scattered & 511)),
            heading_cdeg: Some((scattered >> 7 & 0x3fff) as u16),
            ..Fix::at(TimestampMs(time), position)
        };
        (&self.drivers[index], fix)
    }

    fn encode(&mut self, encoder: &mut TurnEncoder, fixes: usize) -> Turn {
        encoder.begin(TimestampMs(EPOCH_MS + (self.reported / DRIVERS) as i64 * 1_000 + 900));
        let mut counts = Counts::default();
        for _ in 0..fixes {
            let (driver, fix) = self.next();
            encoder.fix(driver, &fix, false);
            counts.count(Verdict::Accepted);
        }
        encoder.counters(self.drivers[0].tenant(), Codec::Native, &counts);
        encoder.finish()
    }
}

fn open(dir: &Path) -> Journal {
    journal::open(dir, &Config::default(), &mut |_| Ok(())).unwrap().0
}

fn appender(journal: &Journal) -> (Appender, Receiver<usize>) {
    let (sender, durable) = sync_channel(TURNS_IN_FLIGHT_MAX);
    (journal.appender(Box::new(move |sequences| sender.send(sequences.len()).unwrap())), durable)
}

/// Appends turns, never more than allowed in flight, until all are durable.
fn append_all(appender: &Appender, durable: &Receiver<usize>, turns: impl Iterator<Item = Turn>) {
    let mut in_flight = 0;
    for turn in turns {
        appender.append(turn).unwrap();
        in_flight += 1;
        while in_flight >= TURNS_IN_FLIGHT_MAX {
            in_flight -= durable.recv().unwrap();
        }
    }
    while in_flight > 0 {
        in_flight -= durable.recv().unwrap();
    }
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("journal/encode");
    for fixes in [1, 20, FIXES_A_TURN] {
        // What a shard hands to the encoder is at hand already: a lap of the fleet, made beforehand.
        let mut fleet = Fleet::new();
        let lap: Vec<(usize, Fix)> = (0..DRIVERS).map(|index| (index, fleet.next().1)).collect();
        let mut encoder = TurnEncoder::new();
        let mut at = 0;
        group.throughput(Throughput::Elements(fixes as u64));
        group.bench_function(format!("{fixes} drivers"), |bencher| {
            bencher.iter(|| {
                encoder.begin(TimestampMs(EPOCH_MS + 900));
                for _ in 0..fixes {
                    let (index, fix) = &lap[at];
                    encoder.fix(&fleet.drivers[*index], fix, false);
                    at = (at + 1) % DRIVERS;
                }
                let turn = encoder.finish();
                black_box(turn.checksum())
            });
        });
    }
    group.finish();
}

fn append(criterion: &mut Criterion) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let journal = open(dir.path());
    let (appender, durable) = appender(&journal);
    let (mut fleet, mut encoder) = (Fleet::new(), TurnEncoder::new());
    let mut group = criterion.benchmark_group("journal/append");
    group.sample_size(20);
    group.throughput(Throughput::Elements((2_000 * FIXES_A_TURN) as u64));
    group.bench_function("2000 turns of 50, until durable", |bencher| {
        bencher.iter(|| {
            append_all(&appender, &durable, (0..2_000).map(|_| fleet.encode(&mut encoder, FIXES_A_TURN)));
        });
    });
    group.throughput(Throughput::Elements(FIXES_A_TURN as u64));
    group.bench_function("one turn of 50, bound by its sync", |bencher| {
        bencher.iter_batched(
            || fleet.encode(&mut encoder, FIXES_A_TURN),
            |turn| append_all(&appender, &durable, std::iter::once(turn)),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn read(criterion: &mut Criterion) {
    const TURNS: usize = 20_000;
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (mut fleet, mut encoder) = (Fleet::new(), TurnEncoder::new());
    let journal = open(dir.path());
    let (appender, durable) = appender(&journal);
    append_all(&appender, &durable, (0..TURNS).map(|_| fleet.encode(&mut encoder, FIXES_A_TURN)));
    let mut group = criterion.benchmark_group("journal/read");
    group.sample_size(10).measurement_time(Duration::from_secs(4));
    group.throughput(Throughput::Elements((TURNS * FIXES_A_TURN) as u64));
    group.bench_function("tail, every fix decoded", |bencher| {
        bencher.iter(|| {
            let mut reader = journal.reader(0).unwrap();
            let mut sum = 0;
            while let Some(frame) = reader.next().unwrap() {
                sum += sum_of(frame.records());
            }
            black_box(sum)
        });
    });
    journal.close().unwrap();
    group.bench_function("recovery, every fix decoded", |bencher| {
        bencher.iter_custom(|rounds| (0..rounds).map(|_| recover(dir.path(), TURNS * FIXES_A_TURN)).sum());
    });
    group.finish();
}

fn recover(dir: &Path, fixes: usize) -> Duration {
    let start = Instant::now();
    let mut sum = 0;
    let (journal, recovered) = journal::open(dir, &Config::default(), &mut |frame| {
        sum += sum_of(frame.records());
        Ok(())
    })
    .unwrap();
    let taken = start.elapsed();
    black_box(sum);
    assert_eq!(recovered.fixes as usize, fixes);
    journal.close().unwrap();
    taken
}

fn sum_of(records: journal::Records<'_>) -> i64 {
    let fixes = records.map(|record| if let Ok(Record::Fix { fix, .. }) = record { fix.time.0 } else { 0 });
    fixes.fold(0, i64::wrapping_add)
}

criterion_group!(benches, encode, append, read);
criterion_main!(benches);
