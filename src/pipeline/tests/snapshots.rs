//! Snapshots against the whole journal: what recovers from one, and from the journal behind it, is what recovers from all
//! of it.

use std::collections::HashMap;
use std::fs;

use super::*;
use crate::journal::JournalPosition;
use crate::pipeline::snapshot::{Limits, Taking};

/// A driver at a time, so that a capture goes on over as many turns as there are looks at it.
const SMALL: Limits = Limits { slice_cost_max: 1, chunk_bytes: 2, chunks_waiting_max: 1 };

/// What happens to running shards.
#[derive(Clone, Debug)]
enum Step {
    /// A batch of a driver.
    Judge(u8, Vec<Element>),
    /// A snapshot is begun; the one before is finished first.
    Begin,
    /// The disk has room for so many more of its chunks.
    Write(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0u8..12, elements()).prop_map(|(driver, elements)| Step::Judge(driver, elements)),
        1 => Just(Step::Begin),
        3 => (1u8..6).prop_map(Step::Write),
    ];
    prop::collection::vec(step, 1..40)
}

/// Tenants by driver, so that there are several in a snapshot.
fn names(driver: u8) -> (&'static str, String) {
    (["acme", "zeta"][usize::from(driver) % 2], format!("d{driver}"))
}

/// Several of them for either tenant.
fn codec(driver: u8) -> Codec {
    [Codec::Native, Codec::Flespi, Codec::Recording][usize::from(driver) % 3]
}

fn judge(running: &Running, driver: u8, elements: &[Element]) -> Vec<Verdict> {
    let (tenant, name) = names(driver);
    running.judge_as(codec(driver), tenant, &name, Received::Live(NOW), elements)
}

fn finish(taking: Option<Taking<'_>>) {
    let Some(mut taking) = taking else { return };
    while !taking.is_whole() {
        taking.go_on().unwrap();
    }
    taking.finish(&|| true).unwrap();
}

/// Does the steps, and finishes the last snapshot at the end of all turns.
fn run(running: &Running, steps: &[Step]) {
    let snapshots = running.pipeline.snapshots().clone().with(SMALL);
    let mut taking: Option<Taking<'_>> = None;
    for step in steps {
        match step {
            Step::Judge(driver, elements) => drop(judge(running, *driver, elements)),
            Step::Begin => {
                finish(taking.take());
                taking = Some(begin(&snapshots, running));
            }
            Step::Write(chunks) => {
                for _ in 0..*chunks {
                    if let Some(taking) = taking.as_mut().filter(|taking| !taking.is_whole()) {
                        taking.go_on().unwrap();
                    }
                }
            }
        }
    }
    finish(taking);
}

/// A shard lets go of the last request a moment after it told that it is done.
fn begin<'a>(snapshots: &'a Snapshots, running: &'a Running) -> Taking<'a> {
    loop {
        match snapshots.begin(&running.journal) {
            Err(SnapshotError::Busy) => std::thread::yield_now(),
            taking => return taking.unwrap(),
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            assert!(fs::copy(entry.path(), to).is_ok());
        }
    }
}

fn snapshots_in(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir.join("journal")).unwrap().map(|entry| entry.unwrap().path());
    let mut snapshots: Vec<_> = files.filter(|path| path.extension().is_some_and(|ext| ext == "snapshot")).collect();
    snapshots.sort();
    snapshots
}

/// Everything that can be asked.
#[derive(Debug, PartialEq)]
struct Answers {
    tracks: Vec<Vec<i64>>,
    latest: Vec<Option<i64>>,
    books: Vec<(TenantId, account::Account)>,
    drivers: usize,
}

