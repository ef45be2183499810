//! Sinks over a real journal: nothing skipped and nothing doubled, whatever stops in the middle.

mod changing;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::*;
use crate::fix::Fix;
use crate::ids::{DriverId, DriverKey, TenantId};
use crate::journal::{self, Appender, Journal, JournalId, TurnEncoder};
use crate::store::{self, Store};
use crate::units::{Position, TimestampMs};

const WITHIN: Duration = Duration::from_secs(20);

/// Batches at once, so that tests need not wait for their age.
const QUICK: Config = Config { batch_fixes_max: 500, batch_age_ms_max: 5, sync_interval_ms: 50, retry_ms_max: 20 };

fn fix_at(time: i64) -> Fix {
    let position = Position { latitude_e7: time as i32, longitude_e7: -time as i32 };
    Fix { received_at: TimestampMs(time + 7), speed_mmps: Some(8_300), ..Fix::at(TimestampMs(time), position) }
}

struct Tail {
    journal: Arc<Journal>,
    appender: Appender,
    encoder: TurnEncoder,
    drivers: Vec<DriverKey>,
}

impl Tail {
    fn open(dir: &Path) -> Self {
        let (journal, _) = journal::open(&dir.join("journal"), &journal::Config::default(), &mut |_| Ok(())).unwrap();
        let appender = journal.appender(Box::new(|_| {}));
        let key = |number| {
            let driver = DriverId::new(&format!("d{number}")).unwrap();
            DriverKey::new(TenantId::new("acme").unwrap(), driver)
        };
        let drivers = (0..10).map(key).collect();
        Self { journal: Arc::new(journal), appender, encoder: TurnEncoder::new(), drivers }
    }

    /// Journals a fix of each of ten drivers for each second, a frame a second. Returns the last sequence, durable.
    fn write(&mut self, seconds: std::ops::Range<i64>) -> u64 {
        let mut end = self.journal.watermark().get();
        for second in seconds {
            self.encoder.begin(TimestampMs(second * 1_000));
            for driver in &self.drivers {
                self.encoder.fix(driver, &fix_at(second * 1_000), false);
            }
            self.appender.append(self.encoder.finish()).unwrap();
            end += 1;
            // So that no more turns are in flight than an appender may have.
            self.journal.watermark().wait_past(end.saturating_sub(32), WITHIN);
        }
        assert!(self.journal.watermark().wait_past(end - 1, WITHIN) >= end);
        end
    }

    fn close(self) {
        drop(self.appender);
        Arc::into_inner(self.journal).expect("no sink holds on to it").close().unwrap();
    }
}

fn open_store(dir: &Path) -> Store {
    Store::open(&dir.join("store"), &store::Config::default()).unwrap()
}

#[track_caller]
fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < WITHIN, "{what}");
        // A status is read, it does not notify.
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

#[track_caller]
fn check_store(store: &Store, seconds: i64) {
    for driver in 0..10 {
        let track =
            store.track("acme", &format!("d{driver}"), TimestampMs(0), TimestampMs(i64::MAX), usize::MAX).unwrap();
        assert_eq!(track, (0..seconds).map(|second| fix_at(second * 1_000)).collect::<Vec<_>>());
    }
}

#[test]
fn what_is_journalled_is_in_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let mut tail = Tail::open(dir.path());
    let store = open_store(dir.path());
    let end = tail.write(0..40);
    let sink = start(Embedded::new(store.clone()), QUICK, Arc::clone(&tail.journal)).unwrap();
    wait_for("written", || sink.written().load(Ordering::Acquire) == end);
    check_store(&store, 40);
    let end = tail.write(40..70);
    wait_for("written on", || sink.written().load(Ordering::Acquire) == end);
    check_store(&store, 70);
    wait_for("synced", || sink.status().synced() == end);
    let status = Arc::clone(sink.status());
    assert_eq!(status.state(), SinkState::Healthy);
    assert_eq!((status.lag_frames(), status.fixes_written()), (0, 700));
    assert_eq!(sink.stop(WITHIN), end);
    assert_eq!(status.state(), SinkState::Ended);
    tail.close();
}

