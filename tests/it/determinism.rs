//! Decisions are journalled and not taken again: whoever applies a journal arrives where the engine was that wrote it, to
//! the byte, with another number of shards too, and with a store that is written anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use rhumb::fix::Fix;
use rhumb::store::{self, Store};
use rhumb::wire::time::{EARLIEST, LATEST};

use crate::support::journal::{self, Driver};
use crate::support::loadgen::{Acked, Fleet, Order};
use crate::support::process::output_within;
use crate::support::recordings::recordings;
use crate::support::rhumb::{Rhumb, command, copy_dir};
use crate::support::wait_for;

/// What a replay of all recordings may take on a busy machine.
const REPLAY_LIMIT: Duration = Duration::from_secs(300);

/// Longest recording that is replayed here, in bytes as it lies there: every fix is read back from six engines.
const RECORDING_BYTES_MAX: u64 = 256 << 10;

/// Recordings into two tenants: as they are, then once more, then all of them as one driver's, whose fixes are then of
/// many times and places in no order.
fn replay_recordings(rhumb: &Rhumb) {
    let is_short = |file: &std::path::PathBuf| fs::metadata(file).unwrap().len() <= RECORDING_BYTES_MAX;
    let files: Vec<String> =
        recordings("csv").into_iter().filter(is_short).map(|file| file.to_str().unwrap().to_owned()).collect();
    let dir = rhumb.data_dir();
    for args in [&["--tenant", "buses"][..], &["--tenant", "buses"], &["--tenant", "acme", "--driver", "everyone"]] {
        let mut replay = command(dir.parent().unwrap());
        let said = output_within(replay.args(["replay", "--json"]).args(args).args(&files), REPLAY_LIMIT);
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    }
}

/// Two fleets at once, with fixes sent twice, out of order, and what is none.
fn publish(rhumb: &Rhumb, dir: &Path) -> BTreeMap<&'static str, Acked> {
    let order =
        |tenant, seed, manner| Order { tenant, devices: 10, rate: 600, seed, duration: Duration::from_secs(3), manner };
    let orders = [order("acme", 1, &["--qos", "1"]), order("globex", 2, &["--qos", "2", "--mqtt-version", "5"])];
    let mut fleets = orders.map(|order| Fleet::start(&order, rhumb.mqtt(), dir));
    wait_for("the fleets to end", || fleets.iter_mut().all(Fleet::has_ended).then_some(()));
    let acked = fleets.map(|fleet| {
        let (tenant, mut acked) = (fleet.tenant, Acked::new());
        fleet.finish(&mut acked);
        (tenant, acked)
    });
    acked.into()
}

/// Everything that can be asked of an engine about its fixes, a line for each driver's history (its length and checksum),
/// each latest position and each counter.
fn account<'a>(rhumb: &Rhumb, drivers: impl Iterator<Item = &'a Driver>) -> Vec<String> {
    let mut lines = Vec::new();
    for (tenant, driver) in drivers {
        let track = rhumb.track_lines(tenant, driver, 0);
        let checksum = crc32c::crc32c(track.join("\n").as_bytes());
        lines.push(format!("{tenant}/{driver}: {} fixes, {checksum:08x}", track.len()));
        let latest = rhumb.get(tenant, &format!("/v1/drivers/{driver}/location"));
        lines.push(format!("{tenant}/{driver}: {} {}", latest.status, latest.text()));
    }
    let metrics = rhumb.metrics().into_iter().filter(|(name, _)| name.contains("_fixes_") && !name.contains("sink"));
    lines.extend(metrics.map(|(name, value)| format!("{name} {value}")));
    lines
}

/// The store of an engine that has stopped holds what the journal holds, every field of it.
fn assert_stored(data_dir: &Path, journalled: &BTreeMap<Driver, Vec<Fix>>) {
    let store = Store::open(&data_dir.join("store"), &store::Config::default()).unwrap();
    for ((tenant, driver), fixes) in journalled {
        let track = store.track(tenant, driver, EARLIEST, LATEST, usize::MAX).unwrap();
        assert!(track == *fixes, "{tenant}/{driver}: {} fixes for {}", track.len(), fixes.len());
    }
}

#[test]
fn a_journal_that_is_applied_again_gives_the_same_to_the_byte_with_any_number_of_shards() {
    let mut written = Rhumb::start(&["journal.segment_bytes=1048576", "pipeline.shards=2"]);
    assert_eq!(written.terminate().0.code(), Some(0));
    replay_recordings(&written);
    written.restart();
    let dir = tempfile::tempdir().unwrap();
    let published = publish(&written, dir.path());
    // Idle and not stopped: what is durable is all there is, and neither the journal's end nor the store's is clean.
    let copy = dir.path().join("copy");
    copy_dir(&written.data_dir().join("journal"), &copy.join("journal"), &[]);
    let mut journalled = journal::read(&copy, Fix::clone).drivers;
    let is_disordered = |fixes: &Vec<Fix>| !fixes.is_sorted_by_key(|fix| fix.time);
    assert!(journalled.values().filter(|fixes| is_disordered(fixes)).count() > 20, "hardly a fix was late");
    journalled.values_mut().for_each(|fixes| fixes.sort_by_key(|fix| fix.time));
    for (tenant, acked) in &published {
        assert!(acked.keys().all(|driver| journalled.contains_key(&((*tenant).to_owned(), driver.clone()))));
    }
    let expected = account(&written, journalled.keys());
    written.kill9();
    // Every frame is applied, and none left to a snapshot.
    written.remove_snapshots();
    for kind in ["duplicate", "rejected"] {
        let mut counted = expected.iter().filter(|line| line.starts_with(&format!("rhumb_fixes_{kind}_total{{")));
        assert!(counted.any(|line| !line.ends_with(" 0")), "no {kind} fix: {expected:#?}");
    }

    let (drivers, fixes) = (journalled.len(), journalled.values().map(Vec::len).sum::<usize>());
    println!("{drivers} drivers, {fixes} fixes: {:08x}", crc32c::crc32c(expected.join("\n").as_bytes()));

    let without_store: &[&str] = &["store"];
    for (shards, left_out) in
        [(2, &[][..]), (1, without_store), (2, without_store), (3, without_store), (7, without_store)]
    {
        let shards = format!("pipeline.shards={shards}");
        let mut again = Rhumb::start_on_copy(&written.data_dir(), left_out, &[&shards]);
        // While the store is still being written, and once it is.
        for _ in 0..2 {
            let found = account(&again, journalled.keys());
            let differ = expected.iter().zip(&found).find(|(expected, found)| expected != found);
            assert!(found == expected, "{shards}, without {left_out:?}: {differ:?}");
            again.await_store();
        }
        assert_eq!(again.terminate().0.code(), Some(0), "{}", again.log());
        assert_stored(&again.data_dir(), &journalled);
    }
}
