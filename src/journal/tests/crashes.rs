//! Whatever runs, and whenever it ends: what was acknowledged comes back, in order and once, and the journal goes on.
//!
//! Where it is synced later than acknowledged, a loss of power takes what was not synced yet, or the end of that: all up to
//! the watermark is there, and nothing is missing in the middle. The end of the process alone takes nothing.

use proptest::prelude::*;

use super::crash_image::{Chance, Disk, EIO, ENOSPC, Fault};
use super::*;

/// A few batches fill a segment.
const SMALL: Config = Config { segment_bytes: 6_000, ..Config::DEFAULT };

/// What is waited for before an acknowledgement, and until the sync behind it.
const SYNCS: [(SyncWhen, u64); 3] = [
    (SyncWhen::Always, 0),
    // Right behind the acknowledgements.
    (SyncWhen::Interval, 0),
    // With the next segment or the close, whichever comes first: no test waits so long.
    (SyncWhen::Interval, 3_600_000),
];

const APPENDERS: usize = 3;

/// Changes of the disk that a recovery with nothing behind it makes at most, and the close behind it.
const RECOVERY_CHANGES_MAX: usize = 11;

/// So many places of a run are tried, more or less.
const CHANGES_TRIED: usize = 20;

/// What is done to a journal.
#[derive(Clone, Debug)]
enum Step {
    /// Turns by these appenders, of so many fixes each, that are synced together.
    Commit(Vec<(usize, usize)>),
    /// A snapshot of all there is.
    Snapshot,
    /// What the newest snapshot stands for goes.
    Cut,
    /// A clean close, and the next start.
    Reopen,
}

/// What is done, and how it is synced.
#[derive(Clone, Debug)]
struct Plan {
    config: Config,
    steps: Vec<Step>,
}

/// What the writer says.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Durable(usize),
    Failed,
}

/// A journal that is open and written step by step: its writer stands still in its last call back until it is let go, so
/// that what is handed over meanwhile is one batch, and every run of the same steps asks the same of the disk.
struct Life {
    /// Lets the writer go on; dropped, it does not stand still any more. First, so that it goes before the journal does.
    go: Option<SyncSender<()>>,
    journal: Journal,
    appenders: Vec<Appender>,
    heard: Receiver<Heard>,
    is_held: bool,
}

impl Life {
    fn of(journal: Journal) -> Self {
        let (sender, heard) = sync_channel(CALLS_MAX);
        let (go, let_go) = sync_channel::<()>(1);
        let let_go = Arc::new(Mutex::new(let_go));
        let appender = |_| {
            let (sender, let_go) = (sender.clone(), Arc::clone(&let_go));
            journal.appender(Box::new(move |sequences| {
                sender.send(Heard::Durable(sequences.len())).unwrap();
                // Nobody holds it at the end.
                let _ = let_go.lock().unwrap().recv();
            }))
        };
        let appenders = (0..APPENDERS).map(appender).collect();
        journal.on_failure(Box::new(move |_| sender.send(Heard::Failed).unwrap()));
        Self { go: Some(go), journal, appenders, heard, is_held: false }
    }

    fn let_go(&mut self) {
        if std::mem::take(&mut self.is_held) {
            self.go.as_ref().unwrap().send(()).unwrap();
        }
    }

    /// A clean close, as far as the disk lets it.
    fn close(mut self) -> Result<(), Error> {
        self.go = None;
        self.journal.close()
    }
}

/// A journal's life on a disk, and what it must hold.
struct World {
    disk: Disk,
    config: Config,
    /// The fixes handed over, by their times, without those that a crash took.
    handed: Vec<i64>,
    /// So many of them are acknowledged.
    acknowledged: usize,
    /// The time of the next fix: no two ever have the same, not even with one that a crash took.
    next: i64,
    life: Option<Life>,
    /// Of the last life.
    watermark: Arc<Watermark>,
    /// The last frame that was handed over.
    sequence: u64,
    /// So many fixes were there at each frame that this life handed over, and at its beginning.
    fixes_at: Vec<(u64, usize)>,
}