#[test]
fn stopping_drains_what_is_durable_and_the_next_start_goes_on_there() {
    let dir = tempfile::tempdir().unwrap();
    let patient = Config { batch_age_ms_max: 60_000, ..QUICK };
    let mut end = 0;
    for round in 0..4 {
        let mut tail = Tail::open(dir.path());
        let store = open_store(dir.path());
        let sink = start(Embedded::new(store.clone()), patient, Arc::clone(&tail.journal)).unwrap();
        end = tail.write(round * 23..round * 23 + 23).max(end);
        let status = Arc::clone(sink.status());
        assert_eq!(sink.stop(WITHIN), end);
        assert_eq!(status.fixes_written(), 230, "each fix is written in one round only");
        assert_eq!(status.synced(), end);
        check_store(&store, round * 23 + 23);
        tail.close();
        end += 1; // Closing seals the journal with a frame.
    }
}

#[test]
fn a_sink_dropped_in_the_middle_skips_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut tail = Tail::open(dir.path());
    let end = tail.write(0..300);
    let store = open_store(dir.path());
    let small = Config { batch_fixes_max: 70, ..QUICK };
    loop {
        let sink = start(Embedded::new(store.clone()), small, Arc::clone(&tail.journal)).unwrap();
        let status = Arc::clone(sink.status());
        wait_for("a batch or the end", || {
            status.batches_written() > 0 || status.written().load(Ordering::Acquire) == end
        });
        drop(sink);
        wait_for("the thread ended", || status.state() == SinkState::Ended);
        if status.written().load(Ordering::Acquire) == end {
            break;
        }
    }
    check_store(&store, 300);
}

#[test]
fn a_position_of_another_journal_stops_the_sink_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut tail = Tail::open(dir.path());
    tail.write(0..3);
    let store = open_store(dir.path());
    for foreign in [
        JournalPosition { journal: JournalId([9; 16]), sequence: 1 },
        JournalPosition { journal: tail.journal.id(), sequence: 1_000 },
    ] {
        let fake = Fake { held: Some(foreign), ..Fake::default() };
        let sink = start(fake, QUICK, Arc::clone(&tail.journal)).unwrap();
        wait_for("stopped", || matches!(sink.status().state(), SinkState::Stopped { .. }));
        let SinkState::Stopped { error } = sink.status().state() else { unreachable!() };
        assert!(error.contains("is not in this journal") && error.contains("`fake` in `data_dir`"), "{error}");
        assert_eq!(sink.stop(WITHIN), 0);
    }
    check_store(&store, 0);
    tail.close();
}

/// What a [`Fake`] got: fixes by driver and time with how often, and the last position.
type Got = Arc<Mutex<(BTreeMap<(String, i64), u32>, u64)>>;

/// A sink that fails when it is told to.
#[derive(Default)]
struct Fake {
    held: Option<JournalPosition>,
    got: Got,
    /// Outcomes of the coming calls; when used up, all succeed.
    outcomes: Vec<Outcome>,
}

#[derive(Clone, Copy)]
enum Outcome {
    Works,
    Fails,
    Refuses,
    Panics,
}

impl Fake {
    fn next(&mut self) -> Result<(), Error> {
        match self.outcomes.pop() {
            None | Some(Outcome::Works) => Ok(()),
            Some(Outcome::Fails) => Err(Error::Retry("connection refused".into())),
            Some(Outcome::Panics) => panic!("a fault of the sink, wanted by the test"),
            Some(Outcome::Refuses) => Err(Error::Stop("no such table".into())),
        }
    }
}

impl Sink for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn place(&self) -> &'static str {
        "fake"
    }

    fn resume(&mut self) -> Result<Option<JournalPosition>, Error> {
        self.next().map(|()| self.held)
    }

    fn write(&mut self, batch: &Batch, upto: JournalPosition) -> Result<(), Error> {
        self.next()?;
        let mut got = self.got.lock().unwrap();
        assert!(upto.sequence > got.1);
        got.1 = upto.sequence;
        for run in batch.drivers() {
            assert_eq!(run.tenant(), "acme");
            for (fix, late) in run.judged() {
                assert!(!late);
                *got.0.entry((run.driver().to_owned(), fix.time.0)).or_default() += 1;
            }
        }
        Ok(())
    }
}

