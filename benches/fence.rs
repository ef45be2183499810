//! Geofences: what a fix costs to judge, and a fence to put.
//!
//! `cargo bench --bench fence`

use std::f64::consts::TAU;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use rhumb::fix::Fix;
use rhumb::geo::fence::{DriverFences, Fence, FenceRules, FenceSet, FenceSpec, Judge};
use rhumb::geo::{Geometry, Vertex};
use rhumb::ids::{DriverId, FenceId};
use rhumb::units::{Position, TimestampMs};

/// Drivers that take turns, so that their states do not all stay in the cache.
const DRIVERS: usize = 20_000;

/// Metres of a degree.
const DEGREE_M: f64 = 111_195.0;

/// A sequence of numbers that look random and are the same in every run (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A place in a city of half a degree: 34 by 56 km.
fn in_city(numbers: &mut Numbers) -> [f64; 2] {
    [20.75 + numbers.share() * 0.5, 52.0 + numbers.share() * 0.5]
}

/// Circles of 20 to 120 m, polygons and corridors as large, in equal parts.
fn spec(numbers: &mut Numbers) -> FenceSpec {
    let [x, y] = in_city(numbers);
    let size = (20.0 + numbers.share() * 100.0) / DEGREE_M;
    let mut spec = FenceSpec {
        geometry: Geometry::Point(Vertex([x, y])),
        radius_m: None,
        width_m: None,
        name: None,
        dwell_s: Some(300),
        driver_id: None,
        once: false,
    };
    match numbers.next() % 3 {
        0 => spec.radius_m = Some(size * DEGREE_M),
        1 => {
            let vertex = |index: i32| {
                let (sine, cosine) = (f64::from(index % 12) / 12.0 * TAU).sin_cos();
                Vertex([x + size * cosine / 0.61, y + size * sine])
            };
            spec.geometry = Geometry::Polygon(vec![(0..=12).map(vertex).collect()]);
        }
        _ => {
            spec.geometry =
                Geometry::LineString(vec![Vertex([x - size, y]), Vertex([x, y + size]), Vertex([x + size, y])]);
            spec.width_m = Some(25.0);
        }
    }
    spec
}

fn fence(index: usize, numbers: &mut Numbers) -> Fence {
    Fence::new(FenceId::new(&format!("f{index}")).expect("an id"), 1, &spec(numbers)).expect("a fence")
}

fn fences(count: usize) -> FenceSet {
    let mut numbers = Numbers(1);
    (0..count).map(|index| fence(index, &mut numbers)).collect()
}

/// Vehicles that drive straight on, each its own way, and turn around at the edge of the city.
struct Traffic {
    drivers: Vec<(DriverId, DriverFences, [f64; 2], [f64; 2])>,
    step_ms: i64,
    time_ms: i64,
    next: usize,
}

impl Traffic {
    fn new(step_m: f64, step_ms: i64) -> Self {
        let mut numbers = Numbers(2);
        let driver = |index| {
            let (sine, cosine) = (numbers.share() * TAU).sin_cos();
            let step = [cosine * step_m / DEGREE_M / 0.61, sine * step_m / DEGREE_M];
            let id = DriverId::new(&format!("d{index}")).expect("an id");
            (id, DriverFences::default(), in_city(&mut numbers), step)
        };
        Self { drivers: (0..DRIVERS).map(driver).collect(), step_ms, time_ms: 0, next: 0 }
    }

    /// The next driver's next fix, and whose it is.
    fn drive(&mut self) -> (&DriverId, &mut DriverFences, Fix) {
        let (id, state, [x, y], step) = &mut self.drivers[self.next];
        self.next += 1;
        let time_ms = self.time_ms;
        if self.next == DRIVERS {
            (self.next, self.time_ms) = (0, self.time_ms + self.step_ms);
        }
        *x += step[0];
        *y += step[1];
        if !(20.75..21.25).contains(x) {
            step[0] = -step[0];
        }
        if !(52.0..52.5).contains(y) {
            step[1] = -step[1];
        }
        let position = Position::from_degrees(*y, *x).expect("the bench stays on the map");
        (id, state, Fix::at(TimestampMs(time_ms), position))
    }
}

fn judge(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("judge a fix");
    for count in [0, 1_000, 100_000] {
        let set = fences(count);
        // A receiver that stands, one that tells every second of a car in town, one that tells every half minute.
        for (name, step_m, step_ms) in [("parked", 0.0, 1_000), ("1 s", 10.0, 1_000), ("30 s", 300.0, 30_000)] {
            let (mut traffic, mut judge, mut events) =
                (Traffic::new(step_m, step_ms), Judge::new(FenceRules::default()), Vec::new());
            let mut time = |fixes: u64| {
                let begin = Instant::now();
                for _ in 0..fixes {
                    let (driver, state, fix) = traffic.drive();
                    judge.judge(&set, driver, state, black_box(&fix), &mut events);
                    events.clear();
                }
                begin.elapsed()
            };
            // A driver's first fix finds no state to go by.
            time(2 * DRIVERS as u64);
            group.bench_function(BenchmarkId::new(name, count), |bencher| bencher.iter_custom(&mut time));
        }
    }
    group.finish();
}

/// What of the above is the traffic and not the judge.
fn traffic(criterion: &mut Criterion) {
    let mut traffic = Traffic::new(10.0, 1_000);
    criterion.bench_function("traffic alone", |bencher| {
        bencher.iter(|| traffic.drive().2);
    });
}

fn put(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("put a fence");
    for count in [1_000, 100_000] {
        let (mut set, mut numbers) = (fences(count), Numbers(3));
        group.bench_function(BenchmarkId::new("into", count), |bencher| {
            bencher.iter_batched(
                || fence(numbers.next() as usize % count, &mut Numbers(numbers.next())),
                |fence| set.put(fence),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn short() -> Criterion {
    Criterion::default()
        .without_plots()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! { name = benches; config = short(); targets = traffic, judge, put }
criterion_main!(benches);
