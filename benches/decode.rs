//! What it costs to read one payload.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rhumb::fix::Element;
use rhumb::wire::native;

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
                native::decode(black_box(payload.as_bytes()), &mut elements);
                black_box(elements.len())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, native);
criterion_main!(benches);
