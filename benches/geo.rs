//! The geo index: who is nearest, and what a position costs to keep.
//!
//! `cargo bench --bench geo`

use std::f64::consts::TAU;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use rhumb::geo::{Area, Fleet, Nearest, Slot};
use rhumb::ids::{DriverId, DriverKey, TenantId};
use rhumb::units::Position;

mod places;

use places::{Numbers, at, fix, in_degree_square, worldwide};

/// A hundred towns, each denser towards its middle.
fn in_towns(numbers: &mut Numbers) -> Position {
    let town = Numbers(numbers.next() % 100).next();
    let (latitude, longitude) = (40.0 + (town % 1_500) as f64 / 100.0, (town >> 32) as f64 % 2_500.0 / 100.0);
    let (radius, angle) = (numbers.share().powi(3) * 0.1, numbers.share() * TAU);
    at(latitude + radius * angle.sin(), longitude + radius * angle.cos())
}

struct Town {
    fleet: Fleet,
    drivers: Vec<(Slot, Position)>,
}

fn town(count: usize, place: impl Fn(&mut Numbers) -> Position) -> Town {
    let (fleet, tenant, mut numbers) = (Fleet::default(), TenantId::new("bench").expect("an id"), Numbers(1));
    let drivers = (0..count).map(|index| {
        let position = place(&mut numbers);
        let driver = DriverId::new(&format!("d{index}")).expect("an id");
        (fleet.join(Arc::new(DriverKey::new(tenant.clone(), driver)), &fix(position, 0)), position)
    });
    let drivers = drivers.collect();
    Town { fleet, drivers }
}

/// Resident memory of this process.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4_096
}

fn nearest(criterion: &mut Criterion) {
    type Place = fn(&mut Numbers) -> Position;
    let places: [(&str, Place); 3] =
        [("degree square", in_degree_square), ("hundred towns", in_towns), ("worldwide", worldwide)];
    let mut group = criterion.benchmark_group("10 nearest");
    for (name, place) in places {
        for count in [3, 100_000, 1_000_000] {
            let town = town(count, place);
            let mut numbers = Numbers(2);
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| {
                    let position = place(&mut numbers);
                    let query = Nearest::new(position, 10);
                    town.fleet.nearest(black_box(&query)).len()
                });
            });
        }
    }
    group.finish();
}

/// With filters: half of the fleet is busy, a tenth has the tag.
fn filtered(criterion: &mut Criterion) {
    let count = 1_000_000;
    let town = town(count, in_degree_square);
    for index in 0..count {
        let tags: &[&str] = if index % 10 == 0 { &["van"] } else { &[] };
        let driver = DriverId::new(&format!("d{index}")).expect("an id");
        town.fleet.set_traits(&driver, tags, index % 2 == 0).expect("two sets of tags");
    }
    let mut group = criterion.benchmark_group("10 nearest of 1000000");
    let mut numbers = Numbers(2);
    let mut bench = |name: &str, ask: fn(Position) -> Nearest<'static>| {
        group.bench_function(name, |bencher| {
            bencher.iter(|| town.fleet.nearest(black_box(&ask(in_degree_square(&mut numbers)))).len());
        });
    };
    bench("available", |at| Nearest { on_shipment: Some(false), ..Nearest::new(at, 10) });
    bench("one tag", |at| Nearest { tags: &["van"], ..Nearest::new(at, 10) });
    bench("500 m", |at| Nearest { radius_m: Some(500.0), ..Nearest::new(at, 10) });
    bench("1000 nearest", |at| Nearest::new(at, 1_000));
    group.finish();
}

fn density(criterion: &mut Criterion) {
    let town = town(1_000_000, in_degree_square);
    let area = Area::bounding_box(20.5, 52.0, 21.5, 53.0).expect("a box");
    criterion.bench_function("density of 1000000 at zoom 10", |bencher| {
        bencher.iter(|| town.fleet.density(black_box(&area), 10, false).map(|cells| cells.len()));
    });
}

fn within(criterion: &mut Criterion) {
    let town = town(1_000_000, in_degree_square);
    let mut numbers = Numbers(2);
    criterion.bench_function("within 1 km", |bencher| {
        bencher.iter(|| {
            let (latitude, longitude) = (52.0 + numbers.share(), 20.5 + numbers.share());
            let area = Area::bounding_box(longitude, latitude, longitude + 0.015, latitude + 0.009).expect("a box");
            town.fleet.within(black_box(&area), 1_000).len()
        });
    });
}

fn update(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("update");
    for count in [10_000, 1_000_000] {
        let mut town = town(count, in_degree_square);
        let mut numbers = Numbers(3);
        let mut time_ms = 0;
        group.bench_function(BenchmarkId::new("cell stays", count), |bencher| {
            bencher.iter(|| {
                let (slot, position) = town.drivers[numbers.next() as usize % count];
                time_ms += 1;
                town.fleet.update(slot, black_box(&fix(position, time_ms)));
            });
        });
        // A metre or two to and fro, which its leaf has to be told.
        group.bench_function(BenchmarkId::new("cell stays, moved", count), |bencher| {
            bencher.iter(|| {
                let (slot, mut position) = town.drivers[numbers.next() as usize % count];
                position.latitude_e7 += (numbers.next() % 300) as i32 - 150;
                time_ms += 1;
                town.fleet.update(slot, black_box(&fix(position, time_ms)));
            });
        });
        // A few hundred metres further, which is the next cell or the one after it.
        group.bench_function(BenchmarkId::new("cell changes", count), |bencher| {
            bencher.iter(|| {
                let (slot, position) = &mut town.drivers[numbers.next() as usize % count];
                let step_e7 = if position.longitude_e7 & 1 == 0 { 100_001 } else { -100_001 };
                position.longitude_e7 += step_e7;
                time_ms += 1;
                town.fleet.update(*slot, black_box(&fix(*position, time_ms)));
            });
        });
        group.bench_function(BenchmarkId::new("anywhere in the square", count), |bencher| {
            bencher.iter(|| {
                let position = in_degree_square(&mut numbers);
                let (slot, _) = town.drivers[numbers.next() as usize % count];
                time_ms += 1;
                town.fleet.update(slot, black_box(&fix(position, time_ms)));
            });
        });
    }
    group.finish();
}

/// Not a time: what a driver takes beyond its key.
#[expect(clippy::print_stderr, reason = "a bench talks to whoever runs it")]
fn memory(_: &mut Criterion) {
    let count = 1_000_000;
    let tenant = TenantId::new("bench").expect("an id");
    let key = |index| DriverKey::new(tenant.clone(), DriverId::new(&format!("d{index}")).expect("an id"));
    let keys: Vec<_> = (0..count).map(|index| Arc::new(key(index))).collect();
    let (fleet, mut numbers, before) = (Fleet::default(), Numbers(1), resident_bytes());
    for driver in &keys {
        fleet.join(Arc::clone(driver), &fix(in_degree_square(&mut numbers), 0));
    }
    let bytes = resident_bytes().saturating_sub(before);
    eprintln!("memory: {} bytes a driver beyond its key, of {}", bytes / count, fleet.len());
}

fn short() -> Criterion {
    Criterion::default()
        .without_plots()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! { name = benches; config = short(); targets = memory, nearest, filtered, within, density, update }
criterion_main!(benches);
