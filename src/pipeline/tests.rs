//! The pipeline on a real journal and a real store, against a model that remembers everything.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, atomic::AtomicU64};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;
use crate::codec::Codec;
use crate::counts::Counts;
use crate::fix::{Element, Reason, Report, Verdict};
use crate::journal::tests::crash_image::{Disk, EIO, Fault, Operation};
use crate::journal::{self, JournalPosition, Recovered, Resume, Space, Storage, StorageFile, Unopened};
use crate::sink::{self, Embedded, SinkHandle};
use crate::store::Store;
use crate::units::TimestampMs;

mod books;
mod judging;
mod snapshots;

/// After every fix of these tests, so that nothing is in the future.
const NOW: TimestampMs = TimestampMs(1_708_093_024_000);

#[derive(Debug)]
struct Waiting(SyncSender<Batch>);

impl Origin for Waiting {
    fn judged(&self, batch: Batch) {
        self.0.send(batch).unwrap();
    }
}

struct Running {
    pipeline: Pipeline,
    journal: Arc<Journal>,
    sink: Option<SinkHandle>,
    geo: Arc<GeoIndex>,
    recovered: Recovered,
}

impl Running {
    /// Starts as the engine does: from the newest snapshot, if there is one.
    fn start(dir: &Path, shards: usize, window_fixes: usize, has_store: bool) -> Self {
        Self::start_with(dir, shards, window_fixes, has_store, false)
    }

    /// As if the journal began behind the newest snapshot.
    fn start_behind_a_cut(dir: &Path, shards: usize, window_fixes: usize, has_store: bool) -> Self {
        Self::start_with(dir, shards, window_fixes, has_store, true)
    }

    fn start_with(dir: &Path, shards: usize, window_fixes: usize, has_store: bool, is_cut: bool) -> Self {
        let files = Unopened::take(&dir.join("journal")).unwrap();
        let snapshot = files.snapshots().unwrap().first().copied();
        let behind = snapshot.filter(|_| is_cut).unwrap_or(0);
        let store = has_store.then(|| Store::open(&dir.join("store"), &crate::store::Config::default()).unwrap());
        let applied = store.as_ref().and_then(|store| store.applied().unwrap());
        let geo = Arc::new(GeoIndex::default());
        let mut recovering = Recovering::new(Parts {
            config: Config { shards },
            dedupe: DedupeConfig { window_fixes },
            rules: RuleBook::default(),
            registry: RegistryConfig::default(),
            geo: Arc::clone(&geo),
            feed: Feed::default(),
            history: store.clone().map(|store| History {
                began: if applied.is_none() { behind } else { store.began().unwrap() },
                stored_sequence: Arc::new(AtomicU64::new(applied.map_or(behind, |position| position.sequence))),
                store,
            }),
        });
        let snapshot = snapshot.map(|sequence| {
            let position = files.read_snapshot(sequence, &mut |chunk| recovering.restore(chunk)).unwrap();
            recovering.restored();
            position
        });
        let resume = Resume { snapshot, followed: applied.into_iter().collect() };
        let mut apply = |frame: &Frame<'_>| recovering.apply(frame);
        let (journal, recovered) = files.open(&journal::Config::default(), &resume, &mut apply).unwrap();
        let journal = Arc::new(journal);
        if let Some(store) = store.as_ref().filter(|_| applied.is_none() && behind > 0) {
            store.begin(JournalPosition { journal: journal.id(), sequence: behind }).unwrap();
        }
        let config = sink::Config { batch_age_ms_max: 1, ..sink::Config::default() };
        let sink = store.map(|store| sink::start(Embedded::new(store), config, Arc::clone(&journal)).unwrap());
        await_store(sink.as_ref(), recovering.store_needed(recovered.last));
        let pipeline = recovering.start(&journal, sink.as_ref().map(SinkHandle::written).as_ref()).unwrap();
        Self { pipeline, journal, sink, geo, recovered }
    }

    /// Waits until the store, if there is one, has everything up to a frame.
    fn await_store(&self, sequence: u64) {
        await_store(self.sink.as_ref(), sequence);
    }

    /// Judges all elements of one driver as one batch.
    fn judge(&self, driver: &str, received: Received, elements: &[Element]) -> Vec<Verdict> {
        self.judge_of("acme", driver, received, elements)
    }

