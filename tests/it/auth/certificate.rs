//! Client certificates over TLS, of which the engine's own check of credentials makes a driver's device.

use std::time::{Duration, Instant};

use super::Guarded;
use crate::support::mqtt::{self, CONNACK, DISCONNECT, PUBACK, Shown, VERSIONS, Version};
use crate::support::native_fix;
use crate::support::tls::{Authority, TlsClient};
use crate::support::topic;

const NOT_AUTHORIZED: u8 = 0x87;

/// What MQTT 5 says of credentials that have ended: maximum connect time.
const EXPIRED: u8 = 0xA0;

/// Of credentials that were taken back.
const ADMINISTRATIVE_ACTION: u8 = 0x98;

const TAKEN_OVER: u8 = 0x8E;

fn publish(client: &mut TlsClient, version: Version, driver: &str, fix: u64) {
    client.send(&mqtt::publish(version, &topic("acme", driver), native_fix(fix).as_bytes(), 1, 7));
}

#[test]
fn a_certificate_is_the_driver_that_it_names_and_no_other() {
    let authority = Authority::new();
    authority.sign_into("truck", "acme/d1", &[]);
    authority.sign_into("nobody", "some laptop", &[]);
    let sets = [authority.sets(), vec!["mqtt.tls.client_certificates=optional".to_owned()]].concat();
    let mut guarded = Guarded::start(&sets.iter().map(String::as_str).collect::<Vec<_>>());
    let dispatcher = guarded.token("acme", "dispatcher", &[]);
    let password = guarded.device("acme", "d2");
    let address = guarded.rhumb.mqtt_tls();
    let open = |file, version, user, password| {
        let mut client = authority.connect_as(address, file).unwrap();
        client.send(&mqtt::connect_as(version, Shown { client_id: "c", user, password, ..Shown::default() }));
        let code = client.expect(CONNACK).connack_code();
        (client, code)
    };
    for (version, begin) in VERSIONS.into_iter().zip([1, 11]) {
        // A user name alone shows nothing, so that the certificate counts beside it.
        for (user, fix) in [(None, begin), (Some("anybody"), begin + 1)] {
            let (mut client, code) = open(Some("truck"), version, user, None);
            assert_eq!(code, 0, "{version:?} {user:?}");
            publish(&mut client, version, "d1", fix);
            assert_eq!(client.expect(PUBACK).ack_reason(), 0);
            publish(&mut client, version, "d2", fix);
            match version {
                Version::V4 => assert_eq!(client.receive(), None),
                Version::V5 => assert_eq!(client.expect(PUBACK).ack_reason(), NOT_AUTHORIZED),
            }
        }
        // A password beside it counts instead.
        let (mut client, code) = open(Some("truck"), version, Some("d2"), Some(&password));
        assert_eq!(code, 0);
        publish(&mut client, version, "d2", begin);
        assert_eq!(client.expect(PUBACK).ack_reason(), 0);
        let [wrong, missing] = if version == Version::V5 { [0x86, 0x87] } else { [4, 5] };
        assert_eq!(open(Some("nobody"), version, None, None).1, wrong, "it names no driver");
        assert_eq!(open(None, version, None, None).1, missing, "it shows none");
    }
    for (driver, count) in [("d1", 4), ("d2", 2)] {
        let path = format!("/v1/drivers/{driver}/track?from=0");
        let track = super::bearer(guarded.rhumb.http(), "GET", &path, &dispatcher, "").json(200);
        assert_eq!(track["fixes"].as_array().unwrap().len(), count, "{driver} {track}");
    }
}

#[test]
fn a_connection_ends_with_the_certificate_that_it_was_made_with() {
    let authority = Authority::new();
    let lifetime = Duration::from_secs(2);
    let sets = [authority.sets(), vec!["mqtt.tls.client_certificates=required".to_owned()]].concat();
    let guarded = Guarded::start(&sets.iter().map(String::as_str).collect::<Vec<_>>());
    let begun = Instant::now();
    authority.sign_for("truck", "acme/d1", lifetime);
    let mut clients = VERSIONS.map(|version| {
        let mut client = authority.connect_as(guarded.rhumb.mqtt_tls(), Some("truck")).unwrap();
        client.say_connect(version, &format!("{version:?}"));
        publish(&mut client, version, "d1", version as u64);
        assert_eq!(client.expect(PUBACK).ack_reason(), 0);
        client
    });
    assert_eq!(clients[1].expect(DISCONNECT).disconnect_reason(), EXPIRED);
    let took = begun.elapsed();
    // Its last second, and five that clocks may differ by as for tokens.
    assert!(took > lifetime && took < lifetime + Duration::from_secs(9), "{took:?}");
    assert!(clients.iter_mut().all(|client| client.receive().is_none()));
}

