//! Packets of both versions, good and bad. The encoder is read back by an independent decoder, rumqttc's.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;

use super::*;

/// A packet of this first byte around a body.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    assert!(body.len() < 128, "one byte of length");
    [&[first, body.len() as u8], body].concat()
}

fn connect(level: u8, flags: u8, rest: &[u8]) -> Vec<u8> {
    packet(0x10, &[b"\0\x04MQTT", &[level, flags, 0, 60][..], rest].concat())
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Malformed>, clause: &str, reason: u8) {
    let error = result.expect_err("refused");
    assert_eq!((error.clause, error.reason), (clause, reason), "{error}");
}

#[test]
fn connects_of_both_versions() {
    let decoded = decode_connect(&connect(4, 0xEE, b"\0\x02id\0\x01w\0\x02\x00\xFF\0\x04user\0\x02\xFF\0")).unwrap();
    let will = Will {
        topic: "w".into(),
        payload: Bytes::from_static(b"\0\xFF"),
        qos: 1,
        retain: true,
        delay_s: 0,
        properties: None,
    };
    assert_eq!(
        decoded,
        Connect {
            version: Version::V4,
            client_id: "id".into(),
            clean_start: true,
            keep_alive_s: 60,
            will: Some(will),
            username: Some("user".into()),
            password: Some(Bytes::from_static(b"\xFF\0")),
            session_expiry_s: 0,
            receive_maximum: u16::MAX,
            packet_bytes_max: None,
            authentication_method: None,
            topic_alias_max: 0,
            wants_problem_information: true,
            wants_response_information: false,
        }
    );
    assert_eq!(decode_connect(&connect(4, 0, b"\0\x02id")).unwrap().session_expiry_s, u32::MAX);

    let properties = b"\x14\x11\0\0\0\x3C\x21\0\x0A\x27\0\0\x04\0\x22\0\x05\x17\x00\x19\x01";
    let will = b"\x0C\x18\0\0\0\x05\x01\x01\x03\0\x02ab\0\x01w\0\x01x";
    let body = [&properties[..], b"\0\0", will, b"\0\x01p"].concat();
    let decoded = decode_connect(&connect(5, 0x46, &body)).unwrap();
    assert_eq!((decoded.version, decoded.client_id.as_str()), (Version::V5, ""));
    assert_eq!((decoded.session_expiry_s, decoded.receive_maximum), (60, 10));
    assert_eq!(decoded.packet_bytes_max, Some(1_024));
    let asked = (decoded.topic_alias_max, decoded.wants_problem_information, decoded.wants_response_information);
    assert_eq!(asked, (5, false, true));
    assert_eq!((decoded.username, decoded.password), (None, Some(Bytes::from_static(b"p"))));
    let will = decoded.will.unwrap();
    let properties = will.properties.unwrap();
    assert_eq!((will.delay_s, properties.payload_is_text), (5, Some(true)));
    assert_eq!(properties.content_type.as_deref(), Some("ab"));
}

