//! A track as CSV: a header line, then one line a fix. Columns carry their units in their names, as recordings do.

use super::text::push;
use crate::fix::Fix;
use crate::http::answer::Rfc3339;

/// The columns.
const HEADER: &str = "driver_id,timestamp,latitude,longitude,speed_mps,heading_deg,altitude_m,accuracy_m,\
    battery_percent,satellites,hdop,seq,received_at\n";

/// Writes a page. What the tracker did not say is an empty field; nothing here ever needs quotes.
pub(super) fn write(driver: &str, fixes: &[Fix]) -> Vec<u8> {
    let mut text = String::from(HEADER);
    for fix in fixes {
        let (latitude, longitude) = (fix.position.latitude(), fix.position.longitude());
        push(&mut text, format_args!("{driver},{},{latitude},{longitude}", Rfc3339(fix.time)));
        let numbers = [fix.speed_mps(), fix.heading_deg(), fix.altitude_m(), fix.accuracy_m()];
        for number in numbers {
            field(&mut text, number);
        }
        field(&mut text, fix.battery_percent);
        field(&mut text, fix.satellites);
        field(&mut text, fix.hdop());
        field(&mut text, fix.seq);
        push(&mut text, format_args!(",{}\n", Rfc3339(fix.received_at)));
    }
    text.into_bytes()
}

fn field(text: &mut String, value: Option<impl std::fmt::Display>) {
    match value {
        Some(value) => push(text, format_args!(",{value}")),
        None => text.push(','),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bare, full};
    use super::*;

    #[test]
    fn writes_a_header_and_a_line_for_each_fix() {
        let text = String::from_utf8(write("a:1", &[bare(), full()])).unwrap();
        let wanted = "driver_id,timestamp,latitude,longitude,speed_mps,heading_deg,altitude_m,accuracy_m,battery_percent,satellites,hdop,seq,received_at\n\
            a:1,2024-02-16T14:17:04Z,52.1,21,,,,,,,,,2024-02-16T14:17:05Z\n\
            a:1,2024-02-16T14:17:14.250Z,-0.0000001,180,8.3,270,112.5,4,80,9,0.9,7,2024-02-16T14:17:15Z\n";
        assert_eq!(text, wanted);
        assert_eq!(write("d", &[]), HEADER.as_bytes());
    }
}
