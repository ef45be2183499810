//! MQTT: who is let in, who is not and with which code, who is sent away, and whose a client id is.

use std::time::{Duration, Instant};

use super::Guarded;
use crate::support::mqtt::{
    self, CONNACK, Client, DISCONNECT, PINGREQ, PINGRESP, PUBLISH, SUBACK, Shown, VERSIONS, Version,
};
use crate::support::{native_fix, tools, topic};

/// A second is what is promised; a machine that is busy may be late by another.
const REVOKED_WITHIN: Duration = Duration::from_secs(2);

/// Connects with a password.
fn open(guarded: &Guarded, version: Version, user: Option<&str>, password: &str, client_id: &str) -> Client {
    let shown = Shown { client_id, user, password: Some(password), ..Shown::default() };
    Client::open_as(guarded.rhumb.mqtt(), version, shown)
}

/// Connects with a password that has to be right.
fn let_in(guarded: &Guarded, version: Version, user: Option<&str>, password: &str, client_id: &str) -> Client {
    let mut client = open(guarded, version, user, password, client_id);
    assert_eq!(client.expect(CONNACK).connack_code(), 0, "{version:?} {user:?}");
    client
}

fn assert_serves(client: &mut Client) {
    client.send(PINGREQ).unwrap();
    client.expect(PINGRESP);
}

/// Holds that the server ends the connection, in version 5 with this reason.
fn assert_sent_away(client: &mut Client, reason: u8) {
    if client.version == Version::V5 {
        assert_eq!(client.expect(DISCONNECT).disconnect_reason(), reason);
    }
    assert_eq!(client.receive(), None, "{:?}", client.version);
}

