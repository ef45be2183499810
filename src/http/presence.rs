//! Whether a driver can be counted on now, and how `nearest` and `within` show a driver.

use crate::fix::Fix;
use crate::units::TimestampMs;
use crate::wire::decimal::put_fixed;
use crate::wire::time::write_rfc3339;

/// Decimals of a position in degrees.
const POSITION_DECIMALS: u32 = 7;

/// What a driver is doing, as dispatchers filter by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// Heard of lately, and free.
    Available,
    /// Heard of lately, and busy with a shipment.
    OnShipment,
    /// Not heard of for longer than `geo.offline_after_s`.
    Offline,
}

impl Status {
    /// The names that [`Status::parse`] takes.
    pub(super) const NAMES: &'static str = "available, on_shipment or offline";

    fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::OnShipment => "on_shipment",
            Self::Offline => "offline",
        }
    }

    /// The status of this name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "available" => Some(Self::Available),
            "on_shipment" => Some(Self::OnShipment),
            "offline" => Some(Self::Offline),
            _ => None,
        }
    }
}

/// When a driver counts as offline, at one instant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Presence {
    /// The instant of the question.
    pub(super) now: TimestampMs,
    /// `geo.offline_after_s` in milliseconds.
    pub(super) offline_after_ms: i64,
}

impl Presence {
    /// Who was received before this is offline.
    pub(super) fn online_since(self) -> TimestampMs {
        self.now.saturating_add_ms(self.offline_after_ms.saturating_neg())
    }

    /// Appends a driver as answers of `nearest` and `within` show it; what its fix does not have is left out.
    pub(super) fn put(self, driver_id: &str, fix: &Fix, on_shipment: bool, distance_m: Option<f64>, out: &mut Vec<u8>) {
        // A driver id has no character that JSON would escape.
        out.extend_from_slice(b"{\"driver_id\":\"");
        out.extend_from_slice(driver_id.as_bytes());
        out.extend_from_slice(b"\",\"latitude\":");
        put_fixed(out, fix.position.latitude_e7.into(), POSITION_DECIMALS);
        out.extend_from_slice(b",\"longitude\":");
        put_fixed(out, fix.position.longitude_e7.into(), POSITION_DECIMALS);
        if let Some(distance_m) = distance_m {
            out.extend_from_slice(b",\"distance_m\":");
            put_fixed(out, (distance_m * 1_000.0).round() as i64, 3);
        }
        out.extend_from_slice(b",\"timestamp\":\"");
        write_rfc3339(fix.time, out);
        out.extend_from_slice(b"\",\"age_s\":");
        // A clock that was set back must not make anybody younger than now.
        put_fixed(out, self.now.0.saturating_sub(fix.received_at.0).max(0), 3);
        out.extend_from_slice(b",\"status\":\"");
        out.extend_from_slice(self.status(fix, on_shipment).as_str().as_bytes());
        out.push(b'"');
        if let Some(speed_mmps) = fix.speed_mmps {
            out.extend_from_slice(b",\"speed\":");
            put_fixed(out, speed_mmps.into(), 3);
        }
        if let Some(heading_cdeg) = fix.heading_cdeg {
            out.extend_from_slice(b",\"heading\":");
            put_fixed(out, heading_cdeg.into(), 2);
        }
        out.push(b'}');
    }

    fn status(self, fix: &Fix, on_shipment: bool) -> Status {
        match (fix.received_at < self.online_since(), on_shipment) {
            (true, _) => Status::Offline,
            (false, true) => Status::OnShipment,
            (false, false) => Status::Available,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fix::Report;
    use crate::units::Position;

    fn fix(received_at_ms: i64) -> Fix {
        let report = Report { speed_mps: 8.3, heading_deg: 270.0, ..Report::at(None, 52.1, 21.0) };
        let position = Position::from_degrees(52.1, 21.0).unwrap();
        Fix::from_report(&report, position, TimestampMs(1_708_093_024_000), TimestampMs(received_at_ms))
    }

    fn shown(presence: Presence, fix: &Fix, on_shipment: bool, distance_m: Option<f64>) -> Value {
        let mut text = Vec::new();
        presence.put("d1", fix, on_shipment, distance_m, &mut text);
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn shows_a_driver_as_clients_rely_on() {
        let presence = Presence { now: TimestampMs(1_708_093_030_200), offline_after_ms: 300_000 };
        let wanted = json!({
            "driver_id": "d1", "latitude": 52.1, "longitude": 21, "distance_m": 103.4,
            "timestamp": "2024-02-16T14:17:04Z", "age_s": 3.2, "status": "available", "speed": 8.3, "heading": 270,
        });
        assert_eq!(shown(presence, &fix(1_708_093_027_000), false, Some(103.400_04)), wanted);
        let bare = Fix::at(TimestampMs(1_708_093_024_000), Position { latitude_e7: -1, longitude_e7: 0 });
        let wanted = json!({
            "driver_id": "d1", "latitude": -0.0000001, "longitude": 0, "timestamp": "2024-02-16T14:17:04Z",
            "age_s": 6.2, "status": "available",
        });
        assert_eq!(shown(presence, &bare, false, None), wanted);
    }

    #[test]
    fn age_and_offline_count_from_the_receive_time() {
        let presence = Presence { now: TimestampMs(1_000_000), offline_after_ms: 300_000 };
        for (received_at_ms, on_shipment, age_s, status) in [
            (700_000, false, json!(300), "available"),
            (699_999, false, json!(300.001), "offline"),
            // A clock set back.
            (1_000_500, false, json!(0), "available"),
            (700_000, true, json!(300), "on_shipment"),
            // Nobody counts on a driver who is silent.
            (699_999, true, json!(300.001), "offline"),
        ] {
            let shown = shown(presence, &fix(received_at_ms), on_shipment, None);
            assert_eq!((&shown["age_s"], &shown["status"]), (&age_s, &json!(status)), "{received_at_ms}");
        }
    }
}
