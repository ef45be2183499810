//! A journal without room: nothing more is acknowledged, nothing is lost, everybody is told, and room brings it all back.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::http;
use crate::support::mqtt::{self, Client, PINGREQ, PINGRESP, PUBACK, Version};
use crate::support::rhumb::Rhumb;
use crate::support::{fix_time_ms, native_fix, topic, wait_for};

/// Fixes in a request that fills: more bytes in the journal than its brake reaches over, so that filling need not wait for it.
const FILLING_FIXES: u64 = 20_000;

/// Clients that fill.
const POSTERS: u64 = 3;

/// What lets such a request in.
const LARGE_REQUESTS: [&str; 2] = ["http.fixes_max=20000", "http.body_bytes_max=16777216"];

/// A store that takes nothing for as long as a test lasts, and so keeps the journal from letting go of anything.
const STORE_THAT_WAITS: [&str; 2] = ["sink.batch_age_ms_max=3600000", "sink.batch_fixes_max=10000000"];

/// Fixes with every field there is, hardly like each other, so that they take room: those of a request that has so many.
fn filling(request: u64, fixes: u64) -> String {
    let fix = |n: u64| {
        let noise = (n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
        let part = |range: u64, shift: u32| (noise >> shift) % range;
        format!(
            r#"{{"latitude":{}.{},"longitude":{}.{},"timestamp":{},"speed":{}.{},"heading":{},"altitude":{},"accuracy":{},"hdop":{}.5,"satellites":{},"seq":{n}}}"#,
            part(80, 1),
            1_000_000 + part(8_999_999, 3),
            part(170, 5),
            1_000_000 + part(8_999_999, 7),
            fix_time_ms(n),
            part(40, 2),
            part(999, 9),
            part(359, 4),
            part(3_000, 6),
            part(100, 8),
            part(9, 10),
            4 + part(12, 11),
        )
    };
    let fixes: Vec<String> = (request * fixes..(request + 1) * fixes).map(fix).collect();
    format!("[{}]", fixes.join(","))
}

fn is_full(rhumb: &Rhumb) -> bool {
    rhumb.metrics()["rhumb_journal_full"] == 1.0
}

/// Posts until the journal is full. Gives how many fixes are stored then, of which the last request may have had a part.
fn fill(rhumb: &Rhumb) -> u64 {
    // Side by side, so that one goes on to the end while the brake holds another.
    let fill_as = |poster: u64| {
        let path = format!("/v1/drivers/filling-{poster}/location");
        let answers = (0..1_000).map(|request| rhumb.post("default", &path, &filling(request, FILLING_FIXES)));
        let is_taken = |answer: &http::Response| {
            let is_taken = answer.status == 202;
            assert!(is_taken || answer.problem(503).is_object());
            is_taken
        };
        answers.take_while(is_taken).count() as u64 * FILLING_FIXES
    };
    let accepted: u64 = thread::scope(|scope| {
        let posters: Vec<_> = (0..POSTERS).map(|poster| scope.spawn(move || fill_as(poster))).collect();
        posters.into_iter().map(|poster| poster.join().unwrap()).sum()
    });
    assert!(is_full(rhumb), "refused, and not full: {:?}", rhumb.metrics());
    let books = wait_for("what is under way", || Some(rhumb.books("default")).filter(|books| books.in_flight == 0));
    assert!((accepted..accepted + POSTERS * FILLING_FIXES).contains(&books.stored), "{accepted} accepted, {books:?}");
    books.stored
}

/// A client whose publish is not acknowledged, though it is heard.
fn held_publisher(rhumb: &Rhumb, version: Version, client_id: &str) -> Client {
    let mut client = Client::connect(rhumb.mqtt(), version, client_id);
    let publish = mqtt::publish(version, &topic("default", client_id), native_fix(1).as_bytes(), 1, 7);
    client.send(&publish).unwrap();
    client.send(PINGREQ).unwrap();
    client.expect(PINGRESP);
    client
}

fn assert_refuses(rhumb: &Rhumb) {
    let begin = Instant::now();
    let answer = rhumb.post("default", "/v1/drivers/asks/location", &native_fix(1));
    answer.problem(503);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(begin.elapsed() < Duration::from_secs(10), "it is refused at once");
    let ready = http::request(rhumb.admin(), "GET", "/readyz", &[], b"").json(503);
    assert_eq!(ready["unready"][0]["part"], "journal", "{ready}");
    assert!(ready["unready"][0]["reason"].as_str().unwrap().contains("journal.bytes_max"), "{ready}");
    let metrics = rhumb.metrics();
    assert!(metrics["rhumb_journal_fill_ratio"] > 0.85 && is_full(rhumb), "{metrics:?}");
    assert_eq!(metrics["rhumb_journal_brake_bytes_per_second"], 0.0);
    assert_eq!(rhumb.get("default", "/v1/drivers/filling-0/location").status, 200, "what only reads is answered");
}

/// A budget that is soon used up.
const BUDGET: [&str; 2] = ["journal.segment_bytes=1048576", "journal.bytes_max=16777216"];

/// An engine without room, its store behind for good, and how many fixes it stored.
fn filled() -> (Rhumb, u64) {
    let rhumb = Rhumb::start(&[&BUDGET[..], &STORE_THAT_WAITS, &LARGE_REQUESTS].concat());
    let stored = fill(&rhumb);
    (rhumb, stored)
}

#[test]
fn a_budget_that_is_used_up_refuses_until_it_is_raised() {
    let (mut rhumb, stored) = filled();
    assert_eq!(rhumb.metrics()["rhumb_journal_bytes_max"], 16_777_216.0);
    let mut held = held_publisher(&rhumb, Version::V4, "held");
    assert_refuses(&rhumb);
    let taken: u64 = fs::read_dir(rhumb.data_dir().join("journal"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(taken <= 16_777_216, "{taken} bytes in a budget of 16 MiB");
    wait_for("the log names the budget", || rhumb.log().contains("the journal is full").then_some(()));
    assert!(rhumb.log().contains("the journal's disk budget runs short"));
    rhumb.kill9();
    assert!(held.receive().is_none_or(|packet| packet.kind() != PUBACK), "never acknowledged");

    rhumb.set("journal.bytes_max", "67108864");
    rhumb.restart();
    let mut again = Client::connect(rhumb.mqtt(), Version::V4, "held");
    again.publish_acked(&topic("default", "held"), &native_fix(1), 7);
    assert_eq!(rhumb.track("default", "held").len(), 1);
    let books = rhumb.books("default");
    assert_eq!((books.stored, books.duplicate), (stored + 1, 0), "all that was acknowledged, and nothing else");
    assert_eq!(rhumb.terminate().0.code(), Some(0), "{}", rhumb.log());
}

#[test]
fn a_replay_into_a_full_journal_says_so() {
    let (mut rhumb, _) = filled();
    rhumb.kill9();
    let recording = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/traces/liverpool_bus_20260126.csv");
    let sets = BUDGET.iter().chain(&STORE_THAT_WAITS).flat_map(|set| ["--set", set]);
    let replay = rhumb.run(&["replay", recording].into_iter().chain(sets).collect::<Vec<_>>());
    assert_eq!(replay.status.code(), Some(74));
    let told = String::from_utf8_lossy(&replay.stderr);
    assert!(told.contains("the journal is full: make room"), "{told}");
}

#[test]
fn a_stop_with_a_full_journal_waits_for_nobody_and_leaves_room() {
    let (mut rhumb, stored) = filled();
    let mut held = held_publisher(&rhumb, Version::V4, "held");
    let (status, after) = rhumb.terminate();
    assert_eq!(status.code(), Some(0), "{}", rhumb.log());
    assert!(after < Duration::from_secs(15), "what has no room holds up no stop: {after:?}");
    assert!(held.receive().is_none_or(|packet| packet.kind() != PUBACK), "never acknowledged");

    // What the store got at the end, the journal need not keep.
    rhumb.restart();
    let mut again = Client::connect(rhumb.mqtt(), Version::V4, "held");
    again.publish_acked(&topic("default", "held"), &native_fix(1), 7);
    // What was held may have been stored once the store made room, with nobody left to acknowledge it.
    assert_eq!(rhumb.books("default").stored, stored + 1);
    assert_eq!(rhumb.track("default", "held").len(), 1);
    assert_eq!(rhumb.terminate().0.code(), Some(0), "{}", rhumb.log());
}

#[test]
fn a_budget_that_runs_short_is_told_long_before_its_end_and_slows_publishes_down() {
    let mut rhumb = Rhumb::start(&[&BUDGET[..], &STORE_THAT_WAITS].concat());
    let readyz = || http::request(rhumb.admin(), "GET", "/readyz", &[], b"").json(200);
    let used = || rhumb.metrics()["rhumb_journal_fill_ratio"];
    let brake = || rhumb.metrics()["rhumb_journal_brake_bytes_per_second"];
    assert_eq!((readyz()["warnings"].clone(), brake()), (serde_json::Value::Null, f64::INFINITY));
    let mut requests = 0_u64;
    // The budget is measured every second, and a second would be enough to use all of it up.
    let mut fill_to = |part: f64, at_once: u64| {
        while used() < part {
            for _ in 0..at_once {
                rhumb.post("default", "/v1/drivers/filling/location", &filling(requests, 2_000)).json(202);
                requests += 1;
            }
            thread::sleep(Duration::from_millis(1_200));
        }
    };
    fill_to(0.52, 40);
    let warned = || readyz()["warnings"][0].clone();
    wait_for("a warning", || {
        warned()["reason"].as_str().filter(|reason| reason.contains("journal.bytes_max")).map(drop)
    });
    assert_eq!((&warned()["part"], brake()), (&"journal".into(), f64::INFINITY), "nothing is slowed yet");
    fill_to(0.82, 25);
    fill_to(0.91, 5);
    assert!(warned()["reason"].as_str().unwrap().contains("slowed"), "{}", warned());
    let allowed = brake();
    // A minute for what is left of the last tenth.
    assert!(allowed > 0.0 && allowed < 0.1 * 16_777_216.0 / 30.0, "{allowed}");
    // So that what a request of 2,000 fixes takes is more than a second's worth.
    let began = Instant::now();
    for _ in 0..3 {
        rhumb.post("default", "/v1/drivers/filling/location", &filling(requests, 2_000)).json(202);
        requests += 1;
    }
    let slowed = began.elapsed();
    assert!(slowed > Duration::from_secs(1), "three requests in {slowed:?} at {allowed} bytes a second");
    let books = rhumb.books("default");
    assert_eq!((books.stored, books.rejected), (requests * 2_000, 0), "nothing is refused");
    assert_eq!(rhumb.terminate().0.code(), Some(0), "{}", rhumb.log());
}

fn first_segment(rhumb: &Rhumb) -> PathBuf {
    let files = fs::read_dir(rhumb.data_dir().join("journal")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "journal")).min().unwrap()
}

#[test]
fn a_full_journal_has_room_again_once_its_store_has_caught_up() {
    // The store takes all it can get, but only when it is eight seconds old: the journal is full long before.
    let late_store = ["sink.batch_age_ms_max=8000", "sink.batch_fixes_max=10000000", "sink.sync_interval_ms=1000"];
    let mut rhumb = Rhumb::start(&[&BUDGET[..], &late_store, &LARGE_REQUESTS].concat());
    let stored = fill(&rhumb);
    let mut held = held_publisher(&rhumb, Version::V5, "held");
    assert_refuses(&rhumb);
    let oldest = first_segment(&rhumb);

    // Nobody does anything.
    wait_for("room again", || (!is_full(&rhumb)).then_some(()));
    assert_eq!(held.expect(PUBACK).id(), 7);
    wait_for("ready again", || (http::request(rhumb.admin(), "GET", "/readyz", &[], b"").status == 200).then_some(()));
    assert!(first_segment(&rhumb) > oldest, "what the store has and a snapshot stands for is gone");
    rhumb.post("default", "/v1/drivers/asks/location", &native_fix(1)).json(202);
    rhumb.kill9();
    rhumb.restart();
    let books = rhumb.books("default");
    assert_eq!((books.stored, books.duplicate), (stored + 2, 0), "{books:?}");
    assert_eq!(rhumb.track("default", "held").len(), 1);
    assert_eq!(rhumb.terminate().0.code(), Some(0), "{}", rhumb.log());
}

/// A small disk in memory, unmounted at the end.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// Whether a disk of 24 MiB is at `path` now, which takes the right to mount one.
fn mount_small_disk(path: &Path) -> bool {
    fs::create_dir_all(path).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "rhumb-test"]).arg(path).output();
    mounted.is_ok_and(|output| output.status.success())
}

