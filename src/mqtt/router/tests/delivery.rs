//! Who gets what, at which QoS.

use super::*;

#[test]
fn a_delivery_has_the_lesser_qos() {
    let router = start();
    for version in [Version::V4, Version::V5] {
        let publisher = client_with(&router, "p", |attach| attach.version = version);
        for granted in 0..=2 {
            let subscriber = client_with(&router, "s", |attach| attach.version = version);
            subscriber.subscribe("a/+", granted);
            for published in [2, 0, 1, 0, 2] {
                publisher.publish(message("a/b", published, "x"));
            }
            for published in [2, 0, 1, 0, 2_u8] {
                let delivery = subscriber.received();
                assert_eq!((&*delivery.topic, delivery.qos), ("a/b", published.min(granted)));
                assert!(!delivery.retain && !delivery.dup);
            }
            subscriber.hears_nothing();
        }
    }
}

#[test]
fn thousands_at_qos_1_arrive_in_order() {
    let router = start();
    let (publisher, subscriber) = (client(&router, "p"), client(&router, "s"));
    subscriber.subscribe("#", 1);
    for number in 0..3_000 {
        publisher.publish(message("n", 1, &number.to_string()));
        assert_eq!(subscriber.payload(), number.to_string());
    }
}

#[test]
fn acknowledgements_may_come_in_any_order() {
    let router = start();
    let (publisher, subscriber) = (client(&router, "p"), client(&router, "s"));
    subscriber.subscribe("n", 1);
    for round in 0..10 {
        for number in 0..50 {
            publisher.publish(message("n", number % 2, &format!("{round} {number}")));
        }
        let mut deliveries: Vec<_> = (0..50).map(|_| subscriber.delivery()).collect();
        deliveries.reverse();
        for delivery in deliveries.iter().filter(|delivery| delivery.qos == 1) {
            subscriber.send(ClientPacket::PubAck { pkid: delivery.pkid });
        }
    }
    subscriber.hears_nothing();
}

#[test]
fn a_full_link_says_when_it_is_ready() {
    let router = start();
    let (publisher, subscriber) = (client(&router, "p"), client(&router, "s"));
    subscriber.subscribe("last", 0);
    let busy: usize = (0..20_000).map(|_| publisher.send(ClientPacket::Publish(message("n", 0, "x")))).sum();
    // How often it was full is up to the machine; that it never stalls is not.
    assert!(busy < 20_000);
    publisher.send(ClientPacket::Publish(message("last", 0, "x")));
    assert_eq!(subscriber.payload(), "x");
}

#[test]
fn qos_2_is_passed_on_once() {
    let router = start();
    let (publisher, subscriber) = (client(&router, "p"), client(&router, "s"));
    subscriber.subscribe("a", 2);
    let publish = message("a", 2, "once");
    publisher.send(ClientPacket::Publish(publish.clone()));
    publisher.send(ClientPacket::Publish(Publish { dup: true, ..publish }));
    for _ in 0..2 {
        assert_eq!(publisher.packet(), ServerPacket::PubRec { pkid: 7, reason: 0 });
    }
    publisher.send(ClientPacket::PubRel { pkid: 7 });
    assert_eq!(publisher.packet(), ServerPacket::PubComp { pkid: 7, reason: 0 });
    publisher.send(ClientPacket::PubRel { pkid: 7 });
    assert_eq!(publisher.packet(), ServerPacket::PubComp { pkid: 7, reason: 0x92 });
    assert_eq!(subscriber.payload(), "once");
    subscriber.hears_nothing();
}

#[test]
fn who_releases_nothing_is_cut_at_its_receive_maximum() {
    let router = start();
    let publisher = client_with(&router, "p", |attach| attach.unreleased_max = 3);
    for pkid in [1, 2, 3, 2] {
        publisher.send(ClientPacket::Publish(Publish { pkid, ..message("a", 2, "x") }));
        assert_eq!(publisher.packet(), ServerPacket::PubRec { pkid, reason: 0 });
    }
    publisher.send(ClientPacket::Publish(Publish { pkid: 4, ..message("a", 2, "x") }));
    assert_eq!(publisher.closed(), CloseReason::ReceiveMaximumExceeded);
}

