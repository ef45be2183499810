//! Promises 1 to 3 under `kill -9`: what was acknowledged is there, once, and the books balance.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::support::mqtt::{self, Client, Version};
use crate::support::publisher::Publisher;
use crate::support::rhumb::Rhumb;
use crate::support::{native_fix, topic};

/// Times that the server is killed. `crash` kills it oftener, with fleets that may send in any order; this test's publishers
/// send in order and hold that acknowledgements come in that order too.
const KILLS: u64 = 3;

/// Looks at the books while fixes come in.
const SCRAPES: u32 = 150;

/// The times of a track in ms, after holding that they rise: nothing is there twice.
fn times_ms(rhumb: &Rhumb, publisher: &Publisher) -> BTreeSet<u64> {
    let track = rhumb.track(&publisher.tenant, &publisher.driver);
    let times: Vec<u64> = track.iter().map(time_ms).collect();
    assert!(times.is_sorted_by(|earlier, later| earlier < later), "{}: a fix is there twice", publisher.driver);
    times.into_iter().collect()
}

/// The time of a fix of these tests, which all lie in whole seconds of the 14th of November 2023 and the days after.
fn time_ms(fix: &Value) -> u64 {
    let text = fix["timestamp"].as_str().unwrap();
    let number = |range: std::ops::Range<usize>| text[range].parse::<u64>().unwrap();
    assert_eq!((text.len(), &text[19..]), (20, "Z"), "{text}");
    // Days since the epoch, counted from March so that the leap day is the last of its year.
    let (year, month) = (number(0..4), number(5..7));
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + number(8..10) - 1 - 719_468;
    (((days * 24 + number(11..13)) * 60 + number(14..16)) * 60 + number(17..19)) * 1_000
}

fn assert_kept(rhumb: &Rhumb, publishers: &[Publisher]) -> u64 {
    let mut stored = 0;
    for publisher in publishers {
        let times = times_ms(rhumb, publisher);
        let lost: Vec<_> = publisher.acked_ms.difference(&times).take(5).collect();
        assert!(lost.is_empty(), "{} lost acknowledged fixes: {lost:?}\n{}", publisher.driver, rhumb.log());
        assert!(times.len() as u64 <= publisher.fixes_sent());
        stored += times.len() as u64;
    }
    stored
}

#[test]
fn what_is_acknowledged_survives_kill_9_and_is_there_once() {
    let mut rhumb = Rhumb::start(&["journal.segment_bytes=1048576"]);
    let mut publishers: Vec<Publisher> = [Version::V4, Version::V5, Version::V4, Version::V5]
        .into_iter()
        .enumerate()
        .map(|(n, version)| Publisher::new("default", &format!("d{n}"), version))
        .collect();
    for kill in 0..KILLS {
        let address = rhumb.mqtt();
        thread::scope(|scope| {
            for publisher in &mut publishers {
                scope.spawn(move || publisher.run(address));
            }
            // Not in step with anything of the server's.
            thread::sleep(Duration::from_millis(200 + 137 * kill));
            rhumb.kill9();
        });
        rhumb.restart();
        let stored = assert_kept(&rhumb, &publishers);
        let books = rhumb.books("default");
        assert_eq!((books.stored, books.in_flight), (stored, 0), "after kill {kill}: {books:?}");
        assert_eq!(books.rejected, 0, "{books:?}");
    }
    let acked: usize = publishers.iter().map(|publisher| publisher.acked_ms.len()).sum();
    assert!(acked > 100 * KILLS as usize, "{acked} acknowledged: no load to speak of");
    assert_eq!(rhumb.terminate().0.code(), Some(0), "{}", rhumb.log());
}

#[test]
fn what_is_only_written_survives_kill_9_too() {
    let mut rhumb = Rhumb::start(&["journal.sync=interval", "journal.sync_interval_ms=60000"]);
    let mut publishers = [Publisher::new("default", "a", Version::V4), Publisher::new("default", "b", Version::V5)];
    for _ in 0..2 {
        let address = rhumb.mqtt();
        thread::scope(|scope| {
            for publisher in &mut publishers {
                scope.spawn(move || publisher.run(address));
            }
            thread::sleep(Duration::from_millis(300));
            rhumb.kill9();
        });
        rhumb.restart();
        assert_kept(&rhumb, &publishers);
    }
    assert!(publishers.iter().all(|publisher| !publisher.acked_ms.is_empty()));
    assert_eq!(rhumb.terminate().0.code(), Some(0), "{}", rhumb.log());
}

/// Publishes the same fix, null island and what cannot be read, over and over, until the connection ends.
fn publish_what_is_not_stored(address: SocketAddr, tenant: &str) {
    let mut client = Client::connect(address, Version::V5, &format!("refused-{tenant}"));
    let topic = topic(tenant, "refused");
    let payloads = [native_fix(1), r#"{"latitude":0,"longitude":0}"#.to_owned(), "hello".to_owned()];
    loop {
        let burst: Vec<u8> = (1..)
            .zip(&payloads)
            .flat_map(|(id, payload)| mqtt::publish(client.version, &topic, payload.as_bytes(), 1, id))
            .collect();
        if client.send(&burst).is_err() || payloads.iter().any(|_| client.receive().is_none()) {
            return;
        }
    }
}

#[test]
fn the_books_balance_at_every_scrape_under_load() {
    let mut rhumb = Rhumb::start(&[]);
    let address = rhumb.mqtt();
    let mut publishers = [Publisher::new("acme", "a", Version::V4), Publisher::new("globex", "b", Version::V5)];
    thread::scope(|scope| {
        for publisher in &mut publishers {
            let tenant = publisher.tenant.clone();
            scope.spawn(move || publish_what_is_not_stored(address, &tenant));
            scope.spawn(move || publisher.run(address));
        }
        let (mut begun, mut in_flight) = ([None; 2], 0);
        for _ in 0..SCRAPES {
            for (tenant, begun) in ["acme", "globex"].into_iter().zip(&mut begun) {
                // That they balance is held where they are read.
                let books = rhumb.books(tenant);
                begun.get_or_insert(books);
                in_flight += books.in_flight;
            }
        }
        for (tenant, begun) in ["acme", "globex"].into_iter().zip(begun) {
            let (books, begun) = (rhumb.books(tenant), begun.unwrap());
            assert!(books.stored > begun.stored && books.rejected > begun.rejected, "{books:?}: no load");
            assert!(books.duplicate > begun.duplicate, "{books:?}: no load");
        }
        assert!(in_flight > 0, "no scrape came while a fix was in flight");
        rhumb.kill9();
    });
}
