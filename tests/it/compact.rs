//! Compact batches of recorded traces: what they cost a fix, and that they read back.

use std::collections::HashMap;
use std::path::Path;

use rhumb::fix::{Element, Fix};
use rhumb::ids::TenantId;
use rhumb::replay::{self, Plan, Row, Speed, Summary, Target};
use rhumb::units::Position;
use rhumb::wire::compact;

use crate::support::recordings::recordings;

/// What a fix may cost.
const BYTES_A_FIX_MAX: usize = 12;

/// Fixes that a tracker gathers before it sends: ten minutes at one in ten seconds.
const BATCH_FIXES: usize = 60;

/// The fixes of a recording by driver, in the order of the file.
#[derive(Default)]
struct Gathered(HashMap<String, Vec<Fix>>);

impl Target for Gathered {
    fn send(&mut self, row: Row, _: &[u8]) -> Result<(), replay::Error> {
        if let Some(fix) = fix_of(row.element) {
            self.0.entry(row.driver.driver().to_string()).or_default().push(fix);
        }
        Ok(())
    }

    fn flush(&mut self) {}

    fn finish(&mut self, _: &mut Summary) -> Result<(), replay::Error> {
        Ok(())
    }
}

fn fix_of(element: Element) -> Option<Fix> {
    let report = element.ok()?;
    let position = Position::from_degrees(report.latitude, report.longitude)?;
    Some(Fix::from_report(&report, position, report.time?, report.time?))
}

fn gathered(file: &Path) -> HashMap<String, Vec<Fix>> {
    let plan = Plan {
        files: vec![file.to_owned()],
        tenant: TenantId::new("t").unwrap(),
        driver: None,
        speed: Speed::Max,
        shows_progress: false,
    };
    let mut gathered = Gathered::default();
    replay::run(&plan, &mut gathered).1.unwrap();
    gathered.0
}

#[test]
fn a_fix_of_a_recorded_trace_takes_at_most_twelve_bytes_and_reads_back() {
    for file in ["csv", "gpx"].into_iter().flat_map(recordings) {
        let (mut fixes, mut bytes) = (0, 0);
        for batch in gathered(&file).values().flat_map(|fixes| fixes.chunks(BATCH_FIXES)) {
            let mut payload = Vec::new();
            compact::encode(batch, &mut payload);
            let mut elements = Vec::new();
            compact::decode(&payload, payload.len(), &mut elements);
            let read: Option<Vec<Fix>> = elements.into_iter().map(fix_of).collect();
            assert_eq!(read.as_deref(), Some(batch), "{}", file.display());
            fixes += batch.len();
            bytes += payload.len();
        }
        assert!(fixes > 100, "{}: {fixes} fixes", file.display());
        let shown =
            format!("{}: {bytes} bytes for {fixes} fixes, {:.2} each", file.display(), bytes as f64 / fixes as f64);
        assert!(bytes <= BYTES_A_FIX_MAX * fixes, "{shown}");
        println!("{shown}");
    }
}
