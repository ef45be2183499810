//! Bounds, subscribers that do not read, and a router that dies.

use super::*;

#[test]
fn a_subscriber_that_does_not_read_is_cut_and_harms_nobody() {
    let router = start_with(Config { stalled_s_max: 1, queue_messages_max: 100, ..Config::default() });
    let (slow, quick) = (client(&router, "slow"), client(&router, "quick"));
    slow.subscribe("a/#", 0);
    quick.subscribe("a/#", 1);
    slow.is_full.store(true, Ordering::SeqCst);
    let publisher = client(&router, "p");
    for number in 0..2_000 {
        publisher.publish(message("a/b", 1, &number.to_string()));
        assert_eq!(quick.payload(), number.to_string());
    }
    assert_eq!(slow.closed(), CloseReason::Stalled);
    publisher.publish(message("a/b", 1, "on"));
    assert_eq!(quick.payload(), "on");
}

#[test]
fn a_paused_subscriber_goes_on_when_resumed() {
    let router = start();
    let (publisher, subscriber) = (client(&router, "p"), client(&router, "s"));
    subscriber.subscribe("a", 0);
    // The outbox has answered for the SUBACK.
    subscriber.hears_nothing();
    subscriber.is_full.store(true, Ordering::SeqCst);
    for number in 0..1_000 {
        publisher.publish(message("a", 1, &number.to_string()));
    }
    assert_eq!(subscriber.payload(), "0");
    subscriber.hears_nothing();
    subscriber.is_full.store(false, Ordering::SeqCst);
    subscriber.link.resume();
    for number in 1..1_000 {
        assert_eq!(subscriber.payload(), number.to_string(), "{number}");
    }
}

#[test]
fn bounds_are_answered_with_quota_exceeded() {
    let config = Config { sessions_max: 2, subscriptions_max: 2, retained_max: 1, ..Config::default() };
    let router = start_with(config);
    let (one, two) = (client(&router, "one"), client(&router, "two"));
    let (attach, inbox, _) = attach("three");
    let link = router.attach(attach).unwrap();
    assert_eq!(inbox.recv_timeout(SOON), Ok(FromRouter::Closed(CloseReason::QuotaExceeded)));
    drop(link);
    one.subscribe("a", 0);
    one.subscribe("b", 0);
    assert_eq!(one.subscribe_with(None, subscription("c", 0)), [0x97], "subscriptions of a session");
    assert_eq!(one.subscribe_with(None, subscription("a", 1)), [1], "not another one");
    one.unsubscribe("b");
    assert_eq!(one.subscribe_with(None, subscription(&"a/".repeat(200), 0)), [0x97], "a filter that is too deep");
    one.subscribe("$share/g/a", 1);
    one.unsubscribe("a");
    one.subscribe("$share/h/a", 1);
    two.publish(message("a", 1, "to both groups"));
    assert_eq!([one.payload(), one.payload()], ["to both groups"; 2]);
    for topic in ["r/1", "r/2"] {
        two.publish(Publish { retain: true, ..message(topic, 1, topic) });
    }
    assert_eq!(router.unretained(), 1);
    two.subscribe("r/#", 1);
    assert_eq!(two.payload(), "r/1");
    two.hears_nothing();
}

#[test]
fn who_falls_too_far_behind_loses_the_oldest() {
    let router = start_with(Config { queue_messages_max: 10, ..Config::default() });
    let publisher = client(&router, "p");
    let subscriber = client_with(&router, "s", kept);
    subscriber.subscribe("a", 1);
    drop(subscriber);
    for number in 0..30 {
        publisher.publish(message("a", u8::from(number % 2 == 0), &number.to_string()));
    }
    assert_eq!(router.messages_dropped(), 5, "those at QoS 0 were never kept");
    let again = client_with(&router, "s", kept);
    let payloads: Vec<_> = (0..10).map(|_| again.payload()).collect();
    assert_eq!(payloads, ["10", "12", "14", "16", "18", "20", "22", "24", "26", "28"]);
    again.hears_nothing();
}

#[test]
fn with_all_memory_used_up_everybody_has_an_even_share() {
    // A message with its topic of 1 byte is counted as 96 bytes more than its payload.
    let config = Config { total_queue_bytes_max: 11_000, total_retained_bytes_max: 3_000, ..Config::default() };
    let router = start_with(config);
    let (publisher, online) = (client(&router, "p"), client(&router, "online"));
    let payload = "x".repeat(903);
    online.subscribe("#", 1);
    for (name, count) in [("h", 100), ("m", 3)] {
        let away = client_with(&router, name, kept);
        away.subscribe(name, 1);
        drop(away);
        for _ in 0..count {
            publisher.publish(message(name, 1, &payload));
            assert_eq!(online.payload().len(), 903, "who answers its messages at once needs no share");
        }
    }
    // The first had all of it but what was on its way to another, and keeps it. The share of each of four is 2,750 bytes.
    let received = |name| {
        let again = client_with(&router, name, kept);
        std::iter::from_fn(|| match again.inbox.recv_timeout(QUIET).ok()? {
            FromRouter::Packet(ServerPacket::Publish(publish)) => {
                again.send(ClientPacket::PubAck { pkid: publish.pkid });
                Some(())
            }
            other => panic!("{other:?} is no PUBLISH"),
        })
        .count()
    };
    publisher.publish(message("h", 1, &payload));
    assert_eq!((received("h"), received("m")), (10, 2));
    assert_eq!(router.messages_dropped(), 92);

    let retained = |topic: &str| Publish { retain: true, ..message(topic, 1, &payload) };
    let unretained = |mount: &str, topics: &[&str]| {
        let before = router.unretained();
        let publisher = client_with(&router, "p", in_tenant(mount));
        topics.iter().for_each(|topic| publisher.publish(retained(topic)));
        router.unretained() - before
    };
    assert_eq!(unretained("hoarding", &["a", "b", "c", "d"]), 1);
    assert_eq!(unretained("modest", &["a", "b"]), 1, "three namespaces, and 1,000 bytes for each");
    assert_eq!(unretained("hoarding", &["a", "d"]), 1, "what it has it may replace");
}

