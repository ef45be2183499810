//! The journal as a whole: what comes back after clean and unclean ends.
//!
//! | fault | held by |
//! |---|---|
//! | a crash at any instant, of the machine or the process, also while it recovers | `crashes` |
//! | torn tail, at every byte; lost pages; zeros; bit flips; missing segments | `faults` |
//! | short write, ENOSPC, EIO on write and on fdatasync, EIO on read, read-only disk | `failing_disk` |
//! | a snapshot half written | `failing_disk`, `snapshots` |
//! | a clock that steps back | `failing_disk`, and the pipeline's tests |
//! | two engines on one directory | here |
//!
//! The same of the whole engine, on a real disk: `tests/it/faults.rs` and `tests/it/shutdown.rs`.

mod budget;
pub(crate) mod crash_image;
mod crashes;
mod disk;
mod failing_disk;
mod faults;
mod inspecting;
mod interval;
mod salvaging;
mod snapshots;
mod tail;
mod traces;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::codec::Codec;
use crate::counts::Counts;
use crate::fix::{Fix, Reason, Verdict};
use crate::ids::{DriverId, DriverKey, FenceId, TenantId};
use crate::units::{Position, TimestampMs};

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// More calls back than any test leaves unread.
const CALLS_MAX: usize = 4_096;

pub(super) fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

pub(super) fn driver(tenant_name: &str, name: &str) -> DriverKey {
    DriverKey::new(tenant(tenant_name), DriverId::new(name).unwrap())
}

pub(super) fn fix(time: i64) -> Fix {
    let position = Position { latitude_e7: 521_234_567 + time as i32, longitude_e7: 210_123_456 };
    Fix {
        received_at: TimestampMs(time + 250),
        speed_mmps: Some(8_300),
        seq: Some(time as u32),
        ..Fix::at(TimestampMs(time), position)
    }
}

/// A turn of one fix of driver `d1` at this time.
pub(super) fn turn(time: i64) -> Turn {
    let mut encoder = TurnEncoder::new();
    encoder.begin(TimestampMs(time + 250));
    encoder.fix(&driver("acme", "d1"), &fix(time), false);
    encoder.finish()
}

/// The times of the fixes in a frame.
pub(super) fn times(frame: &Frame<'_>) -> Vec<i64> {
    let records = frame.records().map(Result::unwrap);
    records.filter_map(|record| if let Record::Fix { fix, .. } = record { Some(fix.time.0) } else { None }).collect()
}

/// Opens and gives the times of all fixes found.
pub(super) fn open_all(dir: &Path, config: &Config) -> Result<(Journal, Recovered, Vec<i64>), Error> {
    let mut found = Vec::new();
    let (journal, recovered) = open(dir, config, &mut |frame| {
        found.extend(times(frame));
        Ok(())
    })?;
    Ok((journal, recovered, found))
}

pub(super) fn appender(journal: &Journal) -> (Appender, Receiver<Vec<u64>>) {
    let (sender, durable) = sync_channel(CALLS_MAX);
    let on_durable = move |sequences: &[u64]| sender.send(sequences.to_vec()).unwrap();
    (journal.appender(Box::new(on_durable)), durable)
}

/// Appends one fix a frame, each frame durable before the next.
pub(super) fn write_each(journal: &Journal, times: impl IntoIterator<Item = i64>) {
    let (appender, durable) = appender(journal);
    for time in times {
        appender.append(turn(time)).unwrap();
        durable.recv_timeout(10 * SECOND).unwrap();
    }
}

/// What a crash now would leave: the files as they are, in another directory.
pub(super) fn crash(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

pub(super) fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "journal"));
    paths.sort();
    paths
}

/// Offsets at which the frames of a segment begin, and where the last ends.
pub(super) fn frame_offsets(path: &Path) -> Vec<usize> {
    let bytes = fs::read(path).unwrap();
    let mut offsets = vec![segment::HEADER_BYTES];
    loop {
        let at = *offsets.last().unwrap();
        let Some(start) = bytes.get(at..at + 8) else { return offsets };
        match frame::announced(start.try_into().unwrap()) {
            frame::Announced::Frame(length) => offsets.push(at + length),
            _ => return offsets,
        }
    }
}

#[test]
fn everything_comes_back_after_a_clean_close() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, recovered, found) = open_all(dir.path(), &Config::default()).unwrap();
    assert_eq!((recovered, found), (Recovered::default(), vec![]));
    let id = journal.id();
    write_each(&journal, 1..=5);
    assert_eq!(journal.watermark().get(), 5);
    journal.close().unwrap();

    let (journal, recovered, found) = open_all(dir.path(), &Config::default()).unwrap();
    assert_eq!(found, [1, 2, 3, 4, 5]);
    // The sixth is the seal of the clean close.
    assert_eq!(recovered, Recovered { segments: 1, frames: 6, fixes: 5, last: 6, cut_bytes: 0 });
    assert_eq!(journal.id(), id);
    write_each(&journal, [7]);
    journal.close().unwrap();
    let path = &segments(dir.path())[0];
    assert_eq!(fs::metadata(path).unwrap().len(), *frame_offsets(path).last().unwrap() as u64);
    assert_eq!(open_all(dir.path(), &Config::default()).unwrap().2, [1, 2, 3, 4, 5, 7]);
}

