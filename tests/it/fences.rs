//! What geofences make of recordings: a snapshot of the events at fences that are laid over the routes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use ::rhumb::fix::Fix;
use ::rhumb::geo::fence::{DriverFences, Fence, FenceEvent, FenceEventKind, FenceRules, FenceSet, FenceSpec, Judge};
use ::rhumb::geo::{Geometry, Vertex};
use ::rhumb::ids::{DriverId, FenceId, is_driver_id_byte};
use ::rhumb::units::Position;
use ::rhumb::wire::time::parse_rfc3339;
use flate2::read::MultiGzDecoder;

use crate::support::recordings::recordings;

/// The events of each recording at each fence: how many, in how many stays, and a sum over what was told of whom when and
/// where.
const SNAPSHOT: &str = include_str!("fences.txt");

type Fixes = Vec<(DriverId, Fix)>;

/// The rows that can be read, in the order of their times, each driver and time once.
fn fixes(file: &Path) -> Fixes {
    let mut text = String::new();
    let is_gzipped = file.extension().is_some_and(|extension| extension == "gz");
    let bytes = File::open(file).unwrap();
    let mut reader: Box<dyn Read> = if is_gzipped { Box::new(MultiGzDecoder::new(bytes)) } else { Box::new(bytes) };
    reader.read_to_string(&mut text).unwrap();
    let mut lines = text.lines();
    let columns: Vec<&str> = lines.next().unwrap().split(',').collect();
    let fix = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let cell = |name: &str| cells.get(columns.iter().position(|column| *column == name)?).copied();
        let number = |name: &str| cell(name)?.parse::<f64>().ok();
        let vehicle: String =
            cell("vehicle_id")?.chars().map(|char| if is_driver_id_byte(char as u8) { char } else { ':' }).collect();
        let position = Position::from_degrees(number("latitude")?, number("longitude")?)?;
        let fix = Fix {
            accuracy_cm: number("accuracy_m").map(|metres| (metres * 100.0) as u32),
            ..Fix::at(parse_rfc3339(cell("timestamp")?.as_bytes())?, position)
        };
        Some((DriverId::new(&vehicle).ok()?, fix))
    };
    let mut fixes: Fixes = lines.filter_map(fix).filter(|(_, fix)| fix.position != Position::default()).collect();
    // Rows of one driver and time keep their order, and the first is the one that is judged.
    fixes.sort_by_key(|(_, fix)| fix.time);
    let mut seen = BTreeSet::new();
    fixes.retain(|(driver, fix)| seen.insert((driver.clone(), fix.time)));
    fixes
}

fn spec(geometry: Geometry) -> FenceSpec {
    FenceSpec { geometry, radius_m: None, width_m: None, name: None, dwell_s: Some(120), driver_id: None, once: false }
}

/// Circles around fixes throughout the recording, a square with a hole, a corridor along one driver's route.
fn fences(fixes: &Fixes) -> BTreeMap<String, FenceSpec> {
    let at = |parts: usize| fixes[fixes.len() * parts / 8].1.position;
    let vertex = |position: Position| Vertex([position.longitude(), position.latitude()]);
    let mut fences = BTreeMap::new();
    for (parts, radius_m) in [(1, 30.0), (3, 150.0), (5, 800.0), (7, 5_000.0)] {
        let circle = FenceSpec { radius_m: Some(radius_m), ..spec(Geometry::Point(vertex(at(parts)))) };
        fences.insert(format!("circle-{radius_m}"), circle);
    }
    let square = |half_deg: f64| {
        let Vertex([x, y]) = vertex(at(4));
        let corners = [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0)];
        corners.iter().map(|(east, north)| Vertex([x + east * half_deg, y + north * half_deg])).collect::<Vec<_>>()
    };
    fences.insert("square".to_owned(), spec(Geometry::Polygon(vec![square(0.01), square(0.002)])));
    let driver = &fixes[fixes.len() / 2].0;
    let route: Vec<Vertex> =
        fixes.iter().filter(|(of, _)| of == driver).map(|(_, fix)| vertex(fix.position)).take(40).collect();
    let corridor = FenceSpec { width_m: Some(60.0), ..spec(Geometry::LineString(route)) };
    fences.insert("corridor".to_owned(), corridor);
    fences
}

/// What is told at each fence: the driver and the event.
fn told(fixes: &Fixes, specs: &BTreeMap<String, FenceSpec>) -> BTreeMap<String, Vec<(DriverId, FenceEvent)>> {
    let set: FenceSet =
        specs.iter().map(|(id, spec)| Fence::new(FenceId::new(id).unwrap(), 1, spec).unwrap()).collect();
    let (mut judge, mut drivers) = (Judge::new(FenceRules::default()), BTreeMap::<_, DriverFences>::new());
    let mut told: BTreeMap<String, Vec<_>> = specs.keys().map(|id| (id.clone(), Vec::new())).collect();
    let mut events = Vec::new();
    for (driver, fix) in fixes {
        let state = drivers.entry(driver.clone()).or_default();
        judge.judge(&set, driver, state, fix, &mut events);
        for event in events.drain(..) {
            told.get_mut(event.fence.as_str()).unwrap().push((driver.clone(), event));
        }
    }
    told
}

/// Order does not matter to it. FNV-1a of each event, in tenths of seconds and whole thousandths of degrees.
fn sum(events: &[(DriverId, FenceEvent)]) -> u64 {
    let hash = |(driver, event): &(DriverId, FenceEvent)| {
        let (time, position) = (event.time.0 / 100, event.position);
        let text = format!(
            "{driver} {} {time} {} {}",
            event.kind,
            position.latitude_e7 / 10_000,
            position.longitude_e7 / 10_000
        );
        text.bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    };
    events.iter().map(hash).fold(0, u64::wrapping_add)
}

#[test]
fn fences_over_recorded_routes_tell_what_they_told() {
    let mut found = BTreeSet::new();
    let mut names = BTreeSet::new();
    for file in recordings("csv") {
        let name = file.file_name().unwrap().to_str().unwrap();
        names.insert(name.to_owned());
        let fixes = fixes(&file);
        let specs = fences(&fixes);
        for (fence, events) in told(&fixes, &specs) {
            let count = |kind| events.iter().filter(|(_, event)| event.kind == kind).count();
            let [enter, exit, dwell] = FenceEventKind::ALL.map(count);
            found.insert(format!("{name} {fence}: enter {enter} exit {exit} dwell {dwell} sum {:016x}", sum(&events)));
        }
        assert_eq!(told(&fixes, &specs), told(&fixes, &specs), "{name}");
    }
    // Every line of a recording that is here, and no other.
    let is_here = |line: &&str| line.split(' ').next().is_some_and(|name| names.contains(name));
    let known: BTreeSet<String> = SNAPSHOT.lines().filter(is_here).map(str::to_owned).collect();
    let [new, gone] = [&found - &known, &known - &found].map(|lines| lines.into_iter().collect::<Vec<_>>().join("\n"));
    assert!(found == known, "not as in tests/it/fences.txt, new:\n{new}\nnot found:\n{gone}");
}
