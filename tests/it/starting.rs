//! What the ports answer while the engine recovers, and how that ends.
//!
//! Recovery is held up by a FIFO in the place of one of its files: who opens one to write waits for a reader, and who opens
//! one to read waits for a writer. Nothing else of the engine waits with it.

use std::fmt::Write;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::http::{self, Response};
use crate::support::mqtt::{self, CONNACK, Client, PINGREQ, PUBACK, VERSIONS, Version};
use crate::support::process::Process;
use crate::support::rhumb::{self, Rhumb};
use crate::support::tls::Authority;
use crate::support::{fix_time_ms, native_fix, topic, wait_for};

/// What ending a recovery may take.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Server unavailable, as each version says it.
fn unavailable(version: Version) -> u8 {
    match version {
        Version::V4 => 3,
        Version::V5 => 0x88,
    }
}

/// The lock of a journal as a FIFO: recovery waits there, behind the store and before the first frame.
struct HeldLock(PathBuf);

impl HeldLock {
    fn new(data_dir: &Path) -> Self {
        let lock = data_dir.join("journal/lock");
        put_fifo(&lock);
        Self(lock)
    }

    /// Lets recovery go on.
    fn release(self) {
        drop(File::open(&self.0).unwrap());
        fs::remove_file(&self.0).unwrap();
    }
}

fn put_fifo(path: &Path) {
    fs::remove_file(path).unwrap();
    mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).unwrap();
}

/// An engine that has these many fixes of `d1`, restarted and held in its recovery.
fn held(fixes: u64) -> (Rhumb, HeldLock) {
    held_with(fixes, &[])
}

/// As [`held`], with settings.
fn held_with(fixes: u64, sets: &[&str]) -> (Rhumb, HeldLock) {
    let mut rhumb = Rhumb::start(sets);
    let body: Vec<String> = (0..fixes).map(native_fix).collect();
    rhumb.post("default", "/v1/drivers/d1/location", &format!("[{}]", body.join(","))).json(202);
    assert_eq!(rhumb.terminate().0.code(), Some(0), "{}", rhumb.log());
    let lock = HeldLock::new(&rhumb.data_dir());
    rhumb.restart_unready();
    (rhumb, lock)
}

fn admin(rhumb: &Rhumb, path: &str) -> Response {
    http::request(rhumb.admin(), "GET", path, &[], b"")
}

/// The reason that `/readyz` gives for recovery, once it begins like this.
fn unready_reason(rhumb: &Rhumb, begin: &str) -> String {
    wait_for(begin, || {
        let readyz = admin(rhumb, "/readyz").json(503);
        assert_eq!(readyz["unready"][0]["part"], "recovery", "{readyz}");
        let reason = readyz["unready"][0]["reason"].as_str().unwrap();
        reason.starts_with(begin).then(|| reason.to_owned())
    })
}

/// The code of the CONNACK that a client gets, which is closed behind a refusal.
fn connack(rhumb: &Rhumb, version: Version, client_id: &str) -> u8 {
    let mut client = Client::open(rhumb.mqtt(), version);
    client.send(&mqtt::connect(version, client_id, 60)).unwrap();
    let code = client.expect(CONNACK).connack_code();
    if code != 0 {
        assert_eq!(client.receive(), None);
    }
    code
}

