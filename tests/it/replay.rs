//! Recordings replay: verdicts as an independent reading of the file expects them, and nothing new the second time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::thread;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use serde_json::{Value, json};

use crate::support::process::output_within;
use crate::support::recordings::recordings;
use crate::support::{PATIENCE, rhumb};

/// What the largest recording may take, several at a time on a busy machine.
const REPLAY_LIMIT: Duration = Duration::from_secs(300);

fn replay(dir: &Path, file: &Path, args: &[&str]) -> Value {
    let mut command = rhumb::command(dir);
    let said = output_within(command.args(["replay", "--json"]).args(args).arg(file), REPLAY_LIMIT);
    assert!(said.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&said.stderr));
    serde_json::from_slice(&said.stdout).unwrap()
}

fn count(summary: &Value, key: &str) -> u64 {
    summary[key].as_u64().unwrap_or_else(|| panic!("no {key} in {summary}"))
}

fn rejected(summary: &Value) -> u64 {
    summary["rejected"].as_object().unwrap().values().map(|value| value.as_u64().unwrap()).sum()
}

fn assert_adds_up(summary: &Value, file: &Path) {
    let judged = count(summary, "stored") + count(summary, "duplicate") + rejected(summary);
    assert_eq!(count(summary, "rows"), judged, "{}: {summary}", file.display());
}

/// Counts the verdicts of a CSV by reading it once with sets, as slow and as plain as can be.
fn expected(file: &Path) -> Value {
    let bytes = File::open(file).unwrap();
    let is_gzipped = file.extension().is_some_and(|extension| extension == "gz");
    let reader: Box<dyn Read> = if is_gzipped { Box::new(MultiGzDecoder::new(bytes)) } else { Box::new(bytes) };
    let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
    let header = lines.next().unwrap();
    let column = |name: &str| header.split(',').position(|column| column == name).unwrap();
    let columns = ["vehicle_id", "timestamp", "latitude", "longitude"].map(column);

    let mut seen = HashSet::new();
    let mut newest: HashMap<String, String> = HashMap::new();
    let (mut rows, mut late, mut duplicate, mut refused) = (0_u64, 0_u64, 0_u64, BTreeMap::<&str, u64>::new());
    for line in lines {
        rows += 1;
        let fields: Vec<&str> = line.split(',').collect();
        let [vehicle, time, latitude, longitude] = columns.map(|column| fields[column].trim());
        let (Ok(latitude), Ok(longitude)) = (latitude.parse::<f64>(), longitude.parse::<f64>()) else {
            *refused.entry("malformed").or_default() += 1;
            continue;
        };
        if latitude == 0.0 && longitude == 0.0 {
            *refused.entry("null_island").or_default() += 1;
            continue;
        }
        let time = to_milliseconds(time);
        if !seen.insert((vehicle.to_owned(), time.clone())) {
            duplicate += 1;
            continue;
        }
        let newest = newest.entry(vehicle.to_owned()).or_default();
        if time < *newest {
            late += 1;
        } else {
            *newest = time;
        }
    }
    let stored = rows - duplicate - refused.values().sum::<u64>();
    json!({ "rows": rows, "stored": stored, "late": late, "duplicate": duplicate, "rejected": refused })
}

/// An RFC 3339 time in UTC with exactly three decimals, so that text sorts as time.
fn to_milliseconds(time: &str) -> String {
    let (seconds, decimals) = time.trim_end_matches('Z').split_at(19);
    let decimals: String = decimals.trim_start_matches('.').chars().chain("000".chars()).take(3).collect();
    format!("{seconds}.{decimals}Z")
}

