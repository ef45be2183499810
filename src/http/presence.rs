//! Whether a driver can be counted on now, and how `nearest` and `within` show a driver.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::fix::Fix;
use crate::units::TimestampMs;
use crate::wire;

/// What a driver is doing, as dispatchers filter by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
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

    /// The shape of a driver in an answer.
    pub(super) fn show<'a>(
        self,
        driver_id: &'a str,
        fix: &Fix,
        on_shipment: bool,
        distance_m: Option<f64>,
    ) -> Shown<'a> {
        let status = match (fix.received_at < self.online_since(), on_shipment) {
            (true, _) => Status::Offline,
            (false, true) => Status::OnShipment,
            (false, false) => Status::Available,
        };
        Shown {
            driver_id,
            latitude: fix.position.latitude(),
            longitude: fix.position.longitude(),
            distance_m: distance_m.map(|metres| (metres * 1_000.0).round() / 1_000.0),
            timestamp: Rfc3339(fix.time),
            // A clock that was set back must not make anybody younger than now.
            age_s: self.now.seconds_since(fix.received_at).max(0.0),
            status,
            speed: fix.speed_mps().map(Decimal),
            heading: fix.heading_deg().map(Decimal),
        }
    }
}

/// A driver in an answer of `nearest` or `within`.
#[derive(Debug, Serialize)]
pub(super) struct Shown<'a> {
    driver_id: &'a str,
    latitude: f64,
    longitude: f64,
    /// To the millimetre.
    #[serde(skip_serializing_if = "Option::is_none")]
    distance_m: Option<f64>,
    timestamp: Rfc3339,
    /// Since it was received.
    age_s: f64,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    speed: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heading: Option<Decimal>,
}

/// A number that is shown without a point if it is whole, as the `location` shape shows its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decimal(pub(super) f64);

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let whole = self.0 as i64;
        if whole as f64 == self.0 { serializer.serialize_i64(whole) } else { serializer.serialize_f64(self.0) }
    }
}

/// An instant that is shown as RFC 3339, in UTC.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rfc3339(pub(super) TimestampMs);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(24);
        wire::time::write_rfc3339(self.0, &mut text);
        formatter.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fix::Report;
    use crate::units::Position;

    fn fix(received_at_ms: i64) -> Fix {
        let report = Report { speed_mps: 8.3, heading_deg: 270.0, ..Report::at(None, 52.1, 21.0) };
        let position = Position::from_degrees(52.1, 21.0).unwrap();
        Fix::from_report(&report, position, TimestampMs(1_708_093_024_000), TimestampMs(received_at_ms))
    }

    #[test]
    fn shows_a_driver_as_clients_rely_on() {
        let presence = Presence { now: TimestampMs(1_708_093_030_200), offline_after_ms: 300_000 };
        let shown = presence.show("d1", &fix(1_708_093_027_000), false, Some(103.400_04));
        let wanted = json!({
            "driver_id": "d1", "latitude": 52.1, "longitude": 21.0, "distance_m": 103.4,
            "timestamp": "2024-02-16T14:17:04Z", "age_s": 3.2, "status": "available", "speed": 8.3, "heading": 270,
        });
        assert_eq!(serde_json::to_value(shown).unwrap(), wanted);
    }

    #[test]
    fn age_and_offline_count_from_the_receive_time() {
        let presence = Presence { now: TimestampMs(1_000_000), offline_after_ms: 300_000 };
        let shown_as = |received_at_ms, on_shipment| {
            let shown = presence.show("d1", &fix(received_at_ms), on_shipment, None);
            (shown.age_s, shown.status)
        };
        let shown = |received_at_ms| shown_as(received_at_ms, false);
        assert_eq!(shown(700_000), (300.0, Status::Available));
        assert_eq!(shown(699_999), (300.001, Status::Offline));
        assert_eq!(shown(1_000_500), (0.0, Status::Available), "a clock set back");
        assert_eq!(shown_as(700_000, true), (300.0, Status::OnShipment));
        assert_eq!(shown_as(699_999, true), (300.001, Status::Offline), "nobody counts on a driver who is silent");
    }
}