#[test]
fn retained_messages_come_at_once_and_go_with_an_empty_one() {
    let router = start();
    let publisher = client(&router, "p");
    let retained = |topic: &str, payload: &str| Publish { retain: true, ..message(topic, 1, payload) };
    for number in 0..300 {
        publisher.publish(retained(&format!("r/{number}"), "x"));
    }
    publisher.publish(message("r/1", 1, ""));
    publisher.publish(retained("r/2", ""));
    let subscriber = client_with(&router, "s", |attach| attach.receive_maximum = 10);
    subscriber.subscribe("r/#", 1);
    for _ in 0..299 {
        let delivery = subscriber.received();
        assert!(delivery.retain && delivery.qos == 1 && &*delivery.topic != "r/2");
    }
    subscriber.hears_nothing();
    publisher.publish(retained("r/1", "new"));
    let live = subscriber.received();
    assert!(!live.retain, "a live delivery [MQTT-3.3.1-9]");

    // Again at every SUBSCRIBE, unless the options say otherwise.
    subscriber.subscribe("r/1", 0);
    assert_eq!(subscriber.payload(), "new");
    let options = |retain_handling| Subscription { retain_handling, ..subscription("r/1", 0) };
    subscriber.subscribe_with(None, options(RetainHandling::IfNew));
    subscriber.hears_nothing();
    subscriber.unsubscribe("r/1");
    subscriber.subscribe_with(None, options(RetainHandling::IfNew));
    assert_eq!(subscriber.payload(), "new");
    subscriber.unsubscribe("r/1");
    subscriber.subscribe_with(None, options(RetainHandling::Never));
    subscriber.hears_nothing();
}

#[test]
fn a_filter_that_a_packet_repeats_is_looked_up_once() {
    let router = start();
    let (publisher, subscriber) = (client(&router, "p"), client(&router, "s"));
    publisher.publish(Publish { retain: true, ..message("r/1", 1, "x") });
    let subscriptions = vec![subscription("r/+", 0), subscription("r/1", 0), subscription("r/+", 1)];
    subscriber.send(ClientPacket::Subscribe { pkid: 3, identifier: None, subscriptions });
    assert_eq!(subscriber.answer(), ServerPacket::SubAck { pkid: 3, reasons: vec![0, 0, 1] });
    let mut qos = [subscriber.received().qos, subscriber.received().qos];
    qos.sort_unstable();
    assert_eq!(qos, [0, 1], "one of each filter, with the options of its last");
    subscriber.hears_nothing();
}

#[test]
fn retained_messages_come_as_the_client_takes_them() {
    let router = start();
    let publisher = client(&router, "p");
    for number in 0..500 {
        publisher.publish(Publish { retain: true, ..message(&format!("r/{number:03}"), 1, "x") });
    }
    let subscriber = client_with(&router, "s", |attach| {
        kept(attach);
        attach.receive_maximum = 1;
    });
    subscriber.subscribe("r/+", 1);
    assert_eq!(&*subscriber.received().topic, "r/000");
    drop(subscriber);
    // Cleared before it was looked up.
    publisher.publish(Publish { retain: true, ..message("r/499", 1, "") });
    let again = client_with(&router, "s", |attach| {
        kept(attach);
        attach.receive_maximum = 1;
    });
    for number in 1..499 {
        let delivery = again.received();
        assert_eq!((&*delivery.topic, delivery.retain), (&*format!("r/{number:03}"), true));
    }
    let clearing = again.received();
    assert!(!clearing.retain && clearing.payload.is_empty(), "what waited behind them");
    again.hears_nothing();
}

#[test]
fn options_and_properties_of_mqtt_5() {
    let router = start();
    let (one, other) = (client(&router, "one"), client(&router, "other"));
    let options = Subscription { no_local: true, retain_as_published: true, ..subscription("a/#", 1) };
    one.subscribe_with(Some(12), options);
    one.publish(message("a/b", 0, "mine"));
    one.hears_nothing();
    let properties = PublishProperties {
        payload_is_text: Some(true),
        message_expiry_s: Some(60),
        response_topic: Some("answer/here".into()),
        correlation_data: Some(Bytes::from_static(b"\0\xFF")),
        user_properties: vec![("a".into(), "1".into()), ("a".into(), "2".into())],
        content_type: Some("text/plain".into()),
        ..PublishProperties::default()
    };
    let publish =
        Publish { retain: true, properties: Some(Box::new(properties.clone())), ..message("a/b", 0, "theirs") };
    other.publish(publish);
    let delivery = one.received();
    assert!(delivery.retain, "as published");
    let expected = PublishProperties { subscription_identifiers: vec![12], ..properties };
    assert_eq!(delivery.properties.as_deref(), Some(&expected));
}

