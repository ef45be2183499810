//! What the front door refuses ends that connection, with the reason code where the version has one, and no other.

use std::time::{Duration, Instant};

use crate::support::mqtt::{
    self, CONNACK, Client, DISCONNECT, PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBREC, SUBACK, VERSIONS, Version, packet,
};
use crate::support::rhumb::Rhumb;
use crate::support::{native_fix, topic};

const MALFORMED: u8 = 0x81;
const PROTOCOL_ERROR: u8 = 0x82;
const KEEP_ALIVE_TIMEOUT: u8 = 0x8D;
const TOPIC_NAME_INVALID: u8 = 0x90;
const PACKET_TOO_LARGE: u8 = 0x95;

/// Another client, which is to notice nothing.
struct Bystander {
    client: Client,
    topic: String,
    published: u16,
}

impl Bystander {
    fn new(rhumb: &Rhumb, version: Version) -> Self {
        let client = Client::connect(rhumb.mqtt(), version, &format!("bystander-{version:?}"));
        Self { client, topic: topic("default", &format!("bystander-{version:?}")), published: 0 }
    }

    /// Publishes and is acknowledged.
    fn assert_untouched(&mut self) {
        self.published += 1;
        self.client.publish_acked(&self.topic, &native_fix(u64::from(self.published)), self.published);
    }
}

/// Holds that the connection ends: in version 5 with a DISCONNECT of one of these reasons, before without a word.
fn assert_ended(client: &mut Client, reasons: &[u8], what: &str) {
    let said = client.receive();
    match (client.version, said) {
        (Version::V4, None) => {}
        (Version::V5, Some(packet)) => {
            assert_eq!(packet.kind(), DISCONNECT, "{what}: {packet:?}");
            assert!(reasons.contains(&packet.disconnect_reason()), "{what}: {packet:?}");
            assert_eq!(client.receive(), None, "{what}: open after DISCONNECT");
        }
        (version, said) => panic!("{what}, {version:?}: {said:?}"),
    }
}

#[test]
fn malformed_packets_end_their_connection_alone() {
    let rhumb = Rhumb::start(&[]);
    for version in VERSIONS {
        let mut bystander = Bystander::new(&rhumb, version);
        let fix = native_fix(1);
        let publish = |topic: &[u8], qos, id| mqtt::publish_raw(version, topic, fix.as_bytes(), qos, id);
        let mut cut = publish(b"tenant/default/driver/d/location", 1, 1);
        cut.truncate(4);
        cut[1] = 2;
        let cases: Vec<(&str, Vec<u8>, &[u8])> = vec![
            ("packet type 0 [MQTT-2.2.2-1]", packet(0x00, &[]), &[MALFORMED, PROTOCOL_ERROR]),
            ("a length of five bytes", vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], &[MALFORMED]),
            ("QoS 3 [MQTT-3.3.1-4]", publish(b"tenant/default/driver/d/location", 3, 1), &[MALFORMED]),
            (
                "a packet id of 0 [MQTT-2.3.1-1]",
                publish(b"tenant/default/driver/d/location", 1, 0),
                &[MALFORMED, PROTOCOL_ERROR],
            ),
            (
                "a topic that is no UTF-8 [MQTT-1.5.3-1]",
                publish(b"tenant/\xFF\xFE", 1, 1),
                &[MALFORMED, TOPIC_NAME_INVALID],
            ),
            (
                "a wildcard in a topic name [MQTT-3.3.2-2]",
                publish(b"tenant/+/driver", 1, 1),
                &[MALFORMED, TOPIC_NAME_INVALID],
            ),
            ("a topic longer than its packet", cut, &[MALFORMED]),
            (
                "SUBSCRIBE with wrong flags [MQTT-3.8.1-1]",
                packet(0x80, b"\0\x01\0\0\x01a\0"),
                &[MALFORMED, PROTOCOL_ERROR],
            ),
            ("a second CONNECT [MQTT-3.1.0-2]", mqtt::connect(version, "again", 10), &[PROTOCOL_ERROR]),
        ];
        for (what, bytes, reasons) in cases {
            let mut client = Client::connect(rhumb.mqtt(), version, "clumsy");
            client.send(&bytes).unwrap();
            assert_ended(&mut client, reasons, what);
            bystander.assert_untouched();
        }
    }
}

#[test]
fn a_packet_in_pieces_is_a_packet() {
    let rhumb = Rhumb::start(&[]);
    for version in VERSIONS {
        let mut client = Client::open(rhumb.mqtt(), version);
        let topic = topic("default", &format!("slow-{version:?}"));
        let mut bytes = mqtt::connect(version, "slow", 60);
        bytes.extend(mqtt::publish(version, &topic, native_fix(1).as_bytes(), 1, 1));
        bytes.extend_from_slice(PINGREQ);
        for byte in bytes {
            client.send(&[byte]).unwrap();
        }
        assert_eq!(client.expect(CONNACK).connack_code(), 0);
        let kinds = [client.receive().unwrap().kind(), client.receive().unwrap().kind()];
        assert!(kinds.contains(&PUBACK) && kinds.contains(&PINGRESP), "{kinds:?}");
    }
}

