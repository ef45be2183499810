//! `rhumb journal`: what an operator sees of the journal, beside a running engine and when it is damaged.

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::thread;

use serde_json::Value;

use crate::support::mqtt::Version;
use crate::support::process::output_within;
use crate::support::publisher::Publisher;
use crate::support::rhumb::{self, Rhumb};
use crate::support::{PATIENCE, native_fix, wait_for};

/// The shortest that may be configured, so that a journal of some MiB has several.
const SEGMENT_BYTES: &str = "journal.segment_bytes=1048576";

/// Looks at the journal while fixes come in.
const LOOKS: usize = 12;

const DRIVERS: u64 = 40;
const ROWS: u64 = 220_000;

/// One row in so many is null island, which is refused and counted.
const REFUSED_EVERY: u64 = 100;

fn stdout(said: &Output) -> String {
    String::from_utf8(said.stdout.clone()).unwrap()
}

fn stderr(said: &Output) -> String {
    String::from_utf8(said.stderr.clone()).unwrap()
}

fn lines_as_json(said: &Output) -> Vec<Value> {
    stdout(said).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A command that has to succeed, and what it said.
fn told(rhumb: &Rhumb, args: &[&str]) -> Output {
    let said = rhumb.run(args);
    assert_eq!(said.status.code(), Some(0), "{args:?}: {}{}", stdout(&said), stderr(&said));
    said
}

fn stat(rhumb: &Rhumb) -> Value {
    lines_as_json(&told(rhumb, &["journal", "stat", "--json"])).remove(0)
}

fn verdict(summary: &Output) -> Value {
    serde_json::from_slice(&summary.stdout).unwrap_or_else(|error| panic!("{error}: {}", stderr(summary)))
}

/// A recording of many drivers that hardly ever stand still.
fn write_recording(path: &Path) {
    let mut rows = String::from("vehicle_id,timestamp,latitude,longitude\n");
    for row in 0..ROWS {
        let noise = row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let (latitude, longitude) = (52.0 + noise as f64 * 1e-8, 21.0 + (noise % 100_003) as f64 * 1e-6);
        let (latitude, longitude) = if row % REFUSED_EVERY == 7 { (0.0, 0.0) } else { (latitude, longitude) };
        let time = 1_700_000_000 + row / DRIVERS;
        writeln!(rows, "truck-{:04},{time},{latitude:.7},{longitude:.7}", row % DRIVERS).unwrap();
    }
    fs::write(path, rows).unwrap();
}

fn segments(journal: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(journal).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "journal"));
    paths.sort();
    paths
}

/// How a start on this data directory ends.
fn start(rhumb: &Rhumb) -> Output {
    let listen =
        ["--set", "mqtt.listen=127.0.0.1:0", "--set", "http.listen=127.0.0.1:0", "--set", "admin.listen=127.0.0.1:0"];
    rhumb.run(&[&["serve"][..], &listen].concat())
}

