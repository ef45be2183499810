//! The nearest drivers under fire: one thread asks while another moves 200,000 drivers a second; and Redis beside it.
//!
//! `cargo bench --bench nearest` prints a table in Markdown. `RHUMB_TEST_TRACES` names a directory of recordings for the
//! clustered set, which are those in `fixtures/traces` otherwise; `RHUMB_BENCH_DRIVERS` (1,000,000) and
//! `RHUMB_BENCH_SECONDS` (5) make it smaller. Redis is asked if `redis-server` is installed.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench talks to whoever runs it")]

mod places;
mod redis;

use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use flate2::read::MultiGzDecoder;
use hdrhistogram::Histogram;
use places::{Numbers, at, fix, in_degree_square, worldwide};
use rhumb::geo::{Fleet, Nearest, Slot};
use rhumb::ids::{DriverId, DriverKey, TenantId};
use rhumb::units::Position;

const UPDATES_PER_S: f64 = 200_000.0;
const LIMIT: usize = 10;

/// How long queries go on before they count.
const WARM_UP: Duration = Duration::from_millis(500);

type Place<'a> = dyn Fn(&mut Numbers) -> Position + Sync + 'a;

fn main() {
    let number = |name: &str, otherwise| {
        let text = std::env::var_os(name).map(|text| text.to_string_lossy().into_owned());
        text.map_or(otherwise, |text| text.parse().expect("a whole number"))
    };
    let (count, lasts): (usize, usize) = (number("RHUMB_BENCH_DRIVERS", 1_000_000), number("RHUMB_BENCH_SECONDS", 5));
    let lasts = Duration::from_secs(lasts as u64);
    let recorded = recorded_places();
    eprintln!("{} recorded places", recorded.len());
    let around_recorded = |numbers: &mut Numbers| {
        let place = recorded[numbers.next() as usize % recorded.len()];
        // Some twenty metres to each side: more drivers than places were recorded.
        let aside = |numbers: &mut Numbers| (numbers.next() % 4_000) as i32 - 2_000;
        Position { latitude_e7: place.latitude_e7 + aside(numbers), longitude_e7: place.longitude_e7 + aside(numbers) }
    };
    let sets: [(&str, &Place<'_>, &[f64]); 3] = [
        ("one degree square", &in_degree_square, &[1.0, 5.0]),
        ("recorded traces", &around_recorded, &[0.1, 1.0]),
        ("worldwide", &worldwide, &[50.0, 200.0]),
    ];
    println!("{LIMIT} nearest of {count}, each with its id read, on one thread:\n");
    println!("| drivers | asked of | meanwhile, a second | queries a second | p50 µs | p99 µs | p99.9 µs |");
    println!("|---|---|---|---|---|---|---|");
    let mut updates = Vec::new();
    for (name, place, radii_km) in sets {
        let mut town = Town::new(count, place);
        town.ask(place, WARM_UP, &AtomicBool::new(false));
        print_row(name, "Rhumb", "nothing", &town.ask(place, lasts, &AtomicBool::new(false)));
        let (asked, updates_per_s) = town.ask_under_fire(place, lasts);
        print_row(name, "Rhumb", &format!("{updates_per_s:.0} updates"), &asked);
        updates.push((name, town.time_updates(place)));
        drop(town);
        redis_rows(name, place, radii_km, count, lasts);
    }
    println!("\nAn update, in nanoseconds (drivers at random, so that each is cold in the caches):\n");
    println!("| drivers | parked | some metres further | a few hundred metres further | anywhere |");
    println!("|---|---|---|---|---|");
    for (name, times) in updates {
        println!("| {name} | {} |", times.map(|ns| format!("{ns:.0}")).join(" | "));
    }
}

/// Times of queries.
struct Asked {
    times_ns: Histogram<u64>,
    queries_per_s: f64,
}

/// Up to a minute, to three digits.
fn times_ns() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("bounds and digits are in range")
}

