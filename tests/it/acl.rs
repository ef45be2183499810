//! Who may publish and subscribe where, as clients meet it: rules of `[[mqtt.acl]]` in open mode, where all else is allowed.

use crate::support::mqtt::{self, CONNACK, Client, DISCONNECT, PUBACK, PUBLISH, PUBREC, SUBACK, VERSIONS, Version};
use crate::support::rhumb::{Rhumb, command};
use crate::support::tools::{mosquitto_sub_as, said};
use crate::support::{native_fix, topic, wait_for};

const NOT_AUTHORIZED: u8 = 0x87;

/// Nobody reads `test/nosubscribe`, nobody writes below `sealed/` or fixes of `globex`.
const RULES: &str = r##"mqtt.acl=[
    {role="*",action="subscribe",effect="deny",topic="test/nosubscribe"},
    {role="*",action="publish",effect="allow",topic="sealed/but/this"},
    {role="*",action="publish",effect="deny",topic="sealed/#"},
    {role="dispatcher",action="all",effect="deny",topic="#"},
    {role="ops_admin",action="publish",effect="deny",topic="tenant/globex/driver/+/location"},
]"##;

fn start() -> Rhumb {
    Rhumb::start(&[&RULES.replace('\n', " ")])
}

/// Waits until a sample has this value: what is counted may be told a moment later than it is felt.
fn counted(rhumb: &Rhumb, sample: &str, value: f64) {
    wait_for(&format!("{sample} to be {value}"), || (rhumb.metrics().get(sample) == Some(&value)).then_some(()));
}

#[test]
fn a_filter_that_a_rule_denies_is_refused_alone() {
    let rhumb = start();
    for version in VERSIONS {
        let mut client = Client::connect(rhumb.mqtt(), version, "reader");
        client.send(&mqtt::subscribe(version, "test/nosubscribe", 2, 1)).unwrap();
        assert_eq!(client.expect(SUBACK).reasons(version), [0x80], "{version:?}");
        client.send(&mqtt::subscribe(version, "$share/g/test/nosubscribe", 1, 2)).unwrap();
        assert_eq!(client.expect(SUBACK).reasons(version), [0x80], "{version:?}");
        // The others of the same SUBSCRIBE are granted, each in its place.
        let filters = [("a", 0), ("test/nosubscribe", 1), ("b/+", 2), ("test/nosubscribe", 0), ("c/#", 1)];
        client.send(&mqtt::subscribe_all(version, &filters, 3)).unwrap();
        let suback = client.expect(SUBACK);
        assert_eq!((suback.id(), suback.reasons(version)), (3, vec![0, 0x80, 2, 0x80, 1]), "{version:?}");
        client.send(&mqtt::publish(version, "b/x", b"hello", 0, 0)).unwrap();
        assert_eq!(client.expect(PUBLISH).topic(), "b/x");
    }
    counted(&rhumb, "rhumb_mqtt_subscriptions_refused_total", 8.0);
}

#[test]
fn what_a_rule_denies_does_not_come_through_a_wider_filter_and_blocks_nothing() {
    let rhumb = start();
    for version in VERSIONS {
        for qos in 0..=2 {
            let mut reader = Client::connect(rhumb.mqtt(), version, "reader");
            reader.send(&mqtt::subscribe(version, "test/#", qos, 1)).unwrap();
            assert_eq!(reader.expect(SUBACK).reasons(version), [qos]);
            let mut writer = Client::connect(rhumb.mqtt(), version, "writer");
            // More than may be in flight to 3.1.1's default or ours, so that one that was not done with would be felt.
            for id in 1..=200 {
                writer.send(&mqtt::publish(version, "test/nosubscribe", b"hidden", 1, id)).unwrap();
                writer.expect(PUBACK);
            }
            writer.publish_acked("test/seen", "shown", 201);
            let delivered = reader.expect(PUBLISH);
            assert_eq!(delivered.topic(), "test/seen", "{version:?} {qos}");
        }
    }
}

#[test]
fn what_a_rule_has_come_to_deny_is_gone_from_a_kept_session_when_its_client_returns() {
    let mut rhumb = Rhumb::start(&[]);
    for version in VERSIONS {
        let client_id = format!("kept-{version:?}");
        let mut all = vec!["-i", &client_id, "-c", "-q", "1", "-t", "test/nosubscribe", "-t", "free/#", "-E"];
        all.extend(["-x", "3600"].iter().filter(|_| version == Version::V5));
        said(mosquitto_sub_as(rhumb.mqtt(), version, &all));
    }
    rhumb.terminate();
    rhumb.set("mqtt.acl", &RULES.replace('\n', " ").replace("mqtt.acl=", ""));
    rhumb.restart();
    counted(&rhumb, "rhumb_mqtt_subscriptions", 4.0);
    for (version, left) in VERSIONS.into_iter().zip([3.0, 2.0]) {
        let client_id = format!("kept-{version:?}");
        let mut all = vec!["-i", &client_id, "-c", "-q", "1", "-t", "free/#", "-E"];
        all.extend(["-x", "3600"].iter().filter(|_| version == Version::V5));
        said(mosquitto_sub_as(rhumb.mqtt(), version, &all));
        counted(&rhumb, "rhumb_mqtt_subscriptions", left);
    }
    assert!(rhumb.log().contains("kept subscriptions ended"), "{}", rhumb.log());
}