#[test]
fn every_port_answers_during_recovery_and_opens_behind_it() {
    let (mut rhumb, lock) = held(10);
    assert_eq!(unready_reason(&rhumb, "reading"), "reading the journal: 0 % (0 fixes so far)");
    assert_eq!(admin(&rhumb, "/health").status, 200);
    assert_eq!(admin(&rhumb, "/nothing").status, 404);
    let metrics = rhumb.metrics();
    assert_eq!(metrics.get("rhumb_recovery_fixes"), Some(&0.0), "{metrics:?}");
    assert!(metrics["rhumb_recovery_expected_bytes"] > 0.0 && metrics["rhumb_recovery_duration_seconds"] > 0.0);
    assert!(admin(&rhumb, "/metrics").text().contains("process_resident_memory_bytes"));

    let requests = [
        ("GET", "/v1/drivers/d1/location"),
        ("POST", "/v1/drivers/d1/location"),
        ("GET", "/v1/drivers/nearest?lat=no"),
        ("DELETE", "/nothing"),
    ];
    for (method, path) in requests {
        let response = http::request(rhumb.http(), method, path, &[], native_fix(11).as_bytes());
        assert_eq!(response.header("retry-after"), Some("1"), "{method} {path}");
        response.problem(503);
    }
    let foreign = http::request(rhumb.http(), "GET", "/", &[("Host", "rhumb.example.com")], b"");
    assert_eq!(foreign.status, 403, "no web page reaches in by then either");

    for version in VERSIONS {
        assert_eq!(connack(&rhumb, version, "d1"), unavailable(version));
    }
    for no_connect in [PINGREQ, b"GET / HTTP/1.1\r\n\r\n"] {
        let mut client = Client::open(rhumb.mqtt(), Version::V4);
        client.send(no_connect).unwrap();
        assert_eq!(client.receive(), None);
    }

    lock.release();
    rhumb.wait_until_ready();
    assert_eq!(rhumb.track("default", "d1").len(), 10);
    for version in VERSIONS {
        assert_eq!(connack(&rhumb, version, "d1"), 0);
    }
    let metrics = rhumb.metrics();
    assert_eq!(metrics.get("rhumb_recovery_fixes"), Some(&10.0), "{metrics:?}");
    assert_eq!(metrics.get("rhumb_mqtt_connections_closed_total{reason=\"starting\"}"), Some(&2.0), "{metrics:?}");
    assert!(!metrics.contains_key("rhumb_recovery_expected_bytes"), "{metrics:?}");
}

#[test]
fn clients_that_keep_trying_get_in_and_none_finds_the_port_closed() {
    let (mut rhumb, lock) = held(1);
    let refusals_wanted = 3;
    let (refused, released) = std::sync::mpsc::sync_channel(64);
    thread::scope(|scope| {
        for number in 0..8 {
            let (rhumb, refused) = (&rhumb, refused.clone());
            scope.spawn(move || {
                let (version, client_id) = (VERSIONS[number % 2], format!("tracker-{number}"));
                let mut refusals = 0;
                // A connection that is refused or reset panics.
                while connack(rhumb, version, &client_id) != 0 {
                    refusals += 1;
                    if refusals == refusals_wanted {
                        refused.send(()).unwrap();
                    }
                }
                assert!(refusals >= refusals_wanted, "{client_id} was let in during recovery");
                let mut client = Client::connect(rhumb.mqtt(), version, &client_id);
                client.publish_acked(&topic("default", &client_id), &native_fix(1), 1);
            });
        }
        drop(refused);
        assert_eq!(released.iter().take(8).count(), 8);
        lock.release();
    });
    rhumb.wait_until_ready();
    assert_eq!(rhumb.books("default").stored, 9);
}

#[test]
fn clients_over_tls_wait_for_the_end_of_recovery_and_get_in() {
    let authority = Authority::new();
    let sets = authority.sets();
    let (mut rhumb, lock) = held_with(1, &sets.iter().map(String::as_str).collect::<Vec<_>>());
    let (acknowledged, heard) = std::sync::mpsc::sync_channel(1);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = authority.connect(rhumb.mqtt_tls()).unwrap();
            client.say_connect(Version::V4, "patient");
            client.send(&mqtt::publish(Version::V4, &topic("default", "d2"), native_fix(1).as_bytes(), 1, 7));
            acknowledged.send(client.expect(PUBACK).id()).unwrap();
        });
        unready_reason(&rhumb, "reading");
        assert!(heard.recv_timeout(Duration::from_millis(300)).is_err(), "let in during recovery");
        lock.release();
        assert_eq!(heard.recv().unwrap(), 7);
    });
    rhumb.wait_until_ready();
    assert_eq!(rhumb.books("default").stored, 2);
}