#[test]
fn bad_connects_are_refused() {
    for (bytes, clause, reason) in [
        (packet(0x11, b""), "MQTT-2.2.2-2", 0x81),
        (packet(0xC0, b""), "MQTT-3.1.0-1", 0x82),
        (packet(0x10, b"\0\x04MQTX\x04\x02\0\0\0\0"), "MQTT-3.1.2-1", 0x84),
        (packet(0x10, b"\0\x06MQIsdp\x03\x02\0\0\0\0"), "MQTT-3.1.2-2", 0x84),
        (connect(6, 2, b"\0\0"), "MQTT-3.1.2-2", 0x84),
        (connect(4, 3, b"\0\0"), "MQTT-3.1.2-3", 0x81),
        (connect(4, 0x20, b"\0\x01a"), "MQTT-3.1.2-11", 0x81),
        (connect(5, 0x08, b"\0\0\x01a"), "MQTT-3.1.2-11", 0x81),
        (connect(4, 0x1E, b"\0\x01a\0\x01w\0\0"), "MQTT-3.1.2-14", 0x81),
        (connect(4, 0x42, b"\0\x01a\0\x01p"), "MQTT-3.1.2-22", 0x81),
        (connect(4, 0, b"\0\0"), "MQTT-3.1.3-8", 0x85),
        (connect(4, 6, b"\0\x01a\0\x01+\0\0"), "MQTT-3.1.3-10", 0x90),
        (connect(4, 6, b"\0\x01a\0\0\0\0"), "MQTT-3.1.3-10", 0x90),
        (connect(4, 2, b"\0\x02\xC3\x28"), "MQTT-1.5.3-1", 0x81),
        (connect(4, 2, b"\0\x03\xED\xA0\x80"), "MQTT-1.5.3-1", 0x81),
        (connect(4, 2, b"\0\x01\0"), "MQTT-1.5.3-2", 0x81),
        (connect(4, 2, b"\0\x01a!"), "MQTT-4.8.0-1", 0x81),
        (connect(4, 2, b"\0\x05a"), "MQTT-4.8.0-1", 0x81),
        (connect(5, 2, b"\x05\x11\0\0\0\x01\0\x01a\0"), "MQTT-4.8.0-1", 0x81),
        (connect(5, 2, b"\x06\x21\0\x01\x21\0\x01\0\0"), "MQTT-2.2.2.2", 0x82),
        (connect(5, 2, b"\x03\x21\0\0\0\0"), "MQTT-2.2.2.2", 0x82),
        (connect(5, 2, b"\x03\x23\0\x01\0\0"), "MQTT-2.2.2.2", 0x81),
        (connect(5, 2, b"\x02\x17\x02\0\0"), "MQTT-2.2.2.2", 0x82),
        (connect(5, 2, b"\x05\x27\0\0\0\0\0\0"), "MQTT-2.2.2.2", 0x82),
        (connect(5, 2, b"\x04\x16\0\x01x\0\0"), "MQTT-3.1.2.11.10", 0x82),
    ] {
        refused(decode_connect(&bytes), clause, reason);
    }
}

#[test]
fn packets_of_a_client() {
    use ClientPacket as Packet;
    let subscription = |filter: &str, qos| Subscription {
        filter: filter.into(),
        qos,
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::Always,
    };
    let publish = |qos, pkid| Publish {
        qos,
        pkid,
        topic: "a/b".into(),
        payload: Bytes::from_static(b"hi"),
        ..Publish::default()
    };
    for version in [Version::V4, Version::V5] {
        // What a packet without properties has in their place.
        let none: &[u8] = if version == Version::V5 { b"\0" } else { b"" };
        let cases = [
            (packet(0x30, &[b"\0\x03a/b", none, b"hi"].concat()), Packet::Publish(publish(0, 0))),
            (
                packet(0x3D, &[b"\0\x03a/b\0\x09", none, b"hi"].concat()),
                Packet::Publish(Publish { dup: true, retain: true, ..publish(2, 9) }),
            ),
            (packet(0x40, b"\0\x01"), Packet::PubAck { pkid: 1 }),
            (packet(0x50, b"\x01\0"), Packet::PubRec { pkid: 256, reason: 0 }),
            (packet(0x62, b"\0\x03"), Packet::PubRel { pkid: 3 }),
            (packet(0x70, b"\0\x04"), Packet::PubComp { pkid: 4 }),
            (
                packet(0x82, &[b"\0\x05", none, b"\0\x01#\x02\0\x0A$share/g/a\x00"].concat()),
                Packet::Subscribe {
                    pkid: 5,
                    identifier: None,
                    subscriptions: vec![subscription("#", 2), subscription("$share/g/a", 0)],
                },
            ),
            (
                packet(0xA2, &[b"\0\x06", none, b"\0\x01a\0\x01+"].concat()),
                Packet::Unsubscribe { pkid: 6, filters: vec!["a".into(), "+".into()] },
            ),
            (packet(0xC0, b""), Packet::PingReq),
            (packet(0xE0, b""), Packet::Disconnect { reason: 0, session_expiry_s: None }),
        ];
        for (bytes, expected) in cases {
            assert_eq!(decode(version, &bytes), Ok(expected), "{version:?} {bytes:02x?}");
        }
    }
}

