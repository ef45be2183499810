//! A track as JSON, the default.

use serde::Serialize;

use crate::fix::Fix;
use crate::http::answer::{Decimal, Rfc3339};

/// A page of a track.
#[derive(Debug, Serialize)]
struct Page<'a> {
    driver_id: &'a str,
    fixes: Vec<Shown>,
    next_cursor: Option<&'a str>,
}

/// A fix on it. What the tracker did not say is left out.
#[derive(Debug, Serialize)]
struct Shown {
    timestamp: Rfc3339,
    latitude: f64,
    longitude: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    speed: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heading: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    altitude: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accuracy: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    battery: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    satellites: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hdop: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u32>,
    received_at: Rfc3339,
}

impl Shown {
    fn of(fix: &Fix) -> Self {
        Self {
            timestamp: Rfc3339(fix.time),
            latitude: fix.position.latitude(),
            longitude: fix.position.longitude(),
            speed: fix.speed_mps().map(Decimal),
            heading: fix.heading_deg().map(Decimal),
            altitude: fix.altitude_m().map(Decimal),
            accuracy: fix.accuracy_m().map(Decimal),
            battery: fix.battery_percent,
            satellites: fix.satellites,
            hdop: fix.hdop().map(Decimal),
            seq: fix.seq,
            received_at: Rfc3339(fix.received_at),
        }
    }
}

/// Writes a page.
pub(super) fn write(driver: &str, fixes: &[Fix], next_cursor: Option<&str>) -> Vec<u8> {
    let page = Page { driver_id: driver, fixes: fixes.iter().map(Shown::of).collect(), next_cursor };
    serde_json::to_vec(&page).expect("a struct of texts and numbers serialises")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::{bare, full};
    use super::*;

    #[test]
    fn writes_the_shape_that_clients_rely_on() {
        let page: Value = serde_json::from_slice(&write("d1", &[bare(), full()], Some("abc"))).unwrap();
        let wanted = json!({"driver_id": "d1", "next_cursor": "abc", "fixes": [
            {"timestamp": "2024-02-16T14:17:04Z", "latitude": 52.1, "longitude": 21.0, "received_at": "2024-02-16T14:17:05Z"},
            {"timestamp": "2024-02-16T14:17:14.250Z", "latitude": -0.000_000_1, "longitude": 180.0,
             "received_at": "2024-02-16T14:17:15Z", "speed": 8.3, "heading": 270, "altitude": 112.5,
             "accuracy": 4, "battery": 80, "satellites": 9, "hdop": 0.9, "seq": 7},
        ]});
        assert_eq!(page, wanted);
        let empty: Value = serde_json::from_slice(&write("d1", &[], None)).unwrap();
        assert_eq!(empty, json!({"driver_id": "d1", "fixes": [], "next_cursor": null}));
    }
}
