//! The store against a model of it: under whatever is applied, in whatever order, reopened in between, it answers as a
//! sorted map of (tenant, driver, time) would.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::journal::JournalPosition;
use crate::units::{Position, TimestampMs};

const JOURNAL: JournalId = JournalId([7; 16]);

/// A fix whose fields follow from its time, so that any two can be told apart.
pub(super) fn fix_at(time: i64) -> Fix {
    let position =
        Position { latitude_e7: (time % 900_000_000) as i32, longitude_e7: -((time % 1_800_000_000) as i32) };
    Fix {
        received_at: TimestampMs(time.saturating_add(1_500)),
        speed_mmps: (time % 3 != 0).then_some((time & 0xffff) as u32),
        heading_cdeg: Some((time & 0x7fff) as u16),
        altitude_cm: (time % 5 == 0).then_some(-(time as i32 & 0xfff)),
        hdop_centi: (time % 7 == 0).then_some(120),
        seq: Some(time as u32),
        battery_percent: (time % 11 == 0).then_some(50),
        ..Fix::at(TimestampMs(time), position)
    }
}

fn upto(sequence: u64) -> JournalPosition {
    JournalPosition { journal: JOURNAL, sequence }
}

/// A store in a directory of its own, beside the model of what is in it.
struct Pair {
    dir: TempDir,
    store: Option<Store>,
    model: BTreeMap<(&'static str, &'static str, TimestampMs), Fix>,
    sequence: u64,
}

impl Pair {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), &Config::default()).unwrap();
        Self { dir, store: Some(store), model: BTreeMap::new(), sequence: 0 }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn apply(&mut self, batch: &[(&'static str, &'static str, Vec<Fix>)]) {
        for (tenant, driver, fixes) in batch {
            for fix in fixes {
                self.model.entry((tenant, driver, fix.time)).or_insert(*fix);
            }
        }
        let batch: Vec<_> = batch.iter().map(|(tenant, driver, fixes)| DriverFixes { tenant, driver, fixes }).collect();
        self.sequence += 1;
        self.store().apply(&batch, upto(self.sequence)).unwrap();
    }

    fn reopen(&mut self) {
        self.store = None;
        self.store = Some(Store::open(self.dir.path(), &Config::default()).unwrap());
    }

    fn expected(&self, tenant: &'static str, driver: &'static str, from: i64, to: i64, limit: usize) -> Vec<Fix> {
        if from >= to {
            return Vec::new();
        }
        let range = (tenant, driver, TimestampMs(from))..(tenant, driver, TimestampMs(to));
        self.model.range(range).take(limit).map(|(_, fix)| *fix).collect()
    }

    #[track_caller]
    fn check(&self, tenant: &'static str, driver: &'static str, from: i64, to: i64, limit: usize) {
        let track = self.store().track(tenant, driver, TimestampMs(from), TimestampMs(to), limit).unwrap();
        assert_eq!(track, self.expected(tenant, driver, from, to, limit), "{tenant} {driver} {from}..{to} {limit}");
    }

    #[track_caller]
    fn check_stretch(&self, tenant: &'static str, driver: &'static str, time: i64) {
        let of_driver = |time: i64| (tenant, driver, TimestampMs(time));
        let mut stretch = Stretch::nothing();
        self.store().stretch(tenant, driver, TimestampMs(time), &mut stretch).unwrap();
        for near in [time, time.saturating_sub(1), time.saturating_add(40)] {
            if near != time && !stretch.covers(TimestampMs(near)) {
                continue;
            }
            let expected = self.model.get(&of_driver(near));
            assert_eq!(stretch.at(TimestampMs(near)), expected, "{tenant} {driver} {near}");
            if expected.is_none() {
                let before = self.model.range(of_driver(i64::MIN)..of_driver(near)).next_back();
                let after = self.model.range(of_driver(near)..=of_driver(i64::MAX)).next();
                let expected = [before, after].map(|entry| entry.map(|(_, fix)| fix));
                assert_eq!(stretch.beside(TimestampMs(near)), expected, "{tenant} {driver} {near} beside {time}");
            }
        }
    }

    #[track_caller]
    fn check_all(&self) {
        assert_eq!(self.store().applied().unwrap(), (self.sequence > 0).then(|| upto(self.sequence)));
        for (tenant, driver) in DRIVERS {
            self.check(tenant, driver, i64::MIN, i64::MAX, usize::MAX);
        }
        for (tenant, driver, time) in self.model.keys() {
            self.check_stretch(tenant, driver, time.0);
            self.check_stretch(tenant, driver, time.0.saturating_add(7));
        }
    }

    /// How many fixes each block of the driver has.
    fn block_lens(&self, driver: &str) -> Vec<u64> {
        self.store().block_lens("a", driver).unwrap()
    }
}

