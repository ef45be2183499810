//! A disk that fails while the journal runs: nothing is acknowledged on a guess, and everything acknowledged comes back.

use std::io;

use super::crash_image::{Chance, Disk, EIO, ENOSPC, EROFS, Fault, Operation};
use super::*;

const SMALL: Config = Config { segment_bytes: 1_000, ..Config::DEFAULT };

fn open_on(disk: &Disk) -> Result<(Journal, Recovered, Vec<i64>), Error> {
    let mut found = Vec::new();
    let (journal, recovered) = Unopened::on(Arc::new(disk.clone())).open(&SMALL, &Resume::default(), &mut |frame| {
        found.extend(times(frame));
        Ok(())
    })?;
    Ok((journal, recovered, found))
}

/// Writes up to a fault, and holds that it is told, that nothing is acknowledged behind it and that all before it is left.
fn assert_poisoned(operation: Operation, fault: Fault, error: &str) {
    let disk = Disk::default();
    let (journal, ..) = open_on(&disk).unwrap();
    let failed = failure(&journal);
    let (appender, durable) = appender(&journal);
    appender.append(turn(1)).unwrap();
    assert_eq!(durable.recv_timeout(10 * SECOND).unwrap(), [1]);
    // It fails once and would succeed if it were tried again.
    disk.fail(operation, 0, fault);
    let mut acknowledged = 1;
    let told = loop {
        appender.append(turn(acknowledged + 1)).unwrap();
        // Whoever would tell of it is gone once the journal has failed.
        match durable.recv_timeout(10 * SECOND) {
            Ok(_) => acknowledged += 1,
            Err(_) => break failed.recv_timeout(10 * SECOND).unwrap(),
        }
    };
    let handed = acknowledged + 1;
    assert!(told.contains(".journal") && told.contains(error), "{told}");
    assert_eq!(journal.failed(), Some(told));
    while appender.append(turn(99)).is_ok() {}
    assert!(durable.try_recv().is_err());
    assert_eq!(journal.watermark().get(), acknowledged as u64);
    assert!(failure(&journal).try_recv().is_ok(), "who asks too late is told at once");
    assert!(matches!(journal.close(), Err(Error::Failed(_))));

    for left in [disk.after_kill(), disk.after_kill_and_eviction(), disk.after_crash(&mut Chance(7))] {
        let (journal, recovered, found) = open_on(&left).unwrap();
        assert!((1..=acknowledged).eq(found.iter().copied().take(acknowledged as usize)), "{operation:?} {found:?}");
        assert!(found.len() as i64 <= handed);
        // What was found is durable now, though the sync before it failed.
        let (_, again, same) = open_on(&left.after_crash_with_what_was_synced()).unwrap();
        assert_eq!((again.last, same), (recovered.last, found));
        write_each(&journal, [100]);
    }
}

#[test]
fn after_eio_on_fdatasync_nothing_is_acknowledged_until_a_restart() {
    assert_poisoned(Operation::Sync, Fault::Errno(EIO), "Input/output error");
}

#[test]
fn after_eio_on_write_nothing_is_acknowledged_until_a_restart() {
    assert_poisoned(Operation::Write, Fault::Errno(EIO), "Input/output error");
}

#[test]
fn after_enospc_nothing_is_acknowledged_until_a_restart() {
    for operation in [Operation::Write, Operation::Create, Operation::Sync] {
        assert_poisoned(operation, Fault::Errno(ENOSPC), "No space left on device");
    }
}

#[test]
fn after_a_short_write_nothing_is_acknowledged_until_a_restart() {
    for written in [0, 1, 40, 60] {
        assert_poisoned(Operation::Write, Fault::Short(written, ENOSPC), "No space left on device");
    }
}

#[test]
fn a_segment_that_cannot_be_begun_ends_the_journal() {
    for operation in [Operation::Create, Operation::Rename, Operation::SyncNames, Operation::SetLength] {
        assert_poisoned(operation, Fault::Errno(EIO), "Input/output error");
    }
}

#[test]
fn a_failing_disk_is_not_taken_for_damage() {
    let disk = Disk::default();
    let (journal, ..) = open_on(&disk).unwrap();
    write_each(&journal, 1..=30);
    journal.close().unwrap();
    let mut refused = 0;
    // Until a start asks no further.
    for skip in 0.. {
        disk.fail(Operation::Read, skip, Fault::Errno(EIO));
        match open_on(&disk) {
            Err(Error::Io { source, .. }) => assert_eq!(source.raw_os_error(), Some(EIO)),
            Err(error) => panic!("read {skip}: {error}"),
            Ok(_) => break,
        }
        refused += 1;
    }
    assert!(refused > 10);
    assert!((1..=30).eq(open_on(&disk.after_kill()).unwrap().2));
}

