//! A journal whose disk runs short: braked, full, and going on when there is room again.

use super::disk::Disk;
use super::*;

/// Longer than any step of these tests takes, if nothing holds it.
const SOON: Duration = Duration::from_secs(10);

/// What shows that something is held: far below what the brake wants in these tests.
const HELD: Duration = Duration::from_millis(300);

/// A turn of some kilobytes.
fn long_turn(time: i64) -> Turn {
    let mut encoder = TurnEncoder::new();
    encoder.begin(TimestampMs(time));
    for number in 0..200 {
        encoder.fix(&driver("acme", &format!("driver-{number}")), &fix(time), false);
    }
    encoder.finish()
}

/// A journal that was written, so that its files have the length they keep for a while, and what they take.
fn written() -> (Arc<Disk>, Journal, u64) {
    let disk = Arc::new(Disk::default());
    let (journal, _) = disk.open(&Config::default());
    write_each(&journal, [1]);
    let bytes = journal.assess().unwrap().bytes;
    (disk, journal, bytes)
}

#[test]
fn what_is_handed_over_counts_at_once_and_what_is_measured_in_its_turn() {
    let (disk, journal, bytes) = written();
    assert_eq!(
        journal.assess().unwrap(),
        Assessment { bytes, limit_bytes: 64 << 30, left_bytes: (64 << 30) - bytes, state: State::Open }
    );
    disk.set_free(bytes);
    let before = journal.assess().unwrap();
    assert_eq!((before.limit_bytes, before.left_bytes, before.state), (2 * bytes, bytes, State::Open));
    let (appender, durable) = appender(&journal);
    let turn = long_turn(2);
    let len = turn.len_bytes() as u64;
    appender.append(turn).unwrap();
    assert_eq!(journal.room().assessment().left_bytes, bytes - len);
    durable.recv_timeout(SOON).unwrap();
    // The files have not grown: they had zeros ahead. What was written in them is measured with them.
    assert_eq!(journal.assess().unwrap().left_bytes, bytes);
    disk.set_free(0);
    assert!(!appender.is_full(), "not measured yet");
    assert_eq!(journal.assess().unwrap().state, State::Full);
    assert!(appender.is_full());
    disk.set_free(bytes);
    assert_eq!(journal.assess().unwrap().state, State::Open);
    assert!(!appender.is_full());
}

#[test]
fn full_is_reached_by_what_is_handed_over_alone() {
    let (disk, journal, bytes) = written();
    disk.set_free(bytes / 4);
    journal.assess().unwrap();
    let (appender, durable) = appender(&journal);
    let mut turns = 0;
    while !appender.is_full() {
        turns += 1;
        appender.append(long_turn(turns)).unwrap();
        assert!(turns * 1_000 < bytes as i64, "never full");
        // So that no more turns are in flight than an appender may have; the brake holds none of the first.
        if turns % 16 == 0 {
            drop(durable.recv_timeout(SOON));
        }
    }
    let left = journal.room().assessment();
    assert!(left.left_bytes > 0 && left.fill() < 1.0, "{left:?}");
    // What was handed over before the end goes through without the brake.
    let last = turns as u64 + 1;
    while journal.watermark().wait_past(last - 1, SOON) < last {}
}

#[test]
fn a_braked_journal_is_slow_and_room_or_closing_ends_that() {
    for closes in [false, true] {
        let (disk, journal, bytes) = written();
        // A little more than what is full: some hundred bytes a second.
        disk.set_free(bytes / 12);
        assert!(matches!(journal.assess().unwrap().state, State::Braked { bytes_per_s: 200..500 }));
        let (appender, durable) = appender(&journal);
        appender.append(turn(2)).unwrap();
        appender.append(turn(3)).unwrap();
        durable.recv_timeout(SOON).unwrap();
        // Whatever of it went with the first: it owes, and is paid in some tenths of a second. The next owes many seconds.
        appender.append(long_turn(4)).unwrap();
        while journal.watermark().wait_past(3, SOON) < 4 {}
        appender.append(turn(5)).unwrap();
        assert_eq!(journal.watermark().wait_past(4, HELD), 4, "held by the brake");
        if closes {
            journal.close().unwrap();
            assert_eq!(durable.try_iter().flatten().last(), Some(5));
        } else {
            disk.set_free(1 << 30);
            journal.assess().unwrap();
            assert_eq!(journal.watermark().wait_past(4, SOON), 5);
        }
    }
}

#[test]
fn a_disk_that_somebody_else_fills_is_noticed_before_more_of_it_is_taken() {
    let (disk, journal, bytes) = written();
    let (appender, _durable) = appender(&journal);
    disk.set_free(0);
    let mut sequence = 1;
    // At the latest when the zeros ahead are used up, and nobody measures.
    while !appender.is_full() {
        sequence += 1;
        appender.append(long_turn(sequence)).unwrap();
        journal.watermark().wait_past(sequence as u64 - 1, SOON);
        assert!(sequence * 1_000 < 2 * bytes as i64, "never noticed");
    }
    disk.set_free(1 << 30);
    journal.assess().unwrap();
    assert!(!appender.is_full());
}

#[test]
fn a_held_writer_still_syncs_when_it_is_time_to() {
    let disk = Arc::new(Disk::default());
    let config = Config { sync: SyncWhen::Interval, sync_interval_ms: 50, ..Config::DEFAULT };
    let (journal, _) = disk.open(&config);
    write_each(&journal, [1]);
    let bytes = journal.assess().unwrap().bytes;
    disk.set_free(bytes / 12);
    journal.assess().unwrap();
    let (appender, durable) = appender(&journal);
    appender.append(long_turn(2)).unwrap();
    durable.recv_timeout(SOON).unwrap();
    appender.append(turn(3)).unwrap();
    assert_eq!(journal.watermark().wait_past(1, SOON), 2, "what was acknowledged is synced, though more is held");
    assert!(durable.recv_timeout(HELD).is_err());
}

#[test]
fn a_budget_is_at_least_four_segments() {
    assert_eq!(Config::default().bytes_min(), 1 << 30);
    assert!(Config::default().bytes_max >= Config { segment_bytes: 4 << 30, ..Config::DEFAULT }.bytes_min());
    let config: Config =
        toml::from_str("retention = \"90s\"\non_full = \"abandon_sink\"\nsync = \"interval\"").unwrap();
    assert_eq!((config.retention, config.on_full), (Retention::from_s(90), OnFull::AbandonSink));
}
