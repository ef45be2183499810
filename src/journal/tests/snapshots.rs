//! Snapshots read back whole or not at all, recovery begins behind them, and what they stand for can go.

use super::*;

const SMALL: Config = Config { segment_bytes: config::SEGMENT_BYTES_MIN, ..Config::DEFAULT };

fn on(dir: &Path) -> Unopened {
    Unopened::take(dir).unwrap()
}

fn chunks(files: &Unopened, sequence: u64) -> Result<Vec<Vec<u8>>, Unusable> {
    let mut chunks = Vec::new();
    files.read_snapshot(sequence, &mut |chunk| {
        chunks.push(chunk.to_vec());
        Ok(())
    })?;
    Ok(chunks)
}

/// A journal of 40 frames with a snapshot that stands for the first `sequence`.
fn journal_with_snapshot(dir: &Path, sequence: u64) {
    let (journal, ..) = open_all(dir, &Config::default()).unwrap();
    write_each(&journal, 1..=40);
    let mut snapshot = journal.snapshot(sequence).unwrap();
    snapshot.put(b"one").unwrap();
    snapshot.put(&[7; CHUNK_BYTES_MAX]).unwrap();
    snapshot.finish().unwrap();
    journal.close().unwrap();
}

/// Opens behind a snapshot and gives the times of the fixes that were applied.
fn open_behind(dir: &Path, snapshot: Option<JournalPosition>, followed: &[JournalPosition]) -> Result<Vec<i64>, Error> {
    let mut found = Vec::new();
    let resume = Resume { snapshot, followed: followed.to_vec() };
    on(dir).open(&SMALL, &resume, &mut |frame| {
        found.extend(times(frame));
        Ok(())
    })?;
    Ok(found)
}

/// Fills segments until there are `count`; gives the journal's id, its last sequence and the segments.
fn fill(dir: &Path, count: usize) -> (JournalId, u64, Vec<SegmentInfo>) {
    let (journal, ..) = open_all(dir, &SMALL).unwrap();
    let (appender, durable) = appender(&journal);
    let mut time = 0;
    while journal.segments().unwrap().len() < count {
        let mut encoder = TurnEncoder::new();
        encoder.begin(TimestampMs(time));
        for _ in 0..2_000 {
            time += 1;
            encoder.fix(
                &driver("acme", "d1"),
                &Fix { seq: Some((time as u32).wrapping_mul(0x9e37_79b9)), ..fix(time * 991) },
                false,
            );
        }
        appender.append(encoder.finish()).unwrap();
        durable.recv_timeout(10 * SECOND).unwrap();
    }
    let found = (journal.id(), journal.watermark().get(), journal.segments().unwrap());
    journal.close().unwrap();
    found
}

#[test]
fn a_snapshot_reads_back_and_recovery_begins_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    journal_with_snapshot(dir.path(), 30);
    let files = on(dir.path());
    assert_eq!(files.snapshots().unwrap(), [30]);
    assert_eq!(chunks(&files, 30).unwrap(), [b"one".to_vec(), vec![7; CHUNK_BYTES_MAX]]);
    let position = files.read_snapshot(30, &mut |_| Ok(())).unwrap();
    drop(files);
    assert_eq!(open_behind(dir.path(), Some(position), &[]).unwrap(), (31..=40).collect::<Vec<_>>());
}

#[test]
fn a_snapshot_with_any_byte_changed_or_missing_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open_all(dir.path(), &Config::default()).unwrap();
    write_each(&journal, 1..=3);
    let mut snapshot = journal.snapshot(3).unwrap();
    snapshot.put(b"what a fleet came to").unwrap();
    snapshot.put(b"and its books").unwrap();
    let len = snapshot.finish().unwrap();
    drop(journal);
    let path = dir.path().join(snapshot::name(3));
    let whole = fs::read(&path).unwrap();
    assert_eq!(whole.len() as u64, len);
    let files = on(dir.path());
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&path, &changed).unwrap();
        assert!(chunks(&files, 3).is_err(), "bit flipped at {at}");
        fs::write(&path, &whole[..at]).unwrap();
        assert!(matches!(chunks(&files, 3), Err(Unusable::Damaged { .. })), "cut at {at}");
    }
    fs::write(&path, [whole.as_slice(), &[0]].concat()).unwrap();
    assert!(matches!(chunks(&files, 3), Err(Unusable::Damaged { .. })), "something follows");
    let elsewhere = dir.path().join(snapshot::name(2));
    fs::write(elsewhere, &whole).unwrap();
    assert!(matches!(chunks(&files, 2), Err(Unusable::Damaged { .. })), "of another name");
    fs::write(&path, &whole).unwrap();
    assert_eq!(chunks(&files, 3).unwrap().len(), 2);
}