    fn judge_of(&self, tenant: &str, driver: &str, received: Received, elements: &[Element]) -> Vec<Verdict> {
        self.judge_as(Codec::Native, tenant, driver, received, elements)
    }

    fn judge_as(
        &self,
        codec: Codec,
        tenant: &str,
        driver: &str,
        received: Received,
        elements: &[Element],
    ) -> Vec<Verdict> {
        let ingress = self.pipeline.ingress();
        let key = ingress.route(tenant, driver).unwrap();
        let claim = ingress.claim(1).unwrap();
        let (sender, judged) = mpsc::sync_channel(1);
        let mut batch = Batch::new(received, Arc::new(Waiting(sender)));
        for element in elements {
            batch.add_payload(&key, codec, b"", |into| into.push(*element));
        }
        claim.submit(ingress.shard_of(&key), batch);
        judged.recv_timeout(Duration::from_secs(10)).unwrap().verdicts
    }

    fn track(&self, driver: &str) -> Vec<i64> {
        self.track_of("acme", driver)
    }

    fn track_of(&self, tenant: &str, driver: &str) -> Vec<i64> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (from, to) = (TimestampMs(i64::MIN), TimestampMs(i64::MAX));
        let track = runtime.block_on(self.pipeline.ingress().track(tenant, driver, from, to, usize::MAX)).unwrap();
        track.unwrap_or_default().iter().map(|fix| fix.time.0).collect()
    }

    fn page(&self) -> account::Page {
        self.pipeline.ingress().books().first().map_or_else(account::Page::default, |(_, account)| account.total())
    }

    fn stop(self) {
        let Self { pipeline, journal, sink, .. } = self;
        pipeline.stop();
        if let Some(sink) = sink {
            sink.stop(Duration::from_secs(5));
        }
        Arc::into_inner(journal).unwrap().close().unwrap();
    }
}

fn await_store(sink: Option<&SinkHandle>, sequence: u64) {
    while sink.is_some_and(|sink| sink.written().load(Ordering::Acquire) < sequence) {
        thread::yield_now();
    }
}

fn at(time_ms: i64) -> Element {
    Ok(Report::at(Some(TimestampMs(NOW.0 - 100_000 + time_ms)), 52.0, 21.0 + time_ms as f64 / 1e4))
}

/// What the pipeline must say, with unlimited memory.
#[derive(Default)]
struct Model {
    times: BTreeMap<String, BTreeSet<i64>>,
    counts: Counts,
}

impl Model {
    fn judge(&mut self, driver: &str, element: &Element) -> Verdict {
        let verdict = match element {
            Err(reason) => Verdict::Rejected(*reason),
            Ok(report) => {
                let times = self.times.entry(driver.to_owned()).or_default();
                let time = report.time.unwrap().0;
                let newest = times.last().copied();
                match (times.insert(time), newest) {
                    (false, _) => Verdict::Duplicate,
                    (true, Some(newest)) if time < newest => Verdict::Late,
                    (true, _) => Verdict::Accepted,
                }
            }
        };
        self.counts.count(verdict);
        verdict
    }
}

fn elements() -> impl Strategy<Value = Vec<Element>> {
    let element = prop_oneof![20 => (0i64..80).prop_map(at), 1 => Just(Err(Reason::Malformed))];
    prop::collection::vec(element, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Disorder and repetition over windows far too small for them, and restarts with other numbers of shards: every verdict
    /// is the model's, every track holds each time once, and the books are the model's.
    #[test]
    fn verdicts_tracks_and_books_are_the_models(
        runs in prop::collection::vec((1usize..4, prop::collection::vec((0u8..3, elements()), 1..15)), 1..4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut model = Model::default();
        for (shards, batches) in runs {
            let running = Running::start(dir.path(), shards, 4, true);
            for (driver, elements) in batches {
                let driver = format!("d{driver}");
                let expected: Vec<Verdict> = elements.iter().map(|element| model.judge(&driver, element)).collect();
                prop_assert_eq!(running.judge(&driver, Received::Live(NOW), &elements), expected);
            }
            for (driver, times) in &model.times {
                prop_assert_eq!(running.track(driver), times.iter().copied().collect::<Vec<_>>());
                let latest = running.geo.fleet("acme").and_then(|fleet| fleet.latest(driver));
                prop_assert_eq!(latest.map(|fix| fix.time.0), times.last().copied());
            }
            let page = running.page();
            prop_assert_eq!((page.judged, page.in_flight), (model.counts, 0));
            running.stop();
        }
    }
}

#[test]
fn without_a_store_what_memory_cannot_tell_is_past() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), 1, 2, false);
    let verdicts = running.judge("d", Received::Live(NOW), &[at(10), at(20), at(30)]);
    assert_eq!(verdicts, [Verdict::Accepted; 3]);
    let verdicts = running.judge("d", Received::Live(NOW), &[at(10), at(25), at(20)]);
    assert_eq!(verdicts, [Verdict::Rejected(Reason::Past), Verdict::Late, Verdict::Duplicate]);
    running.stop();
}

