//! GPX recordings, 1.0 and 1.1: the points of tracks (`trkpt`), in file order. Waypoints and routes are plans, not fixes,
//! and are skipped.
//!
//! `ele`, `time`, `hdop` and `sat` are read where the schema has them, directly in the point; `speed` and `course` also
//! in its extensions, where GPX 1.1 has to put them. A time without a zone is UTC, as the schema says.

use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::error::Error;
use super::input::Fenced;
use super::source::Row;
use crate::ids::DriverKey;
use crate::units::TimestampMs;
use crate::wire::draft::{Draft, Field};
use crate::wire::time;

/// Longest tag or text.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// Deepest nesting of elements.
const DEPTH_MAX: usize = 64;

/// Longest value that is kept; a number or a time is far shorter.
const VALUE_BYTES_MAX: usize = 128;

/// A GPX file being read.
pub(super) struct Gpx {
    reader: Reader<Fenced>,
    driver: Arc<DriverKey>,
    event: Vec<u8>,
    /// Elements that are open.
    depth: usize,
    has_root: bool,
    point: Option<Point>,
}

/// A `trkpt` that is open.
struct Point {
    depth: usize,
    draft: Draft,
    /// The value that is open, and its text so far.
    value: Option<(Field, String)>,
}

/// What the parser has come to.
enum Step {
    Row(Draft),
    Going,
    End,
}

impl Gpx {
    pub(super) fn new(input: Box<dyn BufRead + Send>, driver: Arc<DriverKey>) -> Self {
        let reader = Reader::from_reader(Fenced::new(input, EVENT_BYTES_MAX));
        Self { reader, driver, event: Vec::new(), depth: 0, has_root: false, point: None }
    }

    /// The next point, or `None` at the end of the file.
    pub(super) fn next_row(&mut self, path: &Path) -> Result<Option<Row>, Error> {
        loop {
            match self.step() {
                Ok(Step::Row(draft)) => {
                    return Ok(Some(Row { driver: Arc::clone(&self.driver), element: draft.finish() }));
                }
                Ok(Step::Going) => {}
                Ok(Step::End) => return Ok(None),
                Err(reason) => return Err(Error::unreadable(path, self.reader.get_ref().line(), &reason)),
            }
        }
    }

    fn step(&mut self) -> Result<Step, String> {
        self.reader.get_mut().renew();
        self.event.clear();
        let mut buffer = std::mem::take(&mut self.event);
        let step = match self.reader.read_event_into(&mut buffer) {
            Ok(event) => self.take(&event),
            Err(error) => Err(error.to_string()),
        };
        self.event = buffer;
        step
    }

    fn take(&mut self, event: &Event<'_>) -> Result<Step, String> {
        match event {
            Event::Start(start) => self.opened(start)?,
            Event::Empty(start) => {
                self.opened(start)?;
                return Ok(self.closed());
            }
            Event::End(_) => return Ok(self.closed()),
            Event::Text(text) => self.text(text),
            Event::CData(text) => self.text(text),
            Event::Eof if !self.has_root => return Err("this is neither GPX nor CSV".to_owned()),
            Event::Eof if self.depth > 0 => return Err("the file ends within an element".to_owned()),
            Event::Eof => return Ok(Step::End),
            _ => {}
        }
        Ok(Step::Going)
    }

    fn opened(&mut self, start: &BytesStart<'_>) -> Result<(), String> {
        let name = start.local_name();
        let name: &str = name.as_ref();
        if !self.has_root && name != "gpx" {
            return Err(format!("the root is `{}`, not `gpx`", name.chars().take(40).collect::<String>()));
        }
        self.has_root = true;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("elements are nested more than {DEPTH_MAX} deep"));
        }
        match &mut self.point {
            None if name == "trkpt" => {
                let mut draft = Draft::default();
                draft.set_number(Field::Latitude, coordinate(start, "lat"));
                draft.set_number(Field::Longitude, coordinate(start, "lon"));
                self.point = Some(Point { depth: self.depth, draft, value: None });
            }
            None => {}
            Some(point) => {
                let is_direct = self.depth == point.depth + 1;
                point.value = field_of(name, is_direct).map(|field| (field, String::new()));
            }
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if let Some(Point { value: Some((_, value)), .. }) = &mut self.point {
            let room = VALUE_BYTES_MAX.saturating_sub(value.len());
            value.extend(text.chars().take(room));
        }
    }

    fn closed(&mut self) -> Step {
        self.depth = self.depth.saturating_sub(1);
        let Some(point) = &mut self.point else { return Step::Going };
        if let Some((field, value)) = point.value.take() {
            match (field, value.trim()) {
                (_, "") => {}
                (Field::Timestamp, value) => point.draft.set_time(instant(value)),
                (field, value) => point.draft.set_number(field, value.parse().ok()),
            }
        }
        if self.depth >= point.depth {
            return Step::Going;
        }
        self.point.take().map_or(Step::Going, |point| Step::Row(point.draft))
    }
}