fn print_row(drivers: &str, of: &str, meanwhile: &str, asked: &Asked) {
    let us = |share| asked.times_ns.value_at_quantile(share) as f64 / 1_000.0;
    let (p50, p99, p999) = (us(0.5), us(0.99), us(0.999));
    println!("| {drivers} | {of} | {meanwhile} | {:.0} | {p50:.2} | {p99:.2} | {p999:.1} |", asked.queries_per_s);
}

struct Town {
    fleet: Fleet,
    drivers: Vec<(Slot, Position)>,
}

impl Town {
    fn new(count: usize, place: &Place<'_>) -> Self {
        let (fleet, tenant, mut numbers) = (Fleet::default(), TenantId::new("bench").expect("an id"), Numbers(1));
        let drivers = (0..count).map(|index| {
            let position = place(&mut numbers);
            let driver = DriverId::new(&format!("d{index}")).expect("an id");
            (fleet.join(Arc::new(DriverKey::new(tenant.clone(), driver)), &fix(position, 0)), position)
        });
        let drivers = drivers.collect();
        Self { fleet, drivers }
    }

    fn ask(&self, place: &Place<'_>, lasts: Duration, stopped: &AtomicBool) -> Asked {
        let mut times_ns = times_ns();
        let (mut numbers, start, mut bytes) = (Numbers(2), Instant::now(), 0);
        let (mut before, mut busy) = (start, Duration::ZERO);
        while before - start < lasts {
            let query = Nearest::new(place(&mut numbers), LIMIT);
            let asked = Instant::now();
            let found = self.fleet.nearest(black_box(&query));
            bytes += found.iter().map(|one| one.driver.driver().as_str().len()).sum::<usize>();
            before = Instant::now();
            busy += before - asked;
            times_ns.saturating_record((before - asked).as_nanos() as u64);
        }
        stopped.store(true, Ordering::Relaxed);
        black_box(bytes);
        // What it takes to think of a place and to look at the clock does not count.
        let queries_per_s = times_ns.len() as f64 / busy.as_secs_f64();
        Asked { times_ns, queries_per_s }
    }

    /// Asks while another thread moves drivers: half of them some metres, half to the next street.
    fn ask_under_fire(&self, place: &Place<'_>, lasts: Duration) -> (Asked, f64) {
        let (stopped, updates) = (AtomicBool::new(false), AtomicU64::new(0));
        let asked = thread::scope(|scope| {
            scope.spawn(|| {
                let (mut numbers, start, mut done) = (Numbers(3), Instant::now(), 0_u64);
                while !stopped.load(Ordering::Relaxed) {
                    let due = (start.elapsed().as_secs_f64() * UPDATES_PER_S) as u64;
                    while done < due {
                        let (slot, position) = self.drivers[numbers.next() as usize % self.drivers.len()];
                        let aside_e7 = if done.is_multiple_of(2) { 200 } else { 20_000 };
                        let aside = |numbers: &mut Numbers| (numbers.next() % (2 * aside_e7)) as i32 - aside_e7 as i32;
                        let position = shifted(position, aside(&mut numbers), aside(&mut numbers));
                        self.fleet.update(slot, &fix(position, done as i64));
                        done += 1;
                    }
                    thread::yield_now();
                }
                updates.store((done as f64 / start.elapsed().as_secs_f64()) as u64, Ordering::Relaxed);
            });
            self.ask(place, lasts, &stopped)
        });
        (asked, updates.into_inner() as f64)
    }

