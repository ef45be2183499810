//! The latest fixes, offered as retained messages.

use super::*;

/// Drivers of one tenant.
struct Fleet(usize);

impl Latest for Fleet {
    fn matching(&self, mount: &Mount, filter: &str) -> Box<dyn Iterator<Item = Offer> + Send> {
        let count = if *mount == Mount::Open && filter.contains("fix/") { self.0 } else { 0 };
        Box::new((0..count).map(|number| (format!("fix/{number}").into(), Bytes::from(number.to_string()))))
    }
}

fn start_with_fleet() -> Router {
    let surroundings = Surroundings { latest: Some(Arc::new(Fleet(1_000))), ..Surroundings::default() };
    Router::start(Config { queue_messages_max: 10, ..Config::default() }, surroundings).unwrap()
}

#[test]
fn a_new_subscription_is_offered_all_however_small_its_window() {
    let router = start_with_fleet();
    let subscriber = client_with(&router, "s", |attach| attach.receive_maximum = 3);
    subscriber.subscribe_with(Some(5), subscription("fix/+", 2));
    let publisher = client(&router, "p");
    for number in 0..1_000 {
        let delivery = subscriber.received();
        assert_eq!((delivery.payload, delivery.retain, delivery.qos), (Bytes::from(number.to_string()), true, 1));
        assert_eq!(delivery.properties.unwrap().subscription_identifiers, [5]);
    }
    subscriber.hears_nothing();
    assert_eq!(router.messages_dropped(), 0);
    let handled = |retain_handling| Subscription { retain_handling, ..subscription("fix/+", 0) };
    subscriber.subscribe_with(None, handled(RetainHandling::IfNew));
    subscriber.subscribe_with(None, handled(RetainHandling::Never));
    subscriber.subscribe("$share/g/fix/+", 0);
    subscriber.subscribe("other/+", 0);
    subscriber.hears_nothing();
    publisher.publish(message("fix/1", 0, "live"));
    for _ in 0..2 {
        let live = subscriber.received();
        assert_eq!((live.payload, live.retain), (Bytes::from_static(b"live"), false));
    }
    let stranger = client_with(&router, "s", in_tenant("acme"));
    stranger.subscribe("fix/+", 0);
    stranger.hears_nothing();
}

#[test]
fn who_unsubscribes_is_offered_no_more() {
    let router = start_with_fleet();
    let subscriber = client_with(&router, "s", |attach| attach.receive_maximum = 1);
    subscriber.subscribe("fix/#", 1);
    let first = subscriber.delivery();
    subscriber.unsubscribe("fix/#");
    subscriber.send(ClientPacket::PubAck { pkid: first.pkid });
    let mut offered = 1;
    while let Ok(FromRouter::Packet(ServerPacket::Publish(publish))) = subscriber.inbox.recv_timeout(QUIET) {
        subscriber.send(ClientPacket::PubAck { pkid: publish.pkid });
        offered += 1;
    }
    assert!(offered < 100, "{offered}: only what was looked up before");
}
