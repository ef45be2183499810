//! Sessions, take-over and wills.

use super::*;

fn will(delay_s: u32) -> Will {
    Will {
        topic: "will".into(),
        payload: Bytes::from_static(b"gone"),
        qos: 1,
        retain: false,
        delay_s,
        properties: None,
    }
}

#[test]
fn a_session_goes_on_where_it_was() {
    let router = start();
    let publisher = client(&router, "p");
    let subscriber = client_with(&router, "s", kept);
    assert!(!subscriber.session_present);
    subscriber.subscribe("a", 2);
    publisher.publish(message("a", 1, "one"));
    publisher.publish(message("a", 2, "two"));
    let one = subscriber.delivery();
    let two = subscriber.delivery();
    subscriber.send(ClientPacket::PubRec { pkid: two.pkid, reason: 0 });
    assert_eq!(subscriber.packet(), ServerPacket::PubRel { pkid: two.pkid, reason: 0 });
    subscriber.link.close(WillFate::Discard, None);
    publisher.publish(message("a", 1, "while away"));
    assert!(router.has_session(&Mount::Open, "s"));

    let again = client_with(&router, "s", kept);
    assert!(again.session_present);
    assert_eq!(again.packet(), ServerPacket::Publish(Publish { dup: true, ..one.clone() }));
    assert_eq!(again.packet(), ServerPacket::PubRel { pkid: two.pkid, reason: 0 });
    again.send(ClientPacket::PubAck { pkid: one.pkid });
    again.send(ClientPacket::PubComp { pkid: two.pkid });
    assert_eq!(again.payload(), "while away");
    again.hears_nothing();
    again.link.close(WillFate::Discard, None);

    let anew = client_with(&router, "s", |attach| attach.session_expiry_s = 3_600);
    assert!(!anew.session_present, "a clean start");
    publisher.publish(message("a", 1, "unsubscribed"));
    anew.hears_nothing();
    anew.link.close(WillFate::Discard, Some(0));
    while router.has_session(&Mount::Open, "s") {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(!client_with(&router, "s", kept).session_present, "DISCONNECT ended it");
}

#[test]
fn what_a_client_takes_no_more_when_it_comes_back_frees_its_place() {
    let router = start();
    let publisher = client(&router, "p");
    let with_window_of_one = |packet_bytes_max| {
        move |attach: &mut Attach| {
            kept(attach);
            attach.receive_maximum = 1;
            attach.packet_bytes_max = packet_bytes_max;
        }
    };
    for qos in [1, 2] {
        let subscriber = client_with(&router, "s", with_window_of_one(None));
        subscriber.subscribe("a", qos);
        publisher.publish(message("a", qos, &"x".repeat(50)));
        publisher.publish(message("a", qos, "fits"));
        assert_eq!(subscriber.delivery().payload.len(), 50);
        drop(subscriber);
        let again = client_with(&router, "s", with_window_of_one(Some(30)));
        assert!(again.session_present);
        assert_eq!(again.payload(), "fits", "at QoS {qos}");
        publisher.publish(message("a", qos, "and so on"));
        assert_eq!(again.payload(), "and so on");
        again.hears_nothing();
        again.link.close(WillFate::Discard, Some(0));
    }
}

#[test]
fn hundreds_of_messages_wait_for_a_client_that_is_away() {
    let router = start();
    let publisher = client(&router, "p");
    let subscriber = client_with(&router, "s", kept);
    subscriber.subscribe("a", 1);
    drop(subscriber);
    for number in 0..1_000 {
        publisher.publish(message("a", 1, &number.to_string()));
    }
    let again = client_with(&router, "s", |attach| {
        kept(attach);
        attach.receive_maximum = 3;
    });
    let mut unanswered: Vec<_> = (0..3).map(|_| again.delivery()).collect();
    again.hears_nothing();
    for number in 0..1_000 {
        let delivery = if unanswered.is_empty() { again.delivery() } else { unanswered.remove(0) };
        assert_eq!(delivery.payload, number.to_string());
        again.send(ClientPacket::PubAck { pkid: delivery.pkid });
    }
    again.hears_nothing();
}

#[test]
fn a_session_expires() {
    let router = start();
    let expiring = |attach: &mut Attach| {
        attach.clean_start = false;
        attach.session_expiry_s = 1;
        attach.will = Some(will(100));
    };
    let listener = client(&router, "l");
    listener.subscribe("will", 0);
    let subscriber = client_with(&router, "s", expiring);
    subscriber.subscribe("a", 1);
    drop(subscriber);
    std::thread::sleep(Duration::from_millis(1_300));
    assert!(!router.has_session(&Mount::Open, "s"));
    assert_eq!(listener.payload(), "gone", "with the session the will's delay ends");
    assert!(!client_with(&router, "s", expiring).session_present);
    assert_eq!(router.subscriptions(), 1);
}

#[test]
fn who_attaches_under_a_name_takes_it_over() {
    let router = start();
    let first = client_with(&router, "s", kept);
    first.subscribe("a", 1);
    let foreign = client_with(&router, "s", in_tenant("acme"));
    foreign.hears_nothing();
    let second = client_with(&router, "s", kept);
    assert_eq!(first.closed(), CloseReason::TakenOver);
    assert!(second.session_present);
    second.publish(message("a", 1, "mine"));
    assert_eq!(second.payload(), "mine");
    first.link.close(WillFate::Publish, Some(0));
    router.forget(&Mount::Open, "s").unwrap();
    assert_eq!(second.closed(), CloseReason::TakenOver);
    assert!(!client_with(&router, "s", kept).session_present);
    foreign.hears_nothing();
}

#[test]
fn a_will_follows_a_lost_connection() {
    let router = start();
    let listener = client(&router, "l");
    listener.subscribe("will", 1);
    let with_will = |delay_s| {
        move |attach: &mut Attach| {
            attach.will = Some(will(delay_s));
            attach.session_expiry_s = 100;
            attach.clean_start = false;
        }
    };
    drop(client_with(&router, "w", with_will(0)));
    assert_eq!(listener.payload(), "gone");
    client_with(&router, "w", with_will(0)).link.close(WillFate::Discard, None);
    listener.hears_nothing();
    drop(client_with(&router, "w", with_will(1)));
    let back = client_with(&router, "w", |attach| {
        with_will(0)(attach);
        attach.will = None;
    });
    std::thread::sleep(Duration::from_millis(1_100));
    listener.hears_nothing();
    back.link.close(WillFate::Publish, None);
    listener.hears_nothing();
    drop(client_with(&router, "w", with_will(1)));
    listener.hears_nothing();
    assert_eq!(listener.payload(), "gone", "after its delay");
}

#[test]
fn a_shared_subscriber_that_leaves_with_messages_unanswered_harms_nobody() {
    let router = start();
    let (publisher, listener) = (client(&router, "p"), client(&router, "l"));
    listener.subscribe("a", 0);
    for clean_start in [true, false] {
        let alone = client_with(&router, "s", |attach| {
            kept(attach);
            attach.clean_start = clean_start;
        });
        alone.subscribe("$share/g/a", 1);
        publisher.publish(message("a", 1, "x"));
        alone.delivery();
        alone.link.close(WillFate::Publish, Some(0));
        assert_eq!(listener.payload(), "x");
    }
    publisher.publish(message("a", 1, "alive"));
    assert_eq!(listener.payload(), "alive");
}

#[test]
fn a_kept_session_loses_what_its_client_may_not_subscribe_to_any_more() {
    let router = start();
    let publisher = client(&router, "p");
    let kept_subscriber = client_with(&router, "s", kept);
    for filter in ["a/#", "b", "$share/g/b", "c/+"] {
        kept_subscriber.subscribe(filter, 1);
    }
    drop(kept_subscriber);
    let other = client(&router, "o");
    other.subscribe("a/#", 1);
    let after_revocation = |attach: &mut Attach| {
        kept(attach);
        attach.may_subscribe = Box::new(|filter| filter == "c/+");
    };
    let back = client_with(&router, "s", after_revocation);
    assert!(back.session_present);
    assert_eq!(router.subscriptions(), 2, "its own that is left, and the other's");
    for topic in ["a/1", "b", "c/1"] {
        publisher.publish(message(topic, 1, topic));
    }
    assert_eq!((back.payload(), other.payload()), ("c/1".into(), "a/1".into()));
    back.hears_nothing();
    assert_eq!(back.unsubscribe("b"), [0x11], "there is none");
    drop(back);
    publisher.publish(message("a/2", 1, "queued for nobody but the other"));
    let again = client_with(&router, "s", kept);
    again.hears_nothing();
    again.subscribe("b", 1);
    publisher.publish(message("b", 1, "allowed again"));
    assert_eq!(again.payload(), "allowed again");
}