#[test]
fn a_message_that_expired_is_not_delivered() {
    let router = start();
    let publisher = client(&router, "p");
    let expiring = |expiry_s| {
        let properties = PublishProperties { message_expiry_s: Some(expiry_s), ..PublishProperties::default() };
        Publish { retain: true, properties: Some(Box::new(properties)), ..message(&format!("e/{expiry_s}"), 1, "x") }
    };
    publisher.publish(expiring(1));
    publisher.publish(expiring(100));
    std::thread::sleep(Duration::from_millis(1_100));
    let subscriber = client(&router, "s");
    subscriber.subscribe("e/#", 0);
    let delivery = subscriber.received();
    assert_eq!(&*delivery.topic, "e/100");
    assert!(delivery.properties.unwrap().message_expiry_s.unwrap() < 100, "what is left of it");
    subscriber.hears_nothing();
}

#[test]
fn unsubscribed_means_nothing_more() {
    let router = start();
    let (publisher, subscriber) = (client(&router, "p"), client(&router, "s"));
    subscriber.subscribe("a", 1);
    subscriber.subscribe("$share/g/a", 1);
    assert_eq!(router.subscriptions(), 2);
    for _ in 0..20 {
        subscriber.unsubscribe("a");
        subscriber.subscribe("a", 0);
        subscriber.subscribe("a", 1);
        publisher.publish(message("a", 1, "both"));
        assert_eq!((subscriber.payload().as_str(), subscriber.payload().as_str()), ("both", "both"));
    }
    subscriber.hears_nothing();
    assert_eq!(subscriber.unsubscribe("a"), [0]);
    assert_eq!(subscriber.unsubscribe("a"), [0x11]);
    publisher.publish(message("a", 1, "shared only"));
    assert_eq!(subscriber.payload(), "shared only");
    subscriber.hears_nothing();
    assert_eq!(subscriber.unsubscribe("$share/g/a"), [0]);
    assert_eq!(router.subscriptions(), 0);
    publisher.publish(message("a", 1, "nobody"));
    subscriber.hears_nothing();
    subscriber.subscribe("$share/g/a", 0);
    publisher.publish(message("a", 1, "again"));
    assert_eq!(subscriber.payload(), "again");
    subscriber.hears_nothing();
}

#[test]
fn a_share_group_gets_each_message_once() {
    let router = start();
    let publisher = client(&router, "p");
    let members = [client(&router, "a"), client(&router, "b"), client(&router, "c")];
    for member in &members {
        member.subscribe("$share/g/t/#", 1);
    }
    let stranger = client_with(&router, "d", in_tenant("acme"));
    stranger.subscribe("$share/g/t/#", 1);
    let other_filter = client(&router, "e");
    other_filter.subscribe("$share/g/u", 1);
    for number in 0..90 {
        publisher.publish(message("t/x", 1, &number.to_string()));
    }
    let mut payloads = Vec::new();
    while payloads.len() < 90 {
        for member in &members {
            while let Ok(FromRouter::Packet(ServerPacket::Publish(publish))) = member.inbox.recv_timeout(QUIET) {
                member.send(ClientPacket::PubAck { pkid: publish.pkid });
                payloads.push(String::from_utf8(publish.payload.to_vec()).unwrap().parse::<u32>().unwrap());
            }
        }
    }
    payloads.sort_unstable();
    assert_eq!(payloads, (0..90).collect::<Vec<_>>());
    stranger.hears_nothing();
    other_filter.hears_nothing();
}

#[test]
fn tenants_do_not_hear_each_other() {
    let router = start();
    let (acme, other) = (client_with(&router, "c", in_tenant("acme")), client_with(&router, "c", in_tenant("other")));
    let open = client(&router, "c");
    for listener in [&acme, &other, &open] {
        listener.subscribe("#", 2);
        listener.subscribe("+/+/#", 0);
        listener.subscribe("$SYS/#", 0);
    }
    let will = Will {
        topic: "will/x".into(),
        payload: Bytes::from_static(b"gone"),
        qos: 1,
        retain: true,
        delay_s: 0,
        properties: None,
    };
    let lost = client_with(&router, "lost", |attach| {
        in_tenant("acme")(attach);
        attach.will = Some(will);
    });
    lost.publish(Publish { retain: true, ..message("t", 1, "secret") });
    drop(lost);
    // It comes by two filters, at the QoS of the first.
    let secret = acme.received();
    assert_eq!((&secret.payload[..], secret.qos), (&b"secret"[..], 1));
    assert_eq!(acme.payload(), "gone");
    acme.hears_nothing();
    for stranger in [&other, &open] {
        stranger.hears_nothing();
        stranger.subscribe("#", 2);
        stranger.hears_nothing();
    }
    assert!(router.has_subscribers(&Mount::Open));
}

