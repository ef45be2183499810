//! A backup of an engine under load: restored, it has what was acknowledged before, each fix once and as it was.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::support::http::request;
use crate::support::mqtt::Version;
use crate::support::publisher::Publisher;
use crate::support::rhumb::Rhumb;
use crate::support::{fix_time_ms, native_fix, wait_for};

/// Batches and segments small enough that store and journal both have several.
const SETS: &[&str] = &["journal.segment_bytes=1048576", "sink.batch_age_ms_max=50", "sink.batch_fixes_max=1000"];

/// Fixes that are acknowledged before the backup begins.
const BEFORE: u64 = 500;

fn said(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Every driver's track, by name.
fn tracks(rhumb: &Rhumb, drivers: &[&str]) -> BTreeMap<String, Vec<Value>> {
    drivers.iter().map(|driver| ((*driver).to_owned(), rhumb.track("default", driver))).collect()
}

/// A fence around all of it, and what came of it: the fence, and the events.
fn fence(rhumb: &Rhumb) -> (Value, Value) {
    let fence = rhumb.get("default", "/v1/geofences/all").json(200);
    let events = wait_for("the event", || {
        let events = rhumb.get("default", "/v1/geofences/events").json(200)["events"].take();
        (!events.as_array().unwrap().is_empty()).then_some(events)
    });
    (fence, events)
}

fn put_fence(rhumb: &Rhumb) {
    let body = r#"{"type":"Polygon","coordinates":[[[20,51],[22,51],[22,53],[20,53],[20,51]]]}"#;
    let answer = request(rhumb.http(), "PUT", "/v1/geofences/all", &[], body.as_bytes());
    assert_eq!(answer.json(201)["id"], "all");
}

fn post_before(rhumb: &Rhumb) {
    let fixes: Vec<String> = (1..=BEFORE).map(native_fix).collect();
    let answer = rhumb.post("default", "/v1/drivers/before/location", &format!("[{}]", fixes.join(",")));
    assert_eq!(answer.json(202)["accepted"], BEFORE);
}

#[test]
fn a_backup_under_load_is_restored_with_all_that_was_acknowledged() {
    let mut rhumb = Rhumb::start(SETS);
    put_fence(&rhumb);
    post_before(&rhumb);
    let before = fence(&rhumb);
    let place = tempfile::tempdir().unwrap();
    let backup = place.path().join("backup");
    let mut publishers = ["a", "b", "c"].map(|driver| Publisher::new("default", driver, Version::V4));
    let address = rhumb.mqtt();
    thread::scope(|scope| {
        for publisher in &mut publishers {
            scope.spawn(move || publisher.run(address));
        }
        thread::sleep(Duration::from_millis(300));
        let output = rhumb.run(&["backup", backup.to_str().unwrap()]);
        assert!(output.status.success(), "{}", said(&output));
        assert!(said(&output).contains("backed up into"), "{}", said(&output));
        thread::sleep(Duration::from_millis(100));
        rhumb.kill9();
    });
    rhumb.restart();

    let drivers = ["before", "a", "b", "c"];
    let restored = Rhumb::restored(&backup, SETS);
    let (was, is) = (tracks(&rhumb, &drivers), tracks(&restored, &drivers));
    assert_eq!(is["before"].len() as u64, BEFORE);
    let (kept, events) = fence(&restored);
    assert_eq!((&kept, &events[0]), (&before.0, &before.1[0]));
    let mut stored = BEFORE;
    for publisher in &publishers {
        let (was, is) = (&was[&publisher.driver], &is[&publisher.driver]);
        // A driver's fixes come in order, so that those of the backup are its first.
        assert!(!is.is_empty() && is.len() < was.len(), "{} of {}", is.len(), was.len());
        assert_eq!(is, &was[..is.len()]);
        stored += is.len() as u64;
    }
    let books = restored.books("default");
    assert_eq!((books.stored, books.rejected, books.in_flight), (stored, 0, 0));
    // What comes again is known, and what is new is taken.
    let again = restored.post("default", "/v1/drivers/before/location", &native_fix(BEFORE));
    assert_eq!(again.json(202)["duplicate"], 1);
    assert_eq!(
        restored.post("default", "/v1/drivers/before/location", &native_fix(BEFORE + 1)).json(202)["accepted"],
        1
    );
}

#[test]
fn a_backup_of_a_stopped_engine_is_the_same_engine() {
    let mut rhumb = Rhumb::start(SETS);
    put_fence(&rhumb);
    post_before(&rhumb);
    assert_eq!(rhumb.terminate().0.code(), Some(0));
    let place = tempfile::tempdir().unwrap();
    let backup = place.path().join("backup");
    let output = rhumb.run(&["backup", backup.to_str().unwrap()]);
    assert!(output.status.success(), "{}", said(&output));
    rhumb.restart();
    let restored = Rhumb::restored(&backup, SETS);
    assert_eq!(fence(&restored), fence(&rhumb));
    assert_eq!(tracks(&restored, &["before"]), tracks(&rhumb, &["before"]));
    assert_eq!(restored.books("default"), rhumb.books("default"));
    let last = rhumb.get("default", "/v1/drivers/before/location").json(200);
    assert_eq!(restored.get("default", "/v1/drivers/before/location").json(200), last);
    assert!(last["timestamp"].is_string() && fix_time_ms(BEFORE) > 0);
}

#[test]
fn a_snapshot_that_does_not_read_is_left_out_and_damage_is_not_backed_up() {
    let mut rhumb = Rhumb::start(SETS);
    post_before(&rhumb);
    // A journal of a single frame is not worth a snapshot.
    for n in 1..=3 {
        assert_eq!(
            rhumb.post("default", "/v1/drivers/before/location", &native_fix(BEFORE + n)).json(202)["accepted"],
            1
        );
    }
    assert_eq!(rhumb.terminate().0.code(), Some(0));
    let journal = rhumb.data_dir().join("journal");
    let files = |ending: &str| {
        let mut paths: Vec<_> = std::fs::read_dir(&journal).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.to_str().unwrap().ends_with(ending));
        paths.sort();
        paths
    };
    let flip = |path: &std::path::Path, at: usize| {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[at] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    let snapshots = files(".snapshot");
    flip(snapshots.last().unwrap(), 60);
    rhumb.restart();
    assert_eq!(files(".snapshot.unusable").len(), 1, "{}", rhumb.log());
    let place = tempfile::tempdir().unwrap();
    let backup = place.path().join("backup");
    let made = rhumb.run(&["backup", backup.to_str().unwrap()]);
    assert!(made.status.success(), "{}", said(&made));
    let restored = Rhumb::restored(&backup, SETS);
    assert_eq!(tracks(&restored, &["before"]), tracks(&rhumb, &["before"]));

    flip(&files(".journal")[0], 100);
    let damaged = rhumb.run(&["backup", place.path().join("damaged").to_str().unwrap()]);
    assert_eq!(damaged.status.code(), Some(74), "{}", said(&damaged));
    assert!(said(&damaged).contains("is damaged at byte"), "{}", said(&damaged));
}

#[test]
fn a_restore_that_was_not_finished_is_not_started_on() {
    let mut rhumb = Rhumb::start(SETS);
    post_before(&rhumb);
    assert_eq!(rhumb.terminate().0.code(), Some(0));
    // What a restore that is killed leaves: its mark, and files that look whole.
    std::fs::write(rhumb.data_dir().join("restoring"), "").unwrap();
    let started = rhumb.run(&["replay", "/dev/null"]);
    assert_eq!(started.status.code(), Some(74), "{}", said(&started));
    assert!(said(&started).contains("was not finished"), "{}", said(&started));
}

#[test]
fn what_cannot_be_backed_up_or_restored_says_why() {
    let rhumb = Rhumb::start(SETS);
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("something"), "else").unwrap();
    let occupied = rhumb.run(&["backup", place.path().to_str().unwrap()]);
    assert_eq!(occupied.status.code(), Some(74), "{}", said(&occupied));
    assert!(said(&occupied).contains("is not empty"), "{}", said(&occupied));
    let unfinished = rhumb.run(&["restore", place.path().to_str().unwrap()]);
    assert_eq!(unfinished.status.code(), Some(65), "{}", said(&unfinished));
    assert!(said(&unfinished).contains("backup.json"), "{}", said(&unfinished));

    let backup = place.path().join("backup");
    let made = rhumb.run(&["backup", backup.to_str().unwrap()]);
    assert!(made.status.success(), "{}", said(&made));
    let running = rhumb.run(&["restore", backup.to_str().unwrap()]);
    assert_eq!(running.status.code(), Some(73), "{}", said(&running));
}
