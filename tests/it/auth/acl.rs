//! What each role may do by itself, with real credentials: a thinned matrix of roles, verbs, topics and versions.

use super::Guarded;
use crate::support::mqtt::{
    self, CONNACK, Client, PINGREQ, PINGRESP, PUBACK, PUBLISH, SUBACK, Shown, VERSIONS, Version,
};
use crate::support::{native_fix, topic};

const NOT_AUTHORIZED: u8 = 0x87;

/// Who publishes where: device and driver are d1 of acme, the others of acme.
const PUBLISHES: [(&str, [bool; 4]); 8] = [
    // device, driver, dispatcher, ops_admin
    ("tenant/acme/driver/d1/location", [true, true, false, true]),
    ("tenant/acme/driver/d2/location", [false, false, false, true]),
    ("tenant/acme/driver/d1/status", [true, true, false, true]),
    ("tenant/acme/driver/d1/command/go", [false, false, false, true]),
    ("tenant/acme/news", [false, false, false, true]),
    ("tenant/globex/driver/d1/location", [false; 4]),
    ("tenant/globex/driver/d1/status", [false; 4]),
    ("news", [false; 4]),
];

/// Who subscribes to what.
const SUBSCRIBES: [(&str, [bool; 4]); 11] = [
    ("tenant/acme/driver/d1/#", [true; 4]),
    ("$share/g/tenant/acme/driver/d1/#", [true; 4]),
    ("tenant/acme/driver/d2/#", [false, false, true, true]),
    ("tenant/acme/driver/+/location", [false, false, true, true]),
    ("tenant/acme/#", [false, false, true, true]),
    ("tenant/+/driver/d1/location", [false; 4]),
    ("tenant/globex/driver/d1/#", [false; 4]),
    ("$share/g/tenant/globex/#", [false; 4]),
    ("$share/g/tenant/+/#", [false; 4]),
    ("#", [false; 4]),
    ("+/acme/#", [false; 4]),
];

fn open(guarded: &Guarded, version: Version, token: &str, client_id: &str) -> Client {
    let shown = Shown { client_id, user: Some(""), password: Some(token), ..Shown::default() };
    let mut client = Client::open_as(guarded.rhumb.mqtt(), version, shown);
    assert_eq!(client.expect(CONNACK).connack_code(), 0);
    client
}

/// A device with a password, and tokens of the other roles.
fn credentials(guarded: &mut Guarded) -> [String; 4] {
    let device = guarded.device("acme", "d1");
    let driver = guarded.token("acme", "driver", &["--driver", "d1"]);
    let [dispatcher, admin] = ["dispatcher", "ops_admin"].map(|role| guarded.token("acme", role, &[]));
    [device, driver, dispatcher, admin]
}

#[test]
fn each_role_publishes_and_subscribes_where_it_may_and_nowhere_else() {
    let mut guarded = Guarded::start(&[]);
    let all = credentials(&mut guarded);
    for (version, (role, shown)) in
        VERSIONS.into_iter().flat_map(|version| all.iter().enumerate().map(move |who| (version, who)))
    {
        for (topic, may) in PUBLISHES {
            let what = format!("{version:?} role {role} publishes on {topic}");
            let mut client = open(&guarded, version, shown, "publisher");
            client.send(&mqtt::publish(version, topic, native_fix(1).as_bytes(), 1, 7)).unwrap();
            match (client.receive(), version) {
                (Some(ack), Version::V5) => {
                    assert_eq!(
                        (ack.kind(), ack.ack_reason()),
                        (PUBACK, if may[role] { 0 } else { NOT_AUTHORIZED }),
                        "{what}"
                    );
                }
                (answer, _) => assert_eq!(answer.is_some_and(|ack| ack.kind() == PUBACK), may[role], "{what}"),
            }
        }
        let mut client = open(&guarded, version, shown, "subscriber");
        for (filter, may) in SUBSCRIBES {
            client.send(&mqtt::subscribe(version, filter, 1, 7)).unwrap();
            // What is retained or known of a driver may come in between.
            let suback =
                std::iter::repeat_with(|| client.receive().unwrap()).find(|packet| packet.kind() == SUBACK).unwrap();
            let refused = if version == Version::V5 { NOT_AUTHORIZED } else { 0x80 };
            let expected = if may[role] { 1 } else { refused };
            assert_eq!(suback.reasons(version), [expected], "{version:?} role {role} subscribes to {filter}");
        }
    }
}

