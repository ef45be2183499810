//! MQTT: who is let in, who is not and with which code, who is sent away, and whose a client id is.

use std::time::{Duration, Instant};

use super::Guarded;
use crate::support::mqtt::{self, CONNACK, Client, DISCONNECT, PINGREQ, PINGRESP, SUBACK, Shown, VERSIONS, Version};
use crate::support::{PATIENCE, native_fix, tools, topic};

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
        // It ends what the failures began.
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
            // It ends what the failure began.
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
    // A second is what is promised; a machine that is busy may be late.
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
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
        let refused = if version == Version::V5 { 0x85 } else { 2 };
        let mut first = let_in(&guarded, version, Some(""), &ann, "x");
        let mut thief = open(&guarded, version, Some(""), &bob, "x");
        assert_eq!(thief.expect(CONNACK).connack_code(), refused);
        assert_eq!(thief.receive(), None);
        let mut elsewhere = let_in(&guarded, version, Some(""), &eve, "x");
        assert_serves(&mut first);
        let mut second = let_in(&guarded, version, Some(""), &ann, "x");
        assert_sent_away(&mut first, 0x8E);
        assert_serves(&mut second);
        assert_serves(&mut elsewhere);
        for client in [second, elsewhere] {
            client.hang_up();
        }
    }
}

#[test]
fn a_kept_session_belongs_to_its_principal() {
    let mut guarded = Guarded::start(&[]);
    let [ann, bob] = ["ann", "bob"].map(|name| guarded.token("acme", "ops_admin", &["--sub", name]));
    let eve = guarded.token("blue", "ops_admin", &["--sub", "ann"]);
    for version in VERSIONS {
        let client_id = format!("kept-{version:?}");
        let kept = |token: &str| {
            let shown = Shown { client_id: &client_id, user: Some(""), password: Some(token), keeps_session: true };
            let mut client = Client::open_as(guarded.rhumb.mqtt(), version, shown);
            let connack = client.expect(CONNACK);
            (client, connack.connack_code(), connack.body[0] == 1)
        };
        let (mut client, code, is_present) = kept(&ann);
        assert_eq!((code, is_present), (0, false));
        client.send(&mqtt::subscribe(version, "tenant/acme/driver/d1/location", 1, 1)).unwrap();
        assert_eq!(client.expect(SUBACK).body.last(), Some(&1));
        client.hang_up();
        drop(client);
        let refused = if version == Version::V5 { 0x85 } else { 2 };
        // Its owner's connection may be there for a moment still, which is refused just as well.
        for _ in 0..3 {
            let (_, code, _) = kept(&bob);
            assert_eq!(code, refused);
            std::thread::sleep(Duration::from_millis(100));
        }
        let (_, code, is_present) = kept(&eve);
        assert_eq!((code, is_present), (0, false), "another tenant");
        let (_, code, is_present) = kept(&ann);
        assert_eq!((code, is_present), (0, true));
    }
}
