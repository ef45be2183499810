//! Reading while the journal is written.

use super::*;

const SMALL: Config = Config { segment_bytes: 4_096, ..Config::DEFAULT };

#[test]
fn a_reader_follows_the_writer_over_segments() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open_all(dir.path(), &SMALL).unwrap();
    let mut reader = journal.reader(0).unwrap();
    let watermark = journal.watermark();
    assert!(is_shared(&journal, &watermark));
    let follower = std::thread::spawn(move || {
        let mut found = Vec::new();
        while found.len() < 3_000 {
            while let Some(frame) = reader.next().unwrap() {
                assert!(frame.sequence <= watermark.get());
                found.extend(times(&frame));
            }
            watermark.wait_past(reader.after(), 10 * SECOND);
        }
        found
    });
    let (appender, durable) = appender(&journal);
    let mut waiting = 0;
    for time in 0..3_000 {
        appender.append(turn(time)).unwrap();
        waiting += 1;
        while waiting > time as usize % 20 {
            waiting -= durable.recv_timeout(10 * SECOND).unwrap().len();
        }
    }
    assert!((0..3_000).eq(follower.join().unwrap()));
    assert!(segments(dir.path()).len() > 10);
    journal.close().unwrap();
    let (_journal, recovered, found) = open_all(dir.path(), &SMALL).unwrap();
    assert!((0..3_000).eq(found));
    assert_eq!(recovered.segments as usize, segments(dir.path()).len());
}

#[test]
fn a_reader_starts_behind_any_position() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open_all(dir.path(), &SMALL).unwrap();
    write_each(&journal, 1..=150);
    assert!(segments(dir.path()).len() > 2);
    for after in 0..=150 {
        let mut reader = journal.reader(after).unwrap();
        assert_eq!(reader.after(), after);
        let next = reader.next().unwrap().map(|frame| times(&frame)[0]);
        assert_eq!(next, (after < 150).then_some(after as i64 + 1));
    }
}

#[test]
fn a_position_outside_the_journal_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open_all(dir.path(), &SMALL).unwrap();
    write_each(&journal, 1..=150);
    assert!(matches!(journal.reader(151), Err(Error::Outside { first: 1, last: 150, .. })));
    assert!(matches!(journal.reader(u64::MAX), Err(Error::Outside { .. })));
    let foreign = JournalPosition { journal: JournalId([7; 16]), sequence: 3 };
    assert!(matches!(journal.reader_from(foreign), Err(Error::Outside { .. })));
    assert!(journal.reader_from(JournalPosition { journal: journal.id(), sequence: 3 }).is_ok());

    // With its oldest segment gone, the journal begins later.
    let paths = segments(dir.path());
    let second: u64 = paths[1].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    fs::remove_file(&paths[0]).unwrap();
    assert!(matches!(journal.reader(second - 2), Err(Error::Outside { first, .. }) if first == second));
    assert_eq!(journal.reader(second - 1).unwrap().next().unwrap().unwrap().sequence, second);
    drop(journal);
    // Nothing takes it away on purpose, so that its absence is damage.
    assert!(matches!(open_all(dir.path(), &SMALL).err(), Some(Error::Damaged { reason: Damage::Gone, .. })));
}

#[test]
fn a_reader_waits_without_new_frames() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open_all(dir.path(), &SMALL).unwrap();
    let mut reader = journal.reader(0).unwrap();
    assert!(reader.next().unwrap().is_none());
    assert_eq!(reader.watermark().wait_past(0, Duration::from_millis(1)), 0);
    write_each(&journal, [5]);
    assert_eq!(times(&reader.next().unwrap().unwrap()), [5]);
    assert!(reader.next().unwrap().is_none());
}