#[test]
fn each_role_leaves_its_will_where_it_may_publish_and_nowhere_else() {
    let mut guarded = Guarded::start(&[]);
    let all = credentials(&mut guarded);
    let mut hears = open(&guarded, Version::V4, &all[3], "hears");
    hears.send(&mqtt::subscribe(Version::V4, "tenant/acme/#", 1, 1)).unwrap();
    hears.expect(SUBACK);
    let mut left = 0;
    for (version, (role, shown)) in
        VERSIONS.into_iter().flat_map(|version| all.iter().enumerate().map(move |who| (version, who)))
    {
        let refused = if version == Version::V5 { NOT_AUTHORIZED } else { 5 };
        for (topic, may) in PUBLISHES {
            let what = format!("{version:?} role {role} leaves a will on {topic}");
            let user = if role == 0 { "d1" } else { "" };
            let mut client = Client::open(guarded.rhumb.mqtt(), version);
            let will = (topic, &*native_fix(left + 1));
            client.send(&mqtt::connect_with_will_as(version, "testator", will, (user, shown))).unwrap();
            assert_eq!(client.expect(CONNACK).connack_code(), if may[role] { 0 } else { refused }, "{what}");
            client.hang_up();
            if may[role] {
                left += 1;
                // Nothing that was refused is heard before it.
                assert_eq!(hears.expect(PUBLISH).topic(), topic, "{what}");
            }
        }
    }
    assert_eq!(left, 2 * (2 + 2 + 5));
    open(&guarded, Version::V4, &all[3], "last").publish_acked("tenant/acme/end", "of the test", 3);
    assert_eq!(hears.expect(PUBLISH).topic(), "tenant/acme/end");
}

#[test]
fn nothing_crosses_from_one_tenant_to_another() {
    let mut guarded = Guarded::start(&[]);
    let [acme, globex] = ["acme", "globex"].map(|tenant| guarded.token(tenant, "ops_admin", &["--sub", "ann"]));
    for (version, n) in VERSIONS.into_iter().zip(1..) {
        // Below the own tenant's prefix, with the same client id, subject and group.
        let mut theirs = open(&guarded, version, &globex, "same");
        let filters = [("tenant/globex/#", 1), ("$share/g/tenant/globex/#", 1)];
        theirs.send(&mqtt::subscribe_all(version, &filters, 1)).unwrap();
        assert_eq!(theirs.expect(SUBACK).reasons(version), [1, 1]);
        let mut ours = open(&guarded, version, &acme, "same");
        let mut retained = mqtt::publish(version, "tenant/acme/notice", b"retained", 1, 1);
        retained[0] |= 1;
        ours.send(&retained).unwrap();
        assert_eq!(ours.expect(PUBACK).ack_reason(), 0);
        ours.publish_acked(&topic("acme", "d1"), &native_fix(n), 2);
        // Nor was the place of the other's client taken, which hears nothing of all that.
        theirs.send(PINGREQ).unwrap();
        theirs.expect(PINGRESP);
        let mut late = open(&guarded, version, &globex, "late");
        late.send(&mqtt::subscribe(version, "tenant/globex/#", 1, 1)).unwrap();
        late.expect(SUBACK);
        open(&guarded, version, &globex, "last").publish_acked("tenant/globex/end", "of the test", 3);
        assert_eq!(late.expect(PUBLISH).topic(), "tenant/globex/end", "{version:?}");
        assert_eq!(theirs.expect(PUBLISH).topic(), "tenant/globex/end", "{version:?}");
        // The own clients find what is retained.
        let mut own = open(&guarded, version, &acme, "own");
        own.send(&mqtt::subscribe(version, "tenant/acme/notice", 1, 1)).unwrap();
        own.expect(SUBACK);
        assert_eq!(own.expect(PUBLISH).topic(), "tenant/acme/notice");
    }
}

#[test]
fn a_will_is_published_only_where_its_client_may() {
    let mut guarded = Guarded::start(&[]);
    let [device, _, dispatcher, _] = credentials(&mut guarded);
    let mut hears = open(&guarded, Version::V4, &dispatcher, "hears");
    hears.send(&mqtt::subscribe(Version::V4, "tenant/acme/#", 1, 1)).unwrap();
    hears.expect(SUBACK);
    for (topic, code) in [
        ("tenant/globex/driver/d1/status", 5),
        ("tenant/acme/driver/d2/status", 5),
        ("tenant/acme/driver/d1/command/go", 5),
        ("tenant/acme/driver/d1/status", 0),
    ] {
        let mut client = Client::open(guarded.rhumb.mqtt(), Version::V4);
        let connect = mqtt::connect_with_will_as(Version::V4, "testator", (topic, "gone"), ("d1", &device));
        client.send(&connect).unwrap();
        assert_eq!(client.expect(CONNACK).connack_code(), code, "{topic}");
        client.hang_up();
    }
    assert_eq!(hears.expect(PUBLISH).topic(), "tenant/acme/driver/d1/status");
}