#[test]
fn a_crash_leaves_everything_acknowledged_and_the_journal_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open_all(dir.path(), &Config::default()).unwrap();
    write_each(&journal, 1..=3);
    let copy = crash(dir.path());
    let (journal, recovered, found) = open_all(copy.path(), &Config::default()).unwrap();
    assert_eq!((found, recovered.cut_bytes), (vec![1, 2, 3], 0));
    write_each(&journal, 4..=6);
    let copy = crash(copy.path());
    assert_eq!(open_all(copy.path(), &Config::default()).unwrap().2, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_second_opener_is_refused_until_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open_all(dir.path(), &Config::default()).unwrap();
    assert!(matches!(open_all(dir.path(), &Config::default()), Err(Error::InUse { .. })));
    drop(journal);
    assert!(open_all(dir.path(), &Config::default()).is_ok());
}

#[test]
fn decisions_come_back_as_they_were_made() {
    let mut encoder = TurnEncoder::new();
    let (first, second) = (tenant("acme"), tenant("globex"));
    let mut counts = Counts::default();
    counts.count(Verdict::Late);
    counts.count(Verdict::Duplicate);
    counts.count(Verdict::Rejected(Reason::ImpliedSpeed));
    encoder.begin(TimestampMs(10_000));
    assert!(encoder.is_empty());
    let turns = [("acme", "d1", 9_000, false), ("acme", "d1", 8_000, true), ("globex", "d1", 9_500, false)];
    for (tenant, name, time, late) in turns {
        encoder.fix(&driver(tenant, name), &fix(time), late);
    }
    encoder.counters(&second, Codec::Native, &counts);
    encoder.fix(&driver("acme", "d2"), &fix(9_700), false);
    encoder.counters(&tenant("initech"), Codec::Flespi, &counts);
    encoder.counters(&first, Codec::Flespi, &Counts::default());
    // Nothing that the fixes do not say.
    encoder.counters(&first, Codec::Native, &Counts { stored: 3, late: 1, ..Counts::default() });
    // A tenant that was named in between: the driver has to be announced again.
    encoder.fix(&driver("acme", "d2"), &fix(9_800), false);
    let mut turn = encoder.finish();
    assert_eq!(turn.fixes(), 5);
    let place = frame::Place { sequence: 7, durable: 6, appender: 3 };
    frame::seal(&mut turn.bytes, place, turn.received_at, turn.fixes);
    assert!(Frame::is_sound(&turn.bytes));
    let frame = Frame::parse(&turn.bytes);
    assert_eq!((frame.sequence, frame.durable, frame.appender, frame.fixes), (7, 6, 3, 5));
    let records: Vec<_> = frame.records().map(Result::unwrap).collect();
    let fix = |time, late| Record::Fix { fix: fix(time), late };
    let expected = [
        Record::Driver { tenant: "acme", driver: "d1" },
        fix(9_000, false),
        fix(8_000, true),
        Record::Driver { tenant: "globex", driver: "d1" },
        fix(9_500, false),
        Record::Counters { tenant: "globex", codec: Codec::Native, counts: Counts { stored: 0, late: 0, ..counts } },
        Record::Driver { tenant: "acme", driver: "d2" },
        fix(9_700, false),
        Record::Counters { tenant: "initech", codec: Codec::Flespi, counts },
        Record::Driver { tenant: "acme", driver: "d2" },
        fix(9_800, false),
    ];
    assert_eq!(records, expected);
}

#[test]
fn a_change_has_a_frame_of_its_own() {
    let mut encoder = TurnEncoder::new();
    encoder.begin(TimestampMs(10_000));
    let id = FenceId::new("depot:1").unwrap();
    let longest = vec![b'x'; CHANGE_BODY_BYTES_MAX];
    for (kind, body) in
        [(ChangeKind::GeofencePut, &b"{}"[..]), (ChangeKind::GeofenceRemoved, b""), (ChangeKind::GeofencePut, &longest)]
    {
        encoder.change(&tenant("acme"), kind, &id, body);
        let mut turn = encoder.finish();
        let place = frame::Place { sequence: 7, durable: 6, appender: 3 };
        frame::seal(&mut turn.bytes, place, turn.received_at, turn.fixes);
        let frame = Frame::parse(&turn.bytes);
        let records: Vec<_> = frame.records().map(Result::unwrap).collect();
        assert_eq!(records, [Record::Change(Change { tenant: "acme", kind, id: "depot:1", body })]);
        assert_eq!(Tally::of(&frame), Ok(Vec::new()));
        // Cut short anywhere, it does not read.
        for end in [frame::HEADER_BYTES + 7, turn.bytes.len() - 1] {
            let cut: Vec<_> = Records::new(&turn.bytes[frame::HEADER_BYTES..end], TimestampMs(0)).collect();
            assert_eq!(cut, [Err(Malformed)]);
        }
    }
}

