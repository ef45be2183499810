//! WebSocket over a socket in memory: whole, in pieces, and wrong; tungstenite reads what goes out.

use std::io::Cursor;

use proptest::prelude::*;
use tungstenite::Message;
use tungstenite::protocol::Role;

use super::*;
use crate::mqtt::transport::testing::{Ended, Wire, read_all};

const REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: localhost:8083\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Protocol: mqtt\r\n\r\n";

const MASK: [u8; 4] = [0x5A, 0x01, 0xFE, 0x33];

fn begin() -> WebSocket<Wire> {
    WebSocket::new(Wire::default(), Origins::Local, 256 * 1024)
}

/// One that was let in.
fn open() -> WebSocket<Wire> {
    let mut websocket = begin();
    websocket.below.put(REQUEST.as_bytes());
    assert_eq!(read_all(&mut websocket, 4_096), (Vec::new(), None));
    assert!(websocket.below.written().starts_with(b"HTTP/1.1 101 "));
    websocket
}

/// A frame as a client sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | short as u8),
        middle @ 126..=0xFFFF => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// What another implementation makes of what went out.
fn messages(wire: Vec<u8>) -> Vec<Message> {
    let mut reader = tungstenite::WebSocket::from_raw_socket(Cursor::new(wire), Role::Client, None);
    std::iter::from_fn(|| reader.read().ok()).collect()
}

/// A conversation with everything that may occur, and the bytes of MQTT in it.
fn conversation() -> (Vec<u8>, Vec<u8>) {
    let long: Vec<u8> = (0..300u32).map(|n| n as u8).collect();
    let frames = [
        frame(0x82, b"one"),
        frame(0x82, b""),
        frame(0x02, b"two, "),
        frame(0x89, b"are you there"),
        frame(0x00, b"in "),
        frame(0x8A, b""),
        frame(0x80, b"parts"),
        frame(0x82, &long),
    ];
    (frames.concat(), [b"onetwo, in parts", &long[..]].concat())
}

#[test]
fn a_request_becomes_a_websocket_wherever_it_is_cut() {
    let whole = [REQUEST.as_bytes(), &frame(0x82, b"first")].concat();
    for cut in 1..whole.len() {
        let mut websocket = begin();
        let mut read = Vec::new();
        for part in [&whole[..cut], &whole[cut..]] {
            websocket.below.put(part);
            let (bytes, ended) = read_all(&mut websocket, 4_096);
            assert_eq!(ended, None, "{cut}");
            read.extend(bytes);
        }
        assert_eq!(read, b"first", "{cut}");
        let response = String::from_utf8(websocket.below.written()).unwrap().to_ascii_lowercase();
        assert!(response.starts_with("http/1.1 101 "), "{response}");
        // The answer to this key is the example of RFC 6455, section 1.3.
        for line in ["sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=", "sec-websocket-protocol: mqtt"] {
            assert!(response.contains(line), "{response}");
        }
    }
}

#[test]
fn what_is_no_request_for_mqtt_is_told_so() {
    let with = |from: &str, to: &str| REQUEST.replace(from, to);
    let cases = [
        (with("/mqtt HTTP", "/ HTTP"), 404),
        (with("/mqtt HTTP", "/mqtt/ HTTP"), 404),
        (with("Sec-WebSocket-Protocol: mqtt\r\n", ""), 400),
        (with("Protocol: mqtt\r\n", "Protocol: mqttv3.1, MQTT\r\n"), 400),
        (with("Version: 13", "Version: 8"), 426),
        (with("Upgrade: websocket\r\n", ""), 426),
        (with("Connection: Upgrade", "Connection: close"), 400),
        (with("dGhlIHNhbXBsZSBub25jZQ==", "short"), 400),
        (with("GET", "POST"), 400),
        (with("HTTP/1.1", "HTTP/1.0"), 400),
        (with("localhost:8083", "evil.example"), 403),
        (with("Host: localhost:8083\r\n", ""), 403),
        (with("Upgrade: websocket", "Origin: http://evil.example\r\nUpgrade: websocket"), 403),
        (with("Upgrade: websocket", "Origin: null\r\nUpgrade: websocket"), 403),
        (with("Upgrade: websocket", &format!("X: {}\r\nUpgrade: websocket", "x".repeat(9_000))), 431),
        ("\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00".to_owned(), 400),
        ("GET no such thing\r\n\r\n".to_owned(), 400),
    ];
    for (request, status) in cases {
        let mut websocket = begin();
        websocket.below.put(request.as_bytes());
        let (read, ended) = read_all(&mut websocket, 1_000);
        assert!(read.is_empty() && matches!(ended, Some(Ended::Faulty(Fault::Handshake(_)))), "{request} {ended:?}");
        let response = String::from_utf8(websocket.below.written()).unwrap();
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{request}\n{response}");
        assert_eq!(response.contains("Sec-WebSocket-Version: 13\r\n"), status == 426, "{response}");
        // Nothing follows a refusal, not even a close frame.
        websocket.finish().unwrap();
        assert!(websocket.below.written().is_empty());
    }
}