#[test]
fn an_oversized_packet_ends_its_connection_before_it_is_read() {
    let rhumb = Rhumb::start(&["mqtt.packet_bytes_max=1024"]);
    for version in VERSIONS {
        let mut bystander = Bystander::new(&rhumb, version);
        let mut client = Client::connect(rhumb.mqtt(), version, "large");
        let topic = topic("default", "large");
        let whole = mqtt::publish(version, &topic, &[b' '; 2_000], 1, 1);
        // The header alone says that it is too large.
        client.send(&whole[..16]).unwrap();
        assert_ended(&mut client, &[PACKET_TOO_LARGE], "2,000 bytes");
        bystander.assert_untouched();

        let mut client = Client::connect(rhumb.mqtt(), version, "fits");
        let fix = native_fix(1);
        let overhead = mqtt::publish(version, &topic, &[b' '; 900], 1, 1).len() - 900;
        let padded = format!("{fix:<width$}", width = 1_024 - overhead);
        client.publish_acked(&topic, &padded, 1);
    }
}

#[test]
fn silence_past_one_and_a_half_keep_alives_ends_the_connection() {
    let rhumb = Rhumb::start(&[]);
    for version in VERSIONS {
        let mut bystander = Bystander::new(&rhumb, version);
        let mut silent = Client::connect_keeping_alive(rhumb.mqtt(), version, "silent", 1);
        let mut pinging = Client::connect_keeping_alive(rhumb.mqtt(), version, "pinging", 1);
        let mut for_ever = Client::connect_keeping_alive(rhumb.mqtt(), version, "for-ever", 0);
        let begin = Instant::now();
        for _ in 0..6 {
            pinging.send(PINGREQ).unwrap();
            pinging.expect(PINGRESP);
            std::thread::sleep(Duration::from_millis(500));
        }
        assert_ended(&mut silent, &[KEEP_ALIVE_TIMEOUT], "silence");
        assert!(begin.elapsed() > Duration::from_millis(1_400));
        for client in [&mut pinging, &mut for_ever] {
            client.send(PINGREQ).unwrap();
            client.expect(PINGRESP);
        }
        bystander.assert_untouched();
    }
}

#[test]
fn a_missing_connect_ends_the_connection() {
    let rhumb = Rhumb::start(&["mqtt.connect_timeout_s=1"]);
    for version in VERSIONS {
        let mut bystander = Bystander::new(&rhumb, version);

        let begin = Instant::now();
        let mut mute = Client::open(rhumb.mqtt(), version);
        let mut halting = Client::open(rhumb.mqtt(), version);
        halting.send(&mqtt::connect(version, "halting", 10)[..5]).unwrap();
        for client in [&mut mute, &mut halting] {
            assert_eq!(client.receive(), None);
        }
        let took = begin.elapsed();
        assert!((Duration::from_millis(900)..Duration::from_secs(5)).contains(&took), "{took:?}");

        // [MQTT-3.1.0-1]: the first packet is a CONNECT.
        for first in [PINGREQ.to_vec(), mqtt::publish(version, "t", b"x", 0, 0), b"GET / HTTP/1.1\r\n\r\n".to_vec()] {
            let mut client = Client::open(rhumb.mqtt(), version);
            client.send(&first).unwrap();
            assert_eq!(client.receive(), None, "{first:?}");
        }
        bystander.assert_untouched();
    }
}

#[test]
fn a_version_that_is_not_spoken_is_told_so() {
    let rhumb = Rhumb::start(&[]);
    let mut client = Client::open(rhumb.mqtt(), Version::V4);
    let mut bytes = mqtt::connect(Version::V4, "old", 10);
    bytes[8] = 9;
    client.send(&bytes).unwrap();
    // [MQTT-3.1.2-2]: unacceptable protocol version, in either numbering.
    let code = client.expect(CONNACK).connack_code();
    assert!([0x01, 0x84].contains(&code), "{code:#x}");
    assert_eq!(client.receive(), None);
}

#[test]
fn one_connection_too_many_is_refused_until_one_leaves() {
    let rhumb = Rhumb::start(&["mqtt.connections_max=2"]);
    for version in VERSIONS {
        let mut bystander = Bystander::new(&rhumb, version);
        let second = Client::connect(rhumb.mqtt(), version, "second");

        let mut third = Client::open(rhumb.mqtt(), version);
        // The refusal may come before this is sent.
        drop(third.send(&mqtt::connect(version, "third", 10)));
        let connack = third.receive();
        match version {
            Version::V4 => {
                let code = connack.map(|packet| packet.connack_code());
                assert!(code.is_none_or(|code| code == 3), "{code:?}");
            }
            // Server busy, or quota exceeded.
            Version::V5 => {
                let code = connack.expect("a CONNACK").connack_code();
                assert!([0x89, 0x97].contains(&code), "{code:#x}");
            }
        }
        assert_eq!(third.receive(), None);
        bystander.assert_untouched();

        second.hang_up();
        crate::support::wait_for("a place to be free", || {
            let mut client = Client::open(rhumb.mqtt(), version);
            client.send(&mqtt::connect(version, "fourth", 10)).ok()?;
            let connack = client.receive()?;
            (connack.connack_code() == 0).then(|| client.hang_up())
        });
        bystander.client.hang_up();
        // Both places free again for the other version.
        crate::support::wait_for("both places to be free", || {
            let mut clients = [Client::open(rhumb.mqtt(), version), Client::open(rhumb.mqtt(), version)];
            let mut is_in = |(n, client): (usize, &mut Client)| {
                client.send(&mqtt::connect(version, &format!("probe-{n}"), 10)).is_ok()
                    && client.receive().is_some_and(|connack| connack.connack_code() == 0)
            };
            clients.iter_mut().enumerate().all(&mut is_in).then_some(())
        });
    }
}