/// The fixes that a journal holds, through its newest snapshot and what is behind that.
fn recover(disk: &Disk, config: &Config) -> Result<(Journal, Vec<i64>), Error> {
    let files = Unopened::on(Arc::new(disk.clone()));
    let mut found = Vec::new();
    let mut snapshot = None;
    if let Some(newest) = files.snapshots()?.first() {
        let mut take = |chunk: &[u8]| {
            found.extend(chunk.chunks(8).map(|time| i64::from_le_bytes(time.try_into().unwrap())));
            Ok(())
        };
        let read = files.read_snapshot(*newest, &mut take);
        // A name says that all of it is durable. A disk that is gone is another thing.
        match read {
            Ok(position) => snapshot = Some(position),
            Err(Unusable::Io(source)) => return Err(Error::io("read a snapshot")(source)),
            Err(damaged) => panic!("a snapshot that has its name is not whole: {damaged}"),
        }
    }
    let resume = Resume { snapshot, followed: Vec::new() };
    let (journal, _) = files.open(config, &resume, &mut |frame| {
        found.extend(times(frame));
        Ok(())
    })?;
    Ok((journal, found))
}

impl World {
    /// Takes the steps until there are no more or the journal fails.
    fn run(disk: Disk, plan: &Plan) -> Self {
        let mut world = Self::empty(disk, &plan.config);
        if let Ok((journal, _)) = recover(&world.disk, &plan.config) {
            world.live(journal);
        }
        for step in &plan.steps {
            world.take(step);
        }
        world
    }

    fn empty(disk: Disk, config: &Config) -> Self {
        let (config, watermark) = (config.clone(), Arc::default());
        let (handed, fixes_at) = (Vec::new(), Vec::new());
        Self { disk, config, handed, acknowledged: 0, next: 0, life: None, watermark, sequence: 0, fixes_at }
    }

    /// Goes on where `world` was, with what a recovery found of it.
    fn behind(world: &Self, disk: Disk, journal: Journal, found: &[i64]) -> Self {
        let mut longer = Self::empty(disk, &world.config);
        (longer.handed, longer.acknowledged, longer.next) = (found.to_vec(), found.len(), world.next);
        longer.live(journal);
        longer
    }

    /// Begins a life with a journal that has just been opened: all it holds is durable.
    fn live(&mut self, journal: Journal) {
        self.watermark = journal.watermark();
        self.sequence = self.watermark.get();
        self.fixes_at = vec![(self.sequence, self.handed.len())];
        self.life = Some(Life::of(journal));
    }

    /// So many fixes are durable.
    fn durable(&self) -> usize {
        let durable = self.watermark.get();
        self.fixes_at.iter().rfind(|(sequence, _)| *sequence <= durable).map_or(0, |(_, fixes)| *fixes)
    }

    fn take(&mut self, step: &Step) {
        let durable = self.durable();
        let Some(life) = &mut self.life else { return };
        match step {
            Step::Commit(turns) => self.commit(turns),
            Step::Snapshot => {
                // One that cannot be made is no failure of the journal.
                drop(snapshot(&life.journal, &self.handed[..durable]));
            }
            Step::Cut => {
                let newest = life.journal.snapshots().ok().and_then(|snapshots| snapshots.last().copied());
                drop(newest.map(|sequence| life.journal.cut(sequence)));
            }
            Step::Reopen => {
                let closed = self.life.take().unwrap().close();
                if closed.is_ok()
                    && let Ok((journal, found)) = recover(&self.disk, &self.config)
                {
                    assert_eq!(found, self.handed);
                    self.live(journal);
                }
            }
        }
    }

