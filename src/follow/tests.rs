//! The follower over a real journal: its events are those of one run without an end, however often it is killed.

mod changing;
mod killing;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::fix::Fix;
use crate::geo::fence::Fence;
use crate::ids::{DriverId, DriverKey, FenceId, TenantId};
use crate::journal::{self, Appender, ChangeKind, Journal, JournalPosition, Reader, Turn, TurnEncoder};
use crate::live::Feed;
use crate::sink::{Batch, Sink};
use crate::units::{Position, TimestampMs};

const WITHIN: Duration = Duration::from_secs(20);

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn fence(name: &str) -> FenceId {
    FenceId::new(name).unwrap()
}

/// A fix so many metres or so east of where all fences are, at a second.
fn fix(second: i64, east_m: f64) -> Fix {
    let longitude = 21.0 + east_m / 68_500.0;
    Fix::at(TimestampMs(1_700_000_000_000 + second * 1_000), Position::from_degrees(52.0, longitude).unwrap())
}

/// A circle around a place so many metres east.
fn circle(east_m: f64, radius_m: f64, more: &str) -> String {
    let longitude = 21.0 + east_m / 68_500.0;
    format!(r#"{{"geometry":{{"type":"Point","coordinates":[{longitude},52.0]}},"radius_m":{radius_m}{more}}}"#)
}

/// A journal, written by hand.
struct Written {
    dir: TempDir,
    journal: Arc<Journal>,
    appender: Appender,
    encoder: TurnEncoder,
}

impl Written {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = journal::Config::default();
        let (journal, _) = journal::open(&dir.path().join("journal"), &config, &mut |_| Ok(())).unwrap();
        let appender = journal.appender(Box::new(|_| {}));
        Self { dir, journal: Arc::new(journal), appender, encoder: TurnEncoder::new() }
    }

    fn last(&self) -> u64 {
        self.journal.watermark().get()
    }

    fn append(&mut self, turn: Turn) -> u64 {
        let last = self.last();
        self.appender.append(turn).unwrap();
        assert_eq!(self.journal.watermark().wait_past(last, WITHIN), last + 1);
        last + 1
    }

    /// A frame with fixes; `true`: late.
    fn fixes(&mut self, fixes: &[(&str, &str, Fix, bool)]) -> u64 {
        self.encoder.begin(TimestampMs(0));
        for (tenant_name, driver, fix, late) in fixes {
            let key = DriverKey::new(tenant(tenant_name), DriverId::new(driver).unwrap());
            self.encoder.fix(&key, fix, *late);
        }
        let turn = self.encoder.finish();
        self.append(turn)
    }

    fn change(&mut self, tenant_name: &str, kind: ChangeKind, id: &str, body: &str) -> u64 {
        self.encoder.begin(TimestampMs(0));
        self.encoder.change(&tenant(tenant_name), kind, &fence(id), body.as_bytes());
        let turn = self.encoder.finish();
        self.append(turn)
    }

    fn put(&mut self, tenant_name: &str, id: &str, body: &str) -> u64 {
        self.change(tenant_name, ChangeKind::GeofencePut, id, body)
    }

    fn followed(&self) -> Followed {
        Followed { journal: self.journal.id(), first: 1, last: self.last() }
    }

    fn follow(&self, name: &str, config: &Config) -> Following<'_> {
        Following::open(self, self.dir.path().join(name), config)
    }
}

/// A follower that is fed by hand, a batch at a time.
struct Following<'w> {
    written: &'w Written,
    dir: PathBuf,
    follower: Follower,
    tables: Tables,
    told: tokio::sync::broadcast::Receiver<Arc<[crate::live::LiveEvent]>>,
    reader: Reader,
}

impl<'w> Following<'w> {
    fn open(written: &'w Written, dir: PathBuf, config: &Config) -> Self {
        let tables = Tables::open(&dir).unwrap();
        let feed = Feed::default();
        let told = feed.listen_to_events();
        let mut follower = Follower::new(tables.clone(), config, feed, written.followed()).unwrap();
        let position = follower.resume().unwrap().unwrap();
        let reader = written.journal.reader_from(position).unwrap();
        Self { written, dir, follower, tables, told, reader }
    }

    /// Feeds it a batch of so many frames, or up to a change; false at the end of the journal.
    fn step(&mut self, frames: usize) -> bool {
        let mut batch = Batch::default();
        let mut upto = 0;
        for _ in 0..frames {
            let Some(frame) = self.reader.next().unwrap() else { break };
            upto = frame.sequence;
            batch.gather(&frame, &self.follower).unwrap();
            if batch.change().is_some() {
                break;
            }
        }
        if upto == 0 {
            return false;
        }
        let upto = JournalPosition { journal: self.written.journal.id(), sequence: upto };
        self.follower.write(&batch, upto).unwrap();
        true
    }