#[test]
fn properties_and_reasons_of_mqtt_5() {
    let decoded = decode(Version::V5, &packet(0x82, b"\0\x05\x02\x0B\x07\0\x01a\x2D")).unwrap();
    let subscription = Subscription {
        filter: "a".into(),
        qos: 1,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::Never,
    };
    let expected = ClientPacket::Subscribe { pkid: 5, identifier: Some(7), subscriptions: vec![subscription] };
    assert_eq!(decoded, expected);
    let body = b"\0\x00\x1A\x23\0\x01\x02\0\0\0\x09\x08\0\x01r\x09\0\x01c\x26\0\x01k\0\x01v\x03\0\0hi";
    let ClientPacket::Publish(publish) = decode(Version::V5, &packet(0x30, body)).unwrap() else { panic!() };
    let properties = PublishProperties {
        payload_is_text: None,
        message_expiry_s: Some(9),
        topic_alias: Some(1),
        response_topic: Some("r".into()),
        correlation_data: Some(Bytes::from_static(b"c")),
        user_properties: vec![("k".into(), "v".into())],
        subscription_identifiers: Vec::new(),
        content_type: Some(String::new()),
    };
    assert_eq!(publish.properties.as_deref(), Some(&properties));
    assert_eq!((&*publish.topic, &publish.payload[..]), ("", &b"hi"[..]));
    let disconnect = decode(Version::V5, &packet(0xE0, b"\x04\x05\x11\0\0\0\x0A"));
    assert_eq!(disconnect, Ok(ClientPacket::Disconnect { reason: 4, session_expiry_s: Some(10) }));
    let rec = decode(Version::V5, &packet(0x50, b"\0\x01\x97\x06\x1F\0\x03why"));
    assert_eq!(rec, Ok(ClientPacket::PubRec { pkid: 1, reason: 0x97 }));
}

#[test]
fn bad_packets_are_refused() {
    use Version::{V4, V5};
    for (version, bytes, clause, reason) in [
        (V4, packet(0x10, b""), "MQTT-3.1.0-2", 0x82),
        (V4, packet(0xF0, b""), "MQTT-4.8.0-1", 0x82),
        (V5, packet(0x20, b"\0\0\0"), "MQTT-4.8.0-1", 0x82),
        (V5, packet(0xB0, b"\0\x01\0\0"), "MQTT-4.8.0-1", 0x82),
        (V4, packet(0x36, b"\0\x01a\0\x01"), "MQTT-3.3.1-4", 0x81),
        (V4, packet(0x38, b"\0\x01a"), "MQTT-3.3.1-2", 0x81),
        (V4, packet(0x32, b"\0\x01a\0\0"), "MQTT-2.3.1-1", 0x82),
        (V4, packet(0x30, b"\0\x01#"), "MQTT-3.3.2-2", 0x90),
        (V4, packet(0x30, b"\0\x00"), "MQTT-3.3.2-2", 0x90),
        (V5, packet(0x30, b"\0\x00\0"), "MQTT-3.3.2.1", 0x82),
        (V5, packet(0x30, b"\0\x00\x03\x23\0\0"), "MQTT-3.3.2-8", 0x94),
        (V5, packet(0x30, b"\0\x01a\x02\x0B\x01"), "MQTT-2.2.2.2", 0x81),
        (V5, packet(0x30, b"\0\x01a\x04\x08\0\x01+"), "MQTT-3.3.2-14", 0x82),
        (V5, packet(0x30, b"\0\x01a\x02\x01\x01\xFF"), "MQTT-3.3.2.3.2", 0x99),
        (V5, packet(0x30, b"\0\x01a\x80\x00"), "MQTT-1.5.5-1", 0x81),
        (V5, packet(0x30, b"\0\x01a\x26\0"), "MQTT-4.8.0-1", 0x81),
        (V4, packet(0x41, b"\0\x01"), "MQTT-2.2.2-2", 0x81),
        (V4, packet(0x60, b"\0\x01"), "MQTT-2.2.2-2", 0x81),
        (V4, packet(0x40, b"\0\0"), "MQTT-2.3.1-1", 0x82),
        (V4, packet(0x40, b"\0\x01\0"), "MQTT-4.8.0-1", 0x81),
        (V5, packet(0x62, b"\0\x01\x80"), "MQTT-3.4.2-1", 0x81),
        (V4, packet(0x80, b"\0\x01\0\x01a\0"), "MQTT-2.2.2-2", 0x81),
        (V4, packet(0x82, b"\0\0\0\x01a\0"), "MQTT-2.3.1-1", 0x82),
        (V4, packet(0x82, b"\0\x01"), "MQTT-3.8.3-3", 0x82),
        (V4, packet(0x82, b"\0\x01\0\x01a\x04"), "MQTT-3.8.3-4", 0x81),
        (V4, packet(0x82, b"\0\x01\0\x01a\x03"), "MQTT-3.8.3-4", 0x81),
        (V4, packet(0x82, b"\0\x01\0\x01a"), "MQTT-4.8.0-1", 0x81),
        (V4, packet(0x82, b"\0\x01\0\x02a+\0"), "MQTT-4.7.1-2", 0x8F),
        (V5, packet(0x82, b"\0\x01\0\0\x01a\x30"), "MQTT-3.8.3.1", 0x82),
        (V5, packet(0x82, b"\0\x01\0\0\x0A$share/g/a\x04"), "MQTT-3.8.3-4", 0x82),
        (V5, packet(0x82, b"\0\x01\x02\x0B\0\0\x01a\0"), "MQTT-2.2.2.2", 0x82),
        (V4, packet(0xA2, b"\0\x01"), "MQTT-3.10.3-2", 0x82),
        (V4, packet(0xA2, b"\0"), "MQTT-4.8.0-1", 0x81),
        (V4, packet(0xC0, b"\0"), "MQTT-4.8.0-1", 0x81),
        (V4, packet(0xE0, b"\0"), "MQTT-4.8.0-1", 0x81),
        (V5, packet(0xE0, b"\x8E"), "MQTT-3.14.2-1", 0x81),
        (V4, b"\xC0\x00\x00".to_vec(), "MQTT-4.8.0-1", 0x81),
        (V4, b"\xC0\x80\x80\x80\x80\x01".to_vec(), "MQTT-1.5.5-1", 0x81),
        (V4, b"\xC0".to_vec(), "MQTT-4.8.0-1", 0x81),
        (V4, Vec::new(), "MQTT-4.8.0-1", 0x81),
    ] {
        refused(decode(version, &bytes), clause, reason);
    }
}

