//! Copies of a journal that is being written are whole, and what is no backup is not restored.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::fix::Fix;
use crate::ids::{DriverId, DriverKey, TenantId};
use crate::journal::{self, Journal, JournalPosition, Record, TurnEncoder, Unopened};
use crate::store::{self, DriverFixes, Store};
use crate::units::{Position, TimestampMs};

const WITHIN: Duration = Duration::from_secs(20);

fn fix_at(time: i64) -> Fix {
    Fix::at(TimestampMs(time), Position { latitude_e7: time as i32, longitude_e7: 7 })
}

/// A journal that is written by a thread of its own, a fix a frame at times 1, 2, 3, until dropped.
struct Writing {
    dir: TempDir,
    journal: Arc<Journal>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Writing {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = journal::Config { segment_bytes: 16 << 10, ..journal::Config::default() };
        let (journal, _) = journal::open(&dir.path().join(JOURNAL_DIR), &config, &mut |_| Ok(())).unwrap();
        let journal = Arc::new(journal);
        let stop = Arc::new(AtomicBool::new(false));
        let (written, stopped) = (Arc::clone(&journal), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let appender = written.appender(Box::new(|_| {}));
            let driver = DriverKey::new(TenantId::new("acme").unwrap(), DriverId::new("d1").unwrap());
            let mut encoder = TurnEncoder::new();
            for time in 1.. {
                encoder.begin(TimestampMs(time));
                encoder.fix(&driver, &fix_at(time), false);
                appender.append(encoder.finish()).unwrap();
                written.watermark().wait_past((time as u64).saturating_sub(8), WITHIN);
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        Self { dir, journal, stop, thread: Some(thread) }
    }

    fn backups(&self, store: Option<Store>) -> Backups {
        let copied = Copied { store, store_config: store::Config::default(), follow: None };
        Backups::new(&self.journal, copied, Arc::new(Mutex::new(())))
    }

    fn wait_past(&self, sequence: u64) {
        assert!(self.journal.watermark().wait_past(sequence, WITHIN) > sequence);
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(thread::JoinHandle::join));
    }
}

fn times_in(journal_dir: &Path) -> (Vec<i64>, journal::Recovered) {
    let mut times = Vec::new();
    let (_journal, recovered) = journal::open(journal_dir, &journal::Config::default(), &mut |frame| {
        times.extend(frame.records().filter_map(|record| match record {
            Ok(Record::Fix { fix, .. }) => Some(fix.time.0),
            _ => None,
        }));
        Ok(())
    })
    .unwrap();
    (times, recovered)
}

fn wait_for_end(backups: &Backups) -> Progress {
    for _ in 0..2_000 {
        match backups.progress() {
            Progress::Running { .. } => thread::park_timeout(Duration::from_millis(10)),
            ended => return ended,
        }
    }
    panic!("the backup did not end")
}

#[test]
fn a_copy_of_a_journal_under_way_is_whole_up_to_its_position() {
    let writing = Writing::start();
    for round in 0..20 {
        writing.wait_past(round * 40);
        let copy = tempfile::tempdir().unwrap();
        let mut bytes = 0;
        let position = writing
            .journal
            .copy_to(copy.path(), &mut |copied| {
                bytes += copied;
                Ok(())
            })
            .unwrap();
        assert!(position.sequence > round * 40 && bytes > 0);
        let (times, recovered) = times_in(copy.path());
        assert_eq!((recovered.last, recovered.cut_bytes), (position.sequence, 0));
        assert_eq!(times, (1..=position.sequence as i64).collect::<Vec<_>>());
    }
    assert!(writing.journal.segments().unwrap().len() > 1, "a copy of several segments");
}

#[test]
fn a_backup_of_a_running_engine_is_restored_and_its_store_is_not_ahead() {
    let writing = Writing::start();
    let store = Store::open(&writing.dir.path().join(STORE_DIR), &store::Config::default()).unwrap();
    writing.wait_past(30);
    let fixes: Vec<Fix> = (1..=30).map(fix_at).collect();
    let upto = JournalPosition { journal: writing.journal.id(), sequence: 30 };
    store.apply(&[DriverFixes { tenant: "acme", driver: "d1", fixes: &fixes }], upto).unwrap();
    let backups = writing.backups(Some(store));
    assert_eq!(backups.progress(), Progress::None);
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("new/backup");
    backups.begin(directory.clone()).unwrap();
    let Progress::Done { manifest, bytes, .. } = wait_for_end(&backups) else { panic!("{:?}", backups.progress()) };
    assert!(bytes > 0);
    assert_eq!((manifest.first_sequence, manifest.store_sequence), (1, Some(30)));

    let restored = place.path().join("data");
    assert_eq!(restore(&directory, &restored).unwrap(), manifest);
    let (times, recovered) = times_in(&restored.join(JOURNAL_DIR));
    assert_eq!(recovered.last, manifest.last_sequence);
    assert_eq!(times, (1..=manifest.last_sequence as i64).collect::<Vec<_>>());
    let store = Store::open(&restored.join(STORE_DIR), &store::Config::default()).unwrap();
    assert_eq!(store.applied().unwrap(), Some(upto));
    let track = store.track("acme", "d1", TimestampMs(0), TimestampMs(1_000), 1_000).unwrap();
    assert_eq!(track, fixes);

    assert!(matches!(backups.begin(directory.clone()), Err(Refused::Directory(Error::Occupied(_)))));
    assert!(matches!(backups.begin("here".into()), Err(Refused::Relative(_))));
    assert!(matches!(restore(&directory, &restored), Err(Error::Occupied(_))));
}

#[test]
fn an_engine_that_stops_does_not_wait_for_a_backup() {
    let writing = Writing::start();
    writing.wait_past(5);
    let place = tempfile::tempdir().unwrap();
    let backups = writing.backups(None);
    backups.stop();
    backups.begin(place.path().to_owned()).unwrap();
    match wait_for_end(&backups) {
        Progress::Failed { error, .. } => assert!(error.contains("the engine is stopping"), "{error}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(restore(place.path(), &place.path().join("data")), Err(Error::Unfinished { .. })));
}

#[test]
fn a_backup_with_something_missing_is_not_restored() {
    let writing = Writing::start();
    writing.wait_past(50);
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("backup");
    let backups = writing.backups(None);
    backups.begin(directory.clone()).unwrap();
    assert!(matches!(wait_for_end(&backups), Progress::Done { .. }));
    let to = place.path().join("data");

    let segments: Vec<_> =
        fs::read_dir(directory.join(JOURNAL_DIR)).unwrap().map(|entry| entry.unwrap().path()).collect();
    let newest = segments.iter().filter(|path| path.extension().is_some_and(|end| end == "journal")).max().unwrap();
    let whole = fs::read(newest).unwrap();
    fs::write(newest, &whole[..whole.len() - 1]).unwrap();
    match restore(&directory, &to) {
        Err(Error::Changed { what, .. }) => assert!(what.contains("frames 1 to"), "{what}"),
        other => panic!("{other:?}"),
    }
    assert!(!to.exists(), "nothing was written");
    fs::remove_dir_all(directory.join(JOURNAL_DIR)).unwrap();
    assert!(matches!(restore(&directory, &to), Err(Error::Nothing(_))));
    fs::remove_file(directory.join("backup.json")).unwrap();
    assert!(matches!(restore(&directory, &to), Err(Error::Unfinished { .. })));
    drop(Unopened::take(&place.path().join("empty/journal")).unwrap());
    let nothing = back_up(&place.path().join("empty"), &place.path().join("of-nothing"), &store::Config::default());
    assert!(matches!(nothing, Err(Error::Nothing(_))));
}