fn answers(running: &Running) -> Answers {
    let of_all = || (0..12).map(names);
    let latest = |(tenant, name): (&str, String)| running.geo.fleet(tenant).and_then(|fleet| fleet.latest(&name));
    Answers {
        tracks: of_all().map(|(tenant, name)| running.track_of(tenant, &name)).collect(),
        latest: of_all().map(|names| latest(names).map(|fix| fix.time.0)).collect(),
        books: running.pipeline.ingress().books(),
        drivers: ["acme", "zeta"].iter().filter_map(|tenant| running.geo.fleet(tenant)).map(|fleet| fleet.len()).sum(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Snapshots that are taken over many turns, several runs, other numbers of shards, with and without a store: tracks,
    /// latest positions, books, and the verdicts on whatever comes next are those of the whole journal.
    #[test]
    fn a_snapshot_and_what_follows_it_come_to_the_same_as_the_whole_journal(
        runs in prop::collection::vec((1usize..4, steps()), 1..4),
        shards in 1usize..4,
        has_store in any::<bool>(),
        window_fixes in 1usize..6,
        after in prop::collection::vec((0u8..12, elements()), 1..10),
    ) {
        let dir = tempfile::tempdir().unwrap();
        for (shards, steps) in runs {
            let running = Running::start(dir.path(), shards, window_fixes, has_store);
            run(&running, &steps);
            running.stop();
        }
        let whole = tempfile::tempdir().unwrap();
        copy(dir.path(), whole.path());
        snapshots_in(whole.path()).iter().for_each(|snapshot| fs::remove_file(snapshot).unwrap());

        let [one, other] = [&dir, &whole].map(|dir| Running::start(dir.path(), shards, window_fixes, has_store));
        prop_assert_eq!(answers(&one), answers(&other));
        for (driver, elements) in after {
            prop_assert_eq!(judge(&one, driver, &elements), judge(&other, driver, &elements));
        }
        prop_assert_eq!(answers(&one), answers(&other));
        one.stop();
        other.stop();
    }
}

/// A run of a few hundred fixes, with a snapshot in the middle and one at its end that leave to the store what they can.
fn two_snapshots(dir: &Path, has_store: bool) -> Answers {
    let running = Running::start(dir, 2, 4, has_store);
    for round in 0..3 {
        for driver in 0..12 {
            judge(&running, driver, &(0..10).map(|n| at(10 * round + n)).collect::<Vec<_>>());
        }
        if round > 0 {
            running.await_store(running.journal.watermark().get());
            let snapshots = running.pipeline.snapshots().clone();
            finish(Some(begin(&snapshots, &running)));
        }
    }
    let found = answers(&running);
    running.stop();
    found
}

#[test]
fn turns_end_while_a_capture_is_held_up() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), 2, 4, true);
    (0..12).for_each(|driver| drop(judge(&running, driver, &[at(1)])));
    let snapshots = running.pipeline.snapshots().clone().with(SMALL);
    // Nobody takes its chunks.
    let taking = begin(&snapshots, &running);
    for round in 2..50 {
        for driver in 0..12 {
            assert_eq!(judge(&running, driver, &[at(round)]), [Verdict::Accepted]);
        }
    }
    assert!(matches!(snapshots.begin(&running.journal), Err(SnapshotError::Busy)));
    finish(Some(taking));
    assert_eq!(snapshots_in(dir.path()).len(), 1);
    let expected = answers(&running);
    running.stop();
    let again = Running::start(dir.path(), 3, 4, true);
    assert_eq!(answers(&again), expected);
    again.stop();
}

#[test]
fn a_snapshot_that_is_given_up_leaves_nothing_and_the_next_one_comes_about() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), 2, 4, false);
    judge(&running, 1, &[at(1)]);
    let snapshots = running.pipeline.snapshots().clone().with(SMALL);
    drop(begin(&snapshots, &running));
    assert!(matches!(snapshots.take(&running.journal, &|| false), Err(SnapshotError::GivenUp | SnapshotError::Busy)));
    finish(Some(begin(&snapshots, &running)));
    assert_eq!(snapshots_in(dir.path()).len(), 1);
    assert!(!dir.path().join("journal/next.snapshot.unfinished").exists());
    running.pipeline.stop();
    assert!(matches!(snapshots.take(&running.journal, &|| true), Err(SnapshotError::Stopped)));
}

