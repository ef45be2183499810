//! CSV recordings: a header that names the columns, then a row for each fix.
//!
//! | column | value |
//! |---|---|
//! | `vehicle_id` or `driver_id` | whose; not needed with `--driver` |
//! | `timestamp` | RFC 3339, or a number since the epoch ([`time::from_epoch`]) |
//! | `latitude` or `lat`, `longitude` or `lon` or `lng` | degrees |
//! | `speed_mps`, `heading_deg`, `altitude_m`, `accuracy_m` | optional |
//!
//! Other columns are skipped: a `speed` without its unit could be anything. A row ends with its line, also within quotes,
//! so that one quote that is never closed costs one row and not the rest of the file.

use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

use csv_core::ReadRecordResult;

use super::drivers::Drivers;
use super::error::Error;
use super::input::{Line, read_line};
use super::source::Row;
use crate::fix::{Element, Reason};
use crate::ids::DriverKey;
use crate::wire::draft::{Draft, Field};
use crate::wire::time;

/// Longest row that is read; a longer one is malformed.
const ROW_BYTES_MAX: usize = 64 * 1024;

/// Most columns of a file.
const COLUMNS_MAX: usize = 256;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Driver,
    Field(Field),
    Other,
}

impl Column {
    fn of_name(name: &[u8]) -> Self {
        let field = match name.to_ascii_lowercase().as_slice() {
            b"vehicle_id" | b"driver_id" => return Self::Driver,
            b"timestamp" => Field::Timestamp,
            b"latitude" | b"lat" => Field::Latitude,
            b"longitude" | b"lon" | b"lng" => Field::Longitude,
            b"speed_mps" => Field::Speed,
            b"heading_deg" => Field::Heading,
            b"altitude_m" => Field::Altitude,
            b"accuracy_m" => Field::Accuracy,
            _ => return Self::Other,
        };
        Self::Field(field)
    }
}

/// A CSV file being read.
pub(super) struct Csv {
    input: Box<dyn BufRead + Send>,
    /// The driver of all rows, if the rows do not say.
    driver: Option<Arc<DriverKey>>,
    columns: Vec<Column>,
    line_number: u64,
    line: Vec<u8>,
    splitter: Splitter,
}

impl Csv {
    /// Reads the header.
    pub(super) fn new(
        path: &Path,
        input: Box<dyn BufRead + Send>,
        driver: Option<Arc<DriverKey>>,
    ) -> Result<Self, Error> {
        let mut csv =
            Self { input, driver, columns: Vec::new(), line_number: 0, line: Vec::new(), splitter: Splitter::new() };
        match csv.next_line(path)? {
            Line::Read => {}
            Line::TooLong => return Err(Error::unreadable(path, 1, &"the header is too long, this is no CSV file")),
            Line::End => return Err(Error::unreadable(path, 1, &"the file is empty, a header is needed")),
        }
        let Some(names) = csv.splitter.split(&csv.line) else {
            return Err(Error::unreadable(path, csv.line_number, &"the header is no row of a CSV file"));
        };
        csv.columns = names.map(|name| Column::of_name(name.trim_ascii())).collect();
        csv.check_columns().map_err(|reason| Error::unreadable(path, csv.line_number, &reason))?;
        Ok(csv)
    }

    fn check_columns(&self) -> Result<(), String> {
        let count = |column| self.columns.iter().filter(|each| **each == column).count();
        let field = |name, field| (name, Column::Field(field));
        for (name, column) in [
            ("vehicle_id", Column::Driver),
            field("timestamp", Field::Timestamp),
            field("latitude", Field::Latitude),
            field("longitude", Field::Longitude),
        ] {
            let is_needed = column != Column::Driver || self.driver.is_none();
            if is_needed && count(column) == 0 {
                return Err(format!("the header has no column `{name}`"));
            }
        }
        for (index, column) in self.columns.iter().enumerate() {
            if *column != Column::Other && self.columns[..index].contains(column) {
                return Err(format!("column {} of the header says again what an earlier one says", index + 1));
            }
        }
        Ok(())
    }

    /// The next row, or `None` at the end of the file.
    pub(super) fn next_row(&mut self, path: &Path, drivers: &mut Drivers) -> Result<Option<Row>, Error> {
        loop {
            match self.next_line(path)? {
                Line::End => return Ok(None),
                Line::Read if self.line.trim_ascii().is_empty() => {}
                Line::Read => return Ok(Some(self.row(drivers))),
                Line::TooLong => {
                    let driver = self.driver.clone().unwrap_or_else(|| drivers.nameless());
                    return Ok(Some(Row { driver, element: Err(Reason::Malformed) }));
                }
            }
        }
    }

    /// The line of the last row.
    pub(super) fn raw(&self) -> &[u8] {
        &self.line
    }

    fn next_line(&mut self, path: &Path) -> Result<Line, Error> {
        self.line_number += 1;
        read_line(self.input.as_mut(), &mut self.line, ROW_BYTES_MAX)
            .map_err(|error| Error::unreadable(path, self.line_number, &error))
    }

    fn row(&mut self, drivers: &mut Drivers) -> Row {
        let mut driver = self.driver.clone();
        let mut draft = Draft::default();
        // More values than columns: a decimal comma, or a comma in a name, so that no value can be trusted.
        let mut is_shifted = false;
        let values = self.splitter.split(&self.line);
        let is_split = values.is_some();
        for (index, value) in values.into_iter().flatten().enumerate() {
            let value = value.trim_ascii();
            match self.columns.get(index) {
                Some(Column::Driver) if self.driver.is_none() => driver = drivers.of_name(value),
                Some(Column::Field(Field::Timestamp)) if value.is_empty() => {}
                Some(Column::Field(Field::Timestamp)) => draft.set_time(time::parse(value)),
                Some(Column::Field(field)) => draft.set_number(*field, number(value)),
                Some(Column::Driver | Column::Other) => {}
                None => is_shifted |= !value.is_empty(),
            }
        }
        let element: Element =
            if is_split && !is_shifted && driver.is_some() { draft.finish() } else { Err(Reason::Malformed) };
        Row { driver: driver.unwrap_or_else(|| drivers.nameless()), element }
    }
}

