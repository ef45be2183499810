//! Both parsers against written cases, against each other, and against any bytes.

use proptest::prelude::*;

use super::*;
use crate::codec::Codec;
use crate::fix::{Fix, Reason, Report};
use crate::units::{Position, TimestampMs};
use crate::wire::testing::cases;
use crate::wire::time;

fn decoded(payload: &[u8]) -> Vec<Element> {
    let mut elements = Vec::new();
    decode(payload, payload.len().max(1), &mut elements);
    elements
}

fn decoded_generally(payload: &[u8]) -> Vec<Element> {
    let mut elements = Vec::new();
    native_general::decode(payload, payload.len().max(1), &mut elements);
    elements
}

fn is_plain(payload: &[u8]) -> bool {
    native_fast::decode(payload, payload.len(), &mut Vec::new())
}

/// Elements as text: floats to the last bit, and NaN equal to NaN.
fn text(elements: &[Element]) -> String {
    format!("{elements:?}")
}

#[test]
fn the_form_that_driver_apps_send_takes_the_fast_way() {
    let payload =
        br#"{"latitude":40.7128,"longitude":-74.0060,"timestamp":"2024-01-01T12:00:00Z","speed":12.5,"heading":270.0}"#;
    assert!(is_plain(payload));
    let [Ok(report)] = decoded(payload)[..] else { panic!("one fix") };
    assert_eq!((report.latitude, report.longitude), (40.7128, -74.006));
    assert_eq!(report.time, Some(TimestampMs(1_704_110_400_000)));
    assert_eq!((report.speed_mps, report.heading_deg), (12.5, 270.0));
    assert_eq!((report.altitude_m.is_nan(), report.seq, report.battery_percent), (true, None, None));
}

#[test]
fn both_parsers_agree_on_the_written_cases() {
    for case in cases(Codec::Native) {
        assert_eq!(text(&decoded(&case.payload)), text(&decoded_generally(&case.payload)), "{}", case.name);
    }
}

#[test]
fn bytes_that_are_not_utf8_are_malformed_in_every_place() {
    for payload in [&b"\xff"[..], b"{\"lat\":1,\"lon\":2,\"x\":\"\xff\"}", b"{\"lat\":1,\"lon\":2,\"\xff\":0}"] {
        assert_eq!(decoded(payload), [Err(Reason::Malformed)]);
    }
    assert_eq!(decoded(b"[{\"lat\":1,\"lon\":2},\"\xff\"]"), [Err(Reason::Malformed)]);
}

#[test]
fn deep_nesting_is_skipped_without_recursion() {
    let depth = 200_000;
    let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let payload = format!(r#"{{"x":{nested},"lat":1,"lon":2}}"#);
    assert!(matches!(decoded(payload.as_bytes())[..], [Ok(_)]));
    assert_eq!(decoded(nested.as_bytes()), [Err(Reason::Malformed)]);
    assert_eq!(decoded("[".repeat(depth).as_bytes()), [Err(Reason::Malformed)]);
}

fn numbers() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,17})?",
        1 => "-?(0|[1-9][0-9]{0,22})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?",
        1 => any::<f64>().prop_filter("finite", |value| value.is_finite()).prop_map(|value| value.to_string()),
        1 => "[-+.0-9eE]{1,6}",
    ]
}

fn values() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => numbers(),
        2 => (-1_000_000_000_000_i64..10_000_000_000_000).prop_map(|ms| format!("\"{}\"", printed(ms))),
        1 => "\"[0-9]{4}-[0-1][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9](\\.[0-9]{1,9})?(Z|[+-][0-2][0-9]:00)\"",
        1 => "\"([a-z é]|\\\\[nu\"\\\\/]|\\\\u00[0-9a-f]{2}){0,6}\"",
        1 => Just("null".to_owned()),
        1 => "true|false|nul|\\[\\]|\\{\\}|\\[1,\\{\"lat\":3\\}\\]|\\{\"a\":\\{\"b\":[0-9]\\}\\}",
    ]
}

fn printed(ms: i64) -> String {
    let mut out = Vec::new();
    time::write_rfc3339(TimestampMs(ms), &mut out);
    String::from_utf8(out).unwrap()
}

fn objects() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        8 => "latitude|lat|longitude|lon|lng|timestamp|speed|heading|bearing|course|altitude|accuracy",
        2 => "battery|satellites|hdop|seq",
        1 => "[a-zé]{0,9}|l\\\\u0061t",
    ];
    let member =
        (key, "[ \\n]?", values()).prop_map(|(key, space, value)| format!("{space}\"{key}\"{space}:{space}{value}"));
    (numbers(), numbers(), proptest::collection::vec(member, 0..8)).prop_map(|(latitude, longitude, members)| {
        format!(
            "{{\"lat\":{latitude},\"lon\":{longitude}{}{}}}",
            if members.is_empty() { "" } else { "," },
            members.join(",")
        )
    })
}

