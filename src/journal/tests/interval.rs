//! A journal that acknowledges what is written and syncs later: what survives which end.

use super::disk::Disk;
use super::*;

fn every(sync_interval_ms: u64) -> Config {
    Config { sync: SyncWhen::Interval, sync_interval_ms, ..Config::DEFAULT }
}

/// So long that no test waits for it.
const NEVER_MS: u64 = 3_600_000;

#[test]
fn what_is_acknowledged_survives_the_process_and_waits_for_its_sync() {
    let disk = Arc::new(Disk::default());
    let (journal, _) = disk.open(&every(NEVER_MS));
    let syncs = disk.syncs();
    write_each(&journal, 1..=5);
    assert_eq!((journal.watermark().get(), disk.syncs()), (0, syncs), "acknowledged, and not synced");
    assert!(journal.reader(0).unwrap().next().unwrap().is_none(), "who follows sees only what is synced");
    assert_eq!(disk.after_crash(false).open(&every(NEVER_MS)).1, [1, 2, 3, 4, 5]);
    assert!(disk.after_crash(true).open(&every(NEVER_MS)).1.is_empty(), "the window of loss");

    let watermark = journal.watermark();
    journal.close().unwrap();
    assert_eq!(watermark.get(), 6, "the seal of the clean close comes behind a sync");
    assert_eq!(disk.after_crash(true).open(&Config::default()).1, [1, 2, 3, 4, 5]);
}

#[test]
fn the_sync_comes_by_itself_and_also_while_more_is_written() {
    let disk = Arc::new(Disk::default());
    let (journal, _) = disk.open(&every(10));
    write_each(&journal, [1]);
    assert_eq!(journal.watermark().wait_past(0, 10 * SECOND), 1);
    let (appender, durable) = appender(&journal);
    let (mut time, synced) = (1, disk.syncs());
    while disk.syncs() < synced + 3 {
        time += 1;
        appender.append(turn(time)).unwrap();
        durable.recv_timeout(10 * SECOND).unwrap();
    }
    let watermark = journal.watermark().get();
    let left = disk.after_crash(true).open(&Config::default()).1;
    assert!(watermark > 1 && left.len() as u64 >= watermark, "{watermark}: {left:?}");
}

#[test]
fn frames_name_what_was_synced_and_a_segment_begins_behind_a_sync() {
    let small = Config { segment_bytes: 1_000, ..every(NEVER_MS) };
    let disk = Arc::new(Disk::default());
    let (journal, _) = disk.open(&small);
    write_each(&journal, 1..=100);
    let first_of_newest = journal.segments().unwrap().last().unwrap().first;
    assert!(first_of_newest > 20, "there are several segments");
    // The batch that begins a segment is synced with it, so that all behind it have one `durable`.
    assert_eq!(journal.watermark().get(), first_of_newest);
    let after_power_loss = disk.after_crash(true).open(&small).1;
    assert_eq!(after_power_loss, (1..=first_of_newest as i64).collect::<Vec<_>>());

    let mut durable_of_newest = Vec::new();
    let left = disk.after_crash(false);
    let storage: Arc<dyn Storage> = Arc::clone(&left) as Arc<dyn Storage>;
    let mut apply = |frame: &Frame<'_>| {
        if frame.sequence > first_of_newest {
            durable_of_newest.push(frame.durable);
        }
        Ok(())
    };
    Unopened::on(storage).open(&small, &Resume::default(), &mut apply).unwrap();
    assert!(durable_of_newest.iter().all(|durable| *durable == first_of_newest), "{durable_of_newest:?}");
}

#[test]
fn a_sync_that_fails_later_ends_the_acknowledgements() {
    let disk = Arc::new(Disk::default());
    let (journal, _) = disk.open(&every(20));
    let failed = failure(&journal);
    write_each(&journal, [1]);
    assert_eq!(journal.watermark().wait_past(0, 10 * SECOND), 1);
    disk.fail_syncs();
    let (appender, durable) = appender(&journal);
    appender.append(turn(2)).unwrap();
    assert_eq!(durable.recv_timeout(10 * SECOND).unwrap(), [2]);
    failed.recv_timeout(10 * SECOND).unwrap();
    while appender.append(turn(3)).is_ok() {}
    assert!(durable.try_iter().count() == 0, "nothing is acknowledged behind a failed sync");
    assert_eq!(journal.watermark().get(), 1);
    assert!(matches!(journal.close(), Err(Error::Failed(_))));
    assert_eq!(disk.after_crash(false).open(&every(20)).1[..2], [1, 2], "what was written is recovered");
}