    fn sync(&mut self) {
        self.follower.sync().unwrap();
    }

    /// To the journal's end.
    fn finish(&mut self, frames: usize) {
        while self.step(frames) {}
    }

    /// What was told live since it was opened.
    fn told(&mut self) -> Vec<(u64, Value)> {
        let mut told = Vec::new();
        while let Ok(events) = self.told.try_recv() {
            told.extend(events.iter().map(|event| (event.sequence, serde_json::from_slice(&event.body).unwrap())));
        }
        told
    }

    fn events(&self) -> Vec<(u64, Value)> {
        events(&self.tables)
    }

    /// Ends without writing anything more.
    fn kill(self) -> PathBuf {
        self.dir
    }
}

fn events(tables: &Tables) -> Vec<(u64, Value)> {
    let page = Outbox::new(tables.clone()).after(0, usize::MAX).unwrap();
    page.events.iter().map(|event| (event.sequence, serde_json::from_slice(&event.body).unwrap())).collect()
}

/// Events in short: fence, kind, driver.
fn short(events: &[(u64, Value)]) -> Vec<String> {
    let text = |event: &Value, member: &str| event[member].as_str().unwrap().to_owned();
    let short = |(_, event): &(u64, Value)| {
        format!("{} {} {}", text(event, "driver_id"), &text(event, "type")[9..], text(event, "geofence_id"))
    };
    events.iter().map(short).collect()
}

#[test]
fn fixes_are_judged_by_the_fences_at_their_place_in_the_journal() {
    let mut written = Written::new();
    written.fixes(&[("acme", "d1", fix(0, -500.0), false)]);
    let version = written.put("acme", "gate", &circle(0.0, 100.0, ""));
    written.fixes(&[("acme", "d1", fix(10, -300.0), false), ("other", "d1", fix(10, 0.0), false)]);
    // Over and past it between two fixes, in the order of the journal and not of drivers.
    written.fixes(&[
        ("acme", "d2", fix(20, 0.0), false),
        ("acme", "d1", fix(20, 300.0), false),
        ("acme", "d2", fix(30, 300.0), false),
        // Late, and the first of its driver here: history.
        ("acme", "d3", fix(5, 0.0), true),
    ]);
    written.change("acme", ChangeKind::GeofenceRemoved, "gate", "");
    written.fixes(&[("acme", "d1", fix(40, 0.0), false)]);
    let mut following = written.follow("follow", &Config::default());
    following.finish(100);
    let events = following.events();
    assert_eq!(short(&events), ["d2 enter gate", "d1 enter gate", "d1 exit gate", "d2 exit gate"]);
    assert!(events.iter().all(|(_, event)| event["version"] == version && event["tenant"] == "acme"));
    assert_eq!(events.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(following.told(), events);
    let registry = following.follower.registry();
    assert!(registry.get("acme", "gate").is_none() && !following.follower.wants_fixes());
}

#[test]
fn without_fences_nothing_is_read_and_nothing_written_but_the_position() {
    let mut written = Written::new();
    for second in 0..20 {
        written.fixes(&[("acme", "d1", fix(second, 0.0), false)]);
    }
    let mut following = written.follow("follow", &Config::default());
    assert!(!following.follower.wants_fixes() && !following.follower.wants_fixes_of("acme"));
    following.finish(3);
    following.sync();
    assert_eq!(following.tables.checkpoint().unwrap().unwrap().sequence, 20);
    assert_eq!(following.tables.committed().unwrap(), None);
    assert!(following.tables.drivers.is_empty().unwrap());
}

#[test]
fn what_makes_no_fence_is_passed_over_and_stops_nobody() {
    let mut written = Written::new();
    written.put("acme", "gate", &circle(0.0, 100.0, ""));
    // No radius; no place; no text at all.
    for (id, body) in [("a", circle(0.0, -1.0, "")), ("b", circle(1e9, 100.0, "")), ("gate", "{".to_owned())] {
        written.put("acme", id, &body);
    }
    written.fixes(&[("acme", "d1", fix(0, 0.0), false)]);
    let mut following = written.follow("follow", &Config::default());
    following.finish(2);
    let registry = following.follower.registry();
    assert!(registry.get("acme", "a").is_none() && registry.get("acme", "b").is_none());
    assert_eq!(registry.get("acme", "gate").unwrap().version, 1, "the one before stays");
    assert_eq!(Outbox::new(following.tables.clone()).after(0, 5).unwrap().events.len(), 1);
}

#[test]
fn the_oldest_events_go_and_readers_are_told() {
    let mut written = Written::new();
    for name in ["acme", "other"] {
        written.put(name, "gate", &circle(0.0, 100.0, ""));
    }
    for second in 0..40 {
        let east_m = if second % 2 == 0 { 0.0 } else { 300.0 };
        let name = if second < 10 { "other" } else { "acme" };
        written.fixes(&[(name, "d1", fix(second * 60, east_m), false)]);
    }
    let config = Config { outbox_max: 8, ..Config::default() };
    let mut following = written.follow("follow", &config);
    following.finish(1);
    let outbox = Outbox::new(following.tables.clone());
    let page = outbox.after(0, 5).unwrap();
    let sequences = |page: &Page| page.events.iter().map(|event| event.sequence).collect::<Vec<_>>();
    assert_eq!((sequences(&page), page.has_more, page.dropped), (vec![33, 34, 35, 36, 37], true, 32));
    let page = outbox.after(37, 5).unwrap();
    assert_eq!((sequences(&page), page.has_more), (vec![38, 39, 40], false));
    let page = outbox.of_tenant(&tenant("acme"), 38, 1).unwrap();
    assert_eq!((sequences(&page), page.has_more), (vec![39], true));
    let page = outbox.of_tenant(&tenant("other"), 0, 10).unwrap();
    assert_eq!((sequences(&page), page.has_more, page.dropped), (vec![], false, 32));
    assert_eq!(following.tables.of_tenant.len().unwrap(), 8);
    // A bound that was lowered.
    drop(outbox);
    let dir = following.kill();
    written.fixes(&[("acme", "d1", fix(2_400, 0.0), false)]);
    let mut following = Following::open(&written, dir, &Config { outbox_max: 2, ..config });
    following.finish(1);
    assert_eq!(following.events().iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), [40, 41]);
}