#[test]
fn fixes_without_a_time_take_free_milliseconds() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), 1, 64, true);
    let timeless = Ok(Report::at(None, 52.0, 21.0));
    assert_eq!(running.judge("d", Received::Live(NOW), &[timeless; 3]), [Verdict::Accepted; 3]);
    assert_eq!(running.track("d"), [NOW.0, NOW.0 + 1, NOW.0 + 2]);
    assert_eq!(running.judge("d", Received::Recorded, &[timeless]), [Verdict::Rejected(Reason::NoTime)]);
    running.stop();
}

#[test]
fn fixes_without_a_time_are_never_past() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), 1, 2, false);
    let timeless = Ok(Report::at(None, 52.0, 21.0));
    for _ in 0..10 {
        assert_eq!(running.judge("d", Received::Live(NOW), &[timeless]), [Verdict::Accepted]);
    }
    running.stop();
}

#[test]
fn a_clock_that_steps_back_loses_and_doubles_nothing() {
    const HOUR_MS: i64 = 3_600_000;
    let dir = tempfile::tempdir().unwrap();
    let timeless = || Ok(Report::at(None, 52.0, 21.0));
    let earlier = Received::Live(TimestampMs(NOW.0 - HOUR_MS));
    let running = Running::start(dir.path(), 1, 4, true);
    assert_eq!(running.judge("d", Received::Live(NOW), &[at(1), at(2), timeless()]), [Verdict::Accepted; 3]);
    // Between two batches. What was received is told again as a duplicate as long as it is no longer the future.
    let verdicts = running.judge("d", earlier, &[at(2), at(3), timeless()]);
    assert_eq!(verdicts, [Verdict::Rejected(Reason::Future), Verdict::Rejected(Reason::Future), Verdict::Late]);
    running.stop();
    // Between two runs.
    let running = Running::start(dir.path(), 2, 4, true);
    assert_eq!(running.judge("d", earlier, &[timeless()]), [Verdict::Late]);
    assert_eq!(running.judge("d", Received::Live(NOW), &[at(2), at(3)]), [Verdict::Duplicate, Verdict::Late]);
    let begin = NOW.0 - HOUR_MS;
    assert_eq!(running.track("d"), [begin, begin + 1, NOW.0 - 99_999, NOW.0 - 99_998, NOW.0 - 99_997, NOW.0]);
    let latest = running.geo.fleet("acme").and_then(|fleet| fleet.latest("d"));
    assert_eq!(latest.map(|fix| fix.time), Some(NOW), "now does not go back");
    running.stop();
}

#[test]
fn a_batch_longer_than_a_turn_comes_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path(), 2, 64, true);
    let elements: Vec<Element> = (0..20_000).map(at).collect();
    assert_eq!(running.judge("d", Received::Live(NOW), &elements), [Verdict::Accepted; 20_000]);
    assert_eq!(running.judge("d", Received::Live(NOW), &elements), [Verdict::Duplicate; 20_000]);
    assert_eq!(running.track("d").len(), 20_000);
    running.stop();
}