fn pages_of(with_certificate: &[&str]) -> Origins {
    Origins::Any { with_certificate: with_certificate.iter().map(|origin| (*origin).to_owned()).collect() }
}

#[test]
fn a_certificate_counts_for_whoever_is_no_page_and_for_pages_that_are_named() {
    let named = pages_of(&["https://fleet.example", "https://fleet.example:8443"]);
    let cases: [(&Origins, &[&str], bool); 10] = [
        (&named, &[], true),
        (&named, &["https://fleet.example"], true),
        (&named, &["HTTPS://Fleet.Example:8443"], true),
        (&named, &["http://fleet.example"], false),
        (&named, &["https://fleet.example.evil.example"], false),
        (&named, &["null"], false),
        (&named, &["https://fleet.example", "https://evil.example"], false),
        (&pages_of(&[]), &["https://fleet.example"], false),
        (&pages_of(&[]), &["http://localhost"], false),
        (&Origins::Local, &["http://localhost"], true),
    ];
    for (origins, shown, counts) in cases {
        let headers: String = shown.iter().map(|origin| format!("Origin: {origin}\r\n")).collect();
        let mut websocket = WebSocket::new(Wire::default(), origins.clone(), 1_000);
        assert!(websocket.below_with_certificate().is_none(), "nothing is known yet");
        websocket.below.put(REQUEST.replace("Upgrade: websocket", &format!("{headers}Upgrade: websocket")).as_bytes());
        assert_eq!(read_all(&mut websocket, 1_000), (Vec::new(), None), "every page may show who it is");
        assert_eq!(websocket.below_with_certificate().is_some(), counts, "{origins:?} {shown:?}");
    }
}

#[test]
fn pages_come_in_from_here_or_where_all_have_to_show_who_they_are() {
    let foreign = REQUEST
        .replace("Upgrade: websocket", "Origin: https://fleet.example\r\nUpgrade: websocket")
        .replace("localhost:8083", "broker.example");
    let own = REQUEST.replace("Upgrade: websocket", "Origin: http://localhost:3000\r\nUpgrade: websocket");
    for (request, origins) in [(own, Origins::Local), (foreign, pages_of(&[]))] {
        let mut websocket = WebSocket::new(Wire::default(), origins, 1_000);
        websocket.below.put(request.as_bytes());
        assert_eq!(read_all(&mut websocket, 1_000), (Vec::new(), None));
        assert!(websocket.below.written().starts_with(b"HTTP/1.1 101 "));
    }
}

#[test]
fn frames_are_read_wherever_they_are_cut() {
    let (sent, expected) = conversation();
    for cut in 0..sent.len() {
        let mut websocket = open();
        let mut read = Vec::new();
        for part in [&sent[..cut], &sent[cut..]] {
            websocket.below.put(part);
            let (bytes, ended) = read_all(&mut websocket, 1_000);
            assert_eq!(ended, None);
            read.extend(bytes);
        }
        assert!(read == expected, "{cut}");
        assert_eq!(messages(websocket.below.written()), [Message::Pong("are you there".into())]);
    }
    for buffer_bytes in [1, 2, 13, 64] {
        let mut websocket = open();
        websocket.below.put(&sent);
        assert!(read_all(&mut websocket, buffer_bytes) == (expected.clone(), None), "{buffer_bytes}");
        assert!(websocket.below.is_drained());
    }
}

#[test]
fn a_violation_closes_with_its_code_after_what_came_before() {
    let long_header = |length: u64| [&[0x82, 0xFF][..], &length.to_be_bytes(), &MASK].concat();
    let cases: [(&str, Vec<u8>, u16); 13] = [
        ("not masked", vec![0x82, 3, b'a', b'b', b'c'], 1002),
        ("text", frame(0x81, b"text"), 1003),
        ("reserved bits", frame(0xC2, b""), 1002),
        ("unknown data frame", frame(0x83, b""), 1002),
        ("unknown control frame", frame(0x8B, b""), 1002),
        ("a control frame in parts", frame(0x09, b""), 1002),
        ("a long control frame", frame(0x89, &[0; 126]), 1002),
        ("a continuation of nothing", frame(0x80, b"x"), 1002),
        ("a message in a message", [frame(0x02, b""), frame(0x82, b"")].concat(), 1002),
        ("oversized", long_header(frame::BYTES_MAX + 1), 1009),
        ("endless", long_header(u64::MAX), 1009),
        ("half a close code", frame(0x88, b"x"), 1002),
        ("a close code that is none", frame(0x88, &1006u16.to_be_bytes()), 1002),
    ];
    for (what, bytes, code) in cases {
        let mut websocket = open();
        websocket.below.put(&[frame(0x82, b"before"), bytes, frame(0x82, b"behind")].concat());
        let (read, ended) = read_all(&mut websocket, 1_000);
        assert_eq!(read, b"before", "{what}");
        assert!(matches!(ended, Some(Ended::Faulty(Fault::Frame(_)))), "{what}: {ended:?}");
        websocket.finish().unwrap();
        assert_eq!(websocket.below.written(), [&[0x88, 2][..], &code.to_be_bytes()].concat(), "{what}");
    }
}