fn field_of(name: &str, is_direct: bool) -> Option<Field> {
    match name {
        "ele" if is_direct => Some(Field::Altitude),
        "time" if is_direct => Some(Field::Timestamp),
        "hdop" if is_direct => Some(Field::Hdop),
        "sat" if is_direct => Some(Field::Satellites),
        "speed" => Some(Field::Speed),
        "course" => Some(Field::Heading),
        _ => None,
    }
}

fn coordinate(start: &BytesStart<'_>, name: &str) -> Option<f64> {
    start.try_get_attribute(name).ok()??.value.trim().parse().ok()
}

fn instant(text: &str) -> Option<TimestampMs> {
    time::parse_rfc3339(text.as_bytes()).or_else(|| time::parse_rfc3339(format!("{text}Z").as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fix::{Element, Reason};
    use crate::ids::{DriverId, TenantId};

    fn read(text: &str) -> (Vec<Element>, Option<String>) {
        let path = Path::new("x.gpx");
        let driver = DriverKey::new(TenantId::new("t").unwrap(), DriverId::new("x").unwrap());
        let input = Box::new(std::io::Cursor::new(text.to_owned().into_bytes()));
        let mut gpx = Gpx::new(input, Arc::new(driver));
        let mut elements = Vec::new();
        loop {
            match gpx.next_row(path) {
                Ok(Some(row)) => elements.push(row.element),
                Ok(None) => return (elements, None),
                Err(error) => return (elements, Some(error.to_string())),
            }
        }
    }

    #[test]
    fn points_with_all_that_they_can_have() {
        let (elements, error) = read(
            r#"<?xml version="1.0"?><!-- c --><g:gpx xmlns:g="u" version="1.1"><wpt lat="9" lon="9"/><g:trk><g:trkseg>
            <g:trkpt lon="21.5" lat=" 52.25 "><g:ele>100.5</g:ele><g:time> 2024-02-16T14:17:04 </g:time><hdop>0.5</hdop><sat>9</sat>
            <extensions><t:TrackPointExtension><t:speed><![CDATA[8.5]]></t:speed><t:course>270</t:course><time>x</time>
            </t:TrackPointExtension></extensions></g:trkpt><trkpt lat="1" lon="2"/></g:trkseg></g:trk></g:gpx>"#,
        );
        assert_eq!(error, None);
        let report = elements[0].unwrap();
        assert_eq!((report.latitude, report.longitude, report.altitude_m), (52.25, 21.5, 100.5));
        assert_eq!((report.speed_mps, report.heading_deg, report.hdop), (8.5, 270.0, 0.5));
        assert_eq!((report.time, report.satellites), (Some(TimestampMs(1_708_093_024_000)), Some(9)));
        assert_eq!(elements[1].unwrap().time, None);
        assert_eq!(elements.len(), 2);
    }

    #[test]
    fn points_that_cannot_be_read() {
        let points = r#"<trkpt lat="1"/><trkpt lat="x" lon="2"/><trkpt lat="1" lon="2"><time>never</time></trkpt>
                        <trkpt lat="1" lon="2"><time/></trkpt>"#;
        let (elements, error) = read(&format!("<gpx><trk><trkseg>{points}</trkseg></trk></gpx>"));
        assert_eq!(error, None);
        assert_eq!(elements[..3], [Err(Reason::Malformed); 3]);
        assert!(elements[3].is_ok());
    }

    #[test]
    fn files_that_cannot_be_read_say_where() {
        for (text, reason) in [
            ("<html></html>", "x.gpx:1: the root is `html`, not `gpx`"),
            ("<!-- only -->", "x.gpx:1: this is neither GPX nor CSV"),
            ("<gpx>\n<trk>\n", "x.gpx:3: the file ends within an element"),
        ] {
            assert_eq!(read(text).1.unwrap(), reason);
        }
        assert!(read("<gpx>\n<trk>\n</gpx>").1.unwrap().starts_with("x.gpx:3: "));
        assert!(read(&"<gpx>".repeat(70)).1.unwrap().contains("nested"));
        let endless = format!("<gpx><trk><name>{}", "x".repeat(2 * EVENT_BYTES_MAX));
        assert!(read(&endless).1.unwrap().contains("1048576 bytes"));
    }
}
