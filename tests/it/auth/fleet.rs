//! Many that do not know their passwords keep nobody else waiting.

use std::time::Instant;

use super::{Guarded, REQUIRED};
use crate::support::mqtt::{CONNACK, Client, Shown, Version};
use crate::support::rhumb::Rhumb;
use crate::support::{PATIENCE, native_fix, topic};

const FLEET: usize = 200;

#[test]
fn a_fleet_of_wrong_passwords_does_not_stall_a_good_client() {
    let mut guarded = Guarded::start(&[]);
    let password = guarded.device("acme", "d1");
    let connected = guarded.device("acme", "d2");
    let shown = Shown { client_id: "there", user: Some("d2"), password: Some(&connected), ..Shown::default() };
    let mut there = Client::open_as(guarded.rhumb.mqtt(), Version::V4, shown);
    assert_eq!(there.expect(CONNACK).connack_code(), 0);

    let mqtt = guarded.rhumb.mqtt();
    let elsewhere = "127.0.0.2".parse().unwrap();
    let wrong = |n: usize| {
        let (client_id, user) = (format!("wrong-{n}"), if n.is_multiple_of(2) { "acme/d1" } else { "acme/nobody" });
        let shown = Shown { client_id: &client_id, user: Some(user), password: Some("wrong"), ..Shown::default() };
        Client::open_as_from(elsewhere, mqtt, Version::V5, shown)
    };
    let mut fleet: Vec<Client> = (0..FLEET).map(wrong).collect();

    // Whoever is there goes on, and whoever comes is let in, while the fleet waits.
    there.publish_acked(&topic("acme", "d2"), &native_fix(1), 1);
    let begun = Instant::now();
    let shown = Shown { client_id: "good", user: Some("d1"), password: Some(&password), ..Shown::default() };
    let mut good = Client::open_as(mqtt, Version::V5, shown);
    assert_eq!(good.expect(CONNACK).connack_code(), 0);
    good.publish_acked(&topic("acme", "d1"), &native_fix(1), 1);
    let waiting = fleet.iter().filter(|client| !client.has_heard()).count();
    assert!(waiting > 0, "the fleet was answered before, within {:?}", begun.elapsed());

    for client in &mut fleet {
        // Wrong, or too many at once.
        let code = client.expect(CONNACK).connack_code();
        assert!([0x86, 0x89].contains(&code), "{code:#x}");
    }
    let failed = guarded.failures("bad_password") + guarded.failures("busy");
    assert_eq!(failed, FLEET as f64);
    let log = guarded.rhumb.log();
    let lines = log.matches("authentication failed").count();
    assert!(lines < FLEET && log.contains("not logged one by one"), "{lines} lines");
}

#[test]
fn repeated_failures_of_an_address_are_answered_later_and_later() {
    let guarded = Guarded::start(&[]);
    let answer_ms = |from: &str| {
        let begun = Instant::now();
        let shown = Shown { client_id: "c", ..Shown::default() };
        let mut client = Client::open_as_from(from.parse().unwrap(), guarded.rhumb.mqtt(), Version::V5, shown);
        assert_eq!(client.expect(CONNACK).connack_code(), 0x87);
        begun.elapsed().as_millis()
    };
    let waits: Vec<u128> = (0..6).map(|_| answer_ms("127.0.0.3")).collect();
    for (wait, due_ms) in waits.iter().zip([0, 0, 0, 250, 500, 1_000]) {
        // Coarse clocks: a tick of 100 ms at either end.
        assert!(*wait + 200 >= due_ms, "{waits:?}");
    }
    assert!(PATIENCE.as_millis() > waits.iter().sum(), "{waits:?}");
    assert!(answer_ms("127.0.0.4") < waits[5], "each address has its own delay");
}

#[test]
fn with_credentials_it_may_listen_for_everybody() {
    let rhumb = Rhumb::start(&[REQUIRED, "mqtt.listen=0.0.0.0:0", "http.listen=0.0.0.0:0"]);
    assert!(rhumb.mqtt().ip().is_unspecified());
    let mut client = Client::open_as(rhumb.mqtt(), Version::V5, Shown { client_id: "c", ..Shown::default() });
    assert_eq!(client.expect(CONNACK).connack_code(), 0x87);
}