fn payloads() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => objects(),
        1 => proptest::collection::vec(prop_oneof![4 => objects(), 1 => values()], 0..5)
            .prop_map(|members| format!("[{}]", members.join(" , "))),
    ]
}

fn reports() -> impl Strategy<Value = Report> {
    let known = |range: std::ops::RangeInclusive<f32>| prop_oneof![range, Just(f32::NAN)];
    let time = proptest::option::of((time::EARLIEST.0..=time::LATEST.0).prop_map(TimestampMs));
    let floats = (known(0.0..=400.0), known(0.0..=360.0), known(-500.0..=9_000.0), known(0.0..=1e6), known(0.0..=99.0));
    let wholes = (any::<Option<u32>>(), proptest::option::of(0..=100_u8), any::<Option<u8>>());
    let coordinate = || any::<f64>().prop_filter("finite", |value| value.is_finite());
    (coordinate(), coordinate(), time, floats, wholes).prop_map(|(latitude, longitude, time, floats, wholes)| Report {
        speed_mps: floats.0,
        heading_deg: floats.1,
        altitude_m: floats.2,
        accuracy_m: floats.3,
        hdop: floats.4,
        seq: wholes.0,
        battery_percent: wholes.1,
        satellites: wholes.2,
        ..Report::at(time, latitude, longitude)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    #[test]
    fn both_parsers_agree(payload in payloads()) {
        prop_assert_eq!(text(&decoded(payload.as_bytes())), text(&decoded_generally(payload.as_bytes())));
    }

    #[test]
    fn both_parsers_agree_on_damaged_payloads(payload in payloads(), at: prop::sample::Index, byte: u8, cut: bool) {
        let mut payload = payload.into_bytes();
        let at = at.index(payload.len());
        if cut { payload.truncate(at) } else { payload[at] = byte }
        prop_assert_eq!(text(&decoded(&payload)), text(&decoded_generally(&payload)));
    }

    #[test]
    fn any_bytes_give_elements_and_bounded_memory(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut elements = Vec::new();
        decode(&payload, payload.len().max(1), &mut elements);
        prop_assert!(elements.len() <= payload.len().max(1));
        prop_assert!(elements.capacity() <= 2 * payload.len().max(4));
    }

    #[test]
    fn coordinates_are_rounded_correctly(latitude in "-?(0|[1-9][0-9]{0,2})\\.[0-9]{1,17}") {
        let payload = format!(r#"{{"lat":{latitude},"lon":0}}"#);
        let [Ok(report)] = decoded(payload.as_bytes())[..] else { panic!("one fix") };
        prop_assert_eq!(report.latitude.to_bits(), latitude.parse::<f64>().unwrap().to_bits());
    }

    #[test]
    fn an_encoded_report_reads_back(report in reports()) {
        let mut payload = Vec::new();
        encode_report(&report, &mut payload);
        prop_assert_eq!(text(&decoded(&payload)), text(&[Ok(report)]));
    }

    #[test]
    fn an_encoded_fix_reads_back(report in reports(), latitude_e7 in -900_000_000..=900_000_000, longitude_e7 in -1_800_000_000..=1_800_000_000) {
        let received_at = TimestampMs(1_700_000_000_123);
        let position = Position { latitude_e7, longitude_e7 };
        let fix = Fix::from_report(&report, position, report.time.unwrap_or(received_at), received_at);
        let mut payload = Vec::new();
        encode("d1", &fix, &mut payload);
        let [Ok(read)] = decoded(&payload)[..] else { panic!("one fix") };
        let place = Position::from_degrees(read.latitude, read.longitude);
        prop_assert_eq!(place, Some(position));
        let back = Fix::from_report(&read, position, read.time.unwrap_or(received_at), received_at);
        prop_assert_eq!((back.time, back.battery_percent, back.satellites, back.seq), (fix.time, fix.battery_percent, fix.satellites, fix.seq));
        prop_assert_eq!((back.heading_cdeg, back.hdop_centi), (fix.heading_cdeg, fix.hdop_centi));
    }
}

#[test]
fn an_encoded_fix_is_the_location_shape() {
    let report = Report { speed_mps: 8.3, heading_deg: 270.0, satellites: Some(9), ..Report::at(None, 52.1, 21.0) };
    let position = Position::from_degrees(52.1, 21.0).unwrap();
    let fix = Fix::from_report(&report, position, TimestampMs(1_708_093_024_000), TimestampMs(1_708_093_024_250));
    let mut out = Vec::new();
    encode("d1", &fix, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"{"driver_id":"d1","latitude":52.1,"longitude":21,"timestamp":"2024-02-16T14:17:04Z","received_at":"2024-02-16T14:17:04.250Z","speed":8.3,"heading":270,"satellites":9}"#
    );
}
