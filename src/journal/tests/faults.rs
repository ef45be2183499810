//! What may be wrong with the files: torn ends are cut and told, damage is refused and named.

use super::crash_image::Disk;
use super::*;

/// A journal that crashed with five frames of one fix in it, each its own batch.
fn crashed() -> (TempDir, PathBuf, Vec<usize>) {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open_all(dir.path(), &Config::default()).unwrap();
    write_each(&journal, 1..=5);
    let copy = crash(dir.path());
    let path = segments(copy.path()).remove(0);
    let offsets = frame_offsets(&path);
    assert_eq!(offsets.len(), 6);
    (copy, path, offsets)
}

fn damage_of(dir: &Path) -> (String, u64, Damage) {
    match open_all(dir, &Config::default()) {
        Err(Error::Damaged { segment, offset, reason }) => (segment, offset, reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_end_torn_at_every_byte_of_the_last_record_is_cut() {
    let (dir, path, offsets) = crashed();
    let whole = fs::read(&path).unwrap();
    for torn in offsets[4]..offsets[5] {
        for with_zeros in [false, true] {
            let mut bytes = whole[..torn].to_vec();
            if with_zeros {
                bytes.resize(whole.len(), 0);
            }
            fs::write(&path, &bytes).unwrap();
            let (journal, recovered, found) = open_all(dir.path(), &Config::default()).unwrap();
            assert_eq!((found, recovered.last), (vec![1, 2, 3, 4], 4), "torn at {torn}");
            let left = whole[offsets[4]..torn].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            assert_eq!(recovered.cut_bytes, left as u64);
            write_each(&journal, [9]);
            drop(journal);
            assert_eq!(open_all(dir.path(), &Config::default()).unwrap().2, [1, 2, 3, 4, 9]);
        }
    }
}

#[test]
fn a_bit_flip_in_the_last_batch_is_cut() {
    let (dir, path, offsets) = crashed();
    let whole = fs::read(&path).unwrap();
    for at in offsets[4]..offsets[5] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, &bytes).unwrap();
        assert_eq!(open_all(dir.path(), &Config::default()).unwrap().2, [1, 2, 3, 4], "at {at}");
    }
}

#[test]
fn a_bit_flip_before_the_last_batch_is_damage() {
    let (dir, path, offsets) = crashed();
    let whole = fs::read(&path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    for at in offsets[1]..offsets[2] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, &bytes).unwrap();
        assert_eq!(damage_of(dir.path()), (name.clone(), offsets[1] as u64, Damage::Frame), "at {at}");
        assert_eq!(fs::read(&path).unwrap(), bytes, "damage is left as it was found");
    }
    for at in 0..segment::HEADER_BYTES {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, &bytes).unwrap();
        assert!(matches!(
            open_all(dir.path(), &Config::default()),
            Err(Error::Damaged { offset: 0, .. } | Error::Version { .. })
        ));
    }
}

#[test]
fn a_lost_page_that_was_synced_is_damage() {
    let (dir, path, offsets) = crashed();
    let mut bytes = fs::read(&path).unwrap();
    bytes[offsets[2]..offsets[3]].fill(0);
    fs::write(&path, &bytes).unwrap();
    let (_, offset, reason) = damage_of(dir.path());
    assert_eq!((offset, reason), (offsets[2] as u64, Damage::Missing));
}

#[test]
fn a_tail_of_zeros_is_cut() {
    let (dir, path, offsets) = crashed();
    let whole = fs::read(&path).unwrap();
    for (kept, left) in [(offsets[4], 4), (offsets[4] + 9, 4), (offsets[5], 5)] {
        let mut bytes = whole[..kept].to_vec();
        bytes.resize(kept + (1 << 20), 0);
        fs::write(&path, &bytes).unwrap();
        let (journal, recovered, found) = open_all(dir.path(), &Config::default()).unwrap();
        assert_eq!((recovered.last, found.len()), (left, left as usize));
        assert_eq!(recovered.cut_bytes > 0, kept == offsets[4] + 9, "only what was a frame's is told");
        drop(journal);
        assert!(fs::metadata(&path).unwrap().len() < whole.len() as u64, "the zeros are gone");
    }
}

#[test]
fn a_clean_close_proves_the_last_batch() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open_all(dir.path(), &Config::default()).unwrap();
    write_each(&journal, 1..=2);
    journal.close().unwrap();
    let path = segments(dir.path()).remove(0);
    let offsets = frame_offsets(&path);
    let mut bytes = fs::read(&path).unwrap();
    bytes[offsets[1] + 50] ^= 4;
    fs::write(&path, &bytes).unwrap();
    assert_eq!(damage_of(dir.path()).1, offsets[1] as u64);
}

#[test]
fn lost_unsynced_pages_are_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open_all(dir.path(), &Config::default()).unwrap();
    write_each(&journal, 1..=2);
    drop(journal);
    let path = segments(dir.path()).remove(0);
    let mut bytes = fs::read(&path).unwrap();
    let whole = bytes.len();
    for sequence in 4..=6 {
        let mut turn = turn(sequence);
        let place = frame::Place { sequence: sequence as u64, durable: 3, appender: 0 };
        frame::seal(&mut turn.bytes, place, turn.received_at, turn.fixes);
        bytes.extend_from_slice(&turn.bytes);
    }
    bytes[whole..whole + 60].fill(0);
    fs::write(&path, &bytes).unwrap();
    let (_journal, recovered, found) = open_all(dir.path(), &Config::default()).unwrap();
    assert_eq!((found, recovered.cut_bytes), (vec![1, 2], (bytes.len() - whole) as u64));
}

