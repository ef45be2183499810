//! Client certificates that are revoked, by the list that their authority signs: real clients before, at and after that.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Guarded, REQUIRED};
use crate::support::mqtt::{self, CONNACK, DISCONNECT, PUBACK, Shown, VERSIONS, Version};
use crate::support::rhumb::Rhumb;
use crate::support::tls::{Authority, TlsClient};
use crate::support::{native_fix, tools, topic, wait_for};

/// What MQTT 5 says of credentials that were taken back: administrative action.
const ADMINISTRATIVE_ACTION: u8 = 0x98;

/// A second is what is promised; a machine that is busy may be late by another.
const REVOKED_WITHIN: Duration = Duration::from_secs(2);

fn sets(authority: &Authority, further: &[&str]) -> Vec<String> {
    authority.sets().into_iter().chain(further.iter().map(|set| (*set).to_owned())).collect()
}

fn texts(sets: &[String]) -> Vec<&str> {
    sets.iter().map(String::as_str).collect()
}

/// A client that was let in with the certificate in these files, and this password if there is one.
fn open(authority: &Authority, rhumb: &Rhumb, file: &str, version: Version, password: Option<&str>) -> TlsClient {
    let mut client = authority.connect_as(rhumb.mqtt_tls(), Some(file)).unwrap();
    let user = password.map(|_| "acme/d2");
    client.send(&mqtt::connect_as(version, Shown { client_id: file, user, password, ..Shown::default() }));
    assert_eq!(client.expect(CONNACK).connack_code(), 0);
    client
}

/// Whether mosquitto_pub is served with the certificate in these files, as the driver of that name.
fn published(authority: &Authority, address: SocketAddr, file: &str, n: u64) -> bool {
    let [ca, certificate, key] =
        ["ca.pem", &format!("{file}.pem"), &format!("{file}.key")].map(|name| authority.text(name));
    let options = ["--cafile", &ca, "--cert", &certificate, "--key", &key];
    tools::mosquitto_pub_with(address, Version::V5, &options, &topic("acme", file), &native_fix(n))
}

/// The connection is ended by the server, and not late.
fn is_cut(mut client: TlsClient, version: Version, revoked: Instant) {
    if version == Version::V5 {
        assert_eq!(client.expect(DISCONNECT).disconnect_reason(), ADMINISTRATIVE_ACTION);
    }
    assert_eq!(client.receive(), None);
    let took = revoked.elapsed();
    assert!(took < REVOKED_WITHIN, "{took:?}");
}

#[test]
fn a_revoked_certificate_is_cut_off_within_a_second_and_does_not_come_back() {
    let authority = Authority::new();
    for file in ["first", "second", "third"] {
        authority.sign_into(file, &format!("acme/{file}"), &[]);
    }
    let sets = sets(&authority, &["mqtt.tls.client_certificates=required"]);
    let mut guarded = Guarded::start(&texts(&sets));
    let password = guarded.device("acme", "d2");
    let rhumb = &guarded.rhumb;
    let published = |file: &str, n| published(&authority, rhumb.mqtt_tls(), file, n);
    assert!(published("first", 1) && published("third", 1));

    let mut steady = open(&authority, rhumb, "third", Version::V5, None);
    for (version, file) in VERSIONS.into_iter().zip(["first", "second"]) {
        let by_certificate = open(&authority, rhumb, file, version, None);
        // TLS let nobody in without a good certificate, whatever else was shown.
        let by_password = open(&authority, rhumb, file, version, Some(&password));
        let revoked = Instant::now();
        authority.revoke(&["first", "second"][..if file == "first" { 1 } else { 2 }]);
        is_cut(by_certificate, version, revoked);
        is_cut(by_password, version, revoked);
        assert!(!published(file, 2));
    }
    assert!(published("third", 2));
    steady.send(&mqtt::publish(Version::V5, &topic("acme", "third"), native_fix(3).as_bytes(), 1, 1));
    assert_eq!(steady.expect(PUBACK).ack_reason(), 0);
    let log = rhumb.log();
    assert!(log.contains("the client's certificate is revoked"), "{log}");
    assert_eq!(guarded.metric("rhumb_mqtt_connections_closed_total{reason=\"revoked\"}"), 4.0);
}

#[test]
fn in_open_mode_a_revoked_certificate_is_cut_off_too() {
    let authority = Authority::new();
    authority.sign("laptop", &[]);
    let sets = sets(&authority, &["mqtt.tls.client_certificates=required"]);
    assert!(!sets.iter().any(|set| set == REQUIRED));
    let rhumb = Rhumb::start(&texts(&sets));
    let client = open(&authority, &rhumb, "laptop", Version::V5, None);
    let revoked = Instant::now();
    authority.revoke(&["laptop"]);
    is_cut(client, Version::V5, revoked);
}

#[test]
fn a_list_that_is_no_good_is_told_and_the_one_before_holds() {
    let authority = Authority::new();
    authority.sign_into("truck", "acme/truck", &[]);
    authority.revoke(&["truck"]);
    let sets = sets(&authority, &["mqtt.tls.client_certificates=optional"]);
    let guarded = Guarded::start(&texts(&sets));
    let address = guarded.rhumb.mqtt_tls();
    assert!(!published(&authority, address, "truck", 1));
    std::fs::write(authority.path("revoked.pem"), "no list").unwrap();
    let told = || guarded.rhumb.log().contains("revoked.pem holds no list of revoked certificates").then_some(());
    wait_for("the refusal of the list", told);
    assert!(!published(&authority, address, "truck", 1));
    authority.revoke(&[]);
    wait_for("the certificate to be good again", || published(&authority, address, "truck", 1).then_some(()));
}