#[test]
fn who_never_acknowledges_holds_no_more_than_its_bytes() {
    // A message with its topic of 1 byte is counted as 97 bytes more than its payload.
    let router = start_with(Config { queue_bytes_max: 10_000, total_queue_bytes_max: 20_000, ..Config::default() });
    let publisher = client(&router, "p");
    let payload = |number: usize| format!("{number:0903}");
    let held = |name: &str| {
        let silent = client_with(&router, name, kept);
        silent.subscribe(name, 1);
        for number in 0..50 {
            publisher.publish(message(name, 1, &payload(number)));
        }
        let mut sent = Vec::new();
        while let Ok(FromRouter::Packet(ServerPacket::Publish(publish))) = silent.inbox.recv_timeout(QUIET) {
            sent.push(String::from_utf8(publish.payload.to_vec()).unwrap());
        }
        (silent, sent)
    };
    let numbers = |numbers: std::ops::Range<usize>| numbers.map(payload).collect::<Vec<_>>();
    let (silent, sent) = held("s");
    assert_eq!(sent, numbers(0..6), "half of the bytes, and the one beyond");
    assert_eq!(router.messages_dropped(), 50 - 10, "four more wait");
    drop(silent);
    let again = client_with(&router, "s", kept);
    let all: Vec<_> = (0..10).map(|_| again.payload()).collect();
    assert_eq!(all, [numbers(0..6), numbers(46..50)].concat(), "what was sent before, and the newest");
    again.hears_nothing();
    drop(again);

    // Several of them have no more than all may have.
    let before = router.messages_dropped();
    let silent: Vec<_> = ["x", "y", "z", "u", "v"].into_iter().map(held).collect();
    let counts: Vec<_> = silent.iter().map(|(_, sent)| sent.len()).collect();
    let lost = usize::try_from(router.messages_dropped() - before).unwrap();
    assert_eq!(counts[..2], [6, 6], "10,000 bytes each");
    assert!(counts[2..].iter().all(|count| (1..=4).contains(count)), "{counts:?}: a share is 2,857 to 4,000 bytes");
    assert_eq!(5 * 50 - lost, 10 + 10 + counts[2..].iter().sum::<usize>());
}

#[test]
fn a_packet_too_large_for_the_client_is_left_out() {
    let router = start();
    let publisher = client(&router, "p");
    let subscriber = client_with(&router, "s", |attach| attach.packet_bytes_max = Some(20));
    subscriber.subscribe("a", 1);
    for payload in ["x".repeat(50).as_str(), "fits"] {
        for _ in 0..150 {
            publisher.publish(message("a", 1, payload));
            if payload == "fits" {
                assert_eq!(subscriber.payload(), "fits");
            }
        }
    }
}

#[test]
fn a_router_that_died_closes_its_links_and_new_ones_work() {
    let router = start();
    for _ in 0..3 {
        let publisher = client(&router, "p");
        let subscriber = client_with(&router, "s", kept);
        let away = client_with(&router, "away", kept);
        away.subscribe("a", 1);
        drop(away);
        subscriber.subscribe("a", 1);
        publisher.publish(Publish { retain: true, ..message("a", 1, "before") });
        assert_eq!(subscriber.payload(), "before");
        drop(router.inbox.send(Command::Kill));
        assert_eq!(subscriber.closed(), CloseReason::Unavailable);
        drop(subscriber);
        let again = client_with(&router, "s", kept);
        assert!(!again.session_present);
        again.subscribe("a", 1);
        assert_eq!(again.payload(), "before", "retained messages outlive the router");
        assert_eq!(publisher.closed(), CloseReason::Unavailable);
        let publisher = client(&router, "p");
        publisher.publish(message("a", 1, "after"));
        assert_eq!(again.payload(), "after");
        assert!(!client_with(&router, "away", kept).session_present, "its queue is gone");
        again.link.close(WillFate::Discard, Some(0));
        router.forget(&Mount::Open, "away").unwrap();
    }
}

#[test]
fn the_router_ends_with_its_last_handle() {
    let router = start();
    let subscriber = client(&router, "s");
    subscriber.subscribe("a", 0);
    drop(router);
    subscriber.publish(message("a", 0, "a link keeps it"));
    assert_eq!(subscriber.payload(), "a link keeps it");
}

#[test]
fn a_thousand_linked_clients_are_served() {
    let router = start();
    let started = std::time::Instant::now();
    let clients: Vec<_> = (0..1_000).map(|number| client(&router, &format!("c{number}"))).collect();
    for client in &clients {
        client.subscribe("all", 1);
    }
    clients[0].publish(message("all", 0, "x"));
    for client in &clients {
        assert_eq!(client.payload(), "x");
    }
    assert!(started.elapsed() < SOON * 3);
}
