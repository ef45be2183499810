//! Torn ends are cut, damage is refused, a failed disk is never acknowledged.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use super::*;
use crate::journal::storage::Directory;

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
fn an_end_torn_at_any_byte_is_cut() {
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
fn an_end_with_any_bit_flipped_is_cut() {
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
fn a_page_lost_before_the_last_batch_is_damage() {
    let (dir, path, offsets) = crashed();
    let mut bytes = fs::read(&path).unwrap();
    bytes[offsets[2]..offsets[3]].fill(0);
    fs::write(&path, &bytes).unwrap();
    let (_, offset, reason) = damage_of(dir.path());
    assert_eq!((offset, reason), (offsets[2] as u64, Damage::Missing));
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
fn frames_of_one_unsynced_batch_may_be_lost_in_any_order() {
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
    let small = Config { segment_bytes: 1_000 };
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
    fs::remove_file(&paths[1]).unwrap();
    let (segment, offset, reason) = damage_of(copy.path());
    assert!(paths[0].ends_with(segment));
    assert_eq!((offset, reason), (offsets[offsets.len() - 1] as u64, Damage::Missing));

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

/// A directory whose syncs, or writes, fail from some time on.
#[derive(Debug)]
struct Failing {
    directory: Directory,
    switch: Arc<Switch>,
}

#[derive(Debug, Default)]
struct Switch {
    sync_fails: AtomicBool,
    write_fails: AtomicBool,
}

#[derive(Debug)]
struct FailingFile(Box<dyn StorageFile>, Arc<Switch>);

impl Failing {
    fn wrap(&self, file: io::Result<Box<dyn StorageFile>>) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(FailingFile(file?, Arc::clone(&self.switch))))
    }
}

impl Storage for Failing {
    fn list(&self) -> io::Result<Vec<String>> {
        self.directory.list()
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.wrap(self.directory.create(name))
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.wrap(self.directory.open(name))
    }
    fn open_for_write(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.wrap(self.directory.open_for_write(name))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.directory.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.directory.remove(name)
    }
    fn sync_names(&self) -> io::Result<()> {
        self.directory.sync_names()
    }
}

impl StorageFile for FailingFile {
    fn len_bytes(&self) -> io::Result<u64> {
        self.0.len_bytes()
    }
    fn written_at(&self) -> io::Result<SystemTime> {
        self.0.written_at()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        // One byte short, to see that nobody takes a short read for the end.
        let len = if buffer.len() > 1 { buffer.len() - 1 } else { buffer.len() };
        self.0.read_at(&mut buffer[..len], offset)
    }
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.1.write_fails.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.write_all_at(bytes, offset)
    }
    fn set_len_bytes(&self, len: u64) -> io::Result<()> {
        self.0.set_len_bytes(len)
    }
    fn sync(&self) -> io::Result<()> {
        if self.1.sync_fails.swap(false, Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.0.sync()
    }
}

#[test]
fn after_a_failed_sync_or_write_nothing_is_acknowledged() {
    for sync in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let (directory, lock) = Directory::take(dir.path()).unwrap();
        let switch = Arc::new(Switch::default());
        let storage = Arc::new(Failing { directory, switch: Arc::clone(&switch) });
        let (journal, _) = Unopened::on(storage).open(&Config::default(), &Resume::default(), &mut |_| Ok(())).unwrap();
        let failed = failure(&journal);
        let (appender, durable) = appender(&journal);
        appender.append(turn(1)).unwrap();
        assert_eq!(durable.recv_timeout(10 * SECOND).unwrap(), [1]);
        // The sync fails once and would succeed if it were tried again.
        if sync { &switch.sync_fails } else { &switch.write_fails }.store(true, Ordering::SeqCst);
        appender.append(turn(2)).unwrap();
        let error = failed.recv_timeout(10 * SECOND).unwrap();
        assert!(error.contains("00000000000000000001.journal"), "{error}");
        assert_eq!(journal.failed(), Some(error));
        while appender.append(turn(3)).is_ok() {}
        assert!(durable.try_recv().is_err());
        assert_eq!(journal.watermark().get(), 1);
        let again = failure(&journal);
        assert!(again.try_recv().is_ok(), "who asks too late is told at once");
        assert!(matches!(journal.close(), Err(Error::Failed(_))));
        drop(lock);
        let (_journal, recovered, found) = open_all(dir.path(), &Config::default()).unwrap();
        assert_eq!(found[0], 1);
        assert_eq!(recovered.cut_bytes, 0);
    }
}
