//! What a client may take up: time to its CONNECT, publishes a second, long topics, aliases, packets, an unread queue. And
//! what of MQTT 5 the door itself tells and passes on.

use std::time::{Duration, Instant};

use crate::support::mqtt::{
    self, CONNACK, Client, DISCONNECT, PINGREQ, PINGRESP, PUBACK, PUBLISH, SUBACK, VERSIONS, Version,
};
use crate::support::rhumb::Rhumb;
use crate::support::{native_fix, topic, wait_for};

/// A client of version 5 that connected with these properties, and the properties of its CONNACK.
fn connect_with(rhumb: &Rhumb, client_id: &str, keep_alive_s: u16, properties: &[u8]) -> (Client, Vec<u8>) {
    let mut client = Client::open(rhumb.mqtt(), Version::V5);
    client.send(&mqtt::connect_with(client_id, keep_alive_s, properties)).unwrap();
    let connack = client.expect(CONNACK);
    assert_eq!(connack.connack_code(), 0, "{connack:?}");
    (client, connack.body[3..].to_vec())
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// The properties of a PUBLISH of version 5 at QoS 0.
fn properties_of(publish: &mqtt::Packet) -> Vec<u8> {
    let begin = 2 + publish.topic().len();
    publish.body[begin + 1..][..usize::from(publish.body[begin])].to_vec()
}

#[test]
fn a_connect_that_comes_byte_by_byte_ends_with_its_time() {
    let rhumb = Rhumb::start(&["mqtt.connect_timeout_s=1"]);
    for version in VERSIONS {
        let mut bystander = Client::connect(rhumb.mqtt(), version, "bystander");
        let mut slow = Client::open(rhumb.mqtt(), version);
        let began = Instant::now();
        for byte in mqtt::connect(version, &"x".repeat(100), 60) {
            // Every byte is heard, and none of them buys time.
            if slow.send(&[byte]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let took = began.elapsed();
        assert!((Duration::from_millis(900)..Duration::from_secs(4)).contains(&took), "{version:?}: {took:?}");
        assert_eq!(slow.receive(), None);
        bystander.publish_acked("a", "still here", 1);
    }
}

#[test]
fn publishes_over_the_rate_wait_and_none_is_lost() {
    const PUBLISHES: u16 = 60;
    let rhumb = Rhumb::start(&["mqtt.publishes_per_s_max=20", "mqtt.publish_burst_s=1"]);
    let began = Instant::now();
    let mut clients = VERSIONS.map(|version| {
        let mut client = Client::connect_keeping_alive(rhumb.mqtt(), version, &format!("fast-{version:?}"), 1);
        let fixes = topic("default", &format!("fast-{version:?}"));
        let bytes: Vec<u8> = (1..=PUBLISHES)
            .flat_map(|id| mqtt::publish(version, &fixes, native_fix(id.into()).as_bytes(), 1, id))
            .collect();
        client.send(&bytes).unwrap();
        client
    });
    let mut bystander = Client::connect(rhumb.mqtt(), Version::V5, "bystander");
    bystander.publish_acked(&topic("default", "bystander"), &native_fix(1), 1);
    assert!(began.elapsed() < Duration::from_secs(2), "a bystander waits for nobody");
    for client in &mut clients {
        // Silence that is the door's own doing counts against nobody.
        for id in 1..=PUBLISHES {
            assert_eq!(client.expect(PUBACK).id(), id);
        }
        let took = began.elapsed();
        // A burst of 20, and 40 at 20 a second.
        assert!((Duration::from_millis(1_800)..Duration::from_secs(8)).contains(&took), "{took:?}");
    }
}

#[test]
fn publishes_that_may_be_lost_are_dropped_over_the_rate_and_counted() {
    const PUBLISHES: u16 = 100;
    let rhumb = Rhumb::start(&["mqtt.publish_bytes_per_s_max=1000", "mqtt.publish_burst_s=2", "mqtt.over_rate=drop"]);
    let (mut client, _) = connect_with(&rhumb, "fast", 60, &[]);
    let fixes = topic("default", "fast");
    let publish = |n: u16| mqtt::publish_with(&fixes, &[], native_fix(n.into()).as_bytes(), 0, 0);
    let mut bytes: Vec<u8> = (1..=PUBLISHES).flat_map(&publish).collect();
    // Dropped, but what it says of alias 3 holds.
    let other = topic("default", "other");
    bytes.extend(mqtt::publish_with(&other, &[0x23, 0, 3], native_fix(1).as_bytes(), 0, 0));
    client.send(&bytes).unwrap();
    // At QoS 1 it waits behind them.
    client.send(&mqtt::publish_with("", &[0x23, 0, 3], native_fix(2).as_bytes(), 1, 9)).unwrap();
    assert_eq!(client.expect(PUBACK).ack_reason(), 0);
    assert_eq!(rhumb.track("default", "other").len(), 1);
    let stored = rhumb.track("default", "fast").len();
    let fit = 2_000 / publish(1).len();
    assert!((fit..=2 * fit).contains(&stored), "{stored} of {fit}");
    let dropped = rhumb.metrics()["rhumb_mqtt_publishes_dropped_total"] as usize;
    assert_eq!(dropped + stored, usize::from(PUBLISHES) + 1);
}

#[test]
fn topics_and_filters_that_are_too_long_or_too_deep_are_refused() {
    let rhumb = Rhumb::start(&["mqtt.topic_bytes_max=40", "mqtt.topic_levels_max=6"]);
    for name in ["a/b/c/d/e/f/g", &"x".repeat(41)] {
        let mut client = Client::connect(rhumb.mqtt(), Version::V5, "client");
        client.send(&mqtt::publish(Version::V5, name, b"", 1, 5)).unwrap();
        assert_eq!(client.expect(PUBACK).ack_reason(), 0x90);
        client.send(&mqtt::subscribe_all(Version::V5, &[("a/b/c/d/e/f", 1), (name, 1)], 6)).unwrap();
        assert_eq!(client.expect(SUBACK).reasons(Version::V5), [1, 0x8F]);
        let mut client = Client::connect(rhumb.mqtt(), Version::V4, "client");
        client.send(&mqtt::subscribe(Version::V4, name, 1, 6)).unwrap();
        assert_eq!(client.expect(SUBACK).reasons(Version::V4), [0x80]);
        client.send(&mqtt::publish(Version::V4, name, b"", 1, 5)).unwrap();
        assert_eq!(client.receive(), None);
        let mut client = Client::open(rhumb.mqtt(), Version::V4);
        client.send(&mqtt::connect_with_will("testator", name, "")).unwrap();
        assert_ne!(client.expect(CONNACK).connack_code(), 0);
    }
    let mut client = Client::connect(rhumb.mqtt(), Version::V4, "client");
    client.publish_acked(&"x".repeat(40), "", 1);
}

#[test]
fn a_clients_topic_aliases_stand_for_its_topics_until_it_leaves() {
    let rhumb = Rhumb::start(&["mqtt.topic_alias_max=2"]);
    let (mut client, connack) = connect_with(&rhumb, "client", 60, &[]);
    assert!(contains(&connack, &[0x22, 0, 2]), "{connack:02x?}");
    client.send(&mqtt::subscribe(Version::V5, "news/#", 0, 1)).unwrap();
    client.expect(SUBACK);
    let fixes = topic("default", "aliased");
    // A user property beside the alias takes the way through the codec.
    let with_user = [&[0x23, 0, 1, 0x26][..], b"\0\x01k\0\x01v"].concat();
    for (n, (name, properties)) in
        [(&fixes[..], &[0x23, 0, 1][..]), ("", &[0x23, 0, 1]), ("", &with_user)].into_iter().enumerate()
    {
        let fix = native_fix(n as u64);
        client.send(&mqtt::publish_with(name, properties, fix.as_bytes(), 1, 7)).unwrap();
        assert_eq!(client.expect(PUBACK).ack_reason(), 0);
    }
    assert_eq!(rhumb.track("default", "aliased").len(), 3);
    for (name, payload) in [("news/a", "1"), ("", "2")] {
        client.send(&mqtt::publish_with(name, &[0x23, 0, 2], payload.as_bytes(), 0, 0)).unwrap();
        let delivered = client.expect(PUBLISH);
        assert_eq!((delivered.topic(), properties_of(&delivered)), ("news/a".to_owned(), vec![]));
        assert!(delivered.body.ends_with(payload.as_bytes()));
    }
    // Now it stands for something else.
    client.send(&mqtt::publish_with("news/b", &[0x23, 0, 1], b"3", 0, 0)).unwrap();
    client.send(&mqtt::publish_with("", &[0x23, 0, 1], b"4", 0, 0)).unwrap();
    for _ in 0..2 {
        assert_eq!(client.expect(PUBLISH).topic(), "news/b");
    }
    for (alias, reason) in [(1, 0x82), (2, 0x82), (3, 0x94)] {
        let (mut client, _) = connect_with(&rhumb, "client", 60, &[]);
        client.send(&mqtt::publish_with("", &[0x23, 0, alias], b"", 1, 7)).unwrap();
        assert_eq!(client.expect(DISCONNECT).disconnect_reason(), reason, "alias {alias} of a connection before");
    }
    let (mut client, _) = connect_with(&rhumb, "client", 60, &[]);
    client.send(&mqtt::publish_with(&fixes, &[0x23, 0, 3], b"", 1, 7)).unwrap();
    assert_eq!(client.expect(DISCONNECT).disconnect_reason(), 0x94);
}

#[test]
fn deliveries_use_the_aliases_that_the_client_takes() {
    let rhumb = Rhumb::start(&[]);
    let (mut reader, _) = connect_with(&rhumb, "reader", 60, &[0x22, 0, 1]);
    reader.send(&mqtt::subscribe(Version::V5, "news/#", 0, 1)).unwrap();
    reader.expect(SUBACK);
    let mut writer = Client::connect(rhumb.mqtt(), Version::V4, "writer");
    let alias = vec![0x23, 0, 1];
    for (name, arrives, properties) in
        [("news/a", "news/a", &alias), ("news/a", "", &alias), ("news/b", "news/b", &vec![]), ("news/a", "", &alias)]
    {
        writer.publish_acked(name, "x", 1);
        let delivered = reader.expect(PUBLISH);
        assert_eq!((&delivered.topic()[..], &properties_of(&delivered)), (arrives, properties), "{name}");
    }
}

#[test]
fn what_a_publish_carries_besides_is_passed_on() {
    let rhumb = Rhumb::start(&[]);
    let mut client = Client::connect(rhumb.mqtt(), Version::V5, "client");
    client.send(&mqtt::subscribe(Version::V5, "question", 0, 1)).unwrap();
    client.expect(SUBACK);
    // Text, where to answer and with what, what it is, and two properties of the user's.
    let properties =
        b"\x01\x01\x08\0\x06answer\x09\0\x02\0\xFF\x03\0\x04json\x26\0\x01k\0\x01v\x26\0\x01k\0\x01w".to_vec();
    client.send(&mqtt::publish_with("question", &properties, b"?", 0, 0)).unwrap();
    assert_eq!(properties_of(&client.expect(PUBLISH)), properties);
}

#[test]
fn a_keep_alive_over_the_servers_is_cut_and_told() {
    let rhumb = Rhumb::start(&["mqtt.keep_alive_s_max=1"]);
    let (mut silent, connack) = connect_with(&rhumb, "silent", 120, &[]);
    assert!(contains(&connack, &[0x13, 0, 1]), "{connack:02x?}");
    let (mut for_ever, connack) = connect_with(&rhumb, "for-ever", 0, &[]);
    assert!(!contains(&connack, &[0x13, 0]), "{connack:02x?}");
    let began = Instant::now();
    let goodbye = silent.expect(DISCONNECT);
    assert_eq!(goodbye.disconnect_reason(), 0x8D);
    assert!(contains(&goodbye.body, b"one and a half keep-alives"), "{goodbye:?}");
    assert!(began.elapsed() > Duration::from_millis(1_200));
    for_ever.send(PINGREQ).unwrap();
    for_ever.expect(PINGRESP);
    drop(rhumb);

    let rhumb = Rhumb::start(&["mqtt.keep_alive_s_max=60", "mqtt.keep_alive_never=false"]);
    let (_, connack) = connect_with(&rhumb, "for-ever", 0, &[]);
    assert!(contains(&connack, &[0x13, 0, 60]), "{connack:02x?}");
    let (_, connack) = connect_with(&rhumb, "modest", 30, &[]);
    assert!(!contains(&connack, &[0x13, 0]), "{connack:02x?}");
}

#[test]
fn answers_keep_to_what_the_client_takes() {
    let rhumb = Rhumb::start(&["mqtt.topic_levels_max=6"]);
    let refused = mqtt::publish(Version::V5, "a/b/c/d/e/f/g", b"", 1, 5);
    // As much as one likes, no reason strings, and packets of 20 bytes at most.
    for (properties, says_why) in [(&[][..], true), (&[0x17, 0], false), (&[0x27, 0, 0, 0, 20], false)] {
        let (mut client, _) = connect_with(&rhumb, "client", 60, properties);
        client.send(&refused).unwrap();
        let ack = client.expect(PUBACK);
        assert_eq!((ack.ack_reason(), ack.body.len() > 3), (0x90, says_why), "{properties:?}");
    }
    // Not even a CONNACK fits.
    let mut client = Client::open(rhumb.mqtt(), Version::V5);
    client.send(&mqtt::connect_with("client", 60, &[0x27, 0, 0, 0, 10])).unwrap();
    assert_eq!(client.expect(CONNACK).connack_code(), 0x95);
    assert_eq!(client.receive(), None);
}

#[test]
fn a_session_that_connect_did_not_ask_for_is_not_begun_by_disconnect() {
    let rhumb = Rhumb::start(&[]);
    for (properties, answer) in [(&[][..], Some(0x82)), (&[0x11, 0, 0, 0, 9], None)] {
        let (mut client, _) = connect_with(&rhumb, "client", 60, properties);
        client.send(&mqtt::packet(0xE0, &[0, 5, 0x11, 0, 0, 0, 5])).unwrap();
        assert_eq!(client.receive().map(|packet| packet.disconnect_reason()), answer);
    }
}

#[test]
fn where_nothing_is_retained_clients_are_told_so() {
    let rhumb = Rhumb::start(&["mqtt.router.retained_max=0"]);
    let (mut client, connack) = connect_with(&rhumb, "client", 60, &[]);
    assert!(contains(&connack, &[0x25, 0]), "{connack:02x?}");
    // On an ingest topic the flag is ignored.
    let mut fix = mqtt::publish_with(&topic("default", "d"), &[], native_fix(1).as_bytes(), 1, 7);
    fix[0] |= 1;
    client.send(&fix).unwrap();
    assert_eq!(client.expect(PUBACK).ack_reason(), 0);
    let mut publish = mqtt::publish_with("a", &[], b"x", 1, 7);
    publish[0] |= 1;
    client.send(&publish).unwrap();
    assert_eq!(client.expect(DISCONNECT).disconnect_reason(), 0x9A);
}

#[test]
fn a_subscriber_that_does_not_read_is_cut_and_nobody_else_notices() {
    const PAYLOAD_BYTES: usize = 64 * 1024;
    let rhumb = Rhumb::start(&["mqtt.subscriber_queue_bytes_max=65536", "mqtt.router.stalled_s_max=1"]);
    let mut mute = Client::connect(rhumb.mqtt(), Version::V5, "mute");
    let mut reader = Client::connect(rhumb.mqtt(), Version::V5, "reader");
    for client in [&mut mute, &mut reader] {
        client.send(&mqtt::subscribe(Version::V5, "flood", 0, 1)).unwrap();
        client.expect(SUBACK);
    }
    let mut writer = Client::connect(rhumb.mqtt(), Version::V4, "writer");
    let mut tracker = Client::connect(rhumb.mqtt(), Version::V4, "tracker");
    let payload = "x".repeat(PAYLOAD_BYTES);
    let cut = r#"rhumb_mqtt_connections_closed_total{reason="subscriber_stalled"}"#;
    let mut id = 0;
    // More than the sockets' buffers take, and on until it is cut.
    wait_for("the subscriber to be cut", || {
        for _ in 0..20 {
            id += 1;
            writer.publish_acked("flood", &payload, id);
            assert_eq!(reader.expect(PUBLISH).body.len(), 2 + 5 + 1 + PAYLOAD_BYTES);
            tracker.publish_acked(&topic("default", "tracker"), &native_fix(id.into()), id);
        }
        (rhumb.metrics().get(cut) == Some(&1.0)).then_some(())
    });
    let mut read = 0;
    while mute.receive().is_some_and(|packet| packet.kind() == PUBLISH) {
        read += 1;
    }
    assert!(read < id, "it was told everything");
    assert_eq!(rhumb.track("default", "tracker").len(), usize::from(id));
}

#[test]
fn an_alias_does_not_stand_for_a_topic_that_is_too_long() {
    let rhumb = Rhumb::start(&["mqtt.topic_bytes_max=40"]);
    for name in [topic("default", &"d".repeat(40)), "x".repeat(41)] {
        let (mut client, _) = connect_with(&rhumb, "client", 60, &[]);
        client.send(&mqtt::publish_with(&name, &[0x23, 0, 1], native_fix(1).as_bytes(), 1, 7)).unwrap();
        assert_eq!(client.expect(PUBACK).ack_reason(), 0x90, "{name}");
        client.send(&mqtt::publish_with("", &[0x23, 0, 1], native_fix(2).as_bytes(), 1, 8)).unwrap();
        assert_eq!(client.expect(DISCONNECT).disconnect_reason(), 0x82, "{name}");
    }
}

#[test]
fn a_first_packet_has_a_bound_of_its_own() {
    let rhumb = Rhumb::start(&[]);
    let will = |bytes: usize| {
        let mut client = Client::open(rhumb.mqtt(), Version::V4);
        client.send(&mqtt::connect_with_will("testator", "gone", &"x".repeat(bytes))).unwrap();
        client
    };
    assert_eq!(will(65_535).expect(CONNACK).connack_code(), 0);
    // 100,000 bytes are announced, and it is not waited for them.
    let mut client = Client::open(rhumb.mqtt(), Version::V5);
    client.send(&[0x10, 0xA0, 0x8D, 0x06]).unwrap();
    assert_eq!(client.receive(), None);
    assert_eq!(rhumb.metrics()[r#"rhumb_mqtt_connections_closed_total{reason="packet_too_large"}"#], 1.0);
}
