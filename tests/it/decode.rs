//! `rhumb decode` shows what payloads become.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::support::process::output_within;
use crate::support::{PATIENCE, rhumb};

/// Runs it in a folder where a file `payload` holds this.
fn decode(payload: &[u8], args: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("payload"), payload).unwrap();
    output_within(rhumb::command(dir.path()).arg("decode").args(args), PATIENCE)
}

fn lines(said: &Output) -> Vec<Value> {
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    said.stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

fn decoded(codec: &str, payload: &[u8]) -> Vec<Value> {
    lines(&decode(payload, &["--codec", codec, "payload"]))
}

#[test]
fn each_codec_is_shown_in_native_form() {
    let fix = json!({ "latitude": 52.5, "longitude": 21.25, "timestamp": "2024-02-16T14:17:04Z", "speed": 15 });
    for (codec, payload) in [
        ("native", r#"{"lat":52.5,"lon":21.25,"timestamp":1708093024,"speed":15}"#),
        ("owntracks", r#"{"_type":"location","lat":52.5,"lon":21.25,"tst":1708093024,"vel":54}"#),
        (
            "traccar",
            r#"{"device_id":"d1","location":{"timestamp":"2024-02-16T14:17:04Z","coords":{"latitude":52.5,"longitude":21.25,"speed":15}}}"#,
        ),
        (
            "flespi",
            r#"{"timestamp":1708093024,"position.latitude":52.5,"position.longitude":21.25,"position.speed":54}"#,
        ),
        ("teltonika", r#"{"state":{"reported":{"ts":1708093024000,"latlng":"52.5,21.25","sp":54}}}"#),
    ] {
        assert_eq!(decoded(codec, payload.as_bytes()), std::slice::from_ref(&fix), "{codec}");
    }
    let query = b"id=d1&lat=52.5&lon=21.25&timestamp=1708093024&speed=29.1576674\n";
    assert_eq!(decoded("osmand", query), [fix]);
    let batch = b"\x01\x05\xc0\xb9\xfb\xdc\x0c\xd0\xfa\x8c\xf2\x03\xa0\xd4\xb1\xc8\x01\x01\x14";
    let at = |timestamp| json!({ "latitude": 52.2297, "longitude": 21.0122, "timestamp": timestamp });
    assert_eq!(decoded("compact", batch), [at("2024-02-16T14:17:04Z"), at("2024-02-16T14:17:14Z")]);
}

#[test]
fn what_is_refused_and_what_is_skipped_is_told() {
    let malformed = json!({ "rejected": "malformed" });
    assert_eq!(
        decoded("native", b"[{\"lat\":1,\"lon\":2},{}]"),
        [json!({ "latitude": 1, "longitude": 2 }), malformed.clone()]
    );
    assert_eq!(decoded("native", b"[]"), [] as [Value; 0]);
    assert_eq!(decoded("flespi", b"{\"position.valid\":false}"), [json!({ "rejected": "no_fix" })]);
    assert_eq!(decoded("compact", b"\x01\xff"), [malformed]);
    let many = format!("[{}]", vec!["1"; 10_001].join(","));
    assert_eq!(decoded("native", many.as_bytes()), [json!({ "rejected": "too_large" })]);
    assert_eq!(decoded("owntracks", b"{\"_type\":\"lwt\",\"tst\":1708093024}"), [json!({ "skipped": 1 })]);
}

#[test]
fn lines_are_payloads_each() {
    let payloads = b"{\"_type\":\"location\",\"lat\":1,\"lon\":2}\r\n\n{\"_type\":\"lwt\"}\n{\n{\"_type\":\"location\",\"lat\":3,\"lon\":4}";
    let expected = [
        json!({ "latitude": 1, "longitude": 2 }),
        json!({ "skipped": 1 }),
        json!({ "rejected": "malformed" }),
        json!({ "latitude": 3, "longitude": 4 }),
    ];
    assert_eq!(lines(&decode(payloads, &["--codec", "owntracks", "--lines", "payload"])), expected);
}

#[test]
fn a_payload_comes_from_standard_input_where_no_file_is_named() {
    let mut command = rhumb::command(Path::new("/"));
    command.args(["decode", "--codec", "osmand"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"location=52.5,21.25&valid=1").unwrap();
    assert_eq!(lines(&child.wait_with_output().unwrap()), [json!({ "latitude": 52.5, "longitude": 21.25 })]);
}

#[test]
fn what_cannot_be_decoded_says_why() {
    for (args, code, words) in [
        (&["--codec", "nmea", "payload"][..], 64, "no such codec; there are native, owntracks"),
        (&["--codec", "recording", "payload"], 64, "rhumb replay"),
        (&["payload"], 64, "--codec"),
        (&["--codec", "compact", "--lines", "payload"], 64, "binary"),
        (&["--codec", "native", "missing"], 65, "missing: "),
        (&["--codec", "native", "."], 65, ".: "),
    ] {
        let said = decode(b"{}", args);
        let stderr = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(words), "{args:?}: {stderr}");
        assert!(said.stdout.is_empty(), "{args:?}");
    }
}