#[test]
fn on_a_read_only_disk_it_does_not_start() {
    let disk = Disk::default();
    for name in [None, Some(30)] {
        if let Some(last) = name {
            let (journal, ..) = open_on(&disk).unwrap();
            write_each(&journal, 1..=last);
        }
        let read_only = disk.after_kill();
        read_only.fail_any(0, Fault::Errno(EROFS));
        match open_on(&read_only) {
            Err(Error::Io { source, .. }) => assert_eq!(source.kind(), io::ErrorKind::ReadOnlyFilesystem),
            other => panic!("{other:?}"),
        }
        assert_eq!(read_only.names(), disk.names());
    }
}

#[test]
fn a_snapshot_half_written_is_none_whatever_of_it_reached_the_disk() {
    let disk = Disk::default();
    let (journal, ..) = open_on(&disk).unwrap();
    write_each(&journal, 1..=9);
    journal.snapshot(4).unwrap().finish().unwrap();
    let before = disk.changes();
    let whole = disk.after_kill();
    snapshot_of(&journal, 9).unwrap();
    let changes = disk.changes() - before;
    drop(journal);
    for skip in 0..changes {
        let disk = whole.after_kill();
        let (journal, ..) = open_on(&disk).unwrap();
        disk.fail_any(skip, Fault::PowerOff);
        assert!(snapshot_of(&journal, 9).is_err());
        for seed in 0..20 {
            let left = disk.after_crash(&mut Chance(seed));
            let files = Unopened::on(Arc::new(left.clone()));
            let snapshots = files.snapshots().unwrap();
            for sequence in &snapshots {
                // That it has its name says that it is whole.
                files.read_snapshot(*sequence, &mut |_| Ok(())).unwrap();
            }
            assert!(snapshots.contains(&4) || snapshots.contains(&9));
            assert!((1..=9).eq(open_on(&left).unwrap().2));
        }
    }
}

fn snapshot_of(journal: &Journal, sequence: u64) -> Result<u64, Error> {
    let mut snapshot = journal.snapshot(sequence)?;
    for chunk in 0..3 {
        snapshot.put(&[chunk; 3_000])?;
    }
    snapshot.finish()
}

#[test]
fn segments_stay_until_the_name_of_their_snapshot_is_durable() {
    for skip in 0..4 {
        let disk = Disk::default();
        let (journal, ..) = open_on(&disk).unwrap();
        write_each(&journal, 1..=60);
        disk.fail(Operation::SyncNames, 0, Fault::Errno(EIO));
        assert!(snapshot_of(&journal, 60).is_err());
        assert_eq!(journal.snapshots().unwrap(), [60], "it has its name, and may lose it");
        disk.fail_any(skip, Fault::PowerOff);
        assert!(journal.cut(60).is_err());
        for seed in 0..20 {
            let files = Unopened::on(Arc::new(disk.after_crash(&mut Chance(seed))));
            assert!(files.first().unwrap() == Some(1) || files.snapshots().unwrap() == [60], "power gone at {skip}");
        }
    }
}

#[test]
fn a_clock_that_steps_back_changes_neither_order_nor_recovery() {
    let disk = Disk::default();
    let hour = 3_600_000;
    let times_of_runs = [[5 * hour, 5 * hour + 1, 4 * hour], [hour, -hour, 6 * hour]];
    let mut handed = Vec::new();
    for times_of_run in times_of_runs {
        let (journal, _, found) = open_on(&disk).unwrap();
        assert_eq!(found, handed);
        write_each(&journal, times_of_run);
        handed.extend(times_of_run);
        let mut reader = journal.reader(0).unwrap();
        let mut read = Vec::new();
        while let Some(frame) = reader.next().unwrap() {
            let times = times(&frame);
            assert!(times.is_empty() || frame.received_at.0 == times[0] + 250);
            read.extend(times);
        }
        assert_eq!(read, handed);
        journal.close().unwrap();
    }
    assert_eq!(open_on(&disk.after_crash_with_what_was_synced()).unwrap().2, handed);
}