/// A number as text. `NaN` and `inf`, which some recorders write, are numbers out of range.
fn number(value: &[u8]) -> Option<f64> {
    str::from_utf8(value).ok()?.parse().ok()
}

/// Splits one line into its values (RFC 4180 quoting).
struct Splitter {
    reader: csv_core::Reader,
    values: Vec<u8>,
    ends: Vec<usize>,
}

impl Splitter {
    fn new() -> Self {
        Self { reader: csv_core::Reader::new(), values: Vec::new(), ends: vec![0; COLUMNS_MAX] }
    }

    /// The values, or `None` if the line is not one row: a quote left open, or too many columns.
    fn split(&mut self, line: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
        self.reader.reset();
        // Values are never longer than the line.
        self.values.resize(line.len() + 1, 0);
        let (result, used, value_bytes, values) = self.reader.read_record(line, &mut self.values, &mut self.ends);
        if result != ReadRecordResult::InputEmpty || used != line.len() {
            return None;
        }
        // The line's end was taken off. Within quotes it would be part of a value, and the row would go on.
        let (result, _, _, more) =
            self.reader.read_record(b"\n", &mut self.values[value_bytes..], &mut self.ends[values..]);
        let count = values + more;
        if result != ReadRecordResult::Record {
            return None;
        }
        let (values, mut start) = (&self.values, 0);
        Some(self.ends[..count].iter().map(move |end| {
            let value = &values[start..*end];
            start = *end;
            value
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TenantId;

    fn rows(text: &str) -> Result<Vec<Row>, String> {
        let path = Path::new("x.csv");
        let mut drivers = Drivers::new(TenantId::new("t").unwrap());
        let input = Box::new(std::io::Cursor::new(text.to_owned().into_bytes()));
        let mut csv = Csv::new(path, input, None).map_err(|error| error.to_string())?;
        let mut rows = Vec::new();
        while let Some(row) = csv.next_row(path, &mut drivers).map_err(|error| error.to_string())? {
            rows.push(row);
        }
        Ok(rows)
    }

    fn shown(text: &str) -> Vec<String> {
        let show = |row: Row| match row.element {
            Ok(report) => format!("{} {} {}", row.driver.driver(), report.latitude, report.longitude),
            Err(reason) => format!("{} {reason}", row.driver.driver()),
        };
        rows(text).unwrap().into_iter().map(show).collect()
    }

    #[test]
    fn columns_are_found_by_name() {
        let text = "\u{feff}note, Longitude ,latitude,speed_mps,timestamp,vehicle_id\r\n\
                    \"a, b\",21.5,52,8.5,2024-02-16T14:17:04Z,22/7\r\n";
        let row = &rows(text).unwrap()[0];
        let report = row.element.unwrap();
        assert_eq!(row.driver.driver().as_str(), "22:7");
        assert_eq!((report.latitude, report.longitude, report.speed_mps), (52.0, 21.5, 8.5));
        assert_eq!(report.time.unwrap().0, 1_708_093_024_000);
        assert!(report.heading_deg.is_nan());
    }

    #[test]
    fn rows_that_cannot_be_read_are_counted_and_the_rest_stands() {
        let header = "vehicle_id,timestamp,latitude,longitude,accuracy_m\n";
        let body = "a,2024-02-16T14:17:04Z,1,2,x\n\
                    b,2024-02-16T14:17:04Z,,\n\
                    c,2024-02-16T14:17:04Z,1\n\
                    d,yesterday,1,2,3\n\
                    e,2024-02-16T14:17:04Z,\"1,2,3\n\
                    \n\
                    f,2024-02-16T14:17:04Z,52,1,21,0\n\
                    ,2024-02-16T14:17:04Z,1,2,3\n\
                    g,2024-02-16T14:17:04Z,NaN,2,\n\
                    h,1708093024000,1,2,3,";
        assert_eq!(
            shown(&format!("{header}{body}")),
            [
                "a 1 2",
                "b malformed",
                "c malformed",
                "d malformed",
                ": malformed",
                "f malformed",
                ": malformed",
                "g NaN 2",
                "h 1 2"
            ]
        );
    }

    #[test]
    fn a_row_without_end_is_one_malformed_row() {
        let text = format!("vehicle_id,timestamp,latitude,longitude\n{}\na,0,1,2\n", "x".repeat(3 * ROW_BYTES_MAX));
        assert_eq!(shown(&text), [": malformed", "a 1 2"]);
    }

    #[test]
    fn headers_that_cannot_be_read_say_why() {
        for (text, reason) in [
            ("", "x.csv:1: the file is empty, a header is needed"),
            ("a,b,c\n", "x.csv:1: the header has no column `vehicle_id`"),
            ("vehicle_id,timestamp,latitude\n", "x.csv:1: the header has no column `longitude`"),
            (
                "vehicle_id,timestamp,lat,lon,lng\n",
                "x.csv:1: column 5 of the header says again what an earlier one says",
            ),
            ("\"vehicle_id,timestamp\n", "x.csv:1: the header is no row of a CSV file"),
        ] {
            assert_eq!(rows(text).unwrap_err(), reason);
        }
        assert_eq!(rows("vehicle_id,timestamp,latitude,longitude").unwrap().len(), 0);
    }
}