#[test]
fn the_largest_frame_is_taken_a_buffer_at_a_time() {
    let mut websocket = open();
    websocket.below.put(&[&[0x82, 0xFF][..], &frame::BYTES_MAX.to_be_bytes(), &MASK].concat());
    let mut read = 0;
    while read < frame::BYTES_MAX as usize {
        websocket.below.put(&[0; 64 * 1024]);
        let (bytes, ended) = read_all(&mut websocket, 70_000);
        assert_eq!(ended, None);
        read += bytes.len();
    }
    websocket.below.put(&frame(0x82, b"next"));
    assert_eq!(read_all(&mut websocket, 1_000), (b"next".to_vec(), None));
}

#[test]
fn a_close_is_answered_and_ends_it() {
    for (payload, code) in [(&b""[..], 1000u16), (b"\x03\xE9gone", 1001), (b"\x0F\xA0", 4000)] {
        let mut websocket = open();
        websocket.below.put(&[frame(0x82, b"bye"), frame(0x88, payload), frame(0x82, b"behind")].concat());
        assert_eq!(read_all(&mut websocket, 1_000), (b"bye".to_vec(), Some(Ended::HungUp)));
        websocket.finish().unwrap();
        assert_eq!(websocket.below.written(), [&[0x88, 2][..], &code.to_be_bytes()].concat());
    }
}

#[test]
fn what_is_sent_arrives_whole_through_a_narrow_socket() {
    let payload: Vec<u8> = (0..200_000u32).map(|n| (n % 253) as u8).collect();
    let mut websocket = open();
    let (mut sent, mut wire) = (0, Vec::new());
    websocket.below.room = 0;
    while sent < payload.len() || websocket.has_unsent() {
        websocket.below.room += 777;
        match websocket.send(&payload[sent..]) {
            Ok(taken) => sent += taken,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
        assert!(websocket.unsent.len() <= SEND_BYTES_MAX + 10);
        wire.extend(websocket.below.written());
        if sent == payload.len() {
            drop(websocket.flush());
            wire.extend(websocket.below.written());
        }
    }
    websocket.below.room = 100;
    websocket.finish().unwrap();
    wire.extend(websocket.below.written());
    let mut messages = messages(wire);
    assert!(matches!(messages.pop(), Some(Message::Close(Some(_)))));
    let arrived: Vec<u8> = messages.into_iter().flat_map(Message::into_data).collect();
    assert!(arrived == payload);
    assert!(websocket.unsent.capacity() <= KEPT_CAPACITY);
}

#[test]
fn a_flood_of_pings_that_reads_no_answers_is_bounded() {
    let mut websocket = open();
    websocket.below.room = 0;
    for _ in 0..10_000 {
        websocket.below.put(&frame(0x89, &[7; 125]));
        assert_eq!(read_all(&mut websocket, 4_096), (Vec::new(), None));
    }
    assert!(websocket.unsent.len() < 2_000, "{}", websocket.unsent.len());
    websocket.below.room = usize::MAX;
    websocket.below.put(&frame(0x82, b"still here"));
    assert_eq!(read_all(&mut websocket, 4_096), (b"still here".to_vec(), None));
    assert!(!websocket.has_unsent());
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..600), buffer_bytes in 1usize..300) {
        for mut websocket in [begin(), open()] {
            websocket.below.put(&bytes);
            websocket.below.is_ended = true;
            let (read, ended) = read_all(&mut websocket, buffer_bytes);
            prop_assert!(ended.is_some() && read.len() <= bytes.len());
        }
    }

    #[test]
    fn a_message_is_the_same_in_whatever_frames_it_comes(
        parts in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..400), any::<bool>(), any::<bool>()), 1..12),
        read_max in 1usize..500,
        buffer_bytes in 1usize..500,
    ) {
        let (mut sent, mut expected, mut is_in_message) = (Vec::new(), Vec::new(), false);
        for (payload, is_final, has_ping) in parts {
            if has_ping {
                sent.extend(frame(0x89, b"?"));
            }
            let kind = if is_in_message { 0x0 } else { 0x2 };
            sent.extend(frame(kind | if is_final { 0x80 } else { 0 }, &payload));
            is_in_message = !is_final;
            expected.extend(payload);
        }
        let mut websocket = open();
        websocket.below.read_max = read_max;
        websocket.below.put(&sent);
        prop_assert_eq!(read_all(&mut websocket, buffer_bytes), (expected, None));
    }
}