#[test]
fn dollar_topics_are_off_wildcards() {
    let router = start();
    let (wild, exact) = (client(&router, "w"), client(&router, "x"));
    wild.subscribe("#", 0);
    wild.subscribe("+/a", 0);
    exact.subscribe("$thing/+", 0);
    exact.publish(message("$thing/a", 0, "x"));
    assert_eq!(&*exact.received().topic, "$thing/a");
    wild.hears_nothing();
}

#[test]
fn fixes_reach_subscribers_of_their_mount() {
    let router = start();
    let subscriber = client_with(&router, "s", in_tenant("acme"));
    let acme = Mount::Tenant(TenantId::new("acme").unwrap());
    assert!(!router.has_subscribers(&acme));
    router.publish_fix(acme.clone(), "tenant/acme/driver/d1/location", 1, Bytes::from_static(b"nobody"));
    subscriber.subscribe("tenant/acme/driver/+/location", 1);
    assert!(router.has_subscribers(&acme) && !router.has_subscribers(&Mount::Open));
    for number in 0..1_000 {
        router.publish_fix(acme.clone(), "tenant/acme/driver/d1/location", 1, Bytes::from(number.to_string()));
        router.publish_fix(Mount::Open, "tenant/acme/driver/d1/location", 1, Bytes::from_static(b"open"));
        if number % 50 == 49 {
            for expected in number - 49..=number {
                assert_eq!(subscriber.payload(), expected.to_string());
            }
        }
    }
    subscriber.hears_nothing();
    assert_eq!(router.fixes_dropped(), 0);
    drop(subscriber);
    while router.has_subscribers(&acme) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn overlapping_subscriptions_are_one_delivery() {
    let router = start();
    let (publisher, subscriber) = (client(&router, "p"), client(&router, "s"));
    subscriber.subscribe_with(Some(1), Subscription { retain_as_published: true, ..subscription("a/#", 0) });
    subscriber.subscribe_with(Some(2), subscription("a/+", 2));
    subscriber.subscribe_with(Some(3), Subscription { no_local: true, ..subscription("+/b", 1) });
    let other = client(&router, "other");
    other.subscribe("a/b", 1);
    publisher.publish(Publish { retain: true, ..message("a/b", 2, "x") });
    let delivery = subscriber.received();
    assert_eq!((delivery.qos, delivery.retain), (2, true));
    let mut identifiers = delivery.properties.unwrap().subscription_identifiers;
    identifiers.sort_unstable();
    assert_eq!(identifiers, [1, 2, 3]);
    subscriber.hears_nothing();
    assert_eq!(other.received().qos, 1);
    subscriber.publish(message("a/b", 2, "own"));
    let mut identifiers = subscriber.received().properties.unwrap().subscription_identifiers;
    identifiers.sort_unstable();
    assert_eq!(identifiers, [1, 2], "the third is not told what it published itself");
}

#[test]
fn what_a_share_member_leaves_behind_goes_to_another() {
    let router = start();
    let publisher = client(&router, "p");
    let leaving = client_with(&router, "leaving", |attach| attach.receive_maximum = 3);
    leaving.subscribe("$share/g/a", 2);
    for (number, qos) in [(0, 1), (1, 2), (2, 1), (3, 1), (4, 2), (5, 0)] {
        publisher.publish(message("a", qos, &number.to_string()));
    }
    let sent: Vec<_> = (0..3).map(|_| leaving.delivery()).collect();
    leaving.send(ClientPacket::PubAck { pkid: sent[2].pkid });
    assert_eq!(leaving.delivery().payload, "3");
    let staying = client_with(&router, "staying", kept);
    staying.subscribe("$share/g/a", 1);
    drop(leaving);
    let passed_on: Vec<_> = (0..3).map(|_| staying.payload()).collect();
    assert_eq!(passed_on, ["0", "3", "4"], "not what was sent at QoS 2, was acknowledged, or may be lost");
    staying.hears_nothing();
}
