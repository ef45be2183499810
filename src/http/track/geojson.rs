//! A track as GeoJSON (RFC 7946): a FeatureCollection with one LineString, the times in its properties.
//!
//! A collection and not a bare Feature, because every map tool opens one, an empty track has a form in it (no feature), and
//! the cursor has a place beside the features. The times are in `coordTimes`, one for each position, as toGeoJSON has made
//! common. A single fix is a Point: a line has two positions at least.

use serde::Serialize;

use crate::fix::Fix;
use crate::http::answer::Rfc3339;

#[derive(Debug, Serialize)]
struct Collection<'a> {
    r#type: &'static str,
    features: Vec<Feature<'a>>,
    next_cursor: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Feature<'a> {
    r#type: &'static str,
    geometry: Geometry,
    properties: Properties<'a>,
}

/// Longitude, latitude and, if every fix has one, altitude: readers want all positions alike.
type Coordinates = Vec<f64>;

#[derive(Debug, Serialize)]
#[serde(tag = "type", content = "coordinates")]
enum Geometry {
    Point(Coordinates),
    LineString(Vec<Coordinates>),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Properties<'a> {
    #[serde(rename = "driver_id")]
    driver_id: &'a str,
    coord_times: Vec<Rfc3339>,
}

/// Writes a page.
pub(super) fn write(driver: &str, fixes: &[Fix], next_cursor: Option<&str>) -> Vec<u8> {
    let has_altitudes = fixes.iter().all(|fix| fix.altitude_cm.is_some());
    let mut positions: Vec<_> = fixes.iter().map(|fix| coordinates(fix, has_altitudes)).collect();
    let geometry = match positions.len() {
        0 => None,
        1 => positions.pop().map(Geometry::Point),
        _ => Some(Geometry::LineString(positions)),
    };
    let feature = |geometry| {
        let coord_times = fixes.iter().map(|fix| Rfc3339(fix.time)).collect();
        Feature { r#type: "Feature", geometry, properties: Properties { driver_id: driver, coord_times } }
    };
    let features = geometry.map(feature).into_iter().collect();
    let collection = Collection { r#type: "FeatureCollection", features, next_cursor };
    serde_json::to_vec(&collection).expect("a struct of texts and numbers serialises")
}

fn coordinates(fix: &Fix, has_altitudes: bool) -> Coordinates {
    let altitude = fix.altitude_m().filter(|_| has_altitudes);
    [fix.position.longitude(), fix.position.latitude()].into_iter().chain(altitude).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::{bare, full};
    use super::*;

    fn written(fixes: &[Fix]) -> Value {
        serde_json::from_slice(&write("d1", fixes, None)).unwrap()
    }

    #[test]
    fn a_line_with_its_times() {
        let wanted = json!({"type": "FeatureCollection", "next_cursor": null, "features": [{
            "type": "Feature",
            "geometry": {"type": "LineString", "coordinates": [[21.0, 52.1], [180.0, -0.000_000_1]]},
            "properties": {"driver_id": "d1", "coordTimes": ["2024-02-16T14:17:04Z", "2024-02-16T14:17:14.250Z"]},
        }]});
        assert_eq!(written(&[bare(), full()]), wanted);
    }

    #[test]
    fn altitudes_only_if_all_have_one() {
        let coordinates = |fixes: &[Fix]| written(fixes)["features"][0]["geometry"]["coordinates"].clone();
        assert_eq!(coordinates(&[full(), full()])[1], json!([180.0, -0.000_000_1, 112.5]));
        assert_eq!(coordinates(&[full(), bare()])[0], json!([180.0, -0.000_000_1]));
    }

    #[test]
    fn one_fix_is_a_point_and_none_is_no_feature() {
        assert_eq!(
            written(&[bare()])["features"][0]["geometry"],
            json!({"type": "Point", "coordinates": [21.0, 52.1]})
        );
        assert_eq!(written(&[])["features"], json!([]));
    }
}
