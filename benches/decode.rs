//! What it costs to read one payload.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rhumb::codec::Codec;
use rhumb::fix::{Element, Fix};
use rhumb::units::{Position, TimestampMs};
use rhumb::wire::{self, compact, native};

const PLAIN: &str =
    r#"{"latitude":40.7128,"longitude":-74.0060,"timestamp":"2024-01-01T12:00:00Z","speed":12.5,"heading":270.0}"#;
const EPOCH: &str = r#"{"lat":52.2296756,"lon":21.0122287,"timestamp":1708093024123,"speed":8.3,"heading":271.5,"accuracy":4.5,"battery":87}"#;
const ESCAPED: &str = r#"{"latitude":40.7128,"longitude":-74.0060,"timestamp":"2024-01-01T12:00:00Z","note":"a \"b\"","extra":{"a":[1,2]}}"#;

fn native(criterion: &mut Criterion) {
    let backlog = format!("[{}]", [PLAIN; 100].join(","));
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

criterion_group!(benches, native, others);
criterion_main!(benches);
