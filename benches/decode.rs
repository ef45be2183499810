//! What it costs to read one payload. Holds first that plain native JSON is read without allocating.
//!
//! `cargo bench --bench decode`; `cargo bench --bench decode -- --test` only holds that, and runs each case once.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group};
use rhumb::codec::Codec;
use rhumb::fix::{Element, Fix};
use rhumb::units::{Position, TimestampMs};
use rhumb::wire::{self, compact, native};
use serde::Deserialize;

const PLAIN: &str =
    r#"{"latitude":40.7128,"longitude":-74.0060,"timestamp":"2024-01-01T12:00:00Z","speed":12.5,"heading":270.0}"#;
const EPOCH: &str = r#"{"lat":52.2296756,"lon":21.0122287,"timestamp":1708093024123,"speed":8.3,"heading":271.5,"accuracy":4.5,"battery":87}"#;
const ESCAPED: &str = r#"{"latitude":40.7128,"longitude":-74.0060,"timestamp":"2024-01-01T12:00:00Z","note":"a \"b\"","extra":{"a":[1,2]}}"#;

/// The system's allocator, and how often this thread asked it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count_allocation() {
    // A thread that ends has no counter any more, and nobody who asks for it.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

#[expect(unsafe_code, reason = "whether the fast path allocates can be counted nowhere else")]
// SAFETY: every call goes to the system's allocator as it came, and counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_allocation();
        // SAFETY: the caller keeps what `GlobalAlloc::alloc` asks.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps what `GlobalAlloc::dealloc` asks, and all memory is of the system's allocator.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count_allocation();
        // SAFETY: the caller keeps what `GlobalAlloc::realloc` asks, and all memory is of the system's allocator.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often reading a payload allocates, into a vector with room.
fn allocations(payload: &str) -> u64 {
    let mut elements: Vec<Element> = Vec::with_capacity(100);
    let before = ALLOCATIONS.get();
    native::decode(black_box(payload.as_bytes()), 100, &mut elements);
    let count = ALLOCATIONS.get() - before;
    assert!(!elements.is_empty() && elements.iter().all(Result::is_ok), "{payload}");
    count
}

fn backlog() -> String {
    format!("[{}]", [PLAIN; 100].join(","))
}

/// Holds that the fast path does not allocate, and that it would be noticed.
fn assert_plain_allocates_nothing() {
    for payload in [PLAIN, EPOCH, &backlog()] {
        assert_eq!(allocations(payload), 0, "{payload}");
    }
    let before = ALLOCATIONS.get();
    drop(black_box(PLAIN.to_owned()));
    assert_eq!(ALLOCATIONS.get() - before, 1, "allocations are not counted");
}

/// The plain payload as a program would read it that leaves its time a text.
#[derive(Deserialize)]
#[expect(dead_code, reason = "that they are read is what is measured")]
struct Reference<'a> {
    latitude: f64,
    longitude: f64,
    timestamp: &'a str,
    speed: Option<f64>,
    heading: Option<f64>,
}

/// What the native decoder is to be compared with, in the same run.
fn reference(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode/native");
    group.throughput(Throughput::Bytes(PLAIN.len() as u64));
    group.bench_function("plain_105_bytes_by_serde_json_time_left_as_text", |bencher| {
        bencher.iter(|| serde_json::from_slice::<Reference<'_>>(black_box(PLAIN.as_bytes())));
    });
    group.finish();
}

fn native(criterion: &mut Criterion) {
    let backlog = backlog();
    let mut group = criterion.benchmark_group("decode/native");
    for (name, payload) in [
        ("plain_105_bytes", PLAIN),
        ("epoch_ms", EPOCH),
        ("general_parser", ESCAPED),
        ("array_of_100", backlog.as_str()),
    ] {
        let mut elements: Vec<Element> = Vec::with_capacity(128);
        group.throughput(Throughput::Bytes(payload.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                elements.clear();
                native::decode(black_box(payload.as_bytes()), 100, &mut elements);
                black_box(elements.len())
            });
        });
    }
    group.finish();
}

const OWNTRACKS: &str = r#"{"_type":"location","tid":"d1","acc":12,"alt":113,"batt":87,"bs":1,"cog":271,"conn":"m","created_at":1708093100,"inregions":["depot"],"lat":52.2296756,"lon":21.0122287,"m":1,"p":100.513,"t":"u","topic":"owntracks/anna/phone","tst":1708093024,"vac":3,"vel":54}"#;
const OSMAND: &str = "id=123456&timestamp=1708093024&lat=52.2296756&lon=21.0122287&speed=20.0&bearing=271.5&altitude=113.0&accuracy=4.5&batt=87.0";
const TRACCAR: &str = r#"{"device_id":"d1","location":{"timestamp":"2024-02-16T14:17:04.123Z","coords":{"latitude":52.2296756,"longitude":21.0122287,"accuracy":4.5,"speed":8.3,"heading":271.5,"altitude":113.5},"is_moving":true,"odometer":1234.5,"event":"motionchange","battery":{"level":0.87,"is_charging":false},"activity":{"type":"in_vehicle"},"extras":{}}}"#;
const FLESPI: &str = r#"{"battery.level":87,"channel.id":1203,"engine.ignition.status":true,"ident":"352093081429150","movement.status":true,"position.altitude":113,"position.direction":271,"position.hdop":0.9,"position.latitude":52.2296756,"position.longitude":21.0122287,"position.satellites":11,"position.speed":54,"position.valid":true,"timestamp":1708093024}"#;
const TELTONIKA: &str = r#"{"state":{"reported":{"ts":1708093024000,"pr":0,"latlng":"52.2296756,21.0122287","alt":113,"ang":271,"sat":11,"sp":54,"evt":240,"239":1,"240":1,"66":13210,"67":4012}}}"#;

/// A hundred fixes of a driver who goes north-west at 13 m/s and says how fast.
fn compact_batch() -> Vec<u8> {
    let fixes: Vec<Fix> = (0..100)
        .map(|n| Fix {
            speed_mmps: Some(13_000 + n % 7 * 100),
            heading_cdeg: Some(31_500),
            ..Fix::at(
                TimestampMs(1_708_093_024_000 + i64::from(n) * 10_000),
                Position { latitude_e7: 522_296_756 + n as i32 * 8_300, longitude_e7: 210_122_287 - n as i32 * 13_500 },
            )
        })
        .collect();
    let mut payload = Vec::new();
    compact::encode(&fixes, &mut payload);
    payload
}

fn others(criterion: &mut Criterion) {
    let batch = compact_batch();
    let mut group = criterion.benchmark_group("decode");
    for (name, codec, payload) in [
        ("owntracks", Codec::OwnTracks, OWNTRACKS.as_bytes()),
        ("osmand", Codec::OsmAnd, OSMAND.as_bytes()),
        ("traccar", Codec::Traccar, TRACCAR.as_bytes()),
        ("flespi", Codec::Flespi, FLESPI.as_bytes()),
        ("teltonika", Codec::Teltonika, TELTONIKA.as_bytes()),
        ("compact_batch_of_100", Codec::Compact, &batch),
    ] {
        let mut elements: Vec<Element> = Vec::with_capacity(128);
        group.throughput(Throughput::Bytes(payload.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                elements.clear();
                black_box(wire::decode(black_box(codec), black_box(payload), 100, &mut elements));
                black_box(elements.len())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, reference, native, others);

fn main() {
    assert_plain_allocates_nothing();
    benches();
    Criterion::default().configure_from_args().final_summary();
}