#[test]
fn the_independent_reading_counts_what_the_recordings_are_known_to_hold() {
    let fixture = |name| expected(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/traces").join(name));
    let receivers = fixture("gpsd_receivers.csv.gz");
    assert_eq!((count(&receivers, "rows"), count(&receivers, "duplicate")), (5_463, 2_480), "{receivers}");
    let buses = fixture("liverpool_bus_20260126.csv");
    assert_eq!((count(&buses, "rows"), count(&buses, "stored"), count(&buses, "late")), (1_533, 1_533, 0), "{buses}");
}

#[test]
fn every_recording_is_judged_as_an_independent_reading_expects_and_stores_nothing_new_again() {
    let check = |file: &Path| {
        let dir = tempfile::tempdir().unwrap();
        let expected = expected(file);
        let mut first = replay(dir.path(), file, &[]);
        assert_adds_up(&first, file);
        assert!(first["seconds"].is_number(), "{first}");
        first.as_object_mut().unwrap().retain(|key, _| expected.get(key).is_some());
        first["rejected"].as_object_mut().unwrap().retain(|_, count| *count != 0);
        assert_eq!(first, expected, "{}", file.display());

        let again = replay(dir.path(), file, &[]);
        assert_adds_up(&again, file);
        assert_eq!(count(&again, "stored"), 0, "{}: {again}", file.display());
        assert_eq!(rejected(&again), rejected(&first), "{}: {again}", file.display());
    };
    thread::scope(|scope| {
        for file in recordings("csv") {
            scope.spawn(move || check(&file));
        }
    });
}

#[test]
fn every_gpx_adds_up_and_stores_nothing_new_again() {
    for file in recordings("gpx") {
        let dir = tempfile::tempdir().unwrap();
        let first = replay(dir.path(), &file, &["--tenant", "acme", "--driver", "d1"]);
        assert_adds_up(&first, &file);
        assert!(count(&first, "stored") > 0, "{}: {first}", file.display());
        let again = replay(dir.path(), &file, &["--tenant", "acme", "--driver", "d1"]);
        assert_eq!(count(&again, "stored"), 0, "{}: {again}", file.display());
        // Another driver's are others.
        let other = replay(dir.path(), &file, &["--tenant", "acme", "--driver", "d2"]);
        assert_eq!(count(&other, "stored"), count(&first, "stored"), "{}", file.display());
    }
}

#[test]
fn what_cannot_be_read_exits_65_with_file_and_reason() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("header.csv"), "when,where\n1,2\n").unwrap();
    fs::write(dir.path().join("broken.gpx"), "<gpx><trk><trkseg></trk>").unwrap();
    fs::write(dir.path().join("not.csv.gz"), "plain").unwrap();
    for name in ["header.csv", "broken.gpx", "not.csv.gz", "missing.csv"] {
        let said = output_within(rhumb::command(dir.path()).args(["replay", name]), PATIENCE);
        let stderr = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(65), "{name}: {stderr}");
        assert!(stderr.contains(name), "{name}: {stderr}");
    }
}

#[test]
fn a_row_that_cannot_be_read_is_a_verdict_and_no_end() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rows.csv");
    let rows = "vehicle_id,timestamp,latitude,longitude\n\
                a/1,2015-03-07T16:03:34Z,30.2,-97.7\n\
                a/1,2015-03-07T16:03:34Z,30.2,-97.7\n\
                a/1,2015-03-07T16:03:33Z,30.2,-97.7\n\
                a/1,2015-03-07T16:03:35Z,,\n\
                a/1,2015-03-07T16:03:36Z,0.0,0.0\n\
                a/1,2015-03-07T16:03:37Z,91.0,0.0\n\
                a/1,,30.2,-97.7\n\
                b,2037-12-29T22:02:27.123456Z,30.2,-97.7\n";
    fs::write(&file, rows).unwrap();
    let summary = replay(dir.path(), &file, &[]);
    assert_adds_up(&summary, &file);
    assert_eq!((count(&summary, "rows"), count(&summary, "stored"), count(&summary, "late")), (8, 3, 1), "{summary}");
    for reason in ["malformed", "null_island", "out_of_range", "no_time"] {
        assert_eq!(summary["rejected"][reason], 1, "{reason}: {summary}");
    }
}

#[test]
fn a_file_of_the_owntracks_recorder_is_of_the_device_that_its_folders_name() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("store/rec/anna/phone");
    fs::create_dir_all(&folder).unwrap();
    let line =
        |second: u32, topic: &str, payload: String| format!("2024-02-16T14:17:{second:02}Z\t{topic:<18}\t{payload}\n");
    let location = |second: u32, latitude: f64| {
        let tst = 1_708_093_020 + second;
        line(
            second,
            "*",
            json!({ "_type": "location", "lat": latitude, "lon": 21.0, "tst": tst, "vel": 54 }).to_string(),
        )
    };
    let lines = [
        location(4, 52.1),
        line(5, "lwt", r#"{"_type":"lwt","tst":1708093000}"#.to_owned()),
        location(6, 52.1002),
        location(6, 52.1002),
        location(5, 52.1001),
        location(5, 52.1002),
        line(6, "event", r#"{"_type":"transition","lat":9,"lon":9}"#.to_owned()),
        line(6, "*", r#"{"_type":"steps","steps":7}"#.to_owned()),
        line(7, "*", "X,542A46AA,k".to_owned()),
        line(8, "*", r#"{"_type":"location","lat":0,"lon":0,"tst":1708093028}"#.to_owned()),
    ];
    let file = folder.join("2024-02.rec");
    fs::write(&file, lines.concat()).unwrap();
    let summary = replay(dir.path(), &file, &[]);
    assert_adds_up(&summary, &file);
    let counts = ["rows", "skipped", "stored", "late", "duplicate", "conflict"].map(|key| count(&summary, key));
    assert_eq!(counts, [7, 3, 3, 1, 2, 1], "{summary}");
    assert_eq!(summary["rejected"], json!({ "malformed": 1, "null_island": 1 }), "{summary}");

    let dump = output_within(
        rhumb::command(dir.path()).args(["journal", "dump", "--json", "--driver", "anna:phone"]),
        PATIENCE,
    );
    let dump = String::from_utf8(dump.stdout).unwrap();
    assert_eq!(dump.matches(r#""speed":15"#).count(), 3, "{dump}");
}
