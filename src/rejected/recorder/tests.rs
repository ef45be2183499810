//! The recorder on real files.

use std::fs;

use super::*;
use crate::rejected::testing::{key, refusal};

fn parcel(refusals: impl IntoIterator<Item = Refusal>) -> Parcel {
    let mut parcel = Parcel::default();
    refusals.into_iter().for_each(|refusal| parcel.add(refusal));
    parcel
}

fn started(data_dir: &Path, config: &Config) -> Recording {
    Recording::start(data_dir, config, Clock::manual(TimestampMs(7_000))).unwrap()
}

fn recent(recorder: &Recorder, driver: &str) -> Vec<i64> {
    recorder.recent(&key("acme", driver), 100).iter().map(|refusal| refusal.received_at.0).collect()
}

fn read(data_dir: &Path) -> Vec<i64> {
    Reader::open(&data_dir.join(DIRECTORY)).unwrap().map(|refusal| refusal.unwrap().received_at.0).collect()
}

fn number(recorder: &Recorder, name: &str) -> u64 {
    let mut page = Exposition::default();
    recorder.collect(&mut page);
    let page = page.finish();
    page.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).unwrap().parse().unwrap()
}

#[test]
fn a_clean_stop_writes_down_everything_and_the_next_start_remembers_it() {
    let dir = tempfile::tempdir().unwrap();
    let recording = started(dir.path(), &Config::default());
    for time in 0..100 {
        recording.recorder().record(parcel([refusal("d1", time, b"x"), refusal("d2", time, b"y")]));
    }
    let recorder = recording.recorder().clone();
    recording.stop();
    assert_eq!(number(&recorder, "rhumb_rejections_recorded_total"), 200);
    assert_eq!(number(&recorder, "rhumb_rejections_unrecorded_total"), 0);
    let on_disk: u64 =
        fs::read_dir(dir.path().join(DIRECTORY)).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
    assert_eq!(number(&recorder, "rhumb_rejections_bytes"), on_disk);
    assert_eq!(read(dir.path()).len(), 200);

    let recording = started(dir.path(), &Config::default());
    assert_eq!(recent(recording.recorder(), "d2"), [99, 98, 97, 96, 95, 94, 93, 92]);
    assert_eq!(recording.recorder().recent(&key("acme", "d1"), 2).len(), 2);
    recording.stop();
}

#[test]
fn what_is_off_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let recording = started(dir.path(), &Config { bytes_max: 0, ..Config::default() });
    recording.recorder().record(parcel([refusal("d1", 1, b"x")]));
    let recorder = recording.recorder().clone();
    recording.stop();
    assert_eq!(recent(&recorder, "d1"), [1]);
    assert!(!dir.path().join(DIRECTORY).exists());
    let recording = started(dir.path(), &Config { memory_bytes_max: 0, ..Config::default() });
    recording.recorder().record(parcel([refusal("d1", 2, b"x")]));
    let recorder = recording.recorder().clone();
    recording.stop();
    assert_eq!((recent(&recorder, "d1"), read(dir.path())), (vec![], vec![2]));
}

#[test]
fn rows_of_a_recording_get_the_time_of_the_writing() {
    let dir = tempfile::tempdir().unwrap();
    let recording = started(dir.path(), &Config::default());
    let row = refusal("d1", 0, b"a,b,c");
    recording.recorder().record(Parcel { is_of_recording: true, ..parcel([row]) });
    recording.stop();
    assert_eq!(read(dir.path()), [7_000]);
}

#[test]
fn what_does_not_fit_is_counted_and_nobody_waits() {
    let dir = tempfile::tempdir().unwrap();
    let recording = started(dir.path(), &Config::default());
    let recorder = recording.recorder().clone();
    // Nobody writes while somebody asks.
    let asking = recorder.shared.recent();
    let mut sent = 0;
    while recorder.has_room() {
        recorder.record(parcel((0..100).map(|time| refusal("d1", time, &[b'x'; 4_000]))));
        sent += 100;
    }
    assert!(recorder.shared.queued_bytes.load(Ordering::Relaxed) < QUEUED_BYTES_MAX + (1 << 20));
    recorder.record(parcel([refusal("d1", 1, b"x"), refusal("d1", 2, b"x")]));
    recorder.miss(3);
    assert_eq!(number(&recorder, "rhumb_rejections_unrecorded_total"), 5);
    drop(asking);
    recording.stop();
    assert_eq!(number(&recorder, "rhumb_rejections_recorded_total"), sent);
    assert_eq!(recorder.shared.queued_bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn many_small_parcels_are_bounded_too() {
    let dir = tempfile::tempdir().unwrap();
    let recording = started(dir.path(), &Config::default());
    let recorder = recording.recorder().clone();
    let asking = recorder.shared.recent();
    for time in 0..10_000 {
        recorder.record(parcel([refusal("d1", time, b"x")]));
    }
    drop(asking);
    recording.stop();
    let of = |name: &str| number(&recorder, &format!("rhumb_rejections_{name}_total"));
    assert_eq!(of("recorded") + of("unrecorded"), 10_000);
    assert!((PARCELS_MAX as u64..PARCELS_MAX as u64 + 10).contains(&of("recorded")), "{}", of("recorded"));
}

#[test]
fn a_disk_that_fails_is_counted_and_gone_over_when_it_works_again() {
    let dir = tempfile::tempdir().unwrap();
    let in_the_way = dir.path().join(DIRECTORY);
    fs::write(&in_the_way, "a file").unwrap();
    let recording = started(dir.path(), &Config::default());
    let recorder = recording.recorder().clone();
    recorder.record(parcel([refusal("d1", 1, b"x")]));
    while recent(&recorder, "d1").is_empty() {
        thread::yield_now();
    }
    assert_eq!(number(&recorder, "rhumb_rejections_unrecorded_total"), 1);
    fs::remove_file(&in_the_way).unwrap();
    recorder.record(parcel([refusal("d1", 2, b"x")]));
    recording.stop();
    assert_eq!(read(dir.path()), [2]);
    assert_eq!(number(&recorder, "rhumb_rejections_recorded_total"), 1);
}