#[test]
fn a_full_registry_knows_its_own_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let mut recovering = Recovering::new(Parts {
        config: Config { shards: 1 },
        dedupe: DedupeConfig::default(),
        rules: RuleBook::default(),
        registry: RegistryConfig { drivers_max: 1, tenants_max: 1, ..RegistryConfig::default() },
        geo: Arc::default(),
        feed: Feed::default(),
        history: None,
    });
    let mut apply = |frame: &Frame<'_>| recovering.apply(frame);
    let (journal, _) = journal::open(dir.path(), &journal::Config::default(), &mut apply).unwrap();
    let journal = Arc::new(journal);
    let geo = Arc::default();
    let pipeline = recovering.start(&journal, None).unwrap();
    let running = Running { pipeline, journal, sink: None, geo, recovered: Recovered::default() };
    assert_eq!(running.judge("d1", Received::Live(NOW), &[at(1)]), [Verdict::Accepted]);
    assert_eq!(running.judge("d2", Received::Live(NOW), &[at(1)]), [Verdict::Rejected(Reason::UnknownDriver)]);
    assert_eq!(running.judge("d1", Received::Live(NOW), &[at(2)]), [Verdict::Accepted]);
    assert_eq!(running.pipeline.ingress().route("other", "d1").unwrap_err(), RouteError::TooManyTenants);
    running.stop();
}

/// A storage that forgets what it is given, and has room or none.
#[derive(Clone, Debug, Default)]
struct Roomy {
    is_full: Arc<AtomicBool>,
}

impl Roomy {
    /// A pipeline of one shard on it.
    fn start(&self) -> Running {
        let mut recovering = Recovering::new(Parts {
            config: Config { shards: 1 },
            dedupe: DedupeConfig::default(),
            rules: RuleBook::default(),
            registry: RegistryConfig::default(),
            geo: Arc::default(),
            feed: Feed::default(),
            history: None,
        });
        let files = Unopened::on(Arc::new(self.clone()));
        let mut apply = |frame: &Frame<'_>| recovering.apply(frame);
        let (journal, _) = files.open(&journal::Config::default(), &Resume::default(), &mut apply).unwrap();
        let pipeline = recovering.start(&journal, None).unwrap();
        let (journal, geo) = (Arc::new(journal), Arc::default());
        Running { pipeline, journal, sink: None, geo, recovered: Recovered::default() }
    }
}

impl Storage for Roomy {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn create(&self, _name: &str) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(self.clone()))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.create(name)
    }

    fn open_for_write(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.create(name)
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        let free_bytes = if self.is_full.load(Ordering::SeqCst) { 0 } else { u64::MAX };
        Ok(Space { free_bytes, total_bytes: 0 })
    }
}

impl StorageFile for Roomy {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn written_at(&self) -> io::Result<SystemTime> {
        Ok(SystemTime::UNIX_EPOCH)
    }

    fn read_at(&self, _buffer: &mut [u8], _offset: u64) -> io::Result<usize> {
        Ok(0)
    }

