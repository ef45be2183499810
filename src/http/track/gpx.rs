//! A track as GPX 1.1 (<https://www.topografix.com/GPX/1/1/>): one track with one segment, elements in the schema's order.

use super::text::push;
use crate::fix::Fix;
use crate::http::answer::Rfc3339;
use crate::units::Position;

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
    <gpx version=\"1.1\" creator=\"Rhumb\" xmlns=\"http://www.topografix.com/GPX/1/1\">\n";

/// Writes a page. Speed, course and accuracy have no place in GPX 1.1 and are left out.
pub(super) fn write(driver: &str, fixes: &[Fix]) -> Vec<u8> {
    let mut text = String::from(HEAD);
    // A driver id has no character that XML would escape.
    push(&mut text, format_args!("<trk><name>{driver}</name><trkseg>\n"));
    for fix in fixes {
        let (latitude, longitude) = (fix.position.latitude(), longitude(fix.position));
        push(&mut text, format_args!("<trkpt lat=\"{latitude}\" lon=\"{longitude}\">"));
        element(&mut text, "ele", fix.altitude_m());
        element(&mut text, "time", Some(Rfc3339(fix.time)));
        element(&mut text, "sat", fix.satellites);
        element(&mut text, "hdop", fix.hdop());
        text.push_str("</trkpt>\n");
    }
    text.push_str("</trkseg></trk>\n</gpx>\n");
    text.into_bytes()
}

/// The schema's `longitudeType` ends before 180: the antimeridian is written as its other name.
fn longitude(position: Position) -> f64 {
    let degrees = position.longitude();
    if degrees >= 180.0 { -180.0 } else { degrees }
}

fn element(text: &mut String, name: &str, value: Option<impl std::fmt::Display>) {
    if let Some(value) = value {
        push(text, format_args!("<{name}>{value}</{name}>"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bare, full};
    use super::*;

    #[test]
    fn writes_points_in_the_order_of_the_schema() {
        let text = String::from_utf8(write("a:1", &[bare(), full()])).unwrap();
        let wanted = "<trk><name>a:1</name><trkseg>\n\
            <trkpt lat=\"52.1\" lon=\"21\"><time>2024-02-16T14:17:04Z</time></trkpt>\n\
            <trkpt lat=\"-0.0000001\" lon=\"-180\"><ele>112.5</ele><time>2024-02-16T14:17:14.250Z</time><sat>9</sat><hdop>0.9</hdop></trkpt>\n\
            </trkseg></trk>\n</gpx>\n";
        assert_eq!(text.strip_prefix(HEAD), Some(wanted));
    }
}
