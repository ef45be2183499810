//! Promise 3 by codec: the books of every format balance at every scrape, while all of them are sent at once, after `kill -9` in
//! the middle of that, and at the end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rhumb::fix::Fix;
use rhumb::units::{Position, TimestampMs};
use rhumb::wire::compact;

use crate::support::http;
use crate::support::mqtt::{self, Client, PUBACK, Version};
use crate::support::payloads::{TIME_S, flespi, osmand, owntracks};
use crate::support::rhumb::{Books, Rhumb};
use crate::support::{native_fix, topic, wait_for};

/// Least looks at the books while fixes come in, in each of the two rounds.
const SCRAPES: usize = 60;

/// Steps that are under way at once.
const STEPS_IN_FLIGHT: u64 = 8;

/// Fixes of a compact batch.
const BATCH_FIXES: u64 = 3;

/// A device that speaks one format. Each step is a payload, the same payload again, and one that cannot be read.
struct Device {
    tenant: &'static str,
    codec: &'static str,
    driver: &'static str,
    /// Where it publishes; `None` for the door of OsmAnd.
    topic: Option<String>,
    payload: fn(u64) -> Vec<u8>,
    rubbish: &'static [u8],
    /// Fixes of a payload.
    fixes: u64,
    /// Steps that were acknowledged.
    steps: u64,
    /// Fixes that were sent, and those of them in steps that were acknowledged.
    sent: u64,
    acked: u64,
}

impl Device {
    fn new(
        (tenant, codec, driver): (&'static str, &'static str, &'static str),
        topic: Option<String>,
        payload: fn(u64) -> Vec<u8>,
        rubbish: &'static [u8],
    ) -> Self {
        let fixes = if codec == "compact" { BATCH_FIXES } else { 1 };
        Self { tenant, codec, driver, topic, payload, rubbish, fixes, steps: 0, sent: 0, acked: 0 }
    }

    fn all() -> Vec<Self> {
        let native: fn(u64) -> Vec<u8> = |n| native_fix(n).into_bytes();
        let flespi_topic = "flespi/message/gw/devices/flespi";
        vec![
            Self::new(("acme", "native", "native"), Some(topic("acme", "native")), native, b"hello"),
            Self::new(("default", "native", "native"), Some(topic("default", "native")), native, b"hello"),
            Self::new(("acme", "compact", "compact"), Some(topic("acme", "compact")), batch, b"\x01\xff"),
            Self::new(
                ("default", "owntracks", "u:d"),
                Some("owntracks/u/d".into()),
                |n| owntracks(TIME_S + n).into(),
                b"{}",
            ),
            Self::new(
                ("default", "flespi", "flespi"),
                Some(flespi_topic.into()),
                |n| flespi(TIME_S + n).into(),
                b"[1]",
            ),
            Self::new(
                ("default", "osmand", "osmand"),
                None,
                |n| osmand("osmand", TIME_S + n).into(),
                b"id=osmand&lat=x",
            ),
        ]
    }

    /// Whose its page of the books is.
    fn name(&self) -> (&'static str, String) {
        (self.tenant, self.codec.to_owned())
    }

    /// Sends steps until the server is gone or it is told to stop, and then no step that is not acknowledged is under way. Begins
    /// with those that were not acknowledged before.
    fn run(&mut self, mqtt: SocketAddr, http: SocketAddr, is_over: &AtomicBool) {
        let client_id = format!("{}-{}", self.tenant, self.driver);
        let mut client = self.topic.as_ref().map(|_| Client::connect(mqtt, Version::V5, &client_id));
        while !is_over.load(Ordering::Relaxed) {
            let mut payloads = Vec::new();
            for n in self.steps..self.steps + STEPS_IN_FLIGHT {
                payloads.extend([(self.payload)(n), (self.payload)(n), self.rubbish.to_vec()]);
            }
            let fixes = STEPS_IN_FLIGHT * (2 * self.fixes + 1);
            self.sent += fixes;
            let is_acked = match &mut client {
                Some(client) => self.publish(client, &payloads),
                None => payloads.iter().all(|query| {
                    let path = format!("/osmand?{}", str::from_utf8(query).unwrap());
                    http::try_request(http, "GET", &path, &[], b"").is_ok_and(|answer| answer.status == 200)
                }),
            };
            if !is_acked {
                return;
            }
            self.acked += fixes;
            self.steps += STEPS_IN_FLIGHT;
        }
    }

    fn publish(&self, client: &mut Client, payloads: &[Vec<u8>]) -> bool {
        let topic = self.topic.as_ref().unwrap();
        let publish = |(id, payload): (u16, &Vec<u8>)| mqtt::publish(client.version, topic, payload, 1, id);
        let burst: Vec<u8> = (1..).zip(payloads).flat_map(publish).collect();
        client.send(&burst).is_ok()
            && (1..).zip(payloads).all(|(id, _)| {
                let ack = client.receive().filter(|packet| packet.kind() == PUBACK);
                ack.is_some_and(|ack| (ack.id(), ack.ack_reason()) == (id, 0))
            })
    }
}

fn batch(n: u64) -> Vec<u8> {
    let position = Position { latitude_e7: 460_569_000, longitude_e7: 145_058_000 };
    let time_ms = |n: u64| TimestampMs((TIME_S + n) as i64 * 1_000);
    let fixes: Vec<Fix> = (0..BATCH_FIXES).map(|fix| Fix::at(time_ms(BATCH_FIXES * n + fix), position)).collect();
    let mut batch = Vec::new();
    compact::encode(&fixes, &mut batch);
    batch
}

/// The books of every tenant and codec. That they balance is held where they are read.
fn scrape(rhumb: &Rhumb) -> BTreeMap<(&'static str, String), Books> {
    let of_tenant =
        |tenant| rhumb.books_by_codec(tenant).1.into_iter().map(move |(codec, books)| ((tenant, codec), books));
    ["default", "acme"].into_iter().flat_map(of_tenant).collect()
}

/// Scrapes while all devices send, until each was heard with something of every kind since the first scrape.
fn scrape_under_load(rhumb: &Rhumb, devices: usize) {
    let begun = scrape(rhumb);
    (1..SCRAPES).for_each(|_| drop(scrape(rhumb)));
    wait_for("fixes of every device", || {
        let now = scrape(rhumb);
        let has_grown = |(whose, books): (_, &Books)| {
            let begun = begun.get(whose).copied().unwrap_or_default();
            books.stored > begun.stored && books.duplicate > begun.duplicate && books.rejected > begun.rejected
        };
        (now.len() == devices && now.iter().all(has_grown)).then_some(())
    });
}

/// Runs the devices for as long as `look` looks, and stops them also if it panics.
fn run_while(rhumb: &mut Rhumb, devices: &mut [Device], look: impl FnOnce(&mut Rhumb)) {
    struct EndsThem<'a>(&'a AtomicBool);
    impl Drop for EndsThem<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (mqtt, http, is_over) = (rhumb.mqtt(), rhumb.http(), AtomicBool::new(false));
    thread::scope(|scope| {
        let _ends_them = EndsThem(&is_over);
        for device in devices {
            scope.spawn(|| device.run(mqtt, http, &is_over));
        }
        look(rhumb);
    });
}

