//! Replays of the recordings in `fixtures/traces`.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::codec::Codec;
use crate::fix::{Element, Reason, Verdict};
use crate::ids::DriverKey;
use crate::pipeline::batch::{Batch, Origin, Received};
use crate::units::TimestampMs;

/// An engine that stores whatever can be read, in batches, and may stop after some.
struct Inlet {
    kept: Vec<(Arc<DriverKey>, Element)>,
    origin: Option<Arc<dyn Origin>>,
    batches_left: u32,
}

impl Inlet {
    fn new(batches_left: u32) -> Self {
        Self { kept: Vec::new(), origin: None, batches_left }
    }
}

impl Submit for Inlet {
    fn submit(&mut self, driver: &Arc<DriverKey>, submission: &Submission<'_>, origin: &Arc<dyn Origin>) {
        self.kept.extend(submission.elements.iter().map(|element| (Arc::clone(driver), *element)));
        self.origin = Some(Arc::clone(origin));
        if self.kept.len() == 100 {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let Some(origin) = self.origin.take() else { return };
        let kept = std::mem::take(&mut self.kept);
        let judge = |element: &Element| element.map_or_else(Verdict::Rejected, |_| Verdict::Accepted);
        let mut batch = Batch::new(Received::Recorded, Arc::clone(&origin));
        for (driver, element) in &kept {
            batch.add_payload(driver, Codec::Recording, b"", |elements| elements.push(*element));
        }
        batch.verdicts.extend(kept.iter().map(|row| judge(&row.1)));
        if self.batches_left == 0 {
            batch.verdicts.clear();
        }
        self.batches_left = self.batches_left.saturating_sub(1);
        origin.judged(batch);
    }
}

fn plan(files: &[&str]) -> Plan {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/traces");
    Plan {
        files: files.iter().map(|file| folder.join(file)).collect(),
        tenant: TenantId::new("default").unwrap(),
        driver: None,
        speed: Speed::Max,
        shows_progress: false,
    }
}

fn stored(plan: &Plan) -> Summary {
    let (summary, result) = run(plan, &mut Offline::new(Inlet::new(u32::MAX)));
    result.unwrap();
    summary
}

fn rows(file: &str) -> Vec<Row> {
    let plan = plan(&[file]);
    let mut drivers = Drivers::new(plan.tenant);
    let mut source = Source::open(&plan.files[0], None, &mut drivers).unwrap();
    std::iter::from_fn(|| source.next_row(&mut drivers).unwrap()).collect()
}

#[test]
fn recordings_have_the_rows_that_their_sources_state() {
    for (file, readable, no_time) in [
        ("gpsd_receivers.csv.gz", 5_463, 0),
        ("warsaw_bus_head.csv.gz", 20_000, 0),
        ("gpx/bus304_strava_android_1hz.gpx", 2_144, 0),
        ("gpx/mojstrovka_broken_clock.gpx", 184, 0),
        ("gpx/korita_zbevnica_missing_times.gpx", 871 - 358, 358),
        ("gpx/cerknicko_jezero_jump.gpx", 296, 0),
    ] {
        let summary = stored(&plan(&[file]));
        assert_eq!(summary.rows, readable + no_time, "{file}");
        assert_eq!(summary.counts.stored, readable, "{file}");
        assert_eq!(summary.counts.rejected[Reason::NoTime as usize], no_time, "{file}");
        assert_eq!(summary.counts.received(), summary.rows, "{file}");
    }
}

#[test]
fn rows_hold_what_was_recorded() {
    let row = &rows("gpsd_receivers.csv.gz")[0];
    let report = row.element.unwrap();
    assert_eq!(row.driver.driver().as_str(), "ac12");
    assert_eq!(report.time, Some(TimestampMs(1_817_753_541_000)));
    assert_eq!((report.latitude, report.longitude), (20.628798333, -87.06808));
    assert_eq!((report.speed_mps, report.heading_deg), (0.051, 201.8));
    assert_eq!((report.altitude_m, report.accuracy_m), (-30.4, 32.3));

    let row = &rows("gpx/mojstrovka_broken_clock.gpx")[0];
    assert_eq!(row.driver.driver().as_str(), "mojstrovka_broken_clock");
    assert_eq!(row.element.unwrap().time, Some(TimestampMs(-2_147_483_647_793)));
    assert_eq!(row.element.unwrap().altitude_m, 1_614.678);
}

#[test]
fn several_files_add_up_and_one_driver_may_own_them() {
    let mut plan = plan(&["gpx/cerknicko_jezero_jump.gpx", "gpsd_receivers.csv.gz"]);
    plan.driver = Some("walk 1".to_owned());
    assert_eq!(stored(&plan).rows, 296 + 5_463);
}

#[test]
fn an_engine_that_stops_ends_the_replay() {
    let (_, result) = run(&plan(&["warsaw_bus_head.csv.gz"]), &mut Offline::new(Inlet::new(3)));
    assert!(matches!(result, Err(Error::Stopped)));
}

#[test]
fn files_that_cannot_be_read_are_told_with_their_place() {
    let mut plan = plan(&["absent.csv"]);
    let mut fails = |bytes: Option<&[u8]>| {
        let folder = tempfile::tempdir().unwrap();
        if let Some(bytes) = bytes {
            plan.files = vec![folder.path().join("x.csv.gz")];
            std::fs::write(&plan.files[0], bytes).unwrap();
        }
        let (summary, result) = run(&plan, &mut Offline::new(Inlet::new(u32::MAX)));
        assert_eq!(summary.counts.received(), summary.rows, "rows up to the fault are safe");
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Unopened { .. } | Error::Unreadable { .. }), "{error}");
        error.to_string()
    };
    assert!(fails(None).contains("absent.csv: No such file"));
    assert!(fails(Some(b"")).contains("x.csv.gz:1: the file is empty"));
    assert!(fails(Some(b"\x00\x01\x02")).contains("x.csv.gz:1: the header has no column"));
    let whole =
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/traces/gpsd_receivers.csv.gz")).unwrap();
    let cut = fails(Some(&whole[..whole.len() / 2]));
    assert!(!cut.contains(":1: "), "{cut}");
}

#[test]
fn a_paced_replay_takes_the_recordings_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = plan(&[]);
    plan.files = vec![folder.path().join("x.csv")];
    plan.speed = Speed::Times(10.0);
    std::fs::write(&plan.files[0], "vehicle_id,timestamp,latitude,longitude\na,100,1,2\na,101,1,2\na,102,1,2\n")
        .unwrap();
    let summary = stored(&plan);
    assert!((0.2..2.0).contains(&summary.seconds), "{}", summary.seconds);
}
