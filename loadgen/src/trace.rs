//! Recorded routes: a CSV of fixes, plain or gzipped, one track per vehicle.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use flate2::read::MultiGzDecoder;

use crate::fix::Fix;

/// No trace takes more memory than this many fixes (24 bytes each).
const ROWS_MAX: usize = 20_000_000;

/// The route of one vehicle in the order of the file, driven round and round.
#[derive(Clone, Debug)]
pub struct Track {
    fixes: Arc<Vec<Fix>>,
    next: usize,
}

impl Track {
    /// The next recorded position, speed and course, at `time_ms` instead of its own time.
    pub fn at(&mut self, time_ms: i64) -> Fix {
        let fix = Fix { time_ms, ..self.fixes[self.next] };
        self.next = (self.next + 1) % self.fixes.len();
        fix
    }
}

/// What a trace file holds.
#[derive(Debug)]
pub struct Trace {
    /// Vehicle and its track, by first appearance in the file. Never empty.
    pub vehicles: Vec<(String, Track)>,
    /// Rows that were left out: no readable coordinates, or the time of the vehicle's row before it.
    pub rows_skipped: u64,
}

/// Reads `path`, whose header names `vehicle_id`, `timestamp`, `latitude`, `longitude` and perhaps `speed_mps` and `heading_deg`.
pub fn read(path: &Path) -> anyhow::Result<Trace> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let gzipped = path.extension().is_some_and(|extension| extension == "gz");
    let plain: Box<dyn Read> =
        if gzipped { Box::new(MultiGzDecoder::new(BufReader::new(file))) } else { Box::new(BufReader::new(file)) };
    parse(plain).with_context(|| format!("cannot read {}", path.display()))
}

fn parse(plain: impl Read) -> anyhow::Result<Trace> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(plain);
    let header = reader.byte_headers()?.clone();
    let column = |name: &str| header.iter().position(|field| field.trim_ascii() == name.as_bytes());
    let needed = |name: &str| column(name).with_context(|| format!("the header has no column {name}"));
    let (vehicle, time) = (needed("vehicle_id")?, needed("timestamp")?);
    let (latitude, longitude) = (needed("latitude")?, needed("longitude")?);
    let (speed, heading) = (column("speed_mps"), column("heading_deg"));

    let mut tracks: Vec<(String, Vec<Fix>, Vec<u8>)> = Vec::new();
    let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut rows_skipped = 0;
    let mut row = csv::ByteRecord::new();
    let mut rows = 0;
    while reader.read_byte_record(&mut row)? {
        rows += 1;
        if rows > ROWS_MAX {
            bail!("more than {ROWS_MAX} rows");
        }
        let number = |index: usize| std::str::from_utf8(row.get(index)?).ok()?.trim().parse::<f64>().ok();
        let coordinates = (number(latitude), number(longitude));
        let (Some(latitude), Some(longitude), Some(name)) = (coordinates.0, coordinates.1, row.get(vehicle)) else {
            rows_skipped += 1;
            continue;
        };
        if !(latitude.abs() <= 90.0 && longitude.abs() <= 180.0) {
            rows_skipped += 1;
            continue;
        }
        let place = *places.entry(name.to_vec()).or_insert_with(|| {
            tracks.push((driver_id(name), Vec::new(), Vec::new()));
            tracks.len() - 1
        });
        let (_, fixes, time_before) = &mut tracks[place];
        let time = row.get(time).unwrap_or_default();
        if !fixes.is_empty() && time == time_before.as_slice() {
            rows_skipped += 1;
            continue;
        }
        time_before.clear();
        time_before.extend_from_slice(time);
        fixes.push(Fix {
            time_ms: 0,
            latitude_e6: (latitude * 1e6).round() as i32,
            longitude_e6: (longitude * 1e6).round() as i32,
            speed_dmps: speed.and_then(number).map_or(0, |mps| (mps * 10.0).clamp(0.0, 2_000.0) as u16),
            heading_deg: heading.and_then(number).map_or(0, |degrees| degrees.rem_euclid(360.0) as u16 % 360),
        });
    }
    if tracks.is_empty() {
        bail!("no row with readable coordinates");
    }
    let vehicles = tracks.into_iter().map(|(id, fixes, _)| (id, Track { fixes: Arc::new(fixes), next: 0 })).collect();
    Ok(Trace { vehicles, rows_skipped })
}

/// The vehicle's name as a driver id: 48 characters of letters, digits and `._:-` at most, anything else a colon.
fn driver_id(name: &[u8]) -> String {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._:-".contains(byte);
    let id: String = name.iter().take(48).map(|byte| if allowed(byte) { char::from(*byte) } else { ':' }).collect();
    if id.is_empty() { "unnamed".to_owned() } else { id }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVERPOOL: &str = "vehicle_id,timestamp,latitude,longitude,heading_deg\n\
        4716,2026-01-26T15:57:02Z,53.44451,-2.925173,\n\
        4716,2026-01-26T15:57:24Z,53.445026,-2.923543,53\n\
        4716,2026-01-26T15:57:24Z,53.445026,-2.923543,53\n\
        17/32,2026-01-26T15:57:24Z,53.5,-2.9,360\n\
        4716,2026-01-26T15:58:24Z,,,\n";

    #[test]
    fn rows_become_tracks_by_vehicle_that_are_driven_in_circles() {
        let mut trace = parse(LIVERPOOL.as_bytes()).unwrap();
        let names: Vec<&str> = trace.vehicles.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["4716", "17:32"]);
        assert_eq!(trace.rows_skipped, 2);
        let track = &mut trace.vehicles[0].1;
        let first = track.at(5);
        assert_eq!((first.time_ms, first.latitude_e6, first.longitude_e6), (5, 53_444_510, -2_925_173));
        assert_eq!(track.at(6).heading_deg, 53);
        assert_eq!(track.at(7), Fix { time_ms: 7, ..first });
    }

    #[test]
    fn a_file_that_is_no_trace_says_why() {
        let reason = |text: &str| parse(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(reason("a,b\n1,2\n"), "the header has no column vehicle_id");
        assert_eq!(reason("vehicle_id,timestamp,latitude,longitude\n"), "no row with readable coordinates");
    }
}