#[test]
fn a_signal_during_recovery_ends_at_once_and_loses_nothing() {
    let (mut rhumb, lock) = held(5);
    let addresses = rhumb.data_dir().join("addresses.json");
    for signal in [Signal::TERM, Signal::INT] {
        unready_reason(&rhumb, "reading");
        assert!(addresses.exists());
        let (status, took) = rhumb.stop(signal);
        assert_eq!(status.code(), Some(0), "{signal:?}: {}", rhumb.log());
        assert!(took < AT_ONCE, "{signal:?}: {took:?}");
        assert!(!addresses.exists(), "{signal:?}: nobody listens there any more");
        rhumb.restart_unready();
    }
    lock.release();
    rhumb.wait_until_ready();
    assert_eq!(rhumb.track("default", "d1").len(), 5);
}

/// Rows of eight drivers, for some megabytes of journal.
fn recording(rows: u64) -> String {
    let mut csv = "driver_id,timestamp,latitude,longitude\n".to_owned();
    for row in 0..rows {
        // Steps that do not pack well.
        let scattered = row.wrapping_mul(2_654_435_761) % 1_000_003;
        let (latitude, longitude) = (52.0 + scattered as f64 * 1e-7, 21.0 + scattered as f64 * 3e-7);
        writeln!(csv, "d{},{},{latitude:.7},{longitude:.7}", row % 8, fix_time_ms(row)).unwrap();
    }
    csv
}

#[test]
fn progress_is_shown_from_within_the_journal_and_a_failure_there_ends_it() {
    let rows = 200_000;
    let mut rhumb = Rhumb::start(&["journal.segment_bytes=1048576", "store.enabled=false"]);
    assert_eq!(rhumb.terminate().0.code(), Some(0), "{}", rhumb.log());
    let recording_path = rhumb.data_dir().join("recording.csv");
    fs::write(&recording_path, recording(rows)).unwrap();
    let sets = ["--set", "journal.segment_bytes=1048576", "--set", "store.enabled=false"];
    let said = rhumb.run(&[&["replay", "--json", recording_path.to_str().unwrap()], &sets[..]].concat());
    let summary: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(summary["stored"], rows, "{summary}");

    let mut segments: Vec<PathBuf> = fs::read_dir(rhumb.data_dir().join("journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "journal"))
        .collect();
    segments.sort();
    assert!(segments.len() > 2, "{segments:?}");
    put_fifo(&segments[1]);
    rhumb.remove_snapshots();
    rhumb.restart_unready();
    let metrics = wait_for("the first segment to be read", || {
        unready_reason(&rhumb, "reading the journal: ");
        let metrics = rhumb.metrics();
        (metrics["rhumb_recovery_bytes"] > 900_000.0).then_some(metrics)
    });
    let (fixes, bytes, expected) =
        (metrics["rhumb_recovery_fixes"], metrics["rhumb_recovery_bytes"], metrics["rhumb_recovery_expected_bytes"]);
    assert!(fixes > 0.0 && fixes < rows as f64 && bytes < expected, "{metrics:?}");
    let reason = unready_reason(&rhumb, "reading the journal: ");
    let percent: f64 = reason.split(' ').nth(3).unwrap().parse().unwrap();
    assert!(percent > 0.0 && percent < 100.0 && !reason.contains("(0 fixes"), "{reason}");

    // A FIFO does not read as a segment.
    drop(OpenOptions::new().write(true).open(&segments[1]).unwrap());
    assert_eq!(rhumb.wait().code(), Some(74), "{}", rhumb.log());
    assert!(!rhumb.data_dir().join("addresses.json").exists());
}

#[test]
fn the_log_tells_of_a_recovery_that_takes_long_in_a_replay_too() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let recording_path = dir.path().join("recording.csv");
    fs::write(&recording_path, recording(10)).unwrap();
    fs::create_dir_all(data_dir.join("journal")).unwrap();
    fs::write(data_dir.join("journal/lock"), "").unwrap();
    let lock = HeldLock::new(&data_dir);
    let mut command = rhumb::command(dir.path());
    let mut replay = Process::start(command.arg("replay").arg(&recording_path), &dir.path().join("log"));
    wait_for("a line of progress", || replay.log().contains("reading the journal").then_some(()));
    let line = replay.log();
    for field in ["percent=", "fixes=0", "frames=0", "fixes_per_second=0"] {
        assert!(line.contains(field), "{field} in {line}");
    }
    lock.release();
    assert_eq!(replay.wait().code(), Some(0), "{}", replay.log());
}