#[test]
fn a_copy_goes_on_like_the_original() {
    let mut written = Written::new();
    killing::write_story(&mut written);
    let mut original = written.follow("original", &Config::default());
    for _ in 0..12 {
        original.step(2);
    }
    original.sync();
    for _ in 0..3 {
        original.step(1);
    }
    let copy = written.dir.path().join("copy");
    let mut copied = 0;
    let sequence = original.tables.copy_to(&copy, &mut |bytes| {
        copied += bytes;
        Ok(())
    });
    let sequence = sequence.unwrap();
    assert!(copied > 0 && sequence.is_some());
    assert!(matches!(
        original.tables.copy_to(&copy, &mut |_| Ok(())),
        Err(Error::Occupied { .. } | Error::Locked { .. })
    ));
    original.finish(1);
    let mut copy = Following::open(&written, copy, &Config::default());
    copy.finish(7);
    assert!(!copy.events().is_empty());
    assert_eq!(copy.events(), original.events());
}

#[test]
fn a_position_that_is_not_of_this_journal_stops_it_and_says_what_to_do() {
    let mut written = Written::new();
    written.put("acme", "gate", &circle(0.0, 100.0, ""));
    written.fixes(&[("acme", "d1", fix(0, 0.0), false)]);
    let mut following = written.follow("follow", &Config::default());
    following.finish(1);
    let dir = following.kill();
    let ahead = |followed: Followed| {
        let tables = Tables::open(&dir).unwrap();
        let mut follower = Follower::new(tables, &Config::default(), Feed::default(), followed).unwrap();
        match follower.resume() {
            Err(crate::sink::Error::Stop(error)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let other = Written::new();
    for followed in [Followed { last: 1, ..written.followed() }, Followed { last: 9, ..other.followed() }] {
        let told = ahead(followed);
        assert!(told.contains("frame 2 of ") || told.contains("2 of "), "{told}");
        assert!(told.contains("move `follow` in `data_dir` away"), "{told}");
    }
}

#[test]
fn a_new_follower_of_a_cut_journal_begins_where_it_begins() {
    let written = Written::new();
    let tables = Tables::open(&written.dir.path().join("follow")).unwrap();
    let followed = Followed { first: 41, last: 50, ..written.followed() };
    let mut follower = Follower::new(tables, &Config::default(), Feed::default(), followed).unwrap();
    let begin = JournalPosition { journal: written.journal.id(), sequence: 40 };
    assert_eq!(follower.resume().unwrap(), Some(begin));
}

/// Copies a directory and everything in it.
fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}
