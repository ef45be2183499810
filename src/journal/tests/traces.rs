//! How long the journal gets on recorded traces.

use std::io::Read;

use super::*;
use crate::fix::Report;

/// Bytes a fix that the format promises.
const BYTES_A_FIX_MAX: f64 = 40.0;

/// Fixes in a turn, each of whichever driver came next.
const FIXES_A_TURN: usize = 50;

#[test]
fn recorded_fixes_take_at_most_40_bytes() {
    let mut traces = 0;
    // Further recordings, if there are any.
    let further = std::env::var_os("RHUMB_TEST_TRACES").map(PathBuf::from);
    let folders = [PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/traces"))].into_iter().chain(further);
    for path in folders.flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.contains(".csv") {
            continue;
        }
        let mut text = String::new();
        let file = fs::File::open(&path).unwrap();
        if name.ends_with(".gz") {
            flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
        } else {
            std::io::BufReader::new(file).read_to_string(&mut text).unwrap();
        }
        let mut fixes = fixes(&text);
        // As they would have come from trackers that are online: in the order of their times.
        fixes.sort_by_key(|(_, fix)| fix.time);
        let mut seen = std::collections::HashSet::new();
        fixes.retain(|(driver, fix)| seen.insert((driver.driver().clone(), fix.time)));
        let live = bytes_a_fix(&mut fixes, |turn, index, fix| TimestampMs(fix.time.0.max(turn) + index as i64 % 7));
        let replayed = bytes_a_fix(&mut fixes, |_, _, fix| fix.time);
        println!("{name}: {} fixes, {live:.1} bytes a fix, {replayed:.1} of a recording", fixes.len());
        assert!(live <= BYTES_A_FIX_MAX && replayed <= BYTES_A_FIX_MAX, "{name}: {live} {replayed}");
        traces += 1;
    }
    assert!(traces > 0);
}

fn bytes_a_fix(fixes: &mut [(DriverKey, Fix)], received_at: impl Fn(i64, usize, &Fix) -> TimestampMs) -> f64 {
    let mut encoder = TurnEncoder::new();
    let mut bytes = 0;
    for turn in fixes.chunks_mut(FIXES_A_TURN) {
        let newest = turn.iter().map(|(_, fix)| fix.time.0).max().unwrap();
        let mut counts = Counts::default();
        encoder.begin(TimestampMs(newest + 400));
        for (index, (driver, fix)) in turn.iter_mut().enumerate() {
            fix.received_at = received_at(newest + 400, index, fix);
            encoder.fix(driver, fix, index % 10 == 0);
            counts.count(if index % 10 == 0 { Verdict::Late } else { Verdict::Accepted });
        }
        encoder.counters(turn[0].0.tenant(), Codec::Native, &counts);
        bytes += encoder.finish().len_bytes();
    }
    bytes as f64 / fixes.len() as f64
}

/// The rows that read, with every optional field that the file has.
fn fixes(text: &str) -> Vec<(DriverKey, Fix)> {
    let mut lines = text.lines();
    let columns: Vec<&str> = lines.next().unwrap().split(',').collect();
    let mut fixes = Vec::new();
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |name: &str| {
            let cell = columns.iter().position(|column| *column == name).and_then(|index| cells.get(index));
            cell.and_then(|cell| cell.parse::<f64>().ok()).unwrap_or(f64::NAN)
        };
        let name: String =
            cells[0].chars().map(|c| if crate::ids::is_driver_id_byte(c as u8) { c } else { ':' }).collect();
        let (Some(time), Some(position)) =
            (time(cells[1]), Position::from_degrees(number("latitude"), number("longitude")))
        else {
            continue;
        };
        let mut report = Report::at(Some(time), position.latitude(), position.longitude());
        report.speed_mps = number("speed_mps") as f32;
        report.heading_deg = number("heading_deg") as f32;
        report.altitude_m = number("altitude_m") as f32;
        report.accuracy_m = number("accuracy_m") as f32;
        fixes.push((driver("default", &name), Fix::from_report(&report, position, time, time)));
    }
    fixes
}

/// `2024-02-16T14:17:04.608Z`, any number of decimals.
fn time(text: &str) -> Option<TimestampMs> {
    let field = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    // Days since 1970 in years that begin in March, so that the leap day is the last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    let seconds = days * 86_400 + field(11, 13)? * 3_600 + field(14, 16)? * 60 + field(17, 19)?;
    let decimals = text.get(19..)?.trim_end_matches('Z').trim_start_matches('.');
    let ms = if decimals.is_empty() { 0 } else { format!("{decimals:0<3}").get(..3)?.parse().ok()? };
    Some(TimestampMs(seconds * 1_000 + ms))
}
