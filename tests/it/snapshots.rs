//! Snapshots of the real binary: the journal is cut under load, and what was acknowledged survives.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::mqtt::Version;
use crate::support::publisher::Publisher;
use crate::support::rhumb::Rhumb;
use crate::support::{PATIENCE, fix_time_ms};

/// So that segments go as soon as nobody needs them.
const SETS: [&str; 3] = ["journal.segment_bytes=1048576", "journal.retention=0s", "sink.sync_interval_ms=200"];

/// Fixes of one request.
const BODY_FIXES: u64 = 2_000;

/// Posts further fixes, such as no coding makes short, and sees that each was stored.
fn post(rhumb: &Rhumb, driver: &str, posted: &mut u64) {
    let fix = |n: u64| {
        let scattered = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (latitude, longitude) = ((scattered >> 40) as f64 * 1e-6, (scattered >> 20 & 0xff_ffff) as f64 * 1e-6);
        let (speed, heading) = ((scattered & 0xffff) as f64 * 1e-3, (scattered >> 16 & 0xff) as f64);
        let time_ms = fix_time_ms(n);
        format!(
            r#"{{"latitude":{latitude:.6},"longitude":{longitude:.6},"speed":{speed:.3},"heading":{heading},"timestamp":{time_ms}}}"#
        )
    };
    let fixes: Vec<String> = (*posted + 1..=*posted + BODY_FIXES).map(fix).collect();
    let answer = rhumb.post("acme", &format!("/v1/drivers/{driver}/location"), &format!("[{}]", fixes.join(",")));
    assert_eq!(answer.json(202)["accepted"], BODY_FIXES, "{driver}");
    *posted += BODY_FIXES;
}

fn gauge(rhumb: &Rhumb, name: &str) -> u64 {
    rhumb.metrics()[name] as u64
}

/// How many fixes of a driver there are, each time once.
fn stored(rhumb: &Rhumb, driver: &str) -> (u64, BTreeSet<String>) {
    let track = rhumb.track("acme", driver);
    let times: BTreeSet<String> = track.iter().map(|fix| fix["timestamp"].as_str().unwrap().to_owned()).collect();
    assert_eq!(times.len(), track.len(), "{driver}: a fix is there twice");
    (track.len() as u64, times)
}

/// The fields of the last line of the log that tells of a recovery.
fn recovered(rhumb: &Rhumb, field: &str) -> u64 {
    let log = rhumb.log();
    let line = log.lines().rfind(|line| line.contains("journal recovered")).unwrap();
    let value = line.split(&format!("{field}=")).nth(1).unwrap_or_else(|| panic!("no {field} in {line}"));
    value.split_whitespace().next().unwrap().parse().unwrap()
}

fn snapshots(rhumb: &Rhumb) -> Vec<PathBuf> {
    let files = fs::read_dir(rhumb.data_dir().join("journal")).unwrap().map(|entry| entry.unwrap().path());
    let mut snapshots: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "snapshot")).collect();
    snapshots.sort();
    snapshots
}

#[test]
fn a_journal_that_is_cut_under_load_loses_nothing_to_kill_9() {
    let mut rhumb = Rhumb::start(&SETS);
    let mut publishers = [Publisher::new("acme", "a", Version::V4), Publisher::new("acme", "b", Version::V5)];
    let mut posted = 0;
    for kill in 0..2 {
        let address = rhumb.mqtt();
        let first = gauge(&rhumb, "rhumb_journal_first_sequence");
        thread::scope(|scope| {
            for publisher in &mut publishers {
                scope.spawn(move || publisher.run(address));
            }
            let deadline = Instant::now() + 4 * PATIENCE;
            while gauge(&rhumb, "rhumb_journal_first_sequence") == first {
                assert!(Instant::now() < deadline, "{posted} fixes, and nothing is cut\n{}", rhumb.log());
                post(&rhumb, "posted", &mut posted);
            }
            thread::sleep(Duration::from_millis(137));
            rhumb.kill9();
        });
        rhumb.restart();
        let snapshot = recovered(&rhumb, "snapshot");
        assert!(snapshot > 0 && gauge(&rhumb, "rhumb_journal_first_sequence") <= snapshot + 1);
        let (mut sum, times) = stored(&rhumb, "posted");
        assert_eq!((sum, times.len() as u64), (posted, posted), "after kill {kill}");
        for publisher in &publishers {
            let (count, _) = stored(&rhumb, &publisher.driver);
            assert!(count >= publisher.acked_ms.len() as u64 && count <= publisher.fixes_sent());
            sum += count;
        }
        let books = rhumb.books("acme");
        assert_eq!((books.stored, books.rejected, books.in_flight), (sum, 0, 0), "after kill {kill}: {books:?}");
    }
    // What the store alone has by now is still a duplicate.
    let again = r#"{"latitude":1,"longitude":1,"timestamp":1700000001000}"#;
    let verdicts = rhumb.post("acme", "/v1/drivers/posted/location", again).json(202);
    assert_eq!(verdicts["duplicate"], Value::from(1), "{verdicts}");

    // A backup of it has the snapshot in the place of what was cut.
    let place = tempfile::tempdir().unwrap();
    let backup = place.path().join("backup");
    let output = rhumb.run(&["backup", backup.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let restored = Rhumb::restored(&backup, &SETS);
    assert!(recovered(&restored, "snapshot") > 0 && gauge(&restored, "rhumb_journal_first_sequence") > 1);
    assert_eq!(restored.books("acme"), rhumb.books("acme"));
    for driver in ["posted", "a", "b"] {
        assert_eq!(stored(&restored, driver), stored(&rhumb, driver), "{driver}");
    }
    assert_eq!(rhumb.terminate().0.code(), Some(0), "{}", rhumb.log());
}

#[test]
fn after_a_clean_stop_there_is_next_to_nothing_to_read_and_a_damaged_snapshot_only_costs_time() {
    let mut rhumb = Rhumb::start(&[]);
    let mut posted = 0;
    for round in 1..=2 {
        for _ in 0..3 {
            post(&rhumb, "d", &mut posted);
        }
        assert_eq!(rhumb.terminate().0.code(), Some(0), "{}", rhumb.log());
        assert_eq!(snapshots(&rhumb).len(), round);
        rhumb.restart();
        assert!(recovered(&rhumb, "frames") <= 2, "{}", rhumb.log());
        assert_eq!(rhumb.books("acme").stored, posted);
    }
    rhumb.kill9();
    let newest = snapshots(&rhumb).pop().unwrap();
    let mut bytes = fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&newest, bytes).unwrap();
    rhumb.restart();
    let name = newest.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(rhumb.log().contains(&name), "{}", rhumb.log());
    assert!(recovered(&rhumb, "snapshot") > 0 && recovered(&rhumb, "frames") > 2, "{}", rhumb.log());
    assert_eq!(rhumb.books("acme").stored, posted);
    assert_eq!(stored(&rhumb, "d").0, posted);
}