    /// Nanoseconds an update: nowhere, some metres, a few hundred metres, anywhere.
    fn time_updates(&mut self, place: &Place<'_>) -> [f64; 4] {
        const UPDATES: usize = 1_000_000;
        let mut numbers = Numbers(4);
        [0, 1, 2, 3].map(|kind| {
            // Thought of beforehand, so that only the updates count.
            let moves: Vec<_> = (0..UPDATES)
                .map(|_| {
                    let index = numbers.next() as usize % self.drivers.len();
                    let (slot, position) = &mut self.drivers[index];
                    match kind {
                        0 => {}
                        1 => *position = shifted(*position, (numbers.next() % 200) as i32 - 100, 0),
                        2 => {
                            let east_e7 = if numbers.next().is_multiple_of(2) { 40_000 } else { -40_000 };
                            *position = shifted(*position, 0, east_e7);
                        }
                        _ => *position = place(&mut numbers),
                    }
                    (*slot, *position)
                })
                .collect();
            let start = Instant::now();
            for (index, (slot, position)) in moves.iter().enumerate() {
                self.fleet.update(*slot, black_box(&fix(*position, index as i64)));
            }
            start.elapsed().as_nanos() as f64 / UPDATES as f64
        })
    }
}

fn shifted(position: Position, north_e7: i32, east_e7: i32) -> Position {
    Position {
        latitude_e7: (position.latitude_e7 + north_e7).clamp(-900_000_000, 900_000_000),
        longitude_e7: (position.longitude_e7 + east_e7).clamp(-1_800_000_000, 1_800_000_000),
    }
}

/// The same of Redis, whose caller has to guess a radius; no updates meanwhile, as it has one thread for all.
fn redis_rows(name: &str, place: &Place<'_>, radii_km: &[f64], count: usize, lasts: Duration) {
    let Some(mut redis) = redis::Redis::start() else {
        eprintln!("no redis-server: not compared");
        return;
    };
    let (mut numbers, start) = (Numbers(1), Instant::now());
    redis.add((0..count).map(|index| (index, place(&mut numbers))));
    let adds_per_s = count as f64 / start.elapsed().as_secs_f64();
    println!("| {name} | Redis GEOADD, pipelined | nothing | {adds_per_s:.0} updates | | | |");
    for radius_km in radii_km {
        let mut times_ns = times_ns();
        let (start, mut found) = (Instant::now(), 0);
        while start.elapsed() < lasts {
            let asked = Instant::now();
            found += redis.search(place(&mut numbers), *radius_km, LIMIT);
            times_ns.saturating_record(asked.elapsed().as_nanos() as u64);
        }
        let each = found as f64 / times_ns.len() as f64;
        let one_by_one = times_ns.len() as f64 / start.elapsed().as_secs_f64();
        let piped = redis.search_piped(|| place(&mut numbers), *radius_km, LIMIT, lasts);
        let of =
            format!("Redis GEOSEARCH within {radius_km} km ({each:.1} found; {one_by_one:.0} a second unpipelined)");
        print_row(name, &of, "nothing", &Asked { times_ns, queries_per_s: piped });
    }
}

/// Places of all recordings at hand.
fn recorded_places() -> Vec<Position> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/traces");
    let directory = std::env::var_os("RHUMB_TEST_TRACES").map_or(own, PathBuf::from);
    let files = std::fs::read_dir(&directory).expect("a directory of recordings");
    let mut files: Vec<_> = files.filter_map(|file| file.ok().map(|file| file.path())).collect();
    files.sort();
    let places = files.iter().flat_map(|file| {
        let name = file.to_string_lossy();
        let is_table = name.ends_with(".csv") || name.ends_with(".csv.gz");
        let text: Option<Box<dyn Read>> = is_table.then(|| File::open(file).ok()).flatten().map(|text| {
            if name.ends_with(".gz") { Box::new(MultiGzDecoder::new(text)) as Box<dyn Read> } else { Box::new(text) }
        });
        text.into_iter().flat_map(|text| BufReader::new(text).lines().map_while(Result::ok))
    });
    // vehicle, time, latitude, longitude, ...; the line of names is no place.
    let place = |line: String| {
        let mut fields = line.split(',').skip(2).map(|field| field.parse::<f64>().ok());
        Position::from_degrees(fields.next()??, fields.next()??)
    };
    let places: Vec<_> = places.filter_map(place).filter(|place| place.latitude_e7 != 0).collect();
    if places.is_empty() { vec![at(52.23, 21.01)] } else { places }
}
