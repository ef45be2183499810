//! Promises 1 to 3 with fleets that come back by themselves: the engine is killed at random instants, and in the end every
//! acknowledged fix is there once, in the store and in what is left of the journal, and the books balance. The journal is
//! cut while the engine is killed.
//!
//! `RHUMB_TEST_KILLS` says how often (`tests/crash` runs a thousand), `RHUMB_TEST_SEED` repeats the instants and the faults
//! of a run; what the machine makes of them is its own.

mod ledger;
mod plan;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::thread::{self, sleep};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use self::ledger::Ledger;
use self::plan::{Blow, Random};
use crate::support::loadgen::Fleet;
use crate::support::process::lasting_addresses;
use crate::support::rhumb::Rhumb;
use crate::support::{PATIENCE, wait_for};

/// Kills if nothing else is asked for.
const KILLS_DEFAULT: u64 = 20;

/// The longest that one set of fleets runs; then its lists are compared, and go.
const ROUND_MAX: Duration = Duration::from_secs(25);

/// About what a kill and the way back take.
const PER_KILL: Duration = Duration::from_millis(900);

/// How long one of the journal's files is waited for to come or go: the engine looks after them every second.
const KEEPING_MAX: Duration = Duration::from_millis(2_500);

/// Before their end the fleets get all they have left acknowledged, with pauses of up to 2 s between attempts to come back.
const CALM: Duration = Duration::from_secs(2);

/// What is printed at the end.
#[derive(Debug, Default)]
struct Summary {
    under_load: u64,
    in_recovery: u64,
    after_start: u64,
    in_keeping: u64,
    in_drain: u64,
    /// SIGTERM that was done before the kill came.
    drained: u64,
    starts: u64,
    torn_ends: u64,
    snapshots: u64,
    /// Starts that began behind a snapshot.
    from_snapshot: u64,
    /// Times that segments went off the journal's beginning.
    cuts: u64,
    published: u64,
    acked: u64,
}

impl Summary {
    fn kills(&self) -> u64 {
        self.under_load + self.in_recovery + self.after_start + self.in_keeping + self.in_drain
    }
}

struct Harness {
    rhumb: Rhumb,
    random: Random,
    ledger: Ledger,
    summary: Summary,
    fleets: Vec<Fleet>,
    /// What the last two engines logged.
    logs: [String; 2],
    /// For the fleets' files.
    dir: tempfile::TempDir,
    seed: u64,
}

impl Drop for Harness {
    #[expect(clippy::print_stdout, reason = "a failed test says how to repeat it")]
    fn drop(&mut self) {
        if thread::panicking() {
            let seed = self.seed;
            println!("after {:?}: RHUMB_TEST_SEED={seed} repeats it", self.summary);
            println!("data directory and logs: {} {}", self.rhumb.keep_dir().display(), self.dir.path().display());
            println!("{}\n--\n{}\n--\n{}", self.logs[0], self.logs[1], self.rhumb.log());
            self.dir.disable_cleanup(true);
        }
    }
}

impl Harness {
    fn start(seed: u64) -> Self {
        let [mqtt, http, admin] = lasting_addresses();
        let listeners =
            [("mqtt", mqtt), ("http", http), ("admin", admin)].map(|(door, at)| format!("{door}.listen={at}"));
        let mut sets: Vec<&str> = listeners.iter().map(String::as_str).collect();
        sets.extend([
            "journal.segment_bytes=1048576",
            "journal.retention=0s",
            "sink.sync_interval_ms=50",
            "pipeline.shards=2",
        ]);
        Self {
            rhumb: Rhumb::start(&sets),
            random: Random::new(seed),
            ledger: Ledger::default(),
            summary: Summary { starts: 1, ..Summary::default() },
            fleets: Vec::new(),
            logs: Default::default(),
            dir: tempfile::tempdir().unwrap(),
            seed,
        }
    }

