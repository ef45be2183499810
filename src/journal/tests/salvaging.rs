//! Salvage: what is whole comes over, all of it, and nothing else; positions stay good.

use std::ops::Range;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::inspecting::{SMALL, closed, firsts, flip, snapshot_of, verified};
use super::*;
use crate::journal::inspect::Files;

fn salvage_of(dir: &Path, through: Option<u64>) -> (TempDir, Salvaged) {
    let to = tempfile::tempdir().unwrap();
    let salvaged = salvage(&Files::of(dir).unwrap(), to.path(), through, &mut |_| ()).unwrap();
    (to, salvaged)
}

/// Opens what was salvaged, holds that it is sound and every position in it good, and gives the times of its fixes.
fn times_of(dir: &Path, salvaged: &Salvaged) -> Vec<i64> {
    assert_eq!(verified(dir).1, [], "what was salvaged is damaged");
    let (journal, recovered, times) = open_all(dir, &SMALL).unwrap();
    assert_eq!((recovered.last, recovered.cut_bytes, journal.id()), (salvaged.last, 0, salvaged.journal));
    assert_eq!(recovered.fixes, salvaged.fixes);
    let oldest = firsts(dir)[0];
    for sequence in oldest - 1..=recovered.last {
        let mut reader = journal.reader_from(JournalPosition { journal: journal.id(), sequence }).unwrap();
        match reader.next().unwrap() {
            // Behind a gap's end, or the frame itself.
            Some(frame) => assert!(frame.first_sequence() > sequence && (frame.is_gap() || frame.sequence > sequence)),
            None => assert_eq!(journal.watermark().get(), recovered.last),
        }
    }
    let mut reader = journal.reader(oldest - 1).unwrap();
    let mut found = Vec::new();
    while let Some(frame) = reader.next().unwrap() {
        found.extend(super::times(&frame));
    }
    assert_eq!(found, times);
    // It goes on as any other.
    write_each(&journal, [-1]);
    times
}

#[test]
fn a_whole_journal_comes_over_as_it_is() {
    let dir = closed(60);
    let id = verified(dir.path()).0.journal.unwrap();
    snapshot_of(dir.path(), 7);
    let (to, salvaged) = salvage_of(dir.path(), None);
    assert_eq!((salvaged.damages, salvaged.lost_frames, salvaged.fixes, salvaged.frames), (0, 0, 60, 61));
    assert_eq!((salvaged.journal, salvaged.is_new_id, salvaged.snapshots), (id, false, 1));
    for entry in fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let copied = fs::read(to.path().join(path.file_name().unwrap())).unwrap();
        assert!(copied == fs::read(&path).unwrap(), "{}", path.display());
    }
    assert!((1..=60).eq(times_of(to.path(), &salvaged)));
}

#[test]
fn what_is_lost_is_stood_for_wherever_it_was() {
    let dir = closed(100);
    let (paths, firsts_before) = (segments(dir.path()), firsts(dir.path()));
    // The beginning, a frame, the beginning of a segment, the end of one, and a segment.
    fs::remove_file(&paths[0]).unwrap();
    flip(&paths[1], 2);
    flip(&paths[2], 0);
    let frames_in_third = (firsts_before[3] - firsts_before[2]) as usize;
    flip(&paths[2], frames_in_third - 1);
    fs::remove_file(&paths[4]).unwrap();
    let (to, salvaged) = salvage_of(dir.path(), None);
    let mut lost: Vec<u64> = (1..firsts_before[1]).collect();
    lost.extend([firsts_before[1] + 2, firsts_before[2], firsts_before[3] - 1]);
    lost.extend(firsts_before[4]..firsts_before[5]);
    assert_eq!((salvaged.lost_frames, salvaged.last), (lost.len() as u64, 101));
    assert_eq!(salvaged.lost_fixes_estimated(), salvaged.fixes * salvaged.lost_frames / salvaged.frames);
    let expected: Vec<i64> = (1..=100).filter(|time| !lost.contains(time)).map(|time| time as i64).collect();
    assert_eq!(times_of(to.path(), &salvaged), expected);

    // Damaged once more, it is salvaged once more, gaps and all.
    let path = &segments(to.path())[2];
    flip(path, 3);
    let (again_to, again) = salvage_of(to.path(), None);
    assert_eq!((again.damages, again.lost_frames), (1, 1));
    assert_eq!(times_of(again_to.path(), &again).len(), expected.len());
}

#[test]
fn records_that_do_not_read_make_their_frame_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open_all(dir.path(), &SMALL).unwrap();
    let (appender, durable) = appender(&journal);
    for time in 1..=5 {
        let mut turn = turn(time);
        if time == 3 {
            turn.bytes.push(0xbf);
        }
        appender.append(turn).unwrap();
        durable.recv_timeout(10 * SECOND).unwrap();
    }
    journal.close().unwrap();
    let (to, salvaged) = salvage_of(dir.path(), None);
    assert_eq!((salvaged.damages, salvaged.lost_frames), (1, 1));
    assert_eq!(times_of(to.path(), &salvaged), [1, 2, 4, 5]);
}

