//! Looking into a journal from outside: all damage is told, and nothing else is taken for it.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use crate::codec::Codec;
use crate::journal::inspect::{Files, Finding, Lost, Verified, Walk, stat, verify};

/// Some twenty frames of one fix a segment.
pub(super) const SMALL: Config = Config { segment_bytes: 1_000, ..Config::DEFAULT };

pub(super) fn verified(dir: &Path) -> (Verified, Vec<Finding>) {
    let mut findings = Vec::new();
    let verified = verify(&Files::of(dir).unwrap(), &mut |finding| findings.push(finding.clone())).unwrap();
    assert_eq!(verified.damages as usize, findings.len() + verified.unusable_snapshots.len());
    (verified, findings)
}

/// A closed journal of several segments, whose frames have one fix each with the sequence as its time.
pub(super) fn closed(frames: i64) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open_all(dir.path(), &SMALL).unwrap();
    write_each(&journal, 1..=frames);
    journal.close().unwrap();
    dir
}

/// Puts a snapshot beside a journal that stands for its frames up to `sequence`.
pub(super) fn snapshot_of(dir: &Path, sequence: u64) {
    let journal = Walk::through(&Files::of(dir).unwrap()).unwrap().journal().unwrap();
    let position = JournalPosition { journal, sequence };
    let mut snapshot = SnapshotWriter::create(&Unopened::take(dir).unwrap().storage, position).unwrap();
    snapshot.put(b"opaque").unwrap();
    snapshot.finish().unwrap();
}

/// First sequences of the segments.
pub(super) fn firsts(dir: &Path) -> Vec<u64> {
    let first = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    segments(dir).iter().map(first).collect()
}

/// Changes one bit in the middle of the `index`-th frame of a segment.
pub(super) fn flip(path: &Path, index: usize) -> u64 {
    let offset = frame_offsets(path)[index];
    let mut bytes = fs::read(path).unwrap();
    bytes[offset + 50] ^= 4;
    fs::write(path, bytes).unwrap();
    offset as u64
}

#[test]
fn a_whole_journal_is_whole_open_killed_and_closed() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open_all(dir.path(), &SMALL).unwrap();
    let files = Files::of(dir.path()).unwrap();
    assert_eq!(verified(dir.path()).0.end.last, 0);
    write_each(&journal, 1..=60);
    assert!(files.is_in_use().unwrap());
    for dir in [dir.path(), crash(dir.path()).path()] {
        let (verified, findings) = super::inspecting::verified(dir);
        assert_eq!(findings, []);
        assert_eq!((verified.frames, verified.fixes, verified.end.last), (60, 60, 60));
        assert_eq!((verified.end.torn_bytes, verified.end.is_sealed), (0, false));
        assert_eq!(verified.journal, Some(journal.id()));
    }
    journal.close().unwrap();
    assert!(!files.is_in_use().unwrap());
    let (verified, _) = verified(dir.path());
    assert_eq!((verified.frames, verified.fixes, verified.end.is_sealed), (61, 60, true));
}

#[test]
fn where_there_is_no_journal_none_is_made() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Files::of(dir.path()), Err(Error::NoJournal { .. })));
    let missing = dir.path().join("missing");
    assert!(matches!(Files::of(&missing), Err(Error::NoJournal { .. })));
    assert!(!missing.exists());
}

#[test]
fn every_damage_is_told_with_its_place_and_what_is_lost_by_it() {
    let dir = closed(100);
    let (paths, firsts) = (segments(dir.path()), firsts(dir.path()));
    assert!(paths.len() > 5, "{paths:?}");
    let first_offset = flip(&paths[0], 3);
    let second_offset = flip(&paths[0], 6);
    flip(&paths[0], 7);
    fs::remove_file(&paths[2]).unwrap();
    let mut header = fs::read(&paths[4]).unwrap();
    header[20] ^= 1;
    fs::write(&paths[4], header).unwrap();
    let torn = fs::read(paths.last().unwrap()).unwrap();
    fs::write(paths.last().unwrap(), &torn[..torn.len() - 3]).unwrap();

    let (verified, findings) = verified(dir.path());
    let name = |index: usize| paths[index].file_name().unwrap().to_str().unwrap().to_owned();
    let end_of_second = *frame_offsets(&paths[1]).last().unwrap() as u64;
    let places: Vec<_> = findings
        .iter()
        .map(|finding| (finding.segment.clone(), finding.offset, finding.reason, finding.lost))
        .collect();
    let expected = [
        (name(0), first_offset, Damage::Frame, Some(Lost { first: 4, last: 4 })),
        (name(0), second_offset, Damage::Frame, Some(Lost { first: 7, last: 8 })),
        (name(1), end_of_second, Damage::Missing, Some(Lost { first: firsts[2], last: firsts[3] - 1 })),
        (name(4), 0, Damage::Header, None),
    ];
    assert_eq!(places, expected);
    assert_eq!(verified.lost_frames, 3 + firsts[3] - firsts[2]);
    // The seal is torn, and that is no damage.
    assert_eq!((verified.end.last, verified.end.torn_bytes), (100, frame::HEADER_BYTES as u64 - 3));
    assert_eq!(
        findings[1].to_string(),
        format!(
            "segment {} is damaged at byte {second_offset}: a frame does not match its checksum; 2 frames are lost, 7 to 8, \
             {} bytes skipped",
            name(0),
            findings[1].skipped_bytes
        )
    );
}

