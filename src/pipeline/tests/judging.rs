//! Verdicts that depend on rules in effect and on what is stored, and turns that one backlog does not fill.

use std::collections::HashMap;

use super::*;

/// 1,024 weeks.
const ROLLOVER_MS: i64 = 619_315_200_000;

/// As [`at`], somewhere else.
fn elsewhere(time_ms: i64) -> Element {
    at(time_ms).map(|report| Report { latitude: 52.5, ..report })
}

fn judge_by(running: &Running, rules: Rules) {
    running.pipeline.bounds().replace(rules.into(), &RegistryConfig::default());
}

#[test]
fn a_duplicate_elsewhere_is_a_conflict_in_memory_and_below() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), 1, 2, true);
    let judge = |running: &Running, elements: &[Element]| running.judge("d", Received::Live(NOW), elements);
    let verdicts = judge(&running, &[at(10), elsewhere(10), at(20), at(30), at(40), at(10)]);
    assert_eq!(verdicts[..2], [Verdict::Accepted, Verdict::Conflict], "before it is durable, too");
    assert_eq!(verdicts[5], Verdict::Duplicate);
    let expected = [Verdict::Conflict, Verdict::Duplicate, Verdict::Conflict, Verdict::Duplicate];
    assert_eq!(judge(&running, &[elsewhere(40), at(40), elsewhere(10), at(10)]), expected);
    running.stop();
    // Now the window begins at 30, and only the store has the first.
    let running = Running::start(dir.path(), 1, 2, true);
    assert_eq!(judge(&running, &[elsewhere(40), at(40), elsewhere(10), at(10)]), expected);
    let judged = running.page().judged;
    assert_eq!((judged.stored, judged.duplicate, judged.conflict), (4, 10, 5));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (from, to) = (TimestampMs(i64::MIN), TimestampMs(i64::MAX));
    let track = runtime.block_on(running.pipeline.ingress().track("acme", "d", from, to, 9)).unwrap().unwrap();
    assert!(track.iter().all(|fix| fix.position.latitude_e7 == 520_000_000), "the first wins");
    running.stop();
}

#[test]
fn a_repaired_time_is_the_fixes_own_from_then_on_and_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let rolled =
        at(10).map(|report| Report { time: report.time.map(|time| TimestampMs(time.0 - ROLLOVER_MS)), ..report });
    let running = Running::start(dir.path(), 1, 4, true);
    assert_eq!(
        running.judge("d", Received::Live(NOW), &[rolled, rolled, at(10)]),
        [Verdict::Accepted, Verdict::Duplicate, Verdict::Duplicate]
    );
    assert_eq!(running.track("d"), [NOW.0 - 99_990]);
    // A turn with nothing but a repaired fix has a count to journal all the same.
    assert_eq!(running.judge("e", Received::Live(NOW), &[rolled]), [Verdict::Accepted]);
    let judged = running.page().judged;
    assert_eq!((judged.stored, judged.repaired, judged.duplicate), (2, 2, 2));
    running.stop();
    let running = Running::start(dir.path(), 2, 4, true);
    assert_eq!(running.page().judged, judged);
    running.stop();
}

#[test]
fn rules_and_bounds_are_replaced_while_it_runs_and_may_be_a_tenants_own() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), 2, 64, true);
    let zero = |time_ms| at(time_ms).map(|report| Report { latitude: 0.0, longitude: 0.0, ..report });
    let judge = |tenant, driver, element| running.judge_of(tenant, driver, Received::Live(NOW), &[element])[0];
    let null_island = Verdict::Rejected(Reason::NullIsland);
    assert_eq!(judge("acme", "d", zero(1)), null_island);
    let own = Rules { null_island: false, ..Rules::default() };
    let book = RuleBook::new(Rules::default(), HashMap::from([(TenantId::new("acme").unwrap(), own)]));
    let closed = RegistryConfig { open: false, tenants_max: 1, ..RegistryConfig::default() };
    running.pipeline.bounds().replace(book.clone(), &RegistryConfig::default());
    assert_eq!((judge("acme", "d", zero(2)), judge("globex", "d", zero(2))), (Verdict::Accepted, null_island));
    assert_eq!(judge("globex", "d", at(1)), Verdict::Accepted);
    running.pipeline.bounds().replace(book, &closed);
    assert_eq!(judge("globex", "d", at(2)), Verdict::Accepted, "who is known stays so");
    assert_eq!(judge("globex", "stranger", at(2)), Verdict::Rejected(Reason::UnknownDriver));
    assert_eq!(running.pipeline.ingress().route("third", "d").unwrap_err(), RouteError::TooManyTenants);
    running.stop();
}