    fn commit(&mut self, turns: &[(usize, usize)]) {
        let Some(life) = &mut self.life else { return };
        // A writer that does not stand still would take the first alone.
        let turns = if life.is_held { turns } else { &turns[..1] };
        let mut fixes = [0; APPENDERS];
        for &(appender, count) in turns {
            let first = self.next;
            self.next += count as i64;
            if life.appenders[appender].append(turn_of(first, count)).is_ok() {
                self.handed.extend(first..first + count as i64);
                self.sequence += 1;
                self.fixes_at.push((self.sequence, self.handed.len()));
                fixes[appender] += count;
            }
        }
        life.let_go();
        // They are told in the order of their numbers.
        let mut told = fixes.iter().filter(|count| **count > 0).count();
        while told > 0 {
            match life.heard.recv_timeout(10 * SECOND).unwrap() {
                Heard::Durable(_) => told -= 1,
                Heard::Failed => {
                    self.fail();
                    return;
                }
            }
            life.is_held = true;
            if told > 0 {
                life.let_go();
            }
        }
        self.acknowledged += fixes.iter().sum::<usize>();
    }

    /// Holds that a journal that has failed says nothing more, whatever it is given.
    fn fail(&mut self) {
        let Some(life) = self.life.take() else { return };
        let durable = life.journal.watermark().get();
        for appender in &life.appenders {
            while appender.append(turn(0)).is_ok() {}
        }
        assert!(life.journal.failed().is_some());
        assert_eq!(life.journal.watermark().get(), durable);
        let Life { go, journal, heard, .. } = life;
        drop(go);
        assert!(matches!(journal.close(), Err(Error::Failed(_))));
        assert!(heard.try_recv().is_err(), "acknowledged after a failure");
    }
}

/// A turn of consecutive fixes.
fn turn_of(first: i64, count: usize) -> Turn {
    let mut encoder = TurnEncoder::new();
    encoder.begin(TimestampMs(first + 250));
    for time in first..first + count as i64 {
        encoder.fix(&driver("acme", "d1"), &fix(time), false);
    }
    encoder.finish()
}

fn snapshot(journal: &Journal, history: &[i64]) -> Result<u64, Error> {
    let mut snapshot = journal.snapshot(journal.watermark().get())?;
    for times in history.chunks(100) {
        snapshot.put(&times.iter().flat_map(|time| time.to_le_bytes()).collect::<Vec<_>>())?;
    }
    snapshot.finish()
}

/// Holds that `found` is the beginning of what was handed over, with so many fixes at least.
fn assert_kept(found: &[i64], world: &World, at_least: usize) {
    assert!(world.handed.starts_with(found), "{found:?} was not handed over: {:?}", world.handed);
    assert!(found.len() >= at_least, "of {at_least} only {} are left", found.len());
}

/// Holds what a start on `disk` must find, be it interrupted or not, and that the journal goes on behind it.
fn assert_recovers(disk: &Disk, world: &World, at_least: usize, chance: &mut Chance) {
    let again = disk.after_kill();
    let (journal, found) = recover(&again, &world.config).unwrap();
    assert_kept(&found, world, at_least);
    let (_, same) = recover(&again.after_crash_with_what_was_synced(), &world.config).unwrap();
    assert_eq!(same, found, "what was applied is durable once the journal is open");

    let mut longer = World::behind(world, again, journal, &found);
    longer.commit(&[(0, 3)]);
    longer.commit(&[(1, 40), (2, 1), (1, 3)]);
    assert_eq!(longer.acknowledged, found.len() + 47);
    let (_, all) = recover(&longer.disk.after_kill(), &world.config).unwrap();
    assert_eq!(all, longer.handed);
    let (_, left) = recover(&longer.disk.after_crash(chance), &world.config).unwrap();
    assert_kept(&left, &longer, longer.durable());

    // A short life behind a torn end, of whose frames none may come to light again.
    let again = disk.after_kill();
    let (journal, found) = recover(&again, &world.config).unwrap();
    again.fail_any(chance.below(4) as u64, Fault::PowerOff);
    let mut short = World::behind(world, again, journal, &found);
    short.commit(&[(0, 3)]);
    short.commit(&[(0, 3)]);
    drop(short.life.take());
    let (_, left) = recover(&short.disk.after_crash(chance), &world.config).unwrap();
    assert_kept(&left, &short, short.durable());

    let interrupted = disk.after_kill();
    interrupted.fail_any(chance.below(RECOVERY_CHANGES_MAX) as u64, Fault::PowerOff);
    let was_open = recover(&interrupted, &world.config).is_ok();
    let (_, second) = recover(&interrupted.after_crash(chance), &world.config).unwrap();
    assert_kept(&second, world, world.durable());
    assert!(found.starts_with(&second) && (second == found || !was_open));
}

