//! The latest fixes, offered as retained messages.

use std::sync::atomic::AtomicUsize;

use super::*;

/// Drivers of one tenant.
struct Fleet(usize);

impl Latest for Fleet {
    fn matching(&self, mount: &Mount, filter: &str) -> Offers {
        let count = if *mount == Mount::Open && filter.contains("fix/") { self.0 } else { 0 };
        Box::new((0..count).map(|number| Some((format!("fix/{number}").into(), Bytes::from(number.to_string())))))
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

/// Looks that the router takes.
#[derive(Default)]
struct Looks {
    /// At drivers of a tenant that has no end of them, and nothing to offer.
    endless: AtomicUsize,
    /// How many those were at the first and at the last look at another tenant.
    meanwhile: [AtomicUsize; 2],
}

/// How many fixes the other tenant has.
const MODEST: usize = 1_000;

struct Endless(Arc<Looks>);

impl Latest for Endless {
    fn matching(&self, mount: &Mount, _: &str) -> Offers {
        let looks = Arc::clone(&self.0);
        if *mount == Mount::Tenant(TenantId::new("endless").unwrap()) {
            return Box::new(std::iter::repeat_with(move || {
                looks.endless.fetch_add(1, Ordering::Relaxed);
                None
            }));
        }
        Box::new((0..MODEST).map(move |number| {
            let endless = looks.endless.load(Ordering::Relaxed);
            looks.meanwhile[usize::from(number > 0)].store(endless, Ordering::Relaxed);
            Some((format!("fix/{number}").into(), Bytes::from(number.to_string())))
        }))
    }
}

#[test]
fn nobody_waits_for_what_another_tenant_has_looked_up() {
    let looks = Arc::new(Looks::default());
    let latest: Arc<dyn Latest> = Arc::new(Endless(Arc::clone(&looks)));
    let surroundings = Surroundings { latest: Some(latest), ..Surroundings::default() };
    let router = Router::start(Config::default(), surroundings).unwrap();
    let greedy: Vec<_> =
        (0..100).map(|number| client_with(&router, &number.to_string(), in_tenant("endless"))).collect();
    greedy.iter().for_each(|client| client.subscribe("fix/+", 0));
    let modest = client_with(&router, "m", in_tenant("modest"));
    modest.subscribe("fix/+", 0);
    for number in 0..MODEST {
        assert_eq!(modest.payload(), number.to_string());
    }
    let [first, last] = [0, 1].map(|place| looks.meanwhile[place].load(Ordering::Relaxed));
    // Sixteen turns for the one, and as many of 256 looks for all of the others together.
    assert!(last - first <= 20 * 256, "{} looks at the endless", last - first);
    assert!(last > first, "which were looked at all the same");
}