#[test]
fn an_unfinished_snapshot_is_none_and_the_newest_two_stay() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open_all(dir.path(), &Config::default()).unwrap();
    write_each(&journal, 1..=9);
    for sequence in [2, 5, 7] {
        journal.snapshot(sequence).unwrap().finish().unwrap();
    }
    let mut unfinished = journal.snapshot(9).unwrap();
    unfinished.put(b"half").unwrap();
    drop(unfinished);
    assert_eq!(journal.snapshots().unwrap(), [5, 7]);
    drop(journal);
    assert_eq!(on(dir.path()).snapshots().unwrap(), [7, 5]);
    assert_eq!(open_all(dir.path(), &Config::default()).unwrap().2, (1..=9).collect::<Vec<_>>());
}

#[test]
fn a_snapshot_that_is_set_aside_counts_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open_all(dir.path(), &Config::default()).unwrap();
    write_each(&journal, 1..=9);
    for sequence in [2, 5] {
        journal.snapshot(sequence).unwrap().finish().unwrap();
    }
    journal.set_snapshot_aside(5).unwrap();
    assert_eq!(journal.snapshots().unwrap(), [2]);
    journal.snapshot(7).unwrap().finish().unwrap();
    assert_eq!(journal.snapshots().unwrap(), [2, 7], "the older one that reads is kept");
    drop(journal);
    assert_eq!(on(dir.path()).snapshots().unwrap(), [7, 2]);
}

#[test]
fn segments_before_a_snapshot_can_go_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let (id, last, segments) = fill(dir.path(), 5);
    let (journal, ..) = open_all(dir.path(), &SMALL).unwrap();
    assert_eq!(journal.cut(segments[1].first - 2).unwrap(), 0, "its last frame is needed");
    assert_eq!(journal.cut(segments[1].first - 1).unwrap(), 1);
    let snapshot = segments[3].first + 1;
    assert_eq!(journal.cut(snapshot).unwrap(), 2);
    let left: Vec<u64> = journal.segments().unwrap().iter().map(|segment| segment.first).collect();
    assert_eq!(left, segments[3..].iter().map(|segment| segment.first).collect::<Vec<_>>());
    assert!(matches!(journal.reader(1), Err(Error::Outside { .. })));
    assert!(journal.reader(segments[3].first - 1).is_ok());
    assert_eq!(journal.cut(u64::MAX).unwrap(), 1, "the newest stays");
    journal.close().unwrap();

    // Nothing stands for what is gone.
    let missing = segment::name(1);
    match open_all(dir.path(), &SMALL) {
        Err(Error::Damaged { segment, reason: Damage::Gone, .. }) => assert_eq!(segment, missing),
        other => panic!("{other:?}"),
    }
    let position = |sequence| Some(JournalPosition { journal: id, sequence });
    let first = segments[4].first;
    assert!(matches!(
        open_behind(dir.path(), position(first - 2), &[]),
        Err(Error::Damaged { reason: Damage::Gone, .. })
    ));
    let frames = open_behind(dir.path(), position(first - 1), &[]).unwrap().len() as u64;
    assert!(frames > 0);
    assert_eq!(open_behind(dir.path(), position(last), &[]).unwrap(), [0i64; 0]);
}

#[test]
fn whoever_follows_a_journal_has_to_stand_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let (id, last, segments) = fill(dir.path(), 3);
    open_all(dir.path(), &SMALL).unwrap().0.cut(segments[1].first).unwrap();
    let at = |sequence| JournalPosition { journal: id, sequence };
    let snapshot = Some(at(segments[1].first + 1));
    let bytes = || fs::read(dir.path().join(segment::name(segments[2].first))).unwrap();
    let before = bytes();
    for outside in
        [at(last + 2), at(segments[1].first - 2), JournalPosition { journal: JournalId([9; 16]), sequence: last }]
    {
        match open_behind(dir.path(), snapshot, &[at(last), outside]) {
            Err(Error::Outside { position, first, .. }) => {
                assert_eq!((position, first), (outside, segments[1].first));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(bytes(), before, "nothing was changed");
    assert!(open_behind(dir.path(), snapshot, &[at(segments[1].first - 1), at(last)]).is_ok());
    let beyond = Some(at(last + 5));
    assert!(matches!(open_behind(dir.path(), beyond, &[]), Err(Error::Outside { .. })));
    let nothing = tempfile::tempdir().unwrap();
    assert!(matches!(open_behind(nothing.path(), None, &[at(1)]), Err(Error::Outside { .. })));
}
