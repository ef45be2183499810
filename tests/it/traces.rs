//! What the rules make of recordings: a snapshot of the verdicts of each, and the same history whatever the order.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use ::rhumb::fix::Fix;
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

/// Rows whose vehicle and time were there before, and those of them that are refused for another reason than that.
const REPEATED: [(&str, u64, u64); 8] = [
    ("warsaw_bus_20240216_1517.csv.gz", 52_429, 0),
    ("warsaw_bus_20240216_1136.csv.gz", 22_678, 0),
    ("austin_bus_2015.csv.gz", 145, 0),
    ("austin_bus_2016.csv.gz", 16_433, 0),
    ("helsinki_doors_20210818.csv.gz", 0, 0),
    ("gpsd_receivers.csv.gz", 2_480, 0),
    ("liverpool_bus_20260126.csv", 0, 0),
    // One more than repeat their time to the letter: two of them differ by less than a millisecond.
    ("mojstrovka_broken_clock.gpx", 183, 0),
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
        if let Some((_, repeated, refused)) = REPEATED.iter().find(|known| *rules == "default" && known.0 == name) {
            assert_eq!(summary["duplicate"], repeated - refused, "{name}");
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
    let differ: Vec<String> = found.into_iter().filter(|line| !SNAPSHOT.lines().any(|known| known == line)).collect();
    assert!(differ.is_empty(), "other verdicts than in tests/it/traces.txt:\n{}", differ.join("\n"));
}

/// A recording's header and rows.
fn rows(file: &Path) -> (String, Vec<String>) {
    let bytes = File::open(file).unwrap();
    let is_gzipped = file.extension().is_some_and(|extension| extension == "gz");
    let reader: Box<dyn Read> = if is_gzipped { Box::new(MultiGzDecoder::new(bytes)) } else { Box::new(bytes) };
    let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
    (lines.next().unwrap(), lines.collect())
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
        let first = replay(clean.path(), &file, &[]);
        // Which of two positions at one time is the first depends on the order.
        if first["conflict"] != 0 {
            continue;
        }
        let (header, rows) = rows(&file);
        let mut mixed: Vec<&String> = rows.iter().cycle().take(3 * rows.len()).collect();
        // A fixed mixture: no two runs differ.
        let mut random: u64 = 0x9E37_79B9_7F4A_7C15;
        for index in (1..mixed.len()).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            mixed.swap(index, (random >> 33) as usize % (index + 1));
        }
        let dir = tempfile::tempdir().unwrap();
        let shuffled = dir.path().join("shuffled.csv");
        let lines: Vec<&str> = std::iter::once(&header).chain(mixed).map(String::as_str).collect();
        fs::write(&shuffled, lines.join("\n")).unwrap();
        let summary = replay(dir.path(), &shuffled, &["dedupe.window_fixes=16"]);
        assert_eq!(summary["stored"], first["stored"], "{}", file.display());
        assert!(summary["late"].as_u64() > first["late"].as_u64(), "{}: hardly shuffled", file.display());
        let same = history(&clean.path().join("data")) == history(&dir.path().join("data"));
        assert!(same, "{}: another history", file.display());
        compared += 1;
    }
    assert!(compared > 0, "no recording without conflicts");
}