#[test]
fn the_books_of_every_codec_balance_under_load_and_over_kill_9() {
    let mut rhumb = Rhumb::start(&["journal.segment_bytes=1048576"]);
    let mut devices = Device::all();
    let count = devices.len();
    run_while(&mut rhumb, &mut devices, |rhumb| {
        scrape_under_load(rhumb, count);
        rhumb.kill9();
    });
    rhumb.restart();
    let after_kill = scrape(&rhumb);
    for device in &devices {
        let books = after_kill[&device.name()];
        assert_eq!(books.in_flight, 0, "{:?}: {books:?}", device.name());
        assert!((device.acked..=device.sent).contains(&books.received), "{:?}: {books:?}", device.name());
        assert!(books.stored >= device.steps * device.fixes, "{:?}: {books:?}", device.name());
        assert_eq!(rhumb.track(device.tenant, device.driver).len() as u64, books.stored, "{:?}", device.name());
    }

    let acked_before: Vec<u64> = devices.iter().map(|device| device.acked).collect();
    run_while(&mut rhumb, &mut devices, |rhumb| scrape_under_load(rhumb, count));
    let end = scrape(&rhumb);
    for (device, acked_before) in devices.iter().zip(acked_before) {
        let books = end[&device.name()];
        assert_eq!(books.in_flight, 0, "{:?}: {books:?}", device.name());
        let received = after_kill[&device.name()].received + device.acked - acked_before;
        assert_eq!((books.received, books.stored), (received, device.steps * device.fixes), "{:?}", device.name());
        assert_eq!(rhumb.track(device.tenant, device.driver).len() as u64, books.stored, "{:?}", device.name());
    }
}