#[test]
fn a_beginning_that_is_missing_is_damage_unless_a_snapshot_stands_for_it() {
    let dir = closed(60);
    let (paths, firsts) = (segments(dir.path()), firsts(dir.path()));
    fs::remove_file(&paths[0]).unwrap();
    let gone = |first| {
        let (_, findings) = verified(dir.path());
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!((&findings[0].segment, findings[0].reason), (&segment::name(first), Damage::Gone));
        assert_eq!(findings[0].lost, Some(Lost { first, last: firsts[1] - 1 }));
    };
    gone(1);
    snapshot_of(dir.path(), firsts[1] - 3);
    gone(firsts[1] - 2);
    snapshot_of(dir.path(), firsts[1] - 1);
    let (seen, findings) = verified(dir.path());
    assert_eq!((seen.snapshots, findings), (2, vec![]));
    let counted = stat(&Files::of(dir.path()).unwrap()).unwrap();
    assert_eq!((counted.first, counted.last, counted.snapshots.len()), (firsts[1], 61, 2));

    // One that is not whole stands for nothing, and is told.
    let path = dir.path().join(snapshot::name(firsts[1] - 1));
    let mut bytes = fs::read(&path).unwrap();
    bytes[50] ^= 1;
    assert_eq!(counted.snapshots[1].bytes, bytes.len() as u64);
    fs::write(&path, bytes).unwrap();
    gone(firsts[1] - 2);
    assert_eq!(verified(dir.path()).0.unusable_snapshots[0].0, snapshot::name(firsts[1] - 1));
    // Nor does another journal's.
    fs::remove_file(&path).unwrap();
    let other = closed(60);
    snapshot_of(other.path(), firsts[1] - 1);
    fs::copy(other.path().join(snapshot::name(firsts[1] - 1)), &path).unwrap();
    gone(firsts[1] - 2);
}

#[test]
fn a_frame_that_is_sound_and_not_right_is_damage() {
    let cases = [
        // Sequence, durable, records; the sequence that is expected is 3.
        (4, 2, &[][..], Damage::Sequence, Some(Lost { first: 3, last: 3 })),
        (2, 1, &[], Damage::Sequence, None),
        (3, 3, &[], Damage::Durable, Some(Lost { first: 3, last: 3 })),
        (3, 0, &[], Damage::Durable, None),
        (3, 2, &[0xbf], Damage::Records, Some(Lost { first: 3, last: 3 })),
    ];
    for (sequence, durable, records, reason, lost) in cases {
        let dir = tempfile::tempdir().unwrap();
        let (journal, ..) = open_all(dir.path(), &Config::default()).unwrap();
        write_each(&journal, 1..=2);
        let copy = crash(dir.path());
        let path = &segments(copy.path())[0];
        let end = *frame_offsets(path).last().unwrap();
        let mut bytes = fs::read(path).unwrap();
        bytes.truncate(end);
        let mut frame = vec![0; frame::HEADER_BYTES];
        frame.extend_from_slice(records);
        let place = frame::Place { sequence, durable: durable.min(sequence - 1), appender: 0 };
        frame::seal(&mut frame, place, TimestampMs(0), 0);
        if durable >= sequence {
            frame[16..24].copy_from_slice(&durable.to_le_bytes());
            let checksum = crc32c::crc32c(&frame[4..]);
            frame[..4].copy_from_slice(&checksum.to_le_bytes());
        }
        bytes.extend_from_slice(&frame);
        fs::write(path, &bytes).unwrap();
        let (_, findings) = verified(copy.path());
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!((findings[0].offset, findings[0].reason, findings[0].lost), (end as u64, reason, lost));
    }
}