#[test]
fn a_disk_that_fills_up_refuses_and_fails_nothing_and_room_brings_it_back() {
    let mut is_mounted = false;
    let prepare = |data_dir: &Path| is_mounted = mount_small_disk(&data_dir.join("journal"));
    let mut rhumb = Rhumb::start_prepared(prepare, &[STORE_THAT_WAITS, LARGE_REQUESTS].concat());
    if !is_mounted {
        eprintln!("not tested: no right to mount a disk of 24 MiB");
        return;
    }
    let disk = Mounted(rhumb.data_dir().join("journal"));
    // Somebody else takes most of it.
    let ballast = disk.0.join("ballast");
    fs::write(&ballast, vec![1; 18 << 20]).unwrap();
    let stored = fill(&rhumb);
    let mut held = [held_publisher(&rhumb, Version::V4, "held4"), held_publisher(&rhumb, Version::V5, "held5")];
    assert_refuses(&rhumb);
    let reserved = File::open(&disk.0).map(|disk| rustix::fs::fstatvfs(disk).unwrap()).unwrap();
    assert!(reserved.f_bavail > 0, "the disk itself is not full");

    fs::remove_file(&ballast).unwrap();
    for client in &mut held {
        assert_eq!(client.expect(PUBACK).id(), 7);
    }
    wait_for("ready again", || (http::request(rhumb.admin(), "GET", "/readyz", &[], b"").status == 200).then_some(()));
    rhumb.post("default", "/v1/drivers/asks/location", &native_fix(1)).json(202);
    let books = rhumb.books("default");
    assert_eq!((books.stored, books.in_flight), (stored + 3, 0), "{books:?}");
    assert!(!rhumb.log().contains("journal failed"), "{}", rhumb.log());
    assert_eq!(rhumb.terminate().0.code(), Some(0), "{}", rhumb.log());
}
