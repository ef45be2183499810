//! What outlives a router, when it is stopped and when it is not.

use std::path::Path;

use super::*;
use crate::clock::Clock;
use crate::units::TimestampMs;

fn start_on(file: &Path, clock: &Clock) -> Router {
    start_on_with(file, clock, Config::default())
}

fn start_on_with(file: &Path, clock: &Clock, mut config: Config) -> Router {
    config.save_interval_s = 1;
    let surroundings = Surroundings { file: Some(file.to_owned()), clock: clock.clone(), ..Surroundings::default() };
    Router::start(config, surroundings).unwrap()
}

#[test]
fn sessions_and_retained_messages_outlive_a_router() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("router");
    let clock = Clock::manual(TimestampMs(1_700_000_000_000));
    let router = start_on(&file, &clock);
    let tenant = TenantId::new("acme").unwrap();
    let in_acme = |attach: &mut Attach| {
        kept(attach);
        attach.mount = Mount::Tenant(tenant.clone());
    };
    let subscriber = client_with(&router, "s", in_acme);
    subscriber.subscribe_with(Some(9), subscription("a/+", 2));
    let publisher = client_with(&router, "p", in_acme);
    for (topic, qos) in [("a/1", 1), ("a/2", 2), ("a/3", 2)] {
        publisher.publish(message(topic, qos, topic));
    }
    publisher.publish(Publish { retain: true, ..message("r", 1, "kept") });
    publisher.send(ClientPacket::Publish(Publish { pkid: 21, ..message("x", 2, "") }));
    assert_eq!(publisher.packet(), ServerPacket::PubRec { pkid: 21, reason: 0 });
    let [one, two, _three] = [subscriber.delivery(), subscriber.delivery(), subscriber.delivery()];
    subscriber.send(ClientPacket::PubRec { pkid: two.pkid, reason: 0 });
    assert_eq!(subscriber.packet(), ServerPacket::PubRel { pkid: two.pkid, reason: 0 });
    drop(subscriber);
    publisher.publish(message("a/4", 1, "while away"));
    let temporary = client_with(&router, "t", in_tenant("acme"));
    temporary.subscribe("a/#", 1);
    drop((publisher, temporary));
    router.stop();

    clock.set(TimestampMs(1_700_000_000_000 + 3_000_000));
    let router = start_on(&file, &clock);
    assert_eq!((router.sessions(), router.subscriptions()), (2, 1));
    let acme = Mount::Tenant(tenant.clone());
    assert!(router.has_session(&acme, "s") && !router.has_session(&Mount::Open, "s"));
    let again = client_with(&router, "s", in_acme);
    assert!(again.session_present);
    assert_eq!(again.packet(), ServerPacket::Publish(Publish { dup: true, ..one }));
    assert_eq!(again.packet(), ServerPacket::PubRel { pkid: two.pkid, reason: 0 });
    let three = again.delivery();
    assert!(three.dup && &*three.topic == "a/3" && three.qos == 2);
    let four = again.received();
    assert_eq!((&*four.topic, four.dup), ("a/4", false));
    assert_eq!(four.properties.unwrap().subscription_identifiers, [9]);
    again.subscribe("r", 1);
    assert_eq!(again.payload(), "kept");
    let publisher = client_with(&router, "p", in_acme);
    publisher.send(ClientPacket::PubRel { pkid: 21 });
    assert_eq!(publisher.packet(), ServerPacket::PubComp { pkid: 21, reason: 0 }, "it was received before");
    publisher.publish(message("a/5", 0, "on"));
    assert_eq!(again.payload(), "on");
    drop((again, publisher));
    router.stop();

    // An hour is the longest that these sessions are kept.
    clock.set(TimestampMs(1_700_000_000_000 + 3_000_000 + 3_600_001));
    let router = start_on(&file, &clock);
    assert_eq!((router.sessions(), router.subscriptions()), (0, 0));
}

#[test]
fn a_router_that_was_never_stopped_has_saved_what_it_had_a_while_ago() {
    let dir = tempfile::tempdir().unwrap();
    let (file, copy) = (dir.path().join("router"), dir.path().join("copy"));
    let clock = Clock::manual(TimestampMs(1_700_000_000_000));
    let router = start_on(&file, &clock);
    let listener = client_with(&router, "l", kept);
    listener.subscribe("will", 1);
    drop(listener);
    let will = Will {
        topic: "will".into(),
        payload: Bytes::from_static(b"gone"),
        qos: 1,
        retain: false,
        delay_s: 0,
        properties: None,
    };
    let connected = client_with(&router, "c", |attach| {
        kept(attach);
        attach.will = Some(will);
    });
    let deadline = std::time::Instant::now() + SOON;
    loop {
        // Both may not be in the first save.
        drop(std::fs::copy(&file, &copy));
        if copy.exists() {
            let crashed = start_on(&copy, &clock);
            if crashed.sessions() == 2 {
                let listener = client_with(&crashed, "l", kept);
                assert_eq!(listener.payload(), "gone", "a crash is the end of a connection too");
                break;
            }
            crashed.stop();
        }
        assert!(std::time::Instant::now() < deadline, "nothing was saved");
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(connected);
}

#[test]
fn who_is_away_for_the_longest_still_is_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("router");
    let clock = Clock::manual(TimestampMs(1_700_000_000_000));
    let router = start_on(&file, &clock);
    // They leave in another order than they came in.
    let mut connected: Vec<_> = ["a", "b", "c", "d", "e"].map(|name| client_with(&router, name, kept)).into();
    for place in [3, 1, 2] {
        drop(connected.remove(place));
        // Waits until the router has seen it.
        drop(client(&router, "other"));
    }
    let is_there = |router: &Router| ["a", "b", "c", "d", "e"].map(|name| router.has_session(&Mount::Open, name));
    router.stop();
    drop(connected);
    // "d" left first, then "b", then "e"; "a" and "c" were there until the end.
    let router = start_on_with(&file, &clock, Config { sessions_max: 4, ..Config::default() });
    assert_eq!(is_there(&router), [true, true, true, false, true], "no room for the longest away");
    drop(client_with(&router, "f", kept));
    assert_eq!(is_there(&router), [true, false, true, false, true], "the longest away makes room");
    router.stop();
    let router = start_on_with(&file, &clock, Config { sessions_max: 4, ..Config::default() });
    drop(client_with(&router, "g", kept));
    let found = is_there(&router);
    assert!(!found[4] && found[0] && found[2], "and so the next: {found:?}");
}