#[test]
fn failures_are_retried_and_everything_arrives_once() {
    use Outcome::{Fails, Works};
    let dir = tempfile::tempdir().unwrap();
    let mut tail = Tail::open(dir.path());
    let end = tail.write(0..200);
    let fake = Fake { outcomes: vec![Fails, Works, Fails, Fails, Fails, Works, Fails, Fails], ..Fake::default() };
    let got = Arc::clone(&fake.got);
    let sink = start(fake, QUICK, Arc::clone(&tail.journal)).unwrap();
    wait_for("written", || sink.written().load(Ordering::Acquire) == end);
    assert_eq!(sink.status().failures(), 6);
    assert_eq!(sink.status().state(), SinkState::Healthy);
    sink.stop(WITHIN);
    let got = got.lock().unwrap();
    assert_eq!((got.0.len(), got.1), (2_000, end));
    assert!(got.0.values().all(|times| *times == 1));
}

#[test]
fn a_dead_sink_says_so_and_does_not_hold_up_the_stop() {
    let dir = tempfile::tempdir().unwrap();
    let mut tail = Tail::open(dir.path());
    tail.write(0..5);
    let dead = Fake { outcomes: vec![Outcome::Fails; 100_000], ..Fake::default() };
    let slow = Config { retry_ms_max: 60_000, ..QUICK };
    let sink = start(dead, slow, Arc::clone(&tail.journal)).unwrap();
    wait_for("two failures", || sink.status().failures() >= 2);
    assert!(matches!(sink.status().state(), SinkState::Retrying { error, .. } if error == "connection refused"));
    assert_eq!(sink.status().lag_frames(), 5);
    let begin = Instant::now();
    assert_eq!(sink.stop(WITHIN), 0);
    assert!(begin.elapsed() < Duration::from_secs(5));
    tail.close();
}

#[test]
fn a_sink_that_refuses_stops_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut tail = Tail::open(dir.path());
    let fake = Fake { outcomes: vec![Outcome::Refuses, Outcome::Works], ..Fake::default() };
    let sink = start(fake, QUICK, Arc::clone(&tail.journal)).unwrap();
    tail.write(0..5);
    wait_for("stopped", || sink.status().state() == SinkState::Stopped { error: "no such table".to_owned() });
    tail.write(5..10);
    assert_eq!(sink.stop(WITHIN), 0);
    tail.close();
}

#[test]
fn a_sink_that_is_given_up_ends_and_lets_go_of_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let mut tail = Tail::open(dir.path());
    let end = tail.write(0..5);
    let store = open_store(dir.path());
    let kept = start(Embedded::new(store), QUICK, Arc::clone(&tail.journal)).unwrap();
    let dead = Fake { outcomes: vec![Outcome::Fails; 100_000], ..Fake::default() };
    let laggard = start(dead, QUICK, Arc::clone(&tail.journal)).unwrap();
    wait_for("synced", || kept.status().synced() == end);
    wait_for("two failures", || laggard.status().failures() >= 2);
    assert_eq!((kept.status().needs_behind(), laggard.status().needs_behind()), (Some(end), Some(0)));

    laggard.status().abandon("the journal was full");
    laggard.status().abandon("for another reason");
    let stopped = SinkState::Stopped { error: "the journal was full".to_owned() };
    assert_eq!((laggard.status().state(), laggard.status().needs_behind()), (stopped.clone(), None));
    let status = Arc::clone(laggard.status());
    assert_eq!(laggard.stop(WITHIN), 0);
    let failures = status.failures();
    assert_eq!(status.state(), stopped, "ended, and still says why");

    let end = tail.write(5..9);
    wait_for("the other goes on", || kept.status().synced() == end);
    assert_eq!(status.failures(), failures, "it is not called any more");
    kept.stop(WITHIN);
    tail.close();
}

#[test]
fn a_sink_that_panics_shows_as_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let tail = Tail::open(dir.path());
    let fake = Fake { outcomes: vec![Outcome::Panics], ..Fake::default() };
    let sink = start(fake, QUICK, Arc::clone(&tail.journal)).unwrap();
    wait_for("stopped", || matches!(sink.status().state(), SinkState::Stopped { error } if error.contains("panicked")));
    sink.stop(WITHIN);
    tail.close();
}

#[test]
fn the_section_reads_from_toml() {
    let config: Config = toml::from_str("batch_age_ms_max = 200").unwrap();
    assert_eq!(config, Config { batch_age_ms_max: 200, ..Config::default() });
    assert!(toml::from_str::<Config>("batch_age = 1").is_err());
}