#[test]
fn topics_and_filters() {
    for good in ["a", "/", "a//b", "$SYS/x", "été", " "] {
        assert!(is_topic(good) && is_filter(good), "{good}");
    }
    for bad in ["", "a\0", "+", "a/#", "a+"] {
        assert!(!is_topic(bad), "{bad}");
    }
    for good in ["#", "+", "+/+", "/+/", "a/#", "$share/g/#", "$share/g//", "$shared/x"] {
        assert!(is_filter(good), "{good}");
    }
    for bad in
        ["", "a#", "#/a", "a+/b", "++", "a/#/", "$share", "$share/g", "$share//a", "$share/+/a", "$share/g/", "a\0"]
    {
        assert!(!is_filter(bad), "{bad}");
    }
    assert!(!is_topic(&"x".repeat(65_536)) && is_topic(&"x".repeat(65_535)));
}

fn encoded(version: Version, packet: &ServerPacket) -> BytesMut {
    let mut bytes = Vec::new();
    encode(version, packet, &mut bytes);
    BytesMut::from(&bytes[..])
}

/// Reads what was encoded with rumqttc's decoder, and checks that nothing is left.
fn read_back_v4(packet: &ServerPacket) -> v4::Packet {
    let mut stream = encoded(Version::V4, packet);
    let read = v4::Packet::read(&mut stream, usize::MAX).unwrap_or_else(|error| panic!("{packet:?}: {error}"));
    assert!(stream.is_empty(), "{packet:?}");
    read
}

fn read_back_v5(packet: &ServerPacket) -> v5::Packet {
    let mut stream = encoded(Version::V5, packet);
    let read = v5::Packet::read(&mut stream, None).unwrap_or_else(|error| panic!("{packet:?}: {error}"));
    assert!(stream.is_empty(), "{packet:?}");
    read
}