#[test]
fn a_segment_of_another_journal_or_place_is_damage_and_what_is_around_it_is_read() {
    for is_foreign in [true, false] {
        let dir = closed(60);
        let (paths, firsts) = (segments(dir.path()), firsts(dir.path()));
        let other = closed(60);
        let from = if is_foreign { segments(other.path())[1].clone() } else { paths[0].clone() };
        fs::copy(from, &paths[1]).unwrap();
        let (verified, findings) = verified(dir.path());
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!((findings[0].reason, findings[0].offset), (Damage::Misplaced, 0));
        assert_eq!(findings[0].lost, Some(Lost { first: firsts[1], last: firsts[2] - 1 }));
        assert_eq!(verified.frames, 61 - (firsts[2] - firsts[1]));
    }
}

#[test]
fn another_version_is_no_damage() {
    let dir = closed(3);
    let path = &segments(dir.path())[0];
    let mut bytes = fs::read(path).unwrap();
    bytes[8] = 99;
    fs::write(path, &bytes).unwrap();
    assert_eq!(verified(dir.path()).1[0].reason, Damage::Header, "without its checksum it is damage");
    let checksum = crc32c::crc32c(&bytes[..36]);
    bytes[36..40].copy_from_slice(&checksum.to_le_bytes());
    fs::write(path, &bytes).unwrap();
    let refused = verify(&Files::of(dir.path()).unwrap(), &mut |_| ());
    assert!(matches!(refused, Err(Error::Version { found: 99, .. })), "{refused:?}");
}

#[test]
fn damage_further_from_what_is_sound_than_is_searched_at_a_time_is_passed() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open_all(dir.path(), &Config::default()).unwrap();
    let (appender, durable) = appender(&journal);
    let mut sequence = 0;
    let mut write = || {
        let mut encoder = TurnEncoder::new();
        encoder.begin(TimestampMs(0));
        let mut time = 0;
        while !encoder.is_full() {
            time += 1;
            encoder.fix(&driver("acme", &format!("{time:064}")), &fix(time), false);
        }
        sequence += 1;
        appender.append(encoder.finish()).unwrap();
        assert_eq!(durable.recv_timeout(10 * SECOND).unwrap(), [sequence]);
    };
    (0..5).for_each(|_| write());
    journal.close().unwrap();
    let path = &segments(dir.path())[0];
    let offsets = frame_offsets(path);
    let mut bytes = fs::read(path).unwrap();
    bytes[offsets[1]..offsets[4] - 1].fill(0xa5);
    fs::write(path, &bytes).unwrap();
    let (_, findings) = verified(dir.path());
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].lost, Some(Lost { first: 2, last: 4 }));
    assert_eq!(findings[0].skipped_bytes, (offsets[4] - offsets[1]) as u64);
}

#[test]
fn what_is_decided_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open_all(dir.path(), &SMALL).unwrap();
    let (appender, durable) = appender(&journal);
    for time in 0..50 {
        let mut encoder = TurnEncoder::new();
        encoder.begin(TimestampMs(time * 1_000));
        let mut counts = Counts::default();
        let flespi = Counts { stored: 1, ..Counts::default() };
        for (tenant, late) in [("acme", false), ("globex", true), ("acme", true)] {
            encoder.fix(&driver(tenant, "d1"), &fix(time), late);
            counts.count(if late { Verdict::Late } else { Verdict::Accepted });
        }
        counts.count(Verdict::Duplicate);
        counts.count(Verdict::Rejected(Reason::Past));
        encoder.counters(&tenant("initech"), Codec::Native, &counts);
        encoder.counters(&tenant("acme"), Codec::Flespi, &flespi);
        appender.append(encoder.finish()).unwrap();
        durable.recv_timeout(10 * SECOND).unwrap();
    }
    let stat = stat(&Files::of(dir.path()).unwrap()).unwrap();
    let mut rejected = [0; Reason::COUNT];
    rejected[Reason::Past as usize] = 50;
    let counts = |stored, late, duplicate| Counts { stored, late, duplicate, ..Counts::default() };
    let of_acme = [(Codec::Native, counts(50, 50, 0)), (Codec::Flespi, counts(50, 0, 0))];
    assert_eq!(stat.tenants["acme"], BTreeMap::from(of_acme));
    assert_eq!(stat.tenants["globex"], BTreeMap::from([(Codec::Native, counts(50, 50, 0))]));
    assert_eq!(stat.tenants["initech"], BTreeMap::from([(Codec::Native, Counts { rejected, ..counts(0, 0, 50) })]));
    assert_eq!(stat.counts(), Counts { rejected, ..counts(150, 100, 50) });
    assert_eq!((stat.first, stat.last, stat.total().frames, stat.total().fixes), (1, 50, 50, 150));
    assert_eq!(stat.received_at, Some((TimestampMs(0), TimestampMs(49_000))));
    assert_eq!(stat.segments.len(), segments(dir.path()).len());
    assert_eq!(stat.segments[0].received_at.unwrap().0, TimestampMs(0));
    for (segment, path) in stat.segments.iter().zip(segments(dir.path())) {
        let offsets = frame_offsets(&path);
        assert_eq!(segment.frame_bytes as usize, offsets[offsets.len() - 1] - segment::HEADER_BYTES);
        assert_eq!(segment.bytes, fs::metadata(path).unwrap().len());
    }
}

