//! Clients that others wrote work against it: mosquitto's, rumqttc, paho; both versions, every quality of service.

use std::net::SocketAddr;
use std::time::Duration;

use rumqttc::Outgoing;
use serde_json::Value;

use crate::support::mqtt::{VERSIONS, Version};
use crate::support::rhumb::Rhumb;
use crate::support::{native_fix, tools, topic, wait_for};

/// Waits until a driver has this many fixes, each once.
fn expect_fixes(rhumb: &Rhumb, driver: &str, count: usize) {
    // Beyond QoS 0 the fixes are there when the client leaves; at QoS 0 they may be under way still.
    let track = wait_for(&format!("{count} fixes of {driver}"), || {
        let track = rhumb.track("default", driver);
        (track.len() >= count).then_some(track)
    });
    assert_eq!(track.len(), count, "{driver}");
}

#[test]
fn mosquitto_pub_publishes() {
    let rhumb = Rhumb::start(&[]);
    for version in VERSIONS {
        for qos in 0..=2 {
            let driver = format!("pub-{version:?}-{qos}");
            tools::mosquitto_pub(rhumb.mqtt(), version, qos, &topic("default", &driver), &native_fix(1));
            expect_fixes(&rhumb, &driver, 1);
        }
    }
    let books = rhumb.books("default");
    assert_eq!((books.received, books.stored), (6, 6));
}

#[test]
fn mosquitto_sub_receives_each_accepted_fix() {
    let rhumb = Rhumb::start(&[]);
    for version in VERSIONS {
        let driver = format!("sub-{version:?}");
        let topic = topic("default", &driver);
        let mut subscriber = tools::mosquitto_sub(rhumb.mqtt(), version, "tenant/default/driver/+/location", 3);
        // It does not tell when its subscription stands: publish until it has what it waits for.
        let mut fixes_sent = 0;
        wait_for("mosquitto_sub to have three messages", || {
            fixes_sent += 1;
            tools::mosquitto_pub(rhumb.mqtt(), version, 1, &topic, &native_fix(fixes_sent));
            subscriber.try_wait().unwrap()
        });
        let said = subscriber.wait_with_output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        let lines = String::from_utf8(said.stdout).unwrap();
        let mut times = Vec::new();
        for line in lines.lines() {
            let (on, payload) = line.split_once(' ').unwrap();
            assert_eq!(on, topic);
            let fix: Value = serde_json::from_str(payload).unwrap();
            assert_eq!(fix["driver_id"], driver.as_str());
            assert_eq!(fix["longitude"], 21.0);
            times.push(fix["timestamp"].as_str().unwrap().to_owned());
        }
        assert_eq!(times.len(), 3, "{lines}");
        assert!(times.is_sorted_by(|earlier, later| earlier < later), "{times:?}");
    }
}

#[test]
fn ordinary_topics_are_carried_as_a_broker_does() {
    let rhumb = Rhumb::start(&[]);
    for version in VERSIONS {
        let mut subscriber = tools::mosquitto_sub(rhumb.mqtt(), version, "commands/+", 1);
        wait_for("mosquitto_sub to have a message", || {
            tools::mosquitto_pub(rhumb.mqtt(), version, 1, "commands/d1", "open the gate");
            subscriber.try_wait().unwrap()
        });
        let said = subscriber.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&said.stdout), "commands/d1 open the gate\n");
    }
}

/// Publishes ten fixes with the rumqttc client of one version and waits until all are acknowledged.
macro_rules! publish_with_rumqttc {
    ($client:path, $options:path, $qos:path, $event:path, $packet:path, $address:expr, $driver:expr, $level:expr) => {{
        let mut options = <$options>::new($driver, $address.ip().to_string(), $address.port());
        options.set_keep_alive(Duration::from_secs(10));
        let (client, mut connection) = <$client>::new(options, 100);
        use $packet as Packet;
        use $qos as QoS;
        let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][$level];
        let topic = topic("default", $driver);
        for n in 1..=10 {
            client.publish(topic.clone(), qos, false, native_fix(n)).unwrap();
        }
        let (mut sent, mut acked) = (0, 0);
        for event in connection.iter() {
            use $event as Event;
            match event {
                Ok(Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_))) => acked += 1,
                Ok(Event::Outgoing(Outgoing::Publish(_))) => sent += 1,
                // What was sent before it is on its way; the server closes, or this client does.
                Ok(Event::Outgoing(Outgoing::Disconnect)) => break,
                Ok(_) => continue,
                Err(error) => panic!("{}: {error}", $driver),
            }
            if (sent, acked) == (10, if $level == 0 { 0 } else { 10 }) {
                client.disconnect().unwrap();
            }
        }
        assert_eq!((sent, acked), (10, if $level == 0 { 0 } else { 10 }), "{}", $driver);
    }};
}

fn publish_with_rumqttc(address: SocketAddr, version: Version, level: usize, driver: &str) {
    match version {
        Version::V4 => publish_with_rumqttc!(
            rumqttc::Client,
            rumqttc::MqttOptions,
            rumqttc::QoS,
            rumqttc::Event,
            rumqttc::Packet,
            address,
            driver,
            level
        ),
        Version::V5 => publish_with_rumqttc!(
            rumqttc::v5::Client,
            rumqttc::v5::MqttOptions,
            rumqttc::v5::mqttbytes::QoS,
            rumqttc::v5::Event,
            rumqttc::v5::mqttbytes::v5::Packet,
            address,
            driver,
            level
        ),
    }
}

#[test]
fn rumqttc_publishes_at_every_quality_of_service() {
    let rhumb = Rhumb::start(&[]);
    for version in VERSIONS {
        for level in 0..=2 {
            let driver = format!("rumqttc-{version:?}-{level}");
            publish_with_rumqttc(rhumb.mqtt(), version, level, &driver);
            expect_fixes(&rhumb, &driver, 10);
        }
    }
}

#[test]
fn paho_publishes_and_subscribes() {
    let rhumb = Rhumb::start(&[]);
    let address = rhumb.mqtt();
    let said = tools::python("paho_client.py", &[&address.ip().to_string(), &address.port().to_string()]);
    let (stdout, stderr) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success(), "{stdout}\n{stderr}");
    for version in [3, 5] {
        for qos in 0..=2 {
            expect_fixes(&rhumb, &format!("paho-{version}-{qos}"), 20);
        }
    }
}