proptest::proptest! {
    #[test]
    fn any_records_are_survived(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let records: Vec<_> = Records::new(&bytes, TimestampMs(0)).collect();
        proptest::prop_assert!(records.iter().rev().skip(1).all(Result::is_ok));
    }

    #[test]
    fn any_turn_comes_back(turns in proptest::collection::vec((0..20_usize, 0..40_usize, 0_i64..1 << 30, proptest::bool::ANY), 0..200)) {
        let mut encoder = TurnEncoder::new();
        encoder.begin(TimestampMs(1 << 29));
        let names = |tenant: usize, name: usize| (format!("tenant-{tenant}"), format!("driver.{name}"));
        for (tenant, name, time, late) in &turns {
            let (tenant, name) = names(*tenant, *name);
            encoder.fix(&driver(&tenant, &name), &fix(*time), *late);
        }
        let turn = encoder.finish();
        let mut whose = None;
        let mut found = Vec::new();
        for record in Records::new(&turn.bytes[frame::HEADER_BYTES..], turn.received_at) {
            match record.unwrap() {
                Record::Driver { tenant, driver } => whose = Some((tenant.to_owned(), driver.to_owned())),
                Record::Fix { fix, late } => found.push((whose.clone().unwrap(), fix, late)),
                Record::Counters { .. } | Record::Change(_) => unreachable!(),
            }
        }
        let expected: Vec<_> =
            turns.iter().map(|(tenant, name, time, late)| (names(*tenant, *name), fix(*time), *late)).collect();
        proptest::prop_assert_eq!(found, expected);
    }
}

#[test]
fn a_full_turn_still_fits() {
    let mut encoder = TurnEncoder::new();
    encoder.begin(TimestampMs(0));
    let mut index = 0_i64;
    while !encoder.is_full() {
        let name = format!("{index:064}");
        encoder.fix(&driver("acme", &name), &fix(index << 40 ^ -index), false);
        index += 1;
    }
    let most = u64::MAX;
    let rejected = [most; Reason::COUNT];
    let counts = Counts { stored: most, late: most, duplicate: most, conflict: most, repaired: most, rejected };
    for tenant in 0..TURN_COUNTERS_MAX {
        encoder.counters(&TenantId::new(&format!("{tenant:032}")).unwrap(), Codec::Recording, &counts);
    }
    assert!(encoder.finish().len_bytes() <= FRAME_BYTES_MAX);
}

#[test]
fn a_configured_size_is_checked() {
    assert_eq!(toml::from_str::<Config>("").unwrap().segment_bytes, 256 << 20);
    assert_eq!(toml::from_str::<Config>("segment_bytes = 1048576").unwrap().segment_bytes, 1 << 20);
    let error = toml::from_str::<Config>("segment_bytes = 4096").unwrap_err().to_string();
    assert!(error.contains("1048576 (1 MiB)"), "{error}");
    assert!(toml::from_str::<Config>("segment_size = 1").is_err());
}

#[test]
fn appenders_hear_of_their_own_frames_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open_all(dir.path(), &Config::default()).unwrap();
    let appenders: Vec<_> = (0..3).map(|_| appender(&journal)).collect();
    for time in 0..600 {
        appenders[time as usize % 3].0.append(turn(time)).unwrap();
    }
    journal.close().unwrap();
    for (index, (appender, durable)) in appenders.into_iter().enumerate() {
        let heard: Vec<u64> = durable.try_iter().flatten().collect();
        let expected: Vec<u64> = (0..200).map(|turn| turn * 3 + index as u64 + 1).collect();
        assert_eq!(heard, expected);
        assert_eq!(appender.append(turn(1)), Err(Stopped));
    }
}

/// For the tests of a journal that fails.
pub(super) fn failure(journal: &Journal) -> Receiver<String> {
    let (sender, failed) = sync_channel(1);
    journal.on_failure(Box::new(move |error| sender.send(error.to_owned()).unwrap()));
    failed
}

/// Whether two watermarks are the same place.
pub(super) fn is_shared(journal: &Journal, watermark: &Arc<Watermark>) -> bool {
    Arc::ptr_eq(&journal.watermark(), watermark)
}