/// Runs the steps, has the disk fail at one change, and holds what must be held of what is left.
fn assert_survives(plan: &Plan, skip: u64, fault: Fault, chance: &mut Chance) {
    let disk = Disk::default();
    disk.fail_any(skip, fault);
    let world = World::run(disk, plan);
    let (acknowledged, durable) = (world.acknowledged, world.durable());
    match plan.config.sync {
        SyncWhen::Always => assert!(durable >= acknowledged, "{durable} of {acknowledged} acknowledged are durable"),
        SyncWhen::Interval => assert_recovers(&world.disk, &world, acknowledged, chance),
    }
    // What a failed sync was to make durable may be gone too.
    let after_eviction = if matches!(fault, Fault::PowerOff) { acknowledged } else { durable };
    let (left, at_least) = match chance.below(3) {
        0 => (world.disk.after_kill(), acknowledged),
        1 => (world.disk.after_kill_and_eviction(), after_eviction),
        _ => (world.disk.after_crash_with_what_was_synced(), durable),
    };
    assert_recovers(&left, &world, at_least, chance);
    assert_recovers(&world.disk.after_crash(chance), &world, durable, chance);
}

fn plans() -> impl Strategy<Value = Plan> {
    let commit =
        prop::collection::vec((0..APPENDERS, prop::sample::select(vec![1, 3, 40])), 1..6).prop_map(Step::Commit);
    let step = prop_oneof![10 => commit, 2 => Just(Step::Snapshot), 2 => Just(Step::Cut), 1 => Just(Step::Reopen)];
    (prop::sample::select(SYNCS.to_vec()), prop::collection::vec(step, 1..24)).prop_map(|(sync, steps)| {
        let (sync, sync_interval_ms) = sync;
        Plan { config: Config { sync, sync_interval_ms, ..SMALL }, steps }
    })
}

/// Some of the changes that the steps make, evenly apart, the last of them beyond the end.
fn some_changes(plan: &Plan, chance: &mut Chance) -> impl Iterator<Item = u64> + use<> {
    let changes = changes_of(plan) as usize;
    let apart = changes.div_ceil(CHANGES_TRIED);
    (chance.below(apart)..=changes).step_by(apart).map(|skip| skip as u64)
}

fn changes_of(plan: &Plan) -> u64 {
    let world = World::run(Disk::default(), plan);
    assert_eq!((world.handed.len(), world.life.is_some()), (world.acknowledged, true), "nothing failed");
    world.disk.changes()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_crash_at_any_change_of_the_disk_loses_nothing_it_promised(plan in plans(), seed in any::<u64>()) {
        let mut chance = Chance(seed);
        for skip in some_changes(&plan, &mut chance) {
            assert_survives(&plan, skip, Fault::PowerOff, &mut chance);
        }
    }

    #[test]
    fn a_disk_that_fails_at_any_change_loses_nothing_it_promised(plan in plans(), seed in any::<u64>()) {
        let mut chance = Chance(seed);
        for skip in some_changes(&plan, &mut chance) {
            let fault = match chance.below(4) {
                0 => Fault::Short(chance.below(2_000), ENOSPC),
                1 => Fault::Errno(ENOSPC),
                _ => Fault::Errno(EIO),
            };
            assert_survives(&plan, skip, fault, &mut chance);
        }
    }
}
