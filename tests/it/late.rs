//! A late fix enters history and never moves "now": neither what is latest nor what subscribers are told.

use serde_json::Value;

use crate::support::mqtt::{self, Client, Packet, SUBACK, VERSIONS, Version};
use crate::support::rhumb::{Rhumb, rfc3339_ms};
use crate::support::{fix_time_ms, native_fix, topic};

/// Type of a PUBLISH.
const PUBLISH: u8 = 3;

/// The topic and the payload of a PUBLISH at QoS 0.
fn told(packet: &Packet, version: Version) -> (String, Value) {
    let topic_len = usize::from(u16::from_be_bytes([packet.body[0], packet.body[1]]));
    let (topic, mut payload) = packet.body[2..].split_at(topic_len);
    if version == Version::V5 {
        // Few properties, if any.
        payload = &payload[1 + usize::from(payload[0])..];
    }
    (String::from_utf8(topic.to_vec()).unwrap(), serde_json::from_slice(payload).unwrap())
}

#[test]
fn a_late_fix_reaches_no_live_feed() {
    let rhumb = Rhumb::start(&[]);
    for (version, driver) in VERSIONS.into_iter().zip(["old", "new"]) {
        let mut subscriber = Client::connect(rhumb.mqtt(), version, "dispatch");
        subscriber.send(&mqtt::subscribe(version, "tenant/+/driver/+/location", 0, 1)).unwrap();
        subscriber.expect(SUBACK);
        let topic = topic("default", driver);
        let mut tracker = Client::connect(rhumb.mqtt(), version, "tracker");
        tracker.publish_acked(&topic, &native_fix(10), 1);
        // Late by itself, in a payload with a newer one, and over HTTP; and a duplicate of the newest.
        tracker.publish_acked(&topic, &native_fix(5), 2);
        tracker.publish_acked(&topic, &format!("[{},{}]", native_fix(6), native_fix(11)), 3);
        let answer = rhumb.post("default", &format!("/v1/drivers/{driver}/location"), &native_fix(7)).json(202);
        assert_eq!(answer["verdicts"][0]["verdict"], "late");
        tracker.publish_acked(&topic, &native_fix(11), 4);
        let latest = rhumb.get("default", &format!("/v1/drivers/{driver}/location")).json(200);
        assert_eq!(rfc3339_ms(latest["timestamp"].as_str().unwrap()), fix_time_ms(11) as i64);
        tracker.publish_acked(&topic, &native_fix(12), 5);
        for n in [10, 11, 12] {
            let (topic_told, fix) = told(&subscriber.expect(PUBLISH), version);
            assert_eq!(topic_told, topic);
            assert_eq!(rfc3339_ms(fix["timestamp"].as_str().unwrap()), fix_time_ms(n) as i64, "{fix}");
        }
        let history = [5, 6, 7, 10, 11, 12].map(|n| fix_time_ms(n) as i64);
        assert_eq!(rhumb.track_times_ms("default", driver, 0), history);
    }
}