#[test]
fn a_damaged_journal_is_refused_told_salvaged_and_served() {
    let mut rhumb = Rhumb::start(&[SEGMENT_BYTES]);
    assert_eq!(rhumb.terminate().0.code(), Some(0));
    let recording = rhumb.data_dir().join("recording.csv");
    write_recording(&recording);
    let replay = ["replay", recording.to_str().unwrap(), "--json", "--set", SEGMENT_BYTES];
    let first = verdict(&told(&rhumb, &replay));
    let stored = ROWS - ROWS / REFUSED_EVERY;
    assert_eq!((&first["stored"], &first["rejected"]["null_island"]), (&stored.into(), &(ROWS / REFUSED_EVERY).into()));
    let before = stat(&rhumb);
    assert_eq!((&before["sealed"], &before["in_use"], &before["fixes"]), (&true.into(), &false.into(), &stored.into()));

    // One byte in the middle of a segment in the middle, which a start only reads without a snapshot that stands for it.
    let journal = rhumb.data_dir().join("journal");
    rhumb.remove_snapshots();
    let paths = segments(&journal);
    assert!(paths.len() >= 4, "{paths:?}");
    let harmed = &paths[paths.len() / 2];
    let mut bytes = fs::read(harmed).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(harmed, bytes).unwrap();

    let refused = start(&rhumb);
    assert_eq!(refused.status.code(), Some(74), "{}", stderr(&refused));
    let place = stderr(&refused).split_once("journal ").unwrap().1.split_once(':').unwrap().0.to_owned();
    assert!(place.contains(harmed.file_name().unwrap().to_str().unwrap()), "{place}");
    let verified = rhumb.run(&["journal", "verify"]);
    assert_eq!(verified.status.code(), Some(74));
    assert!(stdout(&verified).starts_with(&format!("{place}: a frame does not match its checksum; ")), "{place}");
    assert_eq!(stdout(&verified).matches("damaged at byte").count(), 1, "{}", stdout(&verified));
    assert!(stderr(&verified).contains("--salvage"), "{}", stderr(&verified));
    assert_eq!(rhumb.run(&["journal", "stat"]).status.code(), Some(74));
    assert_eq!(rhumb.run(&["journal", "dump"]).status.code(), Some(74));

    let salvaged = rhumb.data_dir().join("salvaged");
    let said = told(&rhumb, &["journal", "verify", "--salvage", salvaged.to_str().unwrap()]);
    assert!(stdout(&said).contains("1 damaged places; 1 frames are lost"), "{}", stdout(&said));
    assert!(stdout(&said).contains(&place), "{}", stdout(&said));
    let again = rhumb.run(&["journal", "verify", "--salvage", salvaged.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(73), "{}", stderr(&again));
    fs::rename(&journal, rhumb.data_dir().join("journal.damaged")).unwrap();
    fs::rename(&salvaged, &journal).unwrap();
    told(&rhumb, &["journal", "verify"]);
    let after = stat(&rhumb);
    assert_eq!((&after["journal"], &after["last"], &after["gaps"]), (&before["journal"], &before["last"], &1.into()));
    let whole = after["fixes"].as_u64().unwrap();
    assert!(whole < stored, "{after}");

    // The store goes on where it was, and still has what the journal lost; the books count what the journal holds.
    rhumb.restart();
    let books = rhumb.books("default");
    assert_eq!((books.stored, books.in_flight), (whole, 0), "{books:?}");
    assert_eq!(books.rejected, after["total"]["rejected"]["null_island"].as_u64().unwrap(), "{books:?}");
    let of_one = rhumb.track("default", "truck-0000").len() as u64;
    assert_eq!(of_one, ROWS / DRIVERS - refused_of(0));
    assert_eq!(rhumb.post("default", "/v1/drivers/d1/location", &native_fix(1)).status, 202);
    assert_eq!(rhumb.terminate().0.code(), Some(0), "{}", rhumb.log());
    assert_eq!(verdict(&told(&rhumb, &replay))["stored"], 0, "the store knows what the journal lost");

    // Without the store's help the salvaged journal gives all that was whole, and the recording gives the rest.
    fs::rename(rhumb.data_dir().join("store"), rhumb.data_dir().join("store.old")).unwrap();
    assert_eq!(verdict(&told(&rhumb, &replay))["stored"], stored - whole);
    rhumb.restart();
    assert_eq!(rhumb.books("default").stored, stored + 1);
    assert_eq!(rhumb.track("default", "truck-0000").len() as u64, of_one);
}

/// How many rows of a driver are null island.
fn refused_of(driver: u64) -> u64 {
    (0..ROWS).filter(|row| row % DRIVERS == driver && row % REFUSED_EVERY == 7).count() as u64
}

/// Looks at a journal that is being written; gives how many fixes it held at last.
fn look(rhumb: &Rhumb) -> u64 {
    wait_for("the first fixes", || (rhumb.books("acme").stored > 0).then_some(()));
    let (mut fixes, mut last) = (0, 0);
    for _ in 0..LOOKS {
        let stored = rhumb.books("acme").stored;
        told(rhumb, &["journal", "verify"]);
        let stat = stat(rhumb);
        assert_eq!((&stat["damages"], &stat["in_use"]), (&0.into(), &true.into()));
        let now = stat["tenants"]["acme"]["stored"].as_u64().unwrap();
        assert!(now >= stored.max(fixes), "{stored} had been stored, {fixes} been seen: {stat}");
        let from = format!("{}", last + 1);
        last = stat["last"].as_u64().unwrap();
        let to = last.to_string();
        let dumped = lines_as_json(&told(rhumb, &["journal", "dump", "--json", "--from", &from, "--to", &to]));
        assert_eq!(dumped.len() as u64, now - fixes, "from {from} to {to}");
        fixes = now;
    }
    let refused = rhumb.run(&["journal", "verify", "--salvage", "salvaged"]);
    assert_eq!(refused.status.code(), Some(75), "{}", stderr(&refused));
    fixes
}

#[test]
fn a_journal_that_is_written_is_never_damaged() {
    let mut rhumb = Rhumb::start(&[SEGMENT_BYTES]);
    let mut publishers = [Publisher::new("acme", "a", Version::V4), Publisher::new("acme", "b", Version::V5)];
    let address = rhumb.mqtt();
    let looked = thread::scope(|scope| {
        for publisher in &mut publishers {
            scope.spawn(move || publisher.run(address));
        }
        // They publish for as long as there is somebody to publish to.
        let looked = panic::catch_unwind(AssertUnwindSafe(|| look(&rhumb)));
        rhumb.kill9();
        looked
    });
    let fixes = looked.unwrap_or_else(|error| panic::resume_unwind(error));
    let stat = stat(&rhumb);
    assert_eq!((&stat["in_use"], &stat["sealed"]), (&false.into(), &false.into()));
    let acked: usize = publishers.iter().map(|publisher| publisher.acked_ms.len()).sum();
    assert!(stat["fixes"].as_u64().unwrap() >= fixes.max(acked as u64), "{stat}");
    assert!(acked > 1_000, "{acked} acknowledged: no load to speak of");
}

#[test]
fn decisions_are_printed_a_line_each() {
    let mut rhumb = Rhumb::start(&[]);
    let fix = r#"{"latitude":52.5,"longitude":21.25,"timestamp":"2023-11-14T22:13:21.5Z","speed":8.3,"heading":270}"#;
    assert_eq!(rhumb.post("acme", "/v1/drivers/d1/location", fix).status, 202);
    assert_eq!(rhumb.post("acme", "/v1/drivers/d1/location", &native_fix(0)).status, 202);
    let refused = format!(r#"[{{"latitude":0,"longitude":0}},{fix}]"#);
    assert_eq!(rhumb.post("acme", "/v1/drivers/d1/location", &refused).status, 202);
    assert_eq!(rhumb.post("globex", "/v1/drivers/d2/location", &native_fix(2)).status, 202);
    assert_eq!(rhumb.terminate().0.code(), Some(0));

    let lines = lines_as_json(&told(&rhumb, &["journal", "dump", "--json"]));
    assert_eq!(lines.len(), 5, "{lines:?}");
    let location = rhumb_location(&lines[0]);
    assert_eq!(location, ["acme", "d1", "2023-11-14T22:13:21.500Z", "52.5", "21.25", "8.3", "270", "false"]);
    assert!(lines[0]["received_at"].is_string(), "{}", lines[0]);
    assert_eq!((&lines[0]["sequence"], &lines[1]["sequence"]), (&1.into(), &2.into()));
    assert_eq!((&lines[1]["late"], &lines[1]["driver_id"]), (&true.into(), &"d1".into()));
    let counters = r#"{"duplicate":1,"rejected":{"null_island":1}}"#;
    assert_eq!((lines[2]["counters"].to_string().as_str(), &lines[2]["tenant"]), (counters, &"acme".into()));
    assert_eq!(lines[2]["codec"], "native");
    assert_eq!((&lines[3]["tenant"], &lines[4]["mark"]), (&"globex".into(), &"seal".into()));

    let sequences = |args: &[&str]| -> Vec<u64> {
        let said = told(&rhumb, &[&["journal", "dump", "--json"], args].concat());
        lines_as_json(&said).iter().map(|line| line["sequence"].as_u64().unwrap()).collect()
    };
    assert_eq!(sequences(&["--from", "2", "--to", "3"]), [2, 3]);
    assert_eq!(sequences(&["--tenant", "acme"]), [1, 2, 3]);
    assert_eq!(sequences(&["--tenant", "acme", "--driver", "d1"]), [1, 2]);
    assert_eq!(sequences(&["--driver", "d2"]), [4]);
    assert_eq!(sequences(&["--from", "9"]), [0; 0]);

    let text = stdout(&told(&rhumb, &["journal", "dump"]));
    let first = text.lines().next().unwrap();
    assert!(
        first.starts_with("1 20") && first.contains(" acme/d1 2023-11-14T22:13:21.500Z 52.5,21.25 speed=8.3"),
        "{text}"
    );
    assert!(text.contains(" acme native duplicate=1 null_island=1\n") && text.contains(" late\n"), "{text}");
    let table = stdout(&told(&rhumb, &["journal", "stat"]));
    assert!(table.contains("null_island 1") && table.contains("sealed"), "{table}");

    // Another directory than the configured one's, and none.
    let journal = rhumb.data_dir().join("journal");
    let elsewhere = tempfile::tempdir().unwrap();
    let args = ["journal", "verify", "--dir", journal.to_str().unwrap()];
    let said = output_within(rhumb::command(elsewhere.path()).args(args), PATIENCE);
    assert!(stdout(&said).starts_with("ok: 5 frames with 3 fixes"), "{}{}", stdout(&said), stderr(&said));
    let said = output_within(rhumb::command(elsewhere.path()).args(["journal", "stat"]), PATIENCE);
    assert_eq!(said.status.code(), Some(65), "{}", stderr(&said));
    assert!(stderr(&said).contains("no journal in data/journal"), "{}", stderr(&said));
    assert!(!elsewhere.path().join("data").exists());
}

fn rhumb_location(line: &Value) -> Vec<String> {
    let names = ["tenant", "driver_id", "timestamp", "latitude", "longitude", "speed", "heading", "late"];
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    names.iter().map(|name| text(&line[*name])).collect()
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let mut rhumb = Rhumb::start(&[]);
    let address = rhumb.mqtt();
    let mut publisher = Publisher::new("acme", "a", Version::V4);
    thread::scope(|scope| {
        scope.spawn(|| publisher.run(address));
        // More than a pipe and the command's own buffer hold.
        wait_for("some thousand fixes", || (rhumb.books("acme").stored > 3_000).then_some(()));
        rhumb.kill9();
    });
    let journal = rhumb.data_dir().join("journal");
    let mut command = rhumb::command(&rhumb.data_dir());
    command.args(["journal", "dump", "--json", "--dir", journal.to_str().unwrap()]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).unwrap();
    drop(stdout);
    let said = child.wait_with_output().unwrap();
    assert_eq!((said.status.code(), stderr(&said).as_str()), (Some(0), ""));
}

#[test]
fn a_torn_end_is_cut_and_told_and_costs_nothing_acknowledged() {
    let mut rhumb = Rhumb::start(&[SEGMENT_BYTES]);
    for n in 1..=20 {
        rhumb.post("default", "/v1/drivers/d/location", &native_fix(n)).json(202);
    }
    rhumb.kill9();
    let newest = segments(&rhumb.data_dir().join("journal")).pop().unwrap();
    let mut bytes = fs::read(&newest).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    // As a write that was under way when the power went might leave it: something, but no frame.
    bytes[end + 9..end + 109].fill(0xa5);
    fs::write(&newest, bytes).unwrap();

    rhumb.restart();
    assert!(rhumb.log().contains("cut a torn end off the journal"), "{}", rhumb.log());
    assert_eq!(rhumb.track("default", "d").len(), 20);
    rhumb.post("default", "/v1/drivers/d/location", &native_fix(21)).json(202);
    rhumb.kill9();
    rhumb.take_log();
    rhumb.restart();
    assert!(!rhumb.log().contains("torn end"), "it is gone for good: {}", rhumb.log());
    assert_eq!(rhumb.books("default").stored, 21);
    assert_eq!(rhumb.terminate().0.code(), Some(0), "{}", rhumb.log());
}