/// Removes the oldest segments as an engine does: once a snapshot that stands for them is there.
fn remove_oldest(journal: &Journal) {
    let segments = journal.segments().unwrap();
    let [.., kept, _, _] = segments.as_slice() else { return };
    journal.snapshot(kept.first - 1).unwrap().finish().unwrap();
    journal.cut(kept.first - 1).unwrap();
}

#[test]
fn a_journal_that_is_written_and_cut_meanwhile_never_looks_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open_all(dir.path(), &SMALL).unwrap();
    write_each(&journal, [0]);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (appender, durable) = appender(&journal);
            let mut waiting = 0;
            for time in 0..6_000 {
                appender.append(turn(time)).unwrap();
                waiting += 1;
                while waiting > time as usize % 20 {
                    waiting -= durable.recv_timeout(10 * SECOND).unwrap().len();
                }
                if time % 300 == 299 {
                    remove_oldest(&journal);
                }
            }
            is_over.store(true, Ordering::Release);
        });
        let mut looks = 0;
        while !is_over.load(Ordering::Acquire) {
            let files = Files::of(dir.path()).unwrap();
            let before = journal.watermark().get();
            let (verified, findings) = verified(dir.path());
            assert_eq!(findings, [], "after {looks} looks");
            assert!(verified.end.last >= before, "{verified:?} does not reach {before}");
            assert_eq!(stat(&files).unwrap().damages, 0);
            looks += 1;
        }
        assert!(looks > 3, "{looks}");
    });
}

/// A directory whose names are told as they were before, for the first looks.
#[derive(Debug)]
struct Stale {
    directory: Arc<dyn Storage>,
    names: Vec<String>,
    looks_left: AtomicUsize,
}

impl Storage for Stale {
    fn list(&self) -> io::Result<Vec<String>> {
        let is_stale =
            self.looks_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if is_stale { Ok(self.names.clone()) } else { self.directory.list() }
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.directory.create(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.directory.open(name)
    }

    fn open_for_write(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.directory.open_for_write(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.directory.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.directory.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.directory.sync_names()
    }
}

#[test]
fn a_journal_all_of_whose_segments_were_cut_before_one_was_read_is_not_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open_all(dir.path(), &SMALL).unwrap();
    write_each(&journal, 0..100);
    let files = Files::of(dir.path()).unwrap();
    let directory = Arc::clone(&files.storage);
    let names = directory.list().unwrap();
    let segments_then = journal.segments().unwrap();
    write_each(&journal, 100..300);
    let last = segments_then.last().unwrap().first;
    let kept = journal.segments().unwrap().into_iter().find(|segment| segment.first > last).unwrap().first;
    journal.snapshot(kept - 1).unwrap().finish().unwrap();
    journal.cut(kept - 1).unwrap();
    assert!(
        !names.iter().any(|name| directory.open(name).is_ok() && name.ends_with(".journal")),
        "none of them is left"
    );

    // A look asks for segments, and then for snapshots.
    let stale = |files: &Files| {
        let looks_left = AtomicUsize::new(2);
        files.clone().through(Arc::new(Stale { directory: Arc::clone(&directory), names: names.clone(), looks_left }))
    };
    let mut findings = Vec::new();
    let verified = verify(&stale(&files), &mut |finding| findings.push(finding.clone())).unwrap();
    assert_eq!((findings, verified.end.last), (Vec::new(), journal.watermark().get()));
    assert_eq!(stat(&stale(&files)).unwrap().damages, 0);
}