    /// Lets new fleets publish and kills the engine over and over, until they are done or it was killed so often.
    fn round(&mut self, kills_max: u64) {
        let left = u32::try_from(kills_max - self.summary.kills()).unwrap();
        let duration = ROUND_MAX.min(PER_KILL * left) + CALM;
        let begun = Instant::now();
        self.ledger.begin_round(now_ms());
        let orders = plan::orders(&mut self.random, duration);
        let server = self.rhumb.mqtt();
        self.fleets = orders.iter().map(|order| Fleet::start(order, server, self.dir.path())).collect();
        for fleet in &mut self.fleets {
            wait_for("the first acknowledgements", || fleet.take_acked(self.ledger.of(fleet.tenant)).then_some(()));
        }
        while self.summary.kills() < kills_max && begun.elapsed() + CALM < duration {
            self.strike();
        }
        self.rhumb.wait_until_ready();
        self.look();
        let deadline = begun + duration + PATIENCE;
        while !self.fleets.iter_mut().all(Fleet::has_ended) {
            assert!(Instant::now() < deadline, "the fleets do not come to their end");
            sleep(Duration::from_millis(20));
        }
        for fleet in self.fleets.drain(..) {
            let acked = self.ledger.of(fleet.tenant);
            let report = fleet.finish(acked);
            self.summary.published += report["sent"].as_u64().unwrap();
            self.summary.acked += report["acked"].as_u64().unwrap();
        }
        self.ledger.end_round(&self.rhumb);
    }

    /// Kills the engine at a random instant and starts it again.
    fn strike(&mut self) {
        let blow = self.random.blow();
        if !matches!(blow, Blow::InRecovery { .. }) {
            self.rhumb.wait_until_ready();
            self.look();
        }
        let mut has_changed = false;
        match blow {
            Blow::InKeeping { after } => {
                has_changed = self.await_keeping();
                sleep(after);
                self.rhumb.kill9();
            }
            Blow::UnderLoad { after } | Blow::AfterStart { after } | Blow::InRecovery { after } => {
                sleep(after);
                self.rhumb.kill9();
            }
            Blow::InDrain { after, grace } => {
                sleep(after);
                self.rhumb.signal(Signal::TERM);
                sleep(grace);
                if let Some(status) = self.rhumb.ended() {
                    assert_eq!(status.code(), Some(0), "SIGTERM");
                    self.summary.drained += 1;
                } else {
                    self.rhumb.kill9();
                    self.summary.in_drain += 1;
                }
            }
        }
        self.read_log();
        let is_recovered = self.logs[1].contains(" serving ");
        match blow {
            Blow::InKeeping { .. } if has_changed => self.summary.in_keeping += 1,
            Blow::UnderLoad { .. } | Blow::InKeeping { .. } => self.summary.under_load += 1,
            Blow::InRecovery { .. } if !is_recovered => self.summary.in_recovery += 1,
            Blow::InRecovery { .. } | Blow::AfterStart { .. } => self.summary.after_start += 1,
            Blow::InDrain { .. } => {}
        }
        // As many shards as ever: a driver's fixes are found again by another.
        self.rhumb.set("pipeline.shards", &self.random.between(1, 4).to_string());
        self.rhumb.respawn();
        self.summary.starts += 1;
    }

    /// Waits until a file of the journal comes or goes; whether one did in time.
    fn await_keeping(&self) -> bool {
        let names = || -> BTreeSet<OsString> {
            let entries = fs::read_dir(self.rhumb.data_dir().join("journal")).unwrap();
            entries.map(|entry| entry.unwrap().file_name()).collect()
        };
        let (before, begun) = (names(), Instant::now());
        while begun.elapsed() < KEEPING_MAX {
            if names() != before {
                return true;
            }
            sleep(Duration::from_micros(200));
        }
        false
    }