#[test]
fn a_second_client_of_a_name_takes_over() {
    let rhumb = Rhumb::start(&[]);
    for version in VERSIONS {
        let mut first = Client::connect(rhumb.mqtt(), version, "twin");
        let mut second = Client::connect(rhumb.mqtt(), version, "twin");
        // [MQTT-3.1.4-2], session taken over.
        assert_ended(&mut first, &[0x8E], "take-over");
        second.publish_acked(&topic("default", "twin"), &native_fix(version as u64), 1);
    }
}

#[test]
fn quality_of_service_2_is_exactly_once_even_when_repeated() {
    let rhumb = Rhumb::start(&[]);
    for version in VERSIONS {
        let driver = format!("twice-{version:?}");
        let topic = topic("default", &driver);
        let mut client = Client::connect(rhumb.mqtt(), version, "exact");
        let mut publish = mqtt::publish(version, &topic, native_fix(1).as_bytes(), 2, 9);
        client.send(&publish).unwrap();
        assert_eq!(client.expect(PUBREC).id(), 9);
        publish[0] |= 0x08;
        client.send(&publish).unwrap();
        assert_eq!(client.expect(PUBREC).id(), 9);
        client.send(&mqtt::pubrel(9)).unwrap();
        assert_eq!(client.expect(PUBCOMP).id(), 9);
        assert_eq!(rhumb.track("default", &driver).len(), 1);
    }
}

#[test]
fn garbage_as_a_payload_is_counted_and_acknowledged() {
    let rhumb = Rhumb::start(&[]);
    for (n, version) in VERSIONS.into_iter().enumerate() {
        let mut client = Client::connect(rhumb.mqtt(), version, "garbage");
        let topic = topic("default", "garbage");
        for (id, payload) in [(1, "{"), (2, ""), (3, "[1,2]"), (4, "{\"lat\":0,\"lon\":0}"), (5, "\u{0}\u{1}")] {
            client.publish_acked(&topic, payload, id);
        }
        let books = rhumb.books("default");
        // One for each payload, and two for the array's elements.
        assert_eq!((books.received, books.rejected), (6 * (n as u64 + 1), 6 * (n as u64 + 1)), "{books:?}");
    }
}

#[test]
fn acknowledgements_keep_the_order_over_fast_path_and_router() {
    let rhumb = Rhumb::start(&[]);
    for version in VERSIONS {
        let mut client = Client::connect(rhumb.mqtt(), version, "mixed");
        client.send(&mqtt::subscribe(version, "other/#", 0, 1)).unwrap();
        assert_eq!(client.expect(SUBACK).id(), 1);
        let fixes = topic("default", &format!("mixed-{version:?}"));
        let mut bytes = Vec::new();
        for id in 1..=100_u16 {
            let topic = if id % 3 == 0 { "elsewhere" } else { &fixes };
            bytes.extend(mqtt::publish(version, topic, native_fix(u64::from(id)).as_bytes(), 1, id));
        }
        client.send(&bytes).unwrap();
        for id in 1..=100 {
            assert_eq!(client.expect(PUBACK).id(), id, "[MQTT-4.6.0-2]");
        }
    }
}

#[test]
fn a_backlog_of_more_than_one_turns_reads_is_acknowledged_whole() {
    const PUBLISHES: u16 = 20_000;
    // Small reads and a small window, so that it closes within the last read of a turn again and again.
    let rhumb = Rhumb::start(&["mqtt.packet_bytes_max=2048", "mqtt.in_flight_max=250"]);
    let mut client = Client::connect_keeping_alive(rhumb.mqtt(), Version::V4, "backlog", 0);
    let topic = topic("default", "backlog");
    let padding = " ".repeat(1_000);
    let mut backlog = Vec::new();
    for id in 1..=PUBLISHES {
        let payload = native_fix(u64::from(id)) + &padding;
        backlog.extend(mqtt::publish(Version::V4, &topic, payload.as_bytes(), 1, id));
    }
    client.send(&backlog).unwrap();
    // Whoever waits for these says nothing more.
    for id in 1..=PUBLISHES {
        assert_eq!(client.expect(PUBACK).id(), id);
    }
}