    fn write_all_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        Ok(())
    }

    fn set_len_bytes(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_journal_that_fails_gives_everything_back_unjudged_and_lets_the_engine_end() {
    let disk = Disk::default();
    let mut recovering = Recovering::new(Parts {
        config: Config { shards: 1 },
        dedupe: DedupeConfig::default(),
        rules: RuleBook::default(),
        registry: RegistryConfig::default(),
        geo: Arc::default(),
        feed: Feed::default(),
        history: None,
    });
    let mut apply = |frame: &Frame<'_>| recovering.apply(frame);
    let (journal, _) =
        Unopened::on(Arc::new(disk.clone())).open(&journal::Config::default(), &Resume::default(), &mut apply).unwrap();
    let pipeline = recovering.start(&journal, None).unwrap();
    let running = Running {
        pipeline,
        journal: Arc::new(journal),
        sink: None,
        geo: Arc::default(),
        recovered: Recovered::default(),
    };

    assert_eq!(running.judge("d", Received::Live(NOW), &[at(1)]), [Verdict::Accepted]);
    disk.fail(Operation::Sync, 0, Fault::Errno(EIO));
    // The first is under way when the sync fails, the second comes to a journal that is gone.
    assert_eq!(running.judge("d", Received::Live(NOW), &[at(2)]), []);
    assert_eq!(running.judge("d", Received::Live(NOW), &[at(3)]), []);
    assert!(running.pipeline.has_failed());
    assert_eq!(running.track("d"), [NOW.0 - 100_000 + 1], "what is not durable is not shown");
    running.pipeline.stop();
    drop(running.journal);
}

#[test]
fn a_full_journal_holds_publishes_and_refuses_requests_until_there_is_room() {
    let storage = Roomy::default();
    let running = storage.start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let ingress = running.pipeline.ingress().clone();
    let key = ingress.route("acme", "d").unwrap();
    let claim = ingress.claim(2).unwrap();
    let (sender, judged) = mpsc::sync_channel(2);
    let publish = |element| {
        let mut batch = Batch::new(Received::Live(NOW), Arc::new(Waiting(sender.clone())));
        batch.add_payload(&key, Codec::Native, b"", |into| into.push(element));
        claim.submit(0, batch);
    };
    let request = |element| {
        let request = ingress.judge(Arc::clone(&key), Codec::Native, b"", vec![element], NOW);
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), request).await.unwrap() })
    };
    let set_full = |is_full| {
        storage.is_full.store(is_full, Ordering::SeqCst);
        running.journal.assess().unwrap();
    };
    assert_eq!(request(at(1)), Ok(vec![Verdict::Accepted]));
    set_full(true);
    for _ in 0..2 {
        publish(at(2));
    }
    for _ in 0..3 {
        assert_eq!(request(at(3)), Err(Unavailable), "at once, and not behind those that wait");
    }
    assert!(judged.recv_timeout(Duration::from_millis(200)).is_err(), "held, and not given back");
    assert_eq!(running.track("d").len(), 1, "it still answers");
    set_full(false);
    let verdicts = || judged.recv_timeout(Duration::from_secs(10)).unwrap().verdicts;
    assert_eq!((verdicts(), verdicts()), (vec![Verdict::Accepted], vec![Verdict::Duplicate]));
    assert_eq!(request(at(3)), Ok(vec![Verdict::Accepted]));
    let page = running.page();
    assert_eq!(
        (page.judged.stored, page.judged.duplicate, page.in_flight),
        (3, 1, 0),
        "what was refused was not received"
    );

    set_full(true);
    publish(at(4));
    let Running { pipeline, journal, .. } = running;
    pipeline.stop();
    assert_eq!(judged.recv_timeout(Duration::from_secs(10)).unwrap().verdicts, [], "a stop does not wait for room");
    Arc::into_inner(journal).unwrap().close().unwrap();
}

#[test]
fn a_store_that_never_catches_up_does_not_hold_up_the_stop() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store"), &crate::store::Config::default()).unwrap();
    let mut recovering = Recovering::new(Parts {
        config: Config { shards: 1 },
        dedupe: DedupeConfig::default(),
        rules: RuleBook::default(),
        registry: RegistryConfig::default(),
        geo: Arc::default(),
        feed: Feed::default(),
        // Nobody writes to it.
        history: Some(History { store, stored_sequence: Arc::default(), began: 0 }),
    });
    let mut apply = |frame: &Frame<'_>| recovering.apply(frame);
    let (journal, _) = journal::open(&dir.path().join("journal"), &journal::Config::default(), &mut apply).unwrap();
    let journal = Arc::new(journal);
    let pipeline = recovering.start(&journal, None).unwrap();
    let waiting = pipeline.waiting_for_store();
    let running = Running { pipeline, journal, sink: None, geo: Arc::default(), recovered: Recovered::default() };

    let chunk = UNSTORED_FIXES_MAX as i64 / 40;
    for turn in 0..40 {
        let fix = |time_ms| Ok(Report::at(Some(TimestampMs(time_ms)), 52.0, 21.0));
        let elements: Vec<Element> = (turn * chunk..(turn + 1) * chunk).map(fix).collect();
        let verdicts = running.judge("d", Received::Recorded, &elements);
        assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Accepted));
        assert_eq!(verdicts.len(), elements.len());
    }

    // Over the bound: taken in, and not judged.
    let ingress = running.pipeline.ingress();
    let key = ingress.route("acme", "late").unwrap();
    let (sender, given_back) = mpsc::sync_channel(1);
    let claim = ingress.claim(1).unwrap();
    let mut batch = Batch::new(Received::Live(NOW), Arc::new(Waiting(sender)));
    batch.add_payload(&key, Codec::Native, b"", |into| into.push(at(1)));
    claim.submit(0, batch);
    assert!(
        given_back.recv_timeout(Duration::from_millis(200)).is_err(),
        "nothing is judged while the store is behind"
    );
    assert_eq!(waiting.load(Ordering::Relaxed), 1);

    drop(claim);
    running.stop();
    assert_eq!(given_back.recv_timeout(Duration::from_secs(5)).unwrap().verdicts, []);
}