const DRIVERS: [(&str, &str); 4] = [("a", "d"), ("a", "d1"), ("ab", "d"), ("b", "d:1.x_y-z")];

#[derive(Clone, Debug)]
enum Step {
    /// Fixes of drivers by number, each beginning after (or late, before) the newest so far, so many milliseconds apart.
    Apply(Vec<(usize, i64, Vec<i64>)>),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let in_order = (0..DRIVERS.len(), 0..2_000_i64, prop::collection::vec(0..50_i64, 1..100));
    let late = (0..DRIVERS.len(), -4_000..0_i64, prop::collection::vec(-90..90_i64, 1..20));
    let driver = prop_oneof![3 => in_order, 2 => late];
    prop_oneof![
        30 => prop::collection::vec(driver, 0..6).prop_map(Step::Apply),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_answers_as_the_model_does(
        steps in prop::collection::vec(step(), 1..30),
        ranges in prop::collection::vec((-9_000..20_000_i64, 0..9_000_i64, 1..200_usize), 8),
    ) {
        let mut pair = Pair::new();
        let mut newest = [0; DRIVERS.len()];
        for step in steps {
            match step {
                Step::Apply(drivers) => {
                    let batch: Vec<_> = drivers
                        .into_iter()
                        .map(|(number, offset, steps)| {
                            let mut time = newest[number] + offset;
                            let fixes = steps.iter().map(|step| { time += step; fix_at(time) }).collect::<Vec<_>>();
                            newest[number] = fixes.iter().map(|fix| fix.time.0).max().unwrap().max(newest[number]);
                            (DRIVERS[number].0, DRIVERS[number].1, fixes)
                        })
                        .collect();
                    pair.apply(&batch);
                }
                Step::Reopen => pair.reopen(),
            }
            for (from, span, limit) in &ranges {
                for (tenant, driver) in DRIVERS {
                    pair.check(tenant, driver, *from, from + span, *limit);
                    pair.check_stretch(tenant, driver, *from);
                }
            }
        }
        pair.check_all();
        for (_, driver) in DRIVERS {
            prop_assert!(pair.block_lens(driver).iter().all(|len| (1..=2 * 64).contains(len)));
        }
    }
}

#[test]
fn fixes_in_order_fill_blocks_and_never_split_them() {
    let mut pair = Pair::new();
    for batch in 0..100 {
        pair.apply(&[("a", "d", (batch * 7..batch * 7 + 7).map(|second| fix_at(second * 1_000)).collect())]);
    }
    assert_eq!(pair.block_lens("d"), [64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 60]);
    pair.check_all();
}

#[test]
fn late_fixes_are_merged_where_they_belong() {
    let mut pair = Pair::new();
    pair.apply(&[("a", "d", (0..200).map(|second| fix_at(second * 1_000)).collect())]);
    assert_eq!(pair.block_lens("d"), [64, 64, 64, 8]);
    // Before all blocks, inside several, at the seams, twice, and behind all, in one batch and out of order.
    let late = [500, -5_000, 63_999, 64_000, 64_001, 199_001, 100_500, 100_500, 250_000, i64::MIN, i64::MAX - 2_000];
    pair.apply(&[("a", "d", late.into_iter().map(fix_at).collect())]);
    pair.check_all();
    pair.apply(&[("a", "d", (0..64).map(|second| fix_at(second * 1_000 + 1)).collect())]);
    assert_eq!(pair.block_lens("d")[..2], [66, 66]);
    pair.check_all();
    pair.reopen();
    pair.check_all();
}

#[test]
fn history_that_comes_backwards_does_not_crumble_into_small_blocks() {
    let mut pair = Pair::new();
    for second in (0..500).rev() {
        pair.apply(&[("a", "d", vec![fix_at(second * 1_000)])]);
    }
    pair.check_all();
    assert!(pair.block_lens("d").len() <= 500 / 64 + 1, "{:?}", pair.block_lens("d"));
}

#[test]
fn what_is_there_already_changes_nothing() {
    let mut pair = Pair::new();
    pair.apply(&[("a", "d", vec![fix_at(10), fix_at(20)])]);
    let other_place = Fix { position: Position::default(), ..fix_at(20) };
    pair.apply(&[("a", "d", vec![other_place, fix_at(10)]), ("a", "d", vec![fix_at(30), other_place])]);
    pair.check_all();
    assert_eq!(pair.block_lens("d"), [3]);
}

#[test]
fn a_driver_may_occur_twice_in_a_batch() {
    let mut pair = Pair::new();
    pair.apply(&[("a", "d", vec![fix_at(10)]), ("a", "d1", vec![fix_at(1)]), ("a", "d", vec![fix_at(5), fix_at(20)])]);
    pair.check_all();
}

#[test]
fn neighbours_in_key_order_are_not_mixed_up() {
    let mut pair = Pair::new();
    pair.apply(&[("a", "d1", vec![fix_at(10)]), ("ab", "d", vec![fix_at(10)])]);
    pair.check_stretch("a", "d", 10);
    pair.check_stretch("a", "d2", 10);
    pair.check_all();
}

#[test]
fn a_kill_without_sync_leaves_rows_and_position_agreeing() {
    let mut pair = Pair::new();
    let killed = tempfile::tempdir().unwrap();
    for batch in 0..20_i64 {
        pair.apply(&[("a", "d", (0..40).map(|second| fix_at((batch * 40 + second) * 1_000)).collect())]);
    }
    // What a killed process leaves is what the kernel has of its files, without what a drop would have written.
    copy_dir(pair.dir.path(), killed.path());
    let store = Store::open(killed.path(), &Config::default()).unwrap();
    assert_eq!(store.applied().unwrap(), Some(upto(20)));
    let track = store.track("a", "d", TimestampMs(i64::MIN), TimestampMs(i64::MAX), usize::MAX).unwrap();
    assert_eq!(track, pair.expected("a", "d", i64::MIN, i64::MAX, usize::MAX));
}

#[test]
fn a_torn_write_takes_rows_and_position_back_together() {
    let mut pair = Pair::new();
    for batch in 0..3_i64 {
        pair.apply(&[("a", "d", (0..40).map(|second| fix_at((batch * 40 + second) * 1_000)).collect())]);
    }
    let journal = std::fs::read_dir(pair.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "jnl"))
        .unwrap();
    let bytes = std::fs::read(&journal).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for cut in [1, 10, 100, 400, 800] {
        let torn = tempfile::tempdir().unwrap();
        copy_dir(pair.dir.path(), torn.path());
        let copy = torn.path().join(journal.file_name().unwrap());
        std::fs::write(copy, &bytes[..end.saturating_sub(cut)]).unwrap();
        let store = Store::open(torn.path(), &Config::default()).unwrap();
        let batches = store.applied().unwrap().map_or(0, |position| position.sequence as usize);
        let track = store.track("a", "d", TimestampMs(i64::MIN), TimestampMs(i64::MAX), usize::MAX).unwrap();
        assert!(batches < 3, "the last batch was cut by {cut}");
        assert_eq!(track, pair.expected("a", "d", i64::MIN, i64::MAX, batches * 40));
    }
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_position_of_another_journal_is_refused_and_nothing_written() {
    let mut pair = Pair::new();
    pair.apply(&[("a", "d", vec![fix_at(1)])]);
    let foreign = JournalPosition { journal: JournalId([8; 16]), sequence: 5 };
    let fixes = [fix_at(2)];
    let refused = pair.store().apply(&[DriverFixes { tenant: "a", driver: "d", fixes: &fixes }], foreign);
    assert!(matches!(refused, Err(Error::OtherJournal { held: JOURNAL, .. })), "{refused:?}");
    pair.check_all();
}

#[test]
fn names_that_are_no_ids_find_nothing_and_are_not_written() {
    let pair = Pair::new();
    pair.check_stretch("a\0d", "x", 1);
    let track = pair.store().track("", "d", TimestampMs(0), TimestampMs(9), 9).unwrap();
    assert!(track.is_empty());
    let fixes = [fix_at(2)];
    let refused = pair.store().apply(&[DriverFixes { tenant: "a", driver: "d\0", fixes: &fixes }], upto(1));
    assert!(matches!(refused, Err(Error::Id { .. })));
    assert_eq!(pair.store().applied().unwrap(), None);
}

#[test]
fn a_second_process_and_bad_bounds_are_refused() {
    let pair = Pair::new();
    let locked = Store::open(pair.dir.path(), &Config::default()).unwrap_err();
    assert!(matches!(locked, Error::Locked { .. }), "{locked}");
    let small = Config { journal_bytes_max: 1, ..Config::default() };
    assert!(matches!(Store::open(pair.dir.path(), &small), Err(Error::Config(_))));
}

#[test]
fn the_section_reads_from_toml() {
    let config: Config = toml::from_str("enabled = false\ncache_bytes = 1000000").unwrap();
    assert_eq!(config, Config { enabled: false, cache_bytes: 1_000_000, ..Config::default() });
    assert!(toml::from_str::<Config>("cache = 1").is_err());
}