#[test]
fn all_of_a_payload_that_is_too_large_is_refused_and_its_neighbours_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), 1, 64, true);
    judge_by(&running, Rules { payload_bytes_max: 10, ..Rules::default() });
    let ingress = running.pipeline.ingress();
    let key = ingress.route("acme", "d").unwrap();
    let (sender, judged) = mpsc::sync_channel(1);
    let mut batch = Batch::new(Received::Live(NOW), Arc::new(Waiting(sender)));
    batch.add_payload(&key, Codec::Native, &[b' '; 10], |into| into.extend([at(1), at(2)]));
    batch.add_payload(&key, Codec::Native, &[b' '; 11], |into| into.extend([at(3), Err(Reason::Malformed)]));
    batch.add_payload(&key, Codec::Native, &[b' '; 1], |into| into.push(at(4)));
    ingress.claim(1).unwrap().submit(ingress.shard_of(&key), batch);
    let too_large = Verdict::Rejected(Reason::TooLarge);
    let expected = [Verdict::Accepted, Verdict::Accepted, too_large, too_large, Verdict::Accepted];
    assert_eq!(judged.recv_timeout(Duration::from_secs(10)).unwrap().verdicts, expected);
    running.stop();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// However a fix looks beside those that came since: what was stored once is a duplicate from then on.
    #[test]
    fn what_was_stored_never_gets_another_verdict(
        runs in prop::collection::vec(prop::collection::vec((0i64..200, 0u8..3), 1..80), 1..4),
    ) {
        let rules = Rules { speed_mps_max: 70, stationary_m: 30, period_ms_min: 2, ..Rules::default() };
        let dir = tempfile::tempdir().unwrap();
        let mut stored: Vec<Element> = Vec::new();
        let mut duplicates = 0;
        for run in runs {
            let running = Running::start(dir.path(), 1, 4, true);
            judge_by(&running, rules.clone());
            for (second, town) in run {
                let element = in_town(second, town);
                let verdict = running.judge("d", Received::Recorded, &[element])[0];
                if matches!(verdict, Verdict::Accepted | Verdict::Late) {
                    stored.push(element);
                }
            }
            let again = running.judge("d", Received::Recorded, &stored);
            prop_assert!(again.iter().all(|verdict| *verdict == Verdict::Duplicate), "{:?}", again);
            duplicates += again.len();
            prop_assert_eq!(running.track("d").len(), stored.len());
            prop_assert!(running.page().judged.duplicate >= duplicates as u64);
            running.stop();
        }
    }
}

/// A fix of one driver in one of several towns, 100 km from each other.
fn in_town(second: i64, town: u8) -> Element {
    at(second * 1_000).map(|report| Report { latitude: 52.0 + f64::from(town), longitude: 21.0, ..report })
}

#[test]
fn what_motion_refused_stays_refused_after_it_left_memory() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), 1, 4, true);
    judge_by(&running, Rules { speed_mps_max: 70, period_ms_min: 2_000, ..Rules::default() });
    let judge = |elements: &[Element]| {
        let verdicts = running.judge("d", Received::Recorded, elements);
        running.await_store(running.journal.watermark().get());
        verdicts
    };
    let (jump, thinned) = (Verdict::Rejected(Reason::ImpliedSpeed), Verdict::Rejected(Reason::Thinned));
    let morning = [in_town(0, 0), in_town(10, 1), in_town(20, 0), in_town(21, 0), in_town(30, 0)];
    assert_eq!(judge(&morning), [Verdict::Accepted, jump, Verdict::Accepted, thinned, Verdict::Accepted]);
    for second in (50_000..50_100).step_by(10) {
        assert_eq!(judge(&[in_town(second, 0)]), [Verdict::Accepted]);
    }
    let (again, late) = (Verdict::Duplicate, Verdict::Late);
    assert_eq!(judge(&morning), [again, jump, again, thinned, again], "delivered once more");
    assert_eq!(judge(&[in_town(5, 0), in_town(25, 1), in_town(26, 0), in_town(29, 0)]), [late, jump, late, late]);
    assert_eq!(judge(&[in_town(-3_600, 1), in_town(1_000, 1), in_town(31, 0)]), [late, jump, thinned]);
    running.stop();
}

