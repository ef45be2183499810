//! An event as it is told: one JSON object, the same on MQTT, in the outbox and in answers.

use bytes::Bytes;
use serde::Serialize;

use crate::fix::Fix;
use crate::geo::fence::{FenceEvent, FenceEventKind};
use crate::ids::{FenceId, TenantId};
use crate::units::TimestampMs;
use crate::wire::time::write_rfc3339;

/// An event in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place among all events: 1, 2, .. without gaps, and the same in every replay of one journal.
    pub sequence: u64,
    /// Whose.
    pub tenant: TenantId,
    /// What is told of it: a JSON object.
    pub body: Bytes,
}

/// One that was judged just now.
#[derive(Debug)]
pub(super) struct Fresh {
    /// The number of its fix in the batch.
    pub(super) number: u32,
    pub(super) tenant: TenantId,
    pub(super) fence: FenceId,
    pub(super) kind: FenceEventKind,
    pub(super) body: Bytes,
}

/// The members in their order. `id` is unique within the tenant and does not depend on when or how often the fix was judged:
/// a fix is known by its driver and time, and an event by its place among those of the fix.
#[derive(Serialize)]
struct Body<'a> {
    id: String,
    r#type: String,
    tenant: &'a str,
    geofence_id: &'a str,
    version: u64,
    driver_id: &'a str,
    time: String,
    latitude: f64,
    longitude: f64,
    fix_time: String,
}

/// The body of the event at `place` among those that one fix showed.
pub(super) fn body(tenant: &TenantId, driver: &str, fix: &Fix, place: usize, event: &FenceEvent) -> Bytes {
    let body = Body {
        id: format!("{driver}/{}/{place}", fix.time),
        r#type: format!("geofence.{}", event.kind),
        tenant: tenant.as_str(),
        geofence_id: event.fence.as_str(),
        version: event.version,
        driver_id: driver,
        time: rfc3339(event.time),
        latitude: event.position.latitude(),
        longitude: event.position.longitude(),
        fix_time: rfc3339(fix.time),
    };
    serde_json::to_vec(&body).expect("a struct of texts and numbers serialises").into()
}

fn rfc3339(time: TimestampMs) -> String {
    let mut text = Vec::new();
    write_rfc3339(time, &mut text);
    String::from_utf8(text).expect("a time is written in ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Position;

    #[test]
    fn a_body_says_who_where_and_when() {
        let position = Position { latitude_e7: 521_000_000, longitude_e7: 210_000_000 };
        let fix = Fix::at(TimestampMs(1_708_093_024_500), position);
        let event = FenceEvent {
            kind: FenceEventKind::Enter,
            fence: FenceId::new("depot").unwrap(),
            version: 7,
            time: TimestampMs(1_708_093_024_000),
            position,
        };
        let body = body(&TenantId::new("acme").unwrap(), "d1", &fix, 0, &event);
        let expected = concat!(
            r#"{"id":"d1/1708093024500/0","type":"geofence.enter","tenant":"acme","geofence_id":"depot","version":7,"#,
            r#""driver_id":"d1","time":"2024-02-16T14:17:04Z","latitude":52.1,"longitude":21.0,"#,
            r#""fix_time":"2024-02-16T14:17:04.500Z"}"#
        );
        assert_eq!(body, expected);
    }
}