#[test]
fn a_beginning_that_a_snapshot_stands_for_is_not_lost_and_recovery_begins_behind_it() {
    for is_whole in [true, false] {
        let dir = closed(60);
        let (paths, firsts) = (segments(dir.path()), firsts(dir.path()));
        fs::remove_file(&paths[0]).unwrap();
        // Not as far as to the oldest segment that is left.
        snapshot_of(dir.path(), firsts[1] - 3);
        snapshot_of(dir.path(), firsts[1] + 2);
        let newest = dir.path().join(snapshot::name(firsts[1] + 2));
        if !is_whole {
            fs::write(newest, b"half").unwrap();
        }
        let (to, salvaged) = salvage_of(dir.path(), None);
        let lost = if is_whole { 0 } else { 2 };
        let found = (salvaged.lost_frames, salvaged.snapshots, salvaged.unusable_snapshots);
        assert_eq!(found, (lost, 1 + u64::from(is_whole), u64::from(!is_whole)));
        assert_eq!(verified(to.path()).0.damages, 0);

        let files = Unopened::take(to.path()).unwrap();
        let newest = files.snapshots().unwrap()[0];
        let snapshot = Some(files.read_snapshot(newest, &mut |_| Ok(())).unwrap());
        let mut found = Vec::new();
        let resume = Resume { snapshot, followed: snapshot.into_iter().collect() };
        let opened = files.open(&SMALL, &resume, &mut |frame| {
            found.extend(times(frame));
            Ok(())
        });
        opened.unwrap();
        let expected = newest.max(firsts[1] - 1) as i64 + 1..=60;
        assert!(expected.clone().eq(found.iter().copied()), "{expected:?} {found:?}");
    }
}

#[test]
fn an_end_that_was_lost_is_stood_for_as_far_as_is_told() {
    let dir = closed(60);
    let paths = segments(dir.path());
    let last_first = *firsts(dir.path()).last().unwrap();
    fs::write(paths.last().unwrap(), b"").unwrap();
    let (to, salvaged) = salvage_of(dir.path(), None);
    assert_eq!((salvaged.last, salvaged.lost_frames), (last_first - 1, 0));
    assert!((1..last_first as i64).eq(times_of(to.path(), &salvaged)));
    let (to, salvaged) = salvage_of(dir.path(), Some(61));
    assert_eq!((salvaged.last, salvaged.lost_frames), (61, 62 - last_first));
    assert!((1..last_first as i64).eq(times_of(to.path(), &salvaged)));
    // A snapshot knows too.
    snapshot_of(dir.path(), 58);
    assert_eq!(salvage_of(dir.path(), None).1.last, 58);
}

#[test]
fn an_id_that_no_segment_tells_is_a_new_one_and_told() {
    let dir = closed(5);
    let id = verified(dir.path()).0.journal.unwrap();
    let path = &segments(dir.path())[0];
    let whole = fs::read(path).unwrap();
    // What else stands in a header is known, and one bit is found.
    for range in [0..12, 28..36, 13..14, 37..38] {
        let mut bytes = whole.clone();
        let len = range.len();
        bytes[range].iter_mut().for_each(|byte| *byte ^= if len > 1 { 0xff } else { 8 });
        fs::write(path, &bytes).unwrap();
        let (to, salvaged) = salvage_of(dir.path(), None);
        assert_eq!((salvaged.journal, salvaged.is_new_id), (id, false));
        assert!((1..=5).eq(times_of(to.path(), &salvaged)));
    }
    let mut bytes = whole;
    bytes[..segment::HEADER_BYTES].fill(0);
    fs::write(path, &bytes).unwrap();
    let (to, salvaged) = salvage_of(dir.path(), None);
    assert!(salvaged.is_new_id && salvaged.journal != id);
    assert!((1..=5).eq(times_of(to.path(), &salvaged)));
}

#[test]
fn nothing_is_salvaged_over_something_or_under_an_engine() {
    let dir = closed(5);
    let to = tempfile::tempdir().unwrap();
    fs::write(to.path().join("a"), b"b").unwrap();
    let salvage = |to: &Path| salvage(&Files::of(dir.path()).unwrap(), to, None, &mut |_| ()).err();
    assert!(matches!(salvage(to.path()), Some(Error::NotEmpty { .. })));
    assert!(matches!(salvage(dir.path()), Some(Error::NotEmpty { .. })));
    let journal = open_all(dir.path(), &SMALL).unwrap().0;
    assert!(matches!(salvage(&to.path().join("new")), Some(Error::InUse { .. })));
    assert!(!to.path().join("new").exists());
    drop(journal);
    assert!(salvage(&to.path().join("new")).is_none());
}