#[test]
fn what_is_encoded_reads_back() {
    for payload in [0, 1, 100, 127, 128, 16_383, 16_384, 100_000] {
        let payload = Bytes::from(vec![b'x'; payload]);
        let publish = Publish { qos: 1, pkid: 300, topic: "a/b".into(), payload, retain: true, ..Publish::default() };
        let packet = ServerPacket::Publish(publish.clone());
        let v4::Packet::Publish(read) = read_back_v4(&packet) else { panic!("{packet:?}") };
        assert_eq!((read.topic.as_str(), &read.payload, read.retain, read.pkid), ("a/b", &publish.payload, true, 300));
        assert_eq!((read.qos as u8, read.dup), (1, false));
        let v5::Packet::Publish(read) = read_back_v5(&packet) else { panic!("{packet:?}") };
        assert_eq!(
            (&read.topic[..], &read.payload, read.retain, read.pkid),
            (&b"a/b"[..], &publish.payload, true, 300)
        );
        assert_eq!((read.qos as u8, read.dup), (1, false));
    }
    let ack = ServerPacket::PubAck { pkid: 258, reason: 0 };
    assert!(matches!(read_back_v4(&ack), v4::Packet::PubAck(ack) if ack.pkid == 258));
    assert!(matches!(read_back_v5(&ack), v5::Packet::PubAck(ack) if ack.pkid == 258));
    let ack = ServerPacket::PubRel { pkid: 258, reason: 0 };
    assert!(matches!(read_back_v4(&ack), v4::Packet::PubRel(ack) if ack.pkid == 258));
    assert!(matches!(read_back_v5(&ack), v5::Packet::PubRel(ack) if ack.pkid == 258));
    let ack = ServerPacket::SubAck { pkid: 1, reasons: vec![0, 1, 2, 0x80] };
    assert!(matches!(read_back_v4(&ack), v4::Packet::SubAck(ack) if ack.return_codes.len() == 4));
    assert!(matches!(read_back_v5(&ack), v5::Packet::SubAck(ack) if ack.return_codes.len() == 4));
    assert!(matches!(read_back_v4(&ServerPacket::PingResp), v4::Packet::PingResp));
    assert!(matches!(read_back_v5(&ServerPacket::PingResp), v5::Packet::PingResp(_)));
    let properties = PublishProperties {
        payload_is_text: Some(true),
        message_expiry_s: Some(9),
        topic_alias: Some(1),
        response_topic: Some("r".into()),
        correlation_data: Some(Bytes::from_static(b"c")),
        user_properties: vec![("k".into(), "v".repeat(200))],
        subscription_identifiers: vec![1, 300],
        content_type: Some("t".into()),
    };
    let publish = Publish { topic: "a".into(), properties: Some(Box::new(properties)), ..Publish::default() };
    let packet = ServerPacket::Publish(publish);
    let v5::Packet::Publish(v5::Publish { properties: Some(read), .. }) = read_back_v5(&packet) else {
        panic!("properties");
    };
    assert_eq!((read.message_expiry_interval, read.topic_alias), (Some(9), Some(1)));
    assert_eq!((read.subscription_identifiers, read.user_properties[0].1.len()), (vec![1, 300], 200));
    assert!(matches!(read_back_v4(&packet), v4::Packet::Publish(read) if read.payload.is_empty()));
    let refusal = ServerPacket::PubRec { pkid: 1, reason: 0x97 };
    assert!(matches!(read_back_v5(&refusal), v5::Packet::PubRec(rec) if rec.reason == v5::PubRecReason::QuotaExceeded));
}