#[test]
fn a_publish_where_a_rule_denies_it_is_told_or_ends_the_connection() {
    let rhumb = start();
    let denied = ["sealed/x", &topic("globex", "d1")].map(str::to_owned);
    for topic in &denied {
        let mut client = Client::connect(rhumb.mqtt(), Version::V5, "writer");
        for (qos, kind) in [(1, PUBACK), (2, PUBREC)] {
            client.send(&mqtt::publish(Version::V5, topic, native_fix(1).as_bytes(), qos, 7)).unwrap();
            let ack = client.expect(kind);
            assert_eq!((ack.id(), ack.ack_reason()), (7, NOT_AUTHORIZED), "{topic}");
            let said = String::from_utf8_lossy(&ack.body[3..]).into_owned();
            assert!(said.contains("may not publish on this topic"), "{said}");
        }
        client.publish_acked("sealed/but/this", "fine", 8);
        // At QoS 0 there is nothing else to say it with.
        client.send(&mqtt::publish(Version::V5, topic, native_fix(1).as_bytes(), 0, 0)).unwrap();
        assert_eq!(client.expect(DISCONNECT).disconnect_reason(), NOT_AUTHORIZED);
        assert_eq!(client.receive(), None);
        for qos in 0..=2 {
            let mut client = Client::connect(rhumb.mqtt(), Version::V4, "writer");
            client.send(&mqtt::publish(Version::V4, topic, native_fix(1).as_bytes(), qos, 7)).unwrap();
            assert_eq!(client.receive(), None, "{topic} {qos}");
        }
    }
    assert_eq!(rhumb.track("globex", "d1").len(), 0);
    counted(&rhumb, "rhumb_mqtt_publishes_refused_total", 12.0);
    counted(&rhumb, r#"rhumb_mqtt_connections_closed_total{reason="topic_denied"}"#, 8.0);
    // The same driver of another tenant is none of the rule's business.
    let mut client = Client::connect(rhumb.mqtt(), Version::V4, "writer");
    client.publish_acked(&topic("acme", "d1"), &native_fix(1), 1);
}

#[test]
fn a_will_where_a_rule_denies_it_is_refused_with_its_connect() {
    let rhumb = start();
    for (topic, code) in [("sealed/x", 5), ("tenant/globex/driver/d1/location", 5), ("sealed/but/this", 0)] {
        let mut client = Client::open(rhumb.mqtt(), Version::V4);
        client.send(&mqtt::connect_with_will("testator", topic, "gone")).unwrap();
        assert_eq!(client.expect(CONNACK).connack_code(), code, "{topic}");
        if code > 0 {
            assert_eq!(client.receive(), None);
        }
    }
    // A refused CONNECT takes nobody's place.
    let mut first = Client::connect(rhumb.mqtt(), Version::V4, "testator");
    let mut second = Client::open(rhumb.mqtt(), Version::V4);
    second.send(&mqtt::connect_with_will("testator", "sealed/x", "gone")).unwrap();
    assert_eq!(second.expect(CONNACK).connack_code(), 5);
    first.publish_acked("a", "still here", 1);
    counted(&rhumb, r#"rhumb_mqtt_connections_closed_total{reason="topic_denied"}"#, 3.0);
}

#[test]
fn a_will_for_nobodys_fixes_is_refused_with_its_connect() {
    let rhumb = start();
    for (topic, code) in [
        ("tenant/acme/driver/a b/location", 5),
        ("tenant//driver/d1/location", 5),
        ("tenant/acme/driver//location", 5),
        ("tenant/acme/driver/d1/location", 0),
        ("tenant/acme/driver/a b/elsewhere", 0),
    ] {
        let mut client = Client::open(rhumb.mqtt(), Version::V4);
        client.send(&mqtt::connect_with_will("testator", topic, "gone")).unwrap();
        assert_eq!(client.expect(CONNACK).connack_code(), code, "{topic}");
    }
    counted(&rhumb, r#"rhumb_mqtt_connections_closed_total{reason="bad_ingest_topic"}"#, 3.0);
}

#[test]
fn a_rule_that_cannot_be_meant_is_told_with_its_entry_and_key() {
    let dir = tempfile::tempdir().unwrap();
    let rules = "[[mqtt.acl]]\nrole = \"*\"\naction = \"all\"\neffect = \"deny\"\ntopic = \"x/#\"\n\n\
                 [[mqtt.acl]]\nrole = \"device\"\naction = \"publish\"\neffect = \"allow\"\ntopic = \"tenant/globex/x\"\n";
    std::fs::write(dir.path().join("config.toml"), rules).unwrap();
    let said = command(dir.path()).arg("serve").output().unwrap();
    assert_eq!(said.status.code(), Some(78));
    let told = String::from_utf8(said.stderr).unwrap();
    let expected =
        "rhumb: config.toml line 1: mqtt.acl.topic: found \"tenant/globex/x\" in entry 2, wants a topic of the";
    assert!(told.starts_with(expected), "{told}");
}