#[test]
fn what_is_not_the_last_segment_is_whole_or_damaged() {
    let small = Config { segment_bytes: 1_000, ..Config::DEFAULT };
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open_all(dir.path(), &small).unwrap();
    write_each(&journal, 1..=60);
    let offsets = frame_offsets(&segments(dir.path())[0]);

    let copy = crash(dir.path());
    let paths = segments(copy.path());
    fs::write(&paths[0], &fs::read(&paths[0]).unwrap()[..offsets[offsets.len() - 1] - 3]).unwrap();
    let (segment, offset, reason) = damage_of(copy.path());
    assert!(paths[0].ends_with(segment));
    assert_eq!((offset, reason), (offsets[offsets.len() - 2] as u64, Damage::Frame));

    let copy = crash(dir.path());
    let paths = segments(copy.path());
    fs::copy(&paths[0], &paths[1]).unwrap();
    assert_eq!(damage_of(copy.path()).2, Damage::Misplaced);

    // A segment that was being made when the engine stopped is not part of the journal.
    let copy = crash(dir.path());
    fs::write(copy.path().join("next"), b"RHU").unwrap();
    assert!((1..=60).eq(open_all(copy.path(), &small).unwrap().2));
}

#[test]
fn a_missing_segment_is_damage() {
    let small = Config { segment_bytes: 1_000, ..Config::DEFAULT };
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open_all(dir.path(), &small).unwrap();
    write_each(&journal, 1..=60);
    let count = segments(dir.path()).len();
    assert!(count > 3);
    for missing in 0..count {
        let copy = crash(dir.path());
        let paths = segments(copy.path());
        let end = *frame_offsets(&paths[missing.saturating_sub(1)]).last().unwrap() as u64;
        fs::remove_file(&paths[missing]).unwrap();
        if missing == count - 1 {
            // That there was more only those know who followed.
            let last = JournalPosition { journal: journal.id(), sequence: 60 };
            let resume = Resume { snapshot: None, followed: vec![last] };
            let opened = Unopened::take(copy.path()).unwrap().open(&small, &resume, &mut |_| Ok(()));
            assert!(matches!(opened, Err(Error::Outside { position, .. }) if position == last));
            continue;
        }
        let (segment, offset, reason) = damage_of(copy.path());
        let expected =
            if missing == 0 { (&paths[0], 0, Damage::Gone) } else { (&paths[missing - 1], end, Damage::Missing) };
        assert!(expected.0.ends_with(segment));
        assert_eq!((offset, reason), (expected.1, expected.2));
    }
}

#[test]
fn a_bit_flip_anywhere_is_cut_or_named_and_changes_nothing_before_it() {
    let small = Config { segment_bytes: 400, ..Config::DEFAULT };
    let disk = Disk::default();
    let on = |disk: &Disk| Unopened::on(Arc::new(disk.clone()));
    let (journal, _) = on(&disk).open(&small, &Resume::default(), &mut |_| Ok(())).unwrap();
    write_each(&journal, 1..=12);
    let disk = disk.after_crash_with_what_was_synced();
    let names: Vec<String> = disk.names().into_iter().filter(|name| name.ends_with(".journal")).collect();
    assert!(names.len() > 2);
    for name in &names {
        let whole = disk.read(name);
        let end = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        for at in 0..end + 16 {
            let mut flipped = whole.clone();
            flipped.resize(whole.len().max(end + 16), 0);
            flipped[at] ^= 1 << (at % 8);
            let damaged = disk.after_kill();
            damaged.overwrite(name, &flipped);
            let mut found = Vec::new();
            let opened = on(&damaged).open(&small, &Resume::default(), &mut |frame| {
                found.extend(times(frame));
                Ok(())
            });
            assert!((1..).zip(&found).all(|(expected, time)| expected == *time));
            match opened {
                // Behind the frames there is nothing to lose, and of the last batch nothing proves that it was whole.
                Ok((_, recovered)) => {
                    assert!(found.len() == 12 || (name == names.last().unwrap() && found.len() == 11));
                    assert!(at < end || recovered.cut_bytes > 0 || found.len() == 12);
                }
                Err(Error::Damaged { segment, offset, .. }) => {
                    assert_eq!(segment, *name);
                    assert!(offset <= at as u64);
                    assert_eq!(damaged.read(name), flipped, "damage is left as it was found");
                }
                Err(Error::Version { segment, .. }) => assert!(segment == *name && (8..12).contains(&at)),
                Err(error) => panic!("{name} at {at}: {error}"),
            }
        }
    }
}

#[test]
fn records_that_do_not_read_are_damage() {
    let (dir, _, offsets) = crashed();
    let mut seen = 0;
    let result = open(dir.path(), &Config::default(), &mut |_| {
        seen += 1;
        if seen == 3 { Err(Malformed) } else { Ok(()) }
    });
    let Err(Error::Damaged { offset, reason: Damage::Records, .. }) = result else { panic!("{result:?}") };
    assert_eq!(offset, offsets[2] as u64);
}