#[test]
fn exact_bytes_of_what_clients_read_loosely() {
    let bytes = |version, packet| {
        let mut out = Vec::new();
        encode(version, &packet, &mut out);
        out
    };
    let connack =
        |session_present, reason| ServerPacket::ConnAck { session_present, reason, properties: Box::default() };
    assert_eq!(bytes(Version::V4, connack(true, 0)), [0x20, 2, 1, 0]);
    for (reason, code) in [(0x84, 1), (0x85, 2), (0x88, 3), (0x97, 3), (0x86, 4), (0x87, 5), (0x90, 5)] {
        assert_eq!(bytes(Version::V4, connack(true, reason)), [0x20, 2, 0, code]);
    }
    assert_eq!(bytes(Version::V5, connack(true, 0)), [0x20, 3, 1, 0, 0]);
    let properties = ConnAckProperties {
        assigned_client_id: Some("x1".into()),
        receive_maximum: Some(5),
        ..ConnAckProperties::default()
    };
    let full = ServerPacket::ConnAck { session_present: false, reason: 0, properties: Box::new(properties) };
    assert_eq!(bytes(Version::V5, full), b"\x20\x0B\0\0\x08\x21\0\x05\x12\0\x02x1");
    let properties = ConnAckProperties {
        retain_available: Some(false),
        topic_alias_max: Some(16),
        keep_alive_s: Some(60),
        ..ConnAckProperties::default()
    };
    let full = ServerPacket::ConnAck { session_present: false, reason: 0, properties: Box::new(properties) };
    assert_eq!(bytes(Version::V5, full), b"\x20\x0B\0\0\x08\x25\0\x22\0\x10\x13\0\x3C");
    assert_eq!(bytes(Version::V4, ServerPacket::UnsubAck { pkid: 2, reasons: vec![0x11] }), [0xB0, 2, 0, 2]);
    assert_eq!(bytes(Version::V5, ServerPacket::UnsubAck { pkid: 2, reasons: vec![0x11] }), [0xB0, 4, 0, 2, 0, 0x11]);
    assert_eq!(bytes(Version::V4, ServerPacket::SubAck { pkid: 2, reasons: vec![0x97] }), [0x90, 3, 0, 2, 0x80]);
    let disconnect = |reason_string: Option<&str>| ServerPacket::Disconnect {
        reason: 0x8E,
        reason_string: reason_string.map(Into::into),
    };
    assert_eq!(bytes(Version::V4, disconnect(None)), b"");
    assert_eq!(bytes(Version::V5, disconnect(None)), [0xE0, 1, 0x8E]);
    assert_eq!(bytes(Version::V5, disconnect(Some("why"))), b"\xE0\x08\x8E\x06\x1F\0\x03why");
}

/// Bytes that get past the fixed header, most of them.
fn framed() -> impl Strategy<Value = Vec<u8>> {
    (any::<u8>(), prop::collection::vec(prop_oneof![0..=3_u8, any::<u8>()], 0..100))
        .prop_map(|(first, body)| packet(first, &body))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_are_a_packet_or_an_error(bytes in prop_oneof![prop::collection::vec(any::<u8>(), 0..200), framed()]) {
        let _ = decode_connect(&bytes);
        for version in [Version::V4, Version::V5] {
            let _ = decode(version, &bytes);
        }
    }

    #[test]
    fn a_connect_with_any_rest_is_a_packet_or_an_error(level in 4..=5_u8, flags in any::<u8>(), rest in prop::collection::vec(prop_oneof![0..=3_u8, any::<u8>()], 0..100)) {
        let _ = decode_connect(&connect(level, flags, &rest));
    }

    /// A publish that is encoded decodes to itself, and no cut of it does.
    #[test]
    fn publishes_come_back(
        qos in 0..=2_u8, retain: bool, topic in "[a-zé/$ ]{1,20}", payload in prop::collection::vec(any::<u8>(), 0..300),
        expiry in any::<Option<u32>>(), users in prop::collection::vec(("[a-z]{0,3}", "[a-z]{0,9}"), 0..30), is_v5: bool,
    ) {
        let version = if is_v5 { Version::V5 } else { Version::V4 };
        let properties = PublishProperties { message_expiry_s: expiry, user_properties: users, ..PublishProperties::default() };
        let properties = (is_v5 && properties != PublishProperties::default()).then(|| Box::new(properties));
        let pkid = if qos > 0 { 77 } else { 0 };
        let publish = Publish { dup: qos > 1, qos, retain, topic: topic.into(), pkid, payload: payload.into(), properties };
        let mut bytes = Vec::new();
        encode(version, &ServerPacket::Publish(publish.clone()), &mut bytes);
        prop_assert_eq!(decode(version, &bytes), Ok(ClientPacket::Publish(publish)));
        prop_assert!(decode(version, &bytes[..bytes.len() - 1]).is_err());
        bytes.push(0);
        prop_assert!(decode(version, &bytes).is_err());
    }
}