#[test]
fn a_page_does_not_come_in_with_the_certificate_of_whoever_looks_at_it() {
    let authority = Authority::new();
    authority.sign_into("truck", "acme/d1", &[]);
    let own = "mqtt.websocket.tls.certificate_origins=[\"https://fleet.example\"]".to_owned();
    let sets = [authority.sets(), vec!["mqtt.tls.client_certificates=required".to_owned(), own]].concat();
    let mut guarded = Guarded::start(&sets.iter().map(String::as_str).collect::<Vec<_>>());
    let token = guarded.token("acme", "device", &["--driver", "d2"]);
    let address = guarded.rhumb.mqtt_websocket_tls();
    let evil = Some("https://evil.example");
    let cases = [
        (None, None, 0),
        (Some("https://fleet.example"), None, 0),
        (evil, None, NOT_AUTHORIZED),
        (Some("null"), None, NOT_AUTHORIZED),
        (Some("http://localhost:3000"), None, NOT_AUTHORIZED),
        // A page that has a token shows who it is by itself.
        (evil, Some(token.as_str()), 0),
    ];
    for (origin, password, code) in cases {
        let mut client = authority.connect_as(address, Some("truck")).unwrap();
        client.become_websocket(&origin.map(|origin| format!("Origin: {origin}\r\n")).unwrap_or_default());
        let shown = Shown { client_id: "c", user: password.map(|_| ""), password, ..Shown::default() };
        client.send_framed(&mqtt::connect_as(Version::V5, shown));
        assert_eq!(client.expect_framed(CONNACK).connack_code(), code, "{origin:?}");
    }
}

#[test]
fn where_both_are_required_a_certificate_opens_the_door_and_what_is_shown_last_counts() {
    let authority = Authority::new();
    authority.sign_into("truck", "acme/d1", &[]);
    authority.sign_into("nobody", "some laptop", &[]);
    let sets = [authority.sets(), vec!["mqtt.tls.client_certificates=required".to_owned()]].concat();
    let mut guarded = Guarded::start(&sets.iter().map(String::as_str).collect::<Vec<_>>());
    let password = guarded.device("acme", "d2");
    let address = guarded.rhumb.mqtt_tls();
    // Without a certificate nobody gets as far as CONNECT: TLS 1.3 tells a client so after its handshake.
    let without = authority.connect(address).map(|mut client| client.receive());
    assert!(matches!(without, Ok(None) | Err(_)), "{without:?}");
    for version in VERSIONS {
        let wrong = if version == Version::V5 { 0x86 } else { 4 };
        // The files, the password, the code and who it is then.
        let cases = [
            ("truck", None, 0, "d1"),
            ("truck", Some(password.as_str()), 0, "d2"),
            ("truck", Some("wrong"), wrong, ""),
            ("nobody", None, wrong, ""),
            ("nobody", Some(password.as_str()), 0, "d2"),
        ];
        for (file, password, code, driver) in cases {
            let mut client = authority.connect_as(address, Some(file)).unwrap();
            let user = password.map(|_| "acme/d2");
            client.send(&mqtt::connect_as(version, Shown { client_id: "c", user, password, ..Shown::default() }));
            assert_eq!(client.expect(CONNACK).connack_code(), code, "{version:?} {file} {user:?}");
            if code == 0 {
                publish(&mut client, version, driver, 1);
                assert_eq!(client.expect(PUBACK).ack_reason(), 0, "{version:?} {file} {user:?}");
            }
        }
    }
}

#[test]
fn a_certificate_and_a_device_of_the_same_name_are_one_client_only_if_they_are_the_same_driver() {
    let authority = Authority::new();
    authority.sign_into("truck", "acme/d1", &[]);
    authority.sign_into("van", "acme/van", &[]);
    let sets = [authority.sets(), vec!["mqtt.tls.client_certificates=optional".to_owned()]].concat();
    let mut guarded = Guarded::start(&sets.iter().map(String::as_str).collect::<Vec<_>>());
    let same = guarded.device("acme", "d1");
    let other = guarded.secret_of(&["device", "add", "--tenant", "acme", "--name", "van", "--driver", "d2"]);
    guarded.await_devices();
    let address = guarded.rhumb.mqtt_tls();
    let open = |file, user, password: Option<&str>| {
        let mut client = authority.connect_as(address, file).unwrap();
        client.send(&mqtt::connect_as(Version::V5, Shown { client_id: "c", user, password, ..Shown::default() }));
        assert_eq!(client.expect(CONNACK).connack_code(), 0, "{file:?} {user:?}");
        client
    };
    let serves = |client: &mut TlsClient, own: &str, others: &str, fix| {
        publish(client, Version::V5, own, fix);
        assert_eq!(client.expect(PUBACK).ack_reason(), 0, "{own}");
        publish(client, Version::V5, others, fix);
        assert_eq!(client.expect(PUBACK).ack_reason(), NOT_AUTHORIZED, "{others}");
    };
    // The same tenant, name, role and driver: one client, however it shows that.
    let mut by_certificate = open(Some("truck"), None, None);
    let mut by_password = open(None, Some("acme/d1"), Some(&same));
    assert_eq!(by_certificate.expect(DISCONNECT).disconnect_reason(), TAKEN_OVER);
    serves(&mut by_password, "d1", "van", 1);

    // The same name of another driver: neither takes anything of the other's.
    let mut by_certificate = open(Some("van"), None, None);
    let mut of_file = open(None, Some("acme/van"), Some(&other));
    serves(&mut by_certificate, "van", "d2", 1);
    serves(&mut of_file, "d2", "van", 1);
    // Who shows both is whom the password says, and so takes that one's place.
    let mut both = open(Some("van"), Some("acme/van"), Some(&other));
    assert_eq!(of_file.expect(DISCONNECT).disconnect_reason(), TAKEN_OVER);
    serves(&mut both, "d2", "van", 2);

    // A device that is taken from the file takes no certificate with it.
    assert!(guarded.rhumb.run(&["device", "revoke", "acme/van"]).status.success());
    assert_eq!(both.expect(DISCONNECT).disconnect_reason(), ADMINISTRATIVE_ACTION);
    serves(&mut by_certificate, "van", "d2", 2);
}