#[test]
fn jumps_that_are_judged_again_are_no_row_without_what_came_between() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), 1, 64, true);
    judge_by(&running, Rules { speed_mps_max: 70, ..Rules::default() });
    let refused: Vec<Element> = (0..6).map(|hour| in_town(hour * 3_600 + 10, 1)).collect();
    for (hour, jump) in refused.iter().enumerate() {
        let second = hour as i64 * 3_600;
        let verdicts = running.judge("d", Received::Recorded, &[in_town(second, 0), *jump, in_town(second + 20, 0)]);
        assert_eq!(verdicts, [Verdict::Accepted, Verdict::Rejected(Reason::ImpliedSpeed), Verdict::Accepted]);
    }
    let jumps = [Verdict::Rejected(Reason::ImpliedSpeed); 6];
    let again = || running.judge("d", Received::Again(TimestampMs(NOW.0 + 86_400_000)), &refused);
    assert_eq!(again(), jumps);
    judge_by(&running, Rules::default());
    assert_eq!(again(), [Verdict::Late; 6], "the rule is off");
    running.stop();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// The store knows what the window forgot: the rules of motion judge by both.
    #[test]
    fn verdicts_do_not_depend_on_how_much_is_in_memory(
        batches in prop::collection::vec(prop::collection::vec((0i64..300, 0u8..2), 1..20), 1..12),
    ) {
        let rules = Rules { speed_mps_max: 70, stationary_m: 30, heartbeat_s: 9, period_ms_min: 2, ..Rules::default() };
        let (small, large) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let small = Running::start(small.path(), 1, 3, true);
        let large = Running::start(large.path(), 1, 10_000, false);
        for running in [&small, &large] {
            judge_by(running, rules.clone());
        }
        for batch in batches {
            let elements: Vec<Element> = batch.iter().map(|(second, town)| in_town(*second, *town)).collect();
            let verdicts = small.judge("d", Received::Recorded, &elements);
            prop_assert_eq!(verdicts, large.judge("d", Received::Recorded, &elements));
            small.await_store(small.journal.watermark().get());
        }
        small.stop();
        large.stop();
    }
}

/// Hands on who came back.
#[derive(Debug)]
struct Named(&'static str, SyncSender<(&'static str, Vec<Verdict>)>);

impl Origin for Named {
    fn judged(&self, batch: Batch) {
        self.1.send((self.0, batch.verdicts)).unwrap();
    }
}

#[test]
fn a_backlog_of_a_day_does_not_stall_its_shards_other_drivers() {
    const BACKLOG: i64 = 100_000;
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), 1, 4, true);
    // The window is at the end of the day, so that each fix of the backlog is asked of the store.
    assert_eq!(running.judge("d", Received::Recorded, &[at(1), at(200_000), at(200_001)]), [Verdict::Accepted; 3]);
    let newest: Vec<Element> = (200_002..200_012).map(at).collect();
    assert_eq!(running.judge("d", Received::Recorded, &newest), [Verdict::Accepted; 10]);
    running.await_store(2);
    assert_eq!(running.judge("d", Received::Recorded, &[at(200_012)]), [Verdict::Accepted]);

    let ingress = running.pipeline.ingress();
    let claim = ingress.claim(30).unwrap();
    let (sender, back) = mpsc::sync_channel(22);
    let submit = |origin: &Arc<dyn Origin>, driver: &str, elements: Vec<Element>| {
        let mut batch = Batch::new(Received::Recorded, Arc::clone(origin));
        let key = ingress.route("acme", driver).unwrap();
        batch.add_payload(&key, Codec::Native, b"", |into| *into = elements);
        claim.submit(0, batch);
    };
    let backlog: Arc<dyn Origin> = Arc::new(Named("backlog", sender.clone()));
    submit(&backlog, "d", (2..BACKLOG + 2).map(at).collect());
    submit(&backlog, "d", vec![at(1)]);
    for _ in 0..20 {
        let other: Arc<dyn Origin> = Arc::new(Named("other", sender.clone()));
        submit(&other, "e", vec![at(1)]);
    }
    let back: Vec<_> = (0..22).map(|_| back.recv_timeout(Duration::from_secs(60)).unwrap()).collect();
    let names: Vec<_> = back.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, [["other"; 20].as_slice(), &["backlog"; 2]].concat(), "nobody waits for the end of the backlog");
    assert_eq!(back[20].1, vec![Verdict::Late; BACKLOG as usize]);
    assert_eq!(back[21].1, [Verdict::Duplicate], "what its own sender sent behind it came behind it");
    drop(claim);
    running.stop();
}