#[test]
fn what_follows_a_snapshot_is_read_from_a_journal_that_was_cut() {
    for has_store in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let expected = two_snapshots(dir.path(), has_store);
        let running = Running::start(dir.path(), 1, 4, has_store);
        assert!(running.recovered.frames < 20, "{:?}", running.recovered);
        assert_eq!(answers(&running), expected);
        running.stop();
    }
}

#[test]
fn a_store_that_is_taken_away_comes_back_from_a_whole_journal() {
    let dir = tempfile::tempdir().unwrap();
    let expected = two_snapshots(dir.path(), true);
    fs::remove_dir_all(dir.path().join("store")).unwrap();
    let running = Running::start(dir.path(), 2, 4, true);
    assert_eq!(answers(&running), expected);
    // All of it, from the first on.
    assert_eq!(judge(&running, 3, &[at(0), at(15), at(29)]), [Verdict::Duplicate; 3]);
    running.stop();
}

#[test]
fn what_a_store_lost_with_a_cut_journal_is_past() {
    let dir = tempfile::tempdir().unwrap();
    let expected = two_snapshots(dir.path(), true);
    fs::remove_dir_all(dir.path().join("store")).unwrap();
    for round in 0..2 {
        // As if all that the last snapshot stands for had been cut off, and again from a snapshot that knew the old store.
        let running = Running::start_behind_a_cut(dir.path(), 2, 4, true);
        assert_eq!(answers(&running).latest[4..], expected.latest[4..]);
        assert_eq!(answers(&running).drivers, expected.drivers);
        let verdicts = judge(&running, 3, &[at(2), at(29), at(40 + round), at(27)]);
        let past = Verdict::Rejected(Reason::Past);
        assert_eq!(verdicts, [past, Verdict::Duplicate, Verdict::Accepted, past], "round {round}");
        running.stop();
    }
}

#[test]
fn a_store_that_is_switched_on_later_does_not_make_old_fixes_new() {
    let dir = tempfile::tempdir().unwrap();
    two_snapshots(dir.path(), false);
    let running = Running::start_behind_a_cut(dir.path(), 2, 4, true);
    let past = Verdict::Rejected(Reason::Past);
    assert_eq!(judge(&running, 3, &[at(29), at(25)]), [Verdict::Duplicate, past]);
    // Those of the window leave for good: they are in no store.
    let new: Vec<Element> = (100..120).map(at).collect();
    assert_eq!(judge(&running, 3, &new), [Verdict::Accepted; 20]);
    assert_eq!(judge(&running, 3, &[at(29), at(28), at(60), at(101)]), [past, past, Verdict::Late, Verdict::Duplicate]);
    running.stop();
}

#[test]
fn a_snapshot_is_loaded_only_if_all_of_it_reads() {
    let dir = tempfile::tempdir().unwrap();
    two_snapshots(dir.path(), true);
    let files = Unopened::take(&dir.path().join("journal")).unwrap();
    let mut chunks: HashMap<u64, Vec<Vec<u8>>> = HashMap::new();
    for sequence in files.snapshots().unwrap() {
        let read = &mut |chunk: &[u8]| {
            chunks.entry(sequence).or_default().push(chunk.to_vec());
            Ok(())
        };
        let JournalPosition { sequence: stands_for, .. } = files.read_snapshot(sequence, read).unwrap();
        assert_eq!(stands_for, sequence);
    }
    for (sequence, chunks) in chunks {
        let check = |chunks: &[Vec<u8>]| {
            let mut check = SnapshotCheck::default();
            chunks.iter().try_for_each(|chunk| check.chunk(chunk))?;
            check.finish()
        };
        let reach = check(&chunks).unwrap();
        assert!(reach.sequence == sequence && reach.upto >= sequence);
        assert!(check(&chunks[1..]).is_err(), "without its head");
        assert!(check(&chunks[..chunks.len() - 1]).is_err(), "without its end");
        assert!(check(&[chunks.as_slice(), &[vec![9, 1]]].concat()).is_err(), "with what this version does not know");
    }
}