/// A journal of several segments as a crash left it, to damage.
struct Image {
    files: Vec<(String, Vec<u8>)>,
    /// Of each frame: its file, its place in it, and the times of its fixes.
    frames: Vec<(usize, Range<usize>, Vec<i64>)>,
}

static IMAGE: LazyLock<Image> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let (journal, ..) = open_all(dir.path(), &SMALL).unwrap();
    write_each(&journal, 1..=30);
    // Batches of several frames, the last of them too: nothing proves that one.
    let (appender, durable) = appender(&journal);
    for batch in 0..8 {
        for frame in 0..4 {
            appender.append(turn(100 + batch * 10 + frame)).unwrap();
        }
        let mut waiting = 4;
        while waiting > 0 {
            waiting -= durable.recv_timeout(10 * SECOND).unwrap().len();
        }
    }
    let copy = crash(dir.path());
    let mut image = Image { files: Vec::new(), frames: Vec::new() };
    for (file, path) in segments(copy.path()).iter().enumerate() {
        let mut bytes = fs::read(path).unwrap();
        let offsets = frame_offsets(path);
        for place in offsets.windows(2) {
            let frame = Frame::parse(&bytes[place[0]..place[1]]);
            image.frames.push((file, place[0]..place[1], times(&frame)));
        }
        // The zeros ahead of the newest need not all be written in each case.
        bytes.truncate(offsets[offsets.len() - 1] + 2_000);
        image.files.push((path.file_name().unwrap().to_str().unwrap().to_owned(), bytes));
    }
    assert!(image.files.len() > 3 && image.frames.len() == 62);
    image
});

/// What is done to one of the files.
#[derive(Clone, Debug)]
enum Harm {
    Flip { at: usize, bit: u8 },
    Zero { at: usize, len: usize },
}

/// Whether a file has other bytes in a place than before.
fn is_touched(before: &[u8], after: &[u8], place: Range<usize>) -> bool {
    before[place.clone()] != after[place]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn whatever_is_harmed_all_else_is_salvaged(
        file in any::<prop::sample::Index>(),
        harm in prop_oneof![
            (0..8_usize.pow(4), 0..8_u8).prop_map(|(at, bit)| Harm::Flip { at, bit }),
            (0..8_usize.pow(4), 1..600_usize).prop_map(|(at, len)| Harm::Zero { at, len }),
        ],
    ) {
        let file = file.index(IMAGE.files.len());
        let before = &IMAGE.files[file].1;
        let mut after = before.clone();
        match harm {
            Harm::Flip { at, bit } => after[at % before.len()] ^= 1 << bit,
            Harm::Zero { at, len } => {
                let at = at % before.len();
                after[at..(at + len).min(before.len())].fill(0);
            }
        }
        let dir = tempfile::tempdir().unwrap();
        for (index, (name, bytes)) in IMAGE.files.iter().enumerate() {
            fs::write(dir.path().join(name), if index == file { &after } else { bytes }).unwrap();
        }
        let untouched = |(of, place, _): &&(usize, Range<usize>, Vec<i64>)| {
            *of != file || !is_touched(before, &after, place.clone())
        };
        let expected: Vec<i64> = IMAGE.frames.iter().filter(untouched).flat_map(|(.., times)| times.clone()).collect();

        let (seen, findings) = verified(dir.path());
        let (to, salvaged) = salvage_of(dir.path(), None);
        prop_assert!(!salvaged.is_new_id);
        prop_assert_eq!(times_of(to.path(), &salvaged), expected);

        // A start judges the same: it refuses where the first damage is, or goes on with what is whole.
        match open_all(dir.path(), &SMALL) {
            Ok((_journal, recovered, _)) => {
                prop_assert_eq!(findings, []);
                let found = (recovered.last, recovered.frames, recovered.fixes, recovered.cut_bytes);
                prop_assert_eq!(found, (seen.end.last, seen.frames, seen.fixes, seen.end.torn_bytes));
            }
            Err(Error::Damaged { segment, offset, .. }) => {
                prop_assert_eq!((&segment, offset), (&findings[0].segment, findings[0].offset));
            }
            Err(Error::Version { segment, .. }) => prop_assert_eq!((&segment, 0), (&findings[0].segment, findings[0].offset)),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }
}

#[test]
fn what_a_salvage_left_that_broke_off_is_no_journal() {
    let dir = closed(60);
    flip(&dir.path().join(segment::name(firsts(dir.path())[1])), 2);
    let to = tempfile::tempdir().unwrap();
    let files = Files::of(dir.path()).unwrap();
    let breaks_off = || salvage(&files, to.path(), None, &mut |_| panic!("broken off"));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(breaks_off)).is_err());
    assert!(!firsts(to.path()).is_empty(), "a part of the journal is there");
    let error = open_all(to.path(), &SMALL).unwrap_err();
    assert!(matches!(error, Error::Unfinished), "{error}");
    assert!(error.to_string().contains("salvage again"));
    assert!(matches!(Files::of(to.path()), Err(Error::Unfinished)), "nor is it looked into, copied or salvaged");
}
