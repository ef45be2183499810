//! What the rules make of recordings: a snapshot of the verdicts of each, and the same history whatever the order.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::iter;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use ::rhumb::fix::Fix;
use ::rhumb::wire::time::parse_rfc3339;
use flate2::read::MultiGzDecoder;
use serde_json::Value;

use crate::support::journal;
use crate::support::process::output_within;
use crate::support::recordings::recordings;
use crate::support::rhumb;

/// What the largest recording may take, several at a time on a busy machine.
const REPLAY_LIMIT: Duration = Duration::from_secs(300);

/// The rules that snapshots are taken with, and what they are called there.
const RULES: [(&str, &[&str]); 4] = [
    ("default", &[]),
    ("road", &["rules.speed_mps_max=70"]),
    ("air", &["rules.speed_mps_max=350"]),
    ("thin", &["rules.stationary_m=20", "rules.period_ms_min=10000"]),
];

/// What became of each recording by each of these rules, those of `fixtures/traces` and those that `RHUMB_TEST_TRACES`
/// may name.
const SNAPSHOT: &str = include_str!("traces.txt");

/// Rows whose vehicle and time were there before. None of them is refused for another reason.
const REPEATED: [(&str, u64); 8] = [
    ("warsaw_bus_20240216_1517.csv.gz", 52_429),
    ("warsaw_bus_20240216_1136.csv.gz", 22_678),
    ("austin_bus_2015.csv.gz", 145),
    ("austin_bus_2016.csv.gz", 16_433),
    ("helsinki_doors_20210818.csv.gz", 0),
    ("gpsd_receivers.csv.gz", 2_480),
    ("liverpool_bus_20260126.csv", 0),
    // One more than repeat their time to the letter: two of them differ by less than a millisecond.
    ("mojstrovka_broken_clock.gpx", 183),
];

/// Replays a file into `dir` with these keys.
fn replay(dir: &Path, file: &Path, sets: &[&str]) -> Value {
    let mut command = rhumb::command(dir);
    command.args(["replay", "--json"]);
    for set in sets {
        command.args(["--set", set]);
    }
    let said = output_within(command.arg(file), REPLAY_LIMIT);
    assert!(said.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&said.stderr));
    serde_json::from_slice(&said.stdout).unwrap()
}

fn name(file: &Path) -> &str {
    file.file_name().unwrap().to_str().unwrap()
}

/// Each recording once, wherever it is.
fn all_recordings() -> BTreeMap<String, PathBuf> {
    let files = recordings("csv").into_iter().chain(recordings("gpx"));
    files.map(|file| (name(&file).to_owned(), file)).collect()
}

/// What a recording gets by each of [`RULES`], as lines of the snapshot.
fn verdicts(name: &str, file: &Path) -> Vec<String> {
    let verdicts = |(rules, sets): &(&str, &[&str])| {
        let dir = tempfile::tempdir().unwrap();
        let summary = replay(dir.path(), file, sets);
        if let Some((_, repeated)) = REPEATED.iter().find(|known| *rules == "default" && known.0 == name) {
            assert_eq!(summary["duplicate"], *repeated, "{name}");
        }
        format!(
            "{name} {rules}: stored {} late {} duplicate {} conflict {} {}",
            summary["stored"], summary["late"], summary["duplicate"], summary["conflict"], summary["rejected"]
        )
    };
    RULES.iter().map(verdicts).collect()
}

#[test]
fn every_recording_gets_the_verdicts_that_it_got() {
    let recordings = all_recordings();
    let found: Vec<String> = thread::scope(|scope| {
        let mut threads = Vec::new();
        for (name, file) in &recordings {
            threads.push(scope.spawn(|| verdicts(name, file)));
        }
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    // Every line of a recording that is here, and no other.
    let is_here = |line: &&str| line.split(' ').next().is_some_and(|name| recordings.contains_key(name));
    let known: BTreeSet<&str> = SNAPSHOT.lines().filter(is_here).collect();
    let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
    let [new, gone] = [&found - &known, &known - &found].map(|lines| lines.into_iter().collect::<Vec<_>>().join("\n"));
    assert!(found == known, "not as in tests/it/traces.txt, new:\n{new}\nnot found:\n{gone}");
}

/// A recording's header and rows.
fn rows(file: &Path) -> (String, Vec<String>) {
    let bytes = File::open(file).unwrap();
    let is_gzipped = file.extension().is_some_and(|extension| extension == "gz");
    let reader: Box<dyn Read> = if is_gzipped { Box::new(MultiGzDecoder::new(bytes)) } else { Box::new(bytes) };
    let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
    (lines.next().unwrap(), lines.collect())
}

/// The rows that have their vehicle and time for themselves, or share them only with rows that say the same: which of two
/// at one time is the first depends on the order.
fn without_conflicts(header: &str, rows: &[String]) -> Vec<String> {
    let column = |name: &str| header.split(',').position(|column| column == name).unwrap();
    let [vehicle, time] = ["vehicle_id", "timestamp"].map(column);
    let who_and_when = |row: &str| {
        let fields: Vec<&str> = row.split(',').collect();
        (fields[vehicle].to_owned(), parse_rfc3339(fields[time].as_bytes()))
    };
    let mut said: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
    for row in rows {
        said.entry(who_and_when(row)).or_default().insert(row);
    }
    let has_one = |row: &&String| said[&who_and_when(row)].len() == 1;
    rows.iter().filter(has_one).cloned().collect()
}

/// What is stored of every driver, in the order of time.
fn history(data_dir: &Path) -> BTreeMap<journal::Driver, Vec<Fix>> {
    let mut drivers = journal::read(data_dir, Fix::clone).drivers;
    drivers.values_mut().for_each(|fixes| fixes.sort_by_key(|fix| fix.time));
    drivers
}

#[test]
fn a_shuffled_and_thrice_repeated_recording_gives_the_same_history() {
    let mut compared = 0;
    for file in recordings("csv") {
        let clean = tempfile::tempdir().unwrap();
        let (header, rows) = rows(&file);
        let rows = without_conflicts(&header, &rows);
        let write = |file: &Path, rows: &[&String]| {
            let lines: Vec<&str> = iter::once(&header).chain(rows.iter().copied()).map(String::as_str).collect();
            fs::write(file, lines.join("\n")).unwrap();
        };
        let in_order = clean.path().join("in_order.csv");
        write(&in_order, &rows.iter().collect::<Vec<_>>());
        let first = replay(clean.path(), &in_order, &[]);
        assert_eq!(first["conflict"], 0, "{}", file.display());
        let mut mixed: Vec<&String> = rows.iter().cycle().take(3 * rows.len()).collect();
        // A fixed mixture: no two runs differ.
        let mut random: u64 = 0x9E37_79B9_7F4A_7C15;
        for index in (1..mixed.len()).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            mixed.swap(index, (random >> 33) as usize % (index + 1));
        }
        let dir = tempfile::tempdir().unwrap();
        let shuffled = dir.path().join("shuffled.csv");
        write(&shuffled, &mixed);
        let summary = replay(dir.path(), &shuffled, &["dedupe.window_fixes=16"]);
        assert_eq!(summary["stored"], first["stored"], "{}", file.display());
        assert!(summary["late"].as_u64() > first["late"].as_u64(), "{}: hardly shuffled", file.display());
        let same = history(&clean.path().join("data")) == history(&dir.path().join("data"));
        assert!(same, "{}: another history", file.display());
        compared += 1;
    }
    assert!(compared >= 3, "{compared} recordings compared");
}