    fn read_log(&mut self) {
        let log = self.rhumb.take_log();
        assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
        self.summary.torn_ends += log.matches("cut a torn end off").count() as u64;
        self.summary.snapshots += log.matches("snapshot taken").count() as u64;
        self.summary.cuts += log.matches("journal cut").count() as u64;
        let recoveries = log.lines().filter(|line| line.contains("journal recovered"));
        self.summary.from_snapshot += recoveries.filter(|line| !line.contains("snapshot=0 ")).count() as u64;
        self.logs.rotate_left(1);
        self.logs[1] = log;
    }

    /// What is cheap to ask of an engine that has just come back.
    fn look(&mut self) {
        for fleet in &mut self.fleets {
            fleet.take_acked(self.ledger.of(fleet.tenant));
        }
        self.ledger.look(&self.rhumb, &mut self.random);
    }

    /// Everything that was ever acknowledged, and nothing else, wherever it is kept. Gives the journal's first frame.
    fn end(&mut self) -> u64 {
        self.rhumb.wait_until_ready();
        self.rhumb.await_store();
        self.ledger.assert_tracks(&self.rhumb);
        let (status, _) = self.rhumb.terminate();
        assert_eq!(status.code(), Some(0));
        self.read_log();
        self.ledger.assert_stored(&self.rhumb.data_dir())
    }
}

#[test]
fn what_was_acknowledged_is_there_once_wherever_the_engine_was_killed() {
    let kills_max = number("RHUMB_TEST_KILLS").unwrap_or(KILLS_DEFAULT);
    let seed = number("RHUMB_TEST_SEED").unwrap_or_else(|| now_ms().unsigned_abs());
    println!("RHUMB_TEST_KILLS={kills_max} RHUMB_TEST_SEED={seed}");
    let begun = Instant::now();
    let mut harness = Harness::start(seed);
    while harness.summary.kills() < kills_max {
        harness.round(kills_max);
    }
    let first = harness.end();
    let totals = harness.ledger.totals();
    assert!(totals.stored > 20 * kills_max, "{totals:?}: no load to speak of");
    // A few kills are over before there is a segment to cut.
    assert!(first > 1 || kills_max < KILLS_DEFAULT, "the journal was never cut: {:?}", harness.summary);

    let summary = &harness.summary;
    let rows = [
        ("kills", summary.kills().to_string()),
        ("… under load", summary.under_load.to_string()),
        ("… before it was ready", summary.in_recovery.to_string()),
        ("… just after it was", summary.after_start.to_string()),
        ("… as a file of the journal came or went", summary.in_keeping.to_string()),
        ("… while it drained after SIGTERM", summary.in_drain.to_string()),
        ("SIGTERM that was done before the kill", summary.drained.to_string()),
        ("starts", summary.starts.to_string()),
        ("torn ends cut", summary.torn_ends.to_string()),
        ("snapshots taken", summary.snapshots.to_string()),
        ("starts behind a snapshot", summary.from_snapshot.to_string()),
        ("cuts of the journal", summary.cuts.to_string()),
        ("publishes", summary.published.to_string()),
        ("publishes acknowledged", summary.acked.to_string()),
        ("different fixes acknowledged", harness.ledger.fixes_acked().to_string()),
        ("fixes stored", totals.stored.to_string()),
        ("duplicates", totals.duplicate.to_string()),
        ("rejected", totals.rejected.to_string()),
        ("lost, or stored twice", "0".to_owned()),
        ("drivers", harness.ledger.drivers().to_string()),
        ("journal, first frame", first.to_string()),
        ("journal, bytes", dir_bytes(&harness.rhumb.data_dir().join("journal")).to_string()),
        ("seed", seed.to_string()),
        ("seconds", begun.elapsed().as_secs().to_string()),
    ];
    println!("| crash harness | |\n|---|---|");
    rows.iter().for_each(|(name, value)| println!("| {name} | {value} |"));
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var_os(variable)?;
    Some(text.to_string_lossy().parse().unwrap_or_else(|_| panic!("{variable}: a number, not {text:?}")))
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

fn dir_bytes(dir: &std::path::Path) -> u64 {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}