#[test]
fn mosquitto_and_paho_come_in_with_tokens_and_passwords() {
    let mut guarded = Guarded::start(&[]);
    let token = guarded.token("acme", "device", &["--driver", "d1"]);
    let password = guarded.device("acme", "d2");
    let dispatcher = guarded.token("acme", "dispatcher", &[]);
    for (n, version) in VERSIONS.into_iter().enumerate() {
        let publish = |user: &str, password: &str, driver: &str, fix: usize| {
            let fix = native_fix((10 * n + fix) as u64);
            tools::mosquitto_pub_as(guarded.rhumb.mqtt(), version, (user, password), &topic("acme", driver), &fix)
        };
        for (user, password, driver, fix) in [
            ("anybody", token.as_str(), "d1", 1),
            ("acme/d2", password.as_str(), "d2", 2),
            ("d2", password.as_str(), "d2", 3),
        ] {
            let said = publish(user, password, driver, fix);
            assert!(said.status.success(), "{version:?} {user}: {}", String::from_utf8_lossy(&said.stderr));
        }
        for (user, password) in [("acme/d2", "wrong"), ("d3", password.as_str()), ("d2", token.split_at(40).0)] {
            let said = publish(user, password, "d2", 4);
            assert!(!said.status.success(), "{version:?} {user}");
        }
        // It makes up for some of the failures.
        assert!(publish("d2", &password, "d2", 5).status.success());
    }
    for (driver, count) in [("d1", 2), ("d2", 6)] {
        let path = format!("/v1/drivers/{driver}/track?from=0");
        let track = super::bearer(guarded.rhumb.http(), "GET", &path, &dispatcher, "").json(200);
        assert_eq!(track["fixes"].as_array().unwrap().len(), count, "{track}");
    }

    let address = guarded.rhumb.mqtt();
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let said = tools::python("paho_credentials.py", &[&host, &port, "acme/d2", &password]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

#[test]
fn every_refusal_has_its_code_and_is_counted() {
    let mut guarded = Guarded::start(&[]);
    let password = guarded.device("acme", "d1");
    guarded.device("acme", "twin");
    let twin = guarded.device("blue", "twin");
    let good = guarded.token("acme", "ops_admin", &[]);
    let expired = guarded.token_for_s("acme", "device", "d1", -10.0);
    let [header, payload, _] = good.split('.').collect::<Vec<_>>()[..] else { panic!("{good} is no token") };
    let unsigned = format!("{header}.{payload}.");
    // {"alg":"none"}
    let none = format!("eyJhbGciOiJub25lIn0.{payload}.");
    let long = "x".repeat(5_000);
    type Case<'a> = (Option<&'a str>, Option<&'a str>, u8, u8, &'a str);
    let cases: [Case<'_>; 12] = [
        (None, None, 0x87, 5, "missing"),
        (Some("acme/d1"), Some("wrong"), 0x86, 4, "bad_password"),
        (Some("acme/d1"), Some(""), 0x86, 4, "bad_password"),
        (Some("acme/d1"), None, 0x86, 4, "bad_password"),
        (Some("acme/d9"), Some(&password), 0x86, 4, "bad_password"),
        (Some("blue/d1"), Some(&password), 0x86, 4, "bad_password"),
        (Some("twin"), Some(&twin), 0x86, 4, "bad_password"),
        (Some("acme/d1"), Some(&long), 0x86, 4, "bad_password"),
        (Some("x"), Some(&unsigned), 0x86, 4, "bad_token"),
        (Some("x"), Some(&none), 0x86, 4, "bad_token"),
        (Some("x"), Some(&expired), 0x86, 4, "expired_token"),
        (Some(""), Some("rhd_0000"), 0x86, 4, "bad_password"),
    ];
    for version in VERSIONS {
        for (user, secret, code_v5, code_v4, reason) in cases {
            let before = guarded.failures(reason);
            let shown = Shown { client_id: "c", user, password: secret, ..Shown::default() };
            let mut client = Client::open_as(guarded.rhumb.mqtt(), version, shown);
            let wanted = if version == Version::V5 { code_v5 } else { code_v4 };
            assert_eq!(client.expect(CONNACK).connack_code(), wanted, "{version:?} {user:?} {reason}");
            assert_eq!(client.receive(), None, "{version:?} {user:?}: open after a refusal");
            assert_eq!(guarded.failures(reason), before + 1.0, "{version:?} {user:?}");
            // It makes up for some of the failures.
            let_in(&guarded, version, Some("x"), &good, "good");
        }
    }
    // A user name is of no need in version 5.
    let_in(&guarded, Version::V5, None, &password, "password");
    let_in(&guarded, Version::V5, None, &good, "token");
    let log = guarded.rhumb.log();
    assert!(log.contains("authentication failed") && log.contains("127.0.0.1"), "{log}");
}

#[test]
fn nothing_is_taken_before_the_answer_and_all_of_it_after() {
    let mut guarded = Guarded::start(&[]);
    let password = guarded.device("acme", "d1");
    for version in VERSIONS {
        // Everything at once, as a client of MQTT 5 may and one of 3.1.1 as well [MQTT-3.1.4-5].
        let shown = Shown { client_id: "eager", user: Some("d1"), password: Some(&password), ..Shown::default() };
        let mut bytes = mqtt::connect_as(version, shown);
        for id in 1..=20 {
            bytes.extend(mqtt::publish(version, &topic("acme", "d1"), native_fix(id).as_bytes(), 1, id as u16));
        }
        bytes.extend_from_slice(PINGREQ);
        let mut client = Client::open(guarded.rhumb.mqtt(), version);
        client.send(&bytes).unwrap();
        assert_eq!(client.expect(CONNACK).connack_code(), 0);
        let mut acked = 0;
        while acked < 20 {
            acked += u16::from(client.receive().unwrap().kind() == mqtt::PUBACK);
        }
        let mut wrong = mqtt::connect_as(version, Shown { password: Some("wrong"), ..shown });
        wrong.extend(mqtt::publish(version, &topic("acme", "d1"), native_fix(99).as_bytes(), 1, 1));
        let mut client = Client::open(guarded.rhumb.mqtt(), version);
        client.send(&wrong).unwrap();
        assert_ne!(client.expect(CONNACK).connack_code(), 0);
        assert_eq!(client.receive(), None);
    }
    let dispatcher = guarded.token("acme", "dispatcher", &[]);
    let track = super::bearer(guarded.rhumb.http(), "GET", "/v1/drivers/d1/track?from=0", &dispatcher, "").json(200);
    assert_eq!(track["fixes"].as_array().unwrap().len(), 20);
}

#[test]
fn a_revoked_device_is_disconnected_and_others_are_not() {
    let mut guarded = Guarded::start(&[]);
    let revoked = guarded.device("acme", "d1");
    let other = guarded.device("acme", "d2");
    let mut gone = VERSIONS.map(|version| let_in(&guarded, version, Some("d1"), &revoked, &format!("d1-{version:?}")));
    let mut stays = VERSIONS.map(|version| let_in(&guarded, version, Some("d2"), &other, &format!("d2-{version:?}")));
    gone.iter_mut().chain(&mut stays).for_each(assert_serves);
    assert!(guarded.rhumb.run(&["device", "revoke", "acme/d1"]).status.success());
    let begun = Instant::now();
    for client in &mut gone {
        assert_sent_away(client, 0x98);
    }
    assert!(begun.elapsed() < REVOKED_WITHIN, "{:?}", begun.elapsed());
    for version in VERSIONS {
        assert_ne!(open(&guarded, version, Some("d1"), &revoked, "again").expect(CONNACK).connack_code(), 0);
    }
    stays.iter_mut().for_each(assert_serves);

    // Added anew it is another one.
    let anew = guarded.device("acme", "d1");
    assert_ne!(anew, revoked);
    let_in(&guarded, Version::V5, Some("d1"), &anew, "anew");
    assert_ne!(open(&guarded, Version::V5, Some("d1"), &revoked, "old").expect(CONNACK).connack_code(), 0);
}

#[test]
fn a_connection_ends_with_its_token() {
    let mut guarded = Guarded::start(&[]);
    // Five seconds of leeway, less four.
    let short = guarded.token_for_s("acme", "device", "d1", -4.0 + 2.0);
    let long = guarded.token_for_s("acme", "device", "d2", 600.0);
    let mut stays = let_in(&guarded, Version::V5, None, &long, "long");
    let mut ends = VERSIONS.map(|version| let_in(&guarded, version, Some(""), &short, &format!("short-{version:?}")));
    for client in &mut ends {
        assert_sent_away(client, 0xA0);
    }
    assert_eq!(open(&guarded, Version::V5, None, &short, "again").expect(CONNACK).connack_code(), 0x86);
    assert_eq!(super::bearer(guarded.rhumb.http(), "GET", "/v1/drivers/d1/location", &short, "").status, 401);
    assert_serves(&mut stays);
}

#[test]
fn a_client_id_belongs_to_its_principal() {
    let mut guarded = Guarded::start(&[]);
    let [ann, bob] = ["ann", "bob"].map(|name| guarded.token("acme", "ops_admin", &["--sub", name]));
    let eve = guarded.token("blue", "ops_admin", &["--sub", "ann"]);
    for version in VERSIONS {
        let mut first = let_in(&guarded, version, Some(""), &ann, "x");
        // Nobody can take the name from those who use it, nor keep them from it.
        let mut others = [&bob, &eve].map(|token| let_in(&guarded, version, Some(""), token, "x"));
        assert_serves(&mut first);
        let mut second = let_in(&guarded, version, Some(""), &ann, "x");
        assert_sent_away(&mut first, 0x8E);
        assert_serves(&mut second);
        others.iter_mut().for_each(assert_serves);
    }
}

#[test]
fn a_kept_session_belongs_to_its_principal() {
    let mut guarded = Guarded::start(&[]);
    let [ann, bob] = ["ann", "bob"].map(|name| guarded.token("acme", "ops_admin", &["--sub", name]));
    let eve = guarded.token("blue", "ops_admin", &["--sub", "ann"]);
    for version in VERSIONS {
        let (mut client, is_present) = come_back(&guarded, version, "", &ann);
        assert!(!is_present);
        client.send(&mqtt::subscribe(version, "tenant/acme/driver/d1/location", 1, 1)).unwrap();
        assert_eq!(client.expect(SUBACK).body.last(), Some(&1));
        // While it is there, and while it is away.
        for is_away in [false, true] {
            if is_away {
                client.hang_up();
            } else {
                assert_serves(&mut client);
            }
            for other in [&bob, &eve] {
                assert!(!come_back(&guarded, version, "", other).1, "{version:?} {is_away}");
            }
        }
        assert!(come_back(&guarded, version, "", &ann).1, "{version:?}");
    }
}

/// Comes back to a session that is kept, if it is still there, with these credentials; tells whether it was.
fn come_back(guarded: &Guarded, version: Version, user: &str, password: &str) -> (Client, bool) {
    let client_id = format!("kept-{version:?}");
    let shown = Shown { client_id: &client_id, user: Some(user), password: Some(password), keeps_session: true };
    let mut client = Client::open_as(guarded.rhumb.mqtt(), version, shown);
    let connack = client.expect(CONNACK);
    assert_eq!(connack.connack_code(), 0, "{version:?} {user}");
    let is_present = connack.body[0] == 1;
    (client, is_present)
}

#[test]
fn a_name_that_is_given_to_another_driver_does_not_inherit_a_session() {
    let mut guarded = Guarded::start(&[]);
    let admin = guarded.token("acme", "ops_admin", &[]);
    for (n, version) in VERSIONS.into_iter().enumerate() {
        let (name, command) = (format!("truck-{n}"), "tenant/acme/driver/d1/command/go");
        let add = ["device", "add", "--tenant", "acme", "--name", &name, "--driver"];
        let first = guarded.secret_of(&[&add[..], &["d1"]].concat());
        guarded.await_devices();
        let (mut client, _) = come_back(&guarded, version, &name, &first);
        client.send(&mqtt::subscribe(version, "tenant/acme/driver/d1/#", 1, 1)).unwrap();
        assert_eq!(client.expect(SUBACK).reasons(version), [1]);
        client.hang_up();
        drop(client);
        let mut boss = let_in(&guarded, version, Some(""), &admin, "boss");
        boss.publish_acked(command, "for d1", 1);
        // The session is found again by whom it is.
        let (mut same, is_present) = come_back(&guarded, version, &name, &first);
        assert!(is_present, "{version:?}");
        assert_eq!(same.expect(PUBLISH).topic(), command);
        drop(same);

        assert!(guarded.rhumb.run(&["device", "revoke", &format!("acme/{name}")]).status.success());
        guarded.await_devices();
        let second = guarded.secret_of(&[&add[..], &["d2"]].concat());
        guarded.await_devices();
        let (mut other, is_present) = come_back(&guarded, version, &name, &second);
        assert!(!is_present, "{version:?}: the session is another driver's");
        other.send(&mqtt::subscribe(version, "tenant/acme/driver/d2/#", 1, 1)).unwrap();
        assert_eq!(other.expect(SUBACK).reasons(version), [1]);
        boss.publish_acked(command, "for d1 again", 2);
        boss.publish_acked("tenant/acme/driver/d2/command/go", "for d2", 3);
        assert_eq!(other.expect(PUBLISH).topic(), "tenant/acme/driver/d2/command/go", "{version:?}");
    }
}

#[test]
fn a_token_in_another_role_does_not_inherit_a_session() {
    let mut guarded = Guarded::start(&[]);
    let dispatcher = guarded.token("acme", "dispatcher", &["--sub", "ann"]);
    let driver = guarded.token("acme", "driver", &["--sub", "ann", "--driver", "d1"]);
    for version in VERSIONS {
        let (mut client, _) = come_back(&guarded, version, "", &dispatcher);
        client.send(&mqtt::subscribe(version, "tenant/acme/#", 1, 1)).unwrap();
        assert_eq!(client.expect(SUBACK).reasons(version), [1]);
        drop(client);
        assert!(!come_back(&guarded, version, "", &driver).1, "{version:?}");
        assert!(come_back(&guarded, version, "", &dispatcher).1, "{version:?}");
    }
}

#[test]
fn what_no_rule_allows_any_more_is_not_delivered_to_a_session_of_before() {
    const TELLS: &str = r#"{role="ops_admin",action="publish",effect="allow",topic="news/#"}"#;
    const HEARS: &str = r#"{role="device",action="subscribe",effect="allow",topic="news/#"}"#;
    let mut guarded = Guarded::start(&[&format!("mqtt.acl=[{TELLS},{HEARS}]")]);
    let admin = guarded.token("acme", "ops_admin", &[]);
    let password = guarded.device("acme", "d1");
    let own = "tenant/acme/driver/d1/command/go";
    for version in VERSIONS {
        guarded.rhumb.set("mqtt.acl", &format!("[{TELLS},{HEARS}]"));
        guarded.rhumb.terminate();
        guarded.rhumb.restart();
        let (mut client, _) = come_back(&guarded, version, "d1", &password);
        client.send(&mqtt::subscribe_all(version, &[("news/#", 1), (own, 1)], 1)).unwrap();
        assert_eq!(client.expect(SUBACK).reasons(version), [1, 1]);
        drop(client);
        let mut boss = let_in(&guarded, version, Some(""), &admin, "boss");
        boss.publish_acked("news/queued", "while it is away", 1);

        guarded.rhumb.set("mqtt.acl", &format!("[{TELLS}]"));
        guarded.rhumb.terminate();
        guarded.rhumb.restart();
        let (mut client, is_present) = come_back(&guarded, version, "d1", &password);
        assert!(is_present, "{version:?}");
        let mut boss = let_in(&guarded, version, Some(""), &admin, "boss");
        boss.publish_acked("news/now", "while it is there", 1);
        boss.publish_acked(own, "go", 2);
        assert_eq!(client.expect(PUBLISH).topic(), own, "{version:?}");
        assert_serves(&mut client);
    }
}

#[test]
fn the_password_of_whoever_hung_up_is_not_checked() {
    let mut guarded = Guarded::start(&[]);
    guarded.device("acme", "d1");
    let shown = || Shown { client_id: "c", user: Some("acme/d1"), password: Some("wrong"), ..Shown::default() };
    for _ in 0..60 {
        drop(Client::open_as(guarded.rhumb.mqtt(), Version::V5, shown()));
    }
    // Each check takes some 20 ms, of which two are under way at once.
    crate::support::wait_for("all to be done with", || {
        let left_out = guarded.metric("rhumb_auth_checks_abandoned_total");
        (left_out + guarded.failures("bad_password") == 60.0).then_some(())
    });
    let left_out = guarded.metric("rhumb_auth_checks_abandoned_total");
    assert!(left_out >= 30.0, "{left_out} of 60");
}
