//! `GET /v1/drivers/nearest`: the drivers nearest to a place, nearest first, by great-circle distance.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use super::answer::aside;
use super::drivers::Drivers;
use super::error::Error;
use super::extract::{FleetReader, Params, required};
use super::presence::{Presence, Status};
use crate::clock::Clock;
use crate::geo::{self, After, Fleet, GeoIndex, Neighbour};
use crate::ids::DriverId;
use crate::limits::{NEAREST_LIMIT_DEFAULT, NEAREST_LIMIT_MAX};
use crate::units::{Position, TimestampMs};

/// Half the way around the earth, rounded up: no two places are further apart.
const RADIUS_M_MAX: f64 = 20_100_000.0;

/// A thousand years: no fix is older.
const MAX_AGE_S_MAX: f64 = 31_557_600_000.0;

/// Most tags in one request.
const TAGS_MAX: usize = 16;

/// Of 64 bits.
const DISTANCE_DIGITS: usize = 16;

/// What the handler needs.
#[derive(Clone, Debug)]
pub(super) struct Nearest {
    pub(super) clock: Clock,
    pub(super) geo: Arc<GeoIndex>,
    pub(super) offline_after_ms: i64,
}

pub(super) fn routes(nearest: Nearest) -> Router {
    Router::new().route("/v1/drivers/nearest", get(get_nearest)).with_state(nearest)
}

async fn get_nearest(
    State(nearest): State<Nearest>,
    FleetReader(principal): FleetReader,
    params: Params,
) -> Result<Response, Error> {
    let presence = Presence { now: nearest.clock.now(), offline_after_ms: nearest.offline_after_ms };
    let asked = Asked::of(&params, presence)?;
    Ok(aside(asked.looks_max(), move || {
        asked.answer(nearest.geo.fleet(principal.tenant.as_str()).as_deref(), presence)
    })
    .await)
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq)]
struct Asked {
    position: Position,
    limit: usize,
    radius_m: Option<f64>,
    received_since: Option<TimestampMs>,
    received_before: Option<TimestampMs>,
    on_shipment: Option<bool>,
    tags: Vec<String>,
    after: Option<Cursor>,
    /// Whether a greatest age was asked for, which may leave nobody.
    is_aged: bool,
}

impl Asked {
    fn of(params: &Params, presence: Presence) -> Result<Self, Error> {
        let latitude = required("lat", params.number("lat", -90.0..=90.0)?)?;
        let longitude = required("lon", params.number("lon", -180.0..=180.0)?)?;
        let position = Position::from_degrees(latitude, longitude)
            .ok_or_else(|| Error::parameter("lat", "is with lon no place on the earth"))?;
        let limit = params.whole("limit", 1..=NEAREST_LIMIT_MAX)?.unwrap_or(NEAREST_LIMIT_DEFAULT);
        let radius_m = params.number("radius_m", 0.0..=RADIUS_M_MAX)?;
        let max_age_s = params.number("max_age_s", 0.0..=MAX_AGE_S_MAX)?;
        let status = params.parsed("status", Status::parse, || Status::NAMES)?;
        let tags = params.parsed("tags", tags, || format!("1 to {TAGS_MAX} tags, separated by commas"))?;
        let after = params.parsed("cursor", Cursor::parse, || "the next_cursor of an answer, as it was")?;

        let young_since = max_age_s.map(|seconds| presence.now.saturating_add_ms(-((seconds * 1_000.0) as i64)));
        let (received_since, received_before) = received(status, young_since, presence);
        let on_shipment = match status {
            None | Some(Status::Offline) => None,
            Some(Status::Available) => Some(false),
            Some(Status::OnShipment) => Some(true),
        };
        let tags = tags.unwrap_or_default();
        let is_aged = max_age_s.is_some();
        Ok(Self { position, limit, radius_m, received_since, received_before, on_shipment, tags, after, is_aged })
    }

    /// About how many drivers are looked at. Where only few answer to what is asked for, that may be all of them.
    fn looks_max(&self) -> usize {
        let is_rare = self.received_before.is_some() || self.on_shipment == Some(true) || !self.tags.is_empty();
        if is_rare || self.after.is_some() || self.is_aged { usize::MAX } else { self.limit }
    }

    fn answer(&self, fleet: Option<&Fleet>, presence: Presence) -> Response {
        let tags: Vec<_> = self.tags.iter().map(String::as_str).collect();
        let query = geo::Nearest {
            position: self.position,
            // One more than asked for tells whether that is all.
            limit: self.limit + 1,
            radius_m: self.radius_m,
            received_since: self.received_since,
            received_before: self.received_before,
            on_shipment: self.on_shipment,
            tags: &tags,
            after: self.after.as_ref().map(Cursor::after),
        };
        let mut found = fleet.map_or_else(Vec::new, |fleet| fleet.nearest(&query));
        let has_more = found.len() > self.limit;
        found.truncate(self.limit);
        let next_cursor = found.last().filter(|_| has_more).map(|last| Cursor::at(last).to_string());
        let mut drivers = Drivers::with_room_for(found.len(), presence);
        for one in &found {
            drivers.add(one.driver.driver().as_str(), &one.fix, one.on_shipment, Some(one.distance_m));
        }
        drivers.with_cursor(next_cursor.as_deref())
    }
}

/// Tags, none of them empty.
fn tags(text: &str) -> Option<Vec<String>> {
    let tags: Vec<_> = text.split(',').map(str::to_owned).collect();
    (tags.len() <= TAGS_MAX && tags.iter().all(|tag| !tag.is_empty())).then_some(tags)
}

/// Where an answer ended: the bits of the last distance in hexadecimal, and the driver.
#[derive(Clone, Debug, PartialEq)]
struct Cursor {
    distance_m: f64,
    driver: DriverId,
}

impl Cursor {
    fn at(last: &Neighbour<'_>) -> Self {
        Self { distance_m: last.distance_m, driver: last.driver.driver().clone() }
    }

    fn parse(text: &str) -> Option<Self> {
        let (bits, driver) = text.split_at_checked(DISTANCE_DIGITS)?;
        if !bits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        let distance_m = f64::from_bits(u64::from_str_radix(bits, 16).ok()?);
        let driver = DriverId::new(driver).ok()?;
        (0.0..=RADIUS_M_MAX).contains(&distance_m).then_some(Self { distance_m, driver })
    }

    fn after(&self) -> After<'_> {
        After { distance_m: self.distance_m, driver: self.driver.as_str() }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:0DISTANCE_DIGITS$x}{}", self.distance_m.to_bits(), self.driver)
    }
}

/// The receive times, from and before, that a status and a greatest age ask for together.
///
/// An age alone takes the place of the rule that leaves offline drivers out. A status that is named holds beside it.
fn received(
    status: Option<Status>,
    young_since: Option<TimestampMs>,
    presence: Presence,
) -> (Option<TimestampMs>, Option<TimestampMs>) {
    let online_since = presence.online_since();
    match (status, young_since) {
        (None, Some(young_since)) => (Some(young_since), None),
        (None | Some(Status::Available | Status::OnShipment), _) => (young_since.max(Some(online_since)), None),
        (Some(Status::Offline), _) => (young_since, Some(online_since)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRESENCE: Presence = Presence { now: TimestampMs(1_000_000), offline_after_ms: 300_000 };

    fn asked(query_text: &str) -> Result<Asked, Error> {
        Asked::of(&Params::of(&format!("/?{query_text}").parse().unwrap()).unwrap(), PRESENCE)
    }

    #[test]
    fn defaults_and_bounds() {
        let plain = asked("lat=52.1&lon=21").unwrap();
        assert_eq!((plain.position.latitude(), plain.position.longitude()), (52.1, 21.0));
        assert_eq!((plain.limit, plain.radius_m), (10, None));
        let full = asked("lat=-90&lon=180&limit=1000&radius_m=2500.5&tags=van,cold").unwrap();
        assert_eq!((full.limit, full.radius_m), (1_000, Some(2_500.5)));
        assert_eq!((full.tags, full.after), (vec!["van".to_owned(), "cold".to_owned()], None));
        let bad = [
            ("lon=21", "lat"),
            ("lat=52", "lon"),
            ("lat=90.1&lon=0", "lat"),
            ("lat=0&lon=-180.5", "lon"),
            ("lat=abc&lon=0", "lat"),
            ("lat=NaN&lon=0", "lat"),
            ("lat=0&lon=0&limit=0", "limit"),
            ("lat=0&lon=0&limit=1001", "limit"),
            ("lat=0&lon=0&limit=-1", "limit"),
            ("lat=0&lon=0&radius_m=-1", "radius_m"),
            ("lat=0&lon=0&max_age_s=-1", "max_age_s"),
            ("lat=0&lon=0&max_age_s=inf", "max_age_s"),
            ("lat=0&lon=0&status=asleep", "status"),
            ("lat=0&lat=0&lon=0", "lat"),
            ("lat=0&lon=0&tags=", "tags"),
            ("lat=0&lon=0&tags=van,,cold", "tags"),
            ("lat=0&lon=0&tags=a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a", "tags"),
            ("lat=0&lon=0&cursor=", "cursor"),
            ("lat=0&lon=0&cursor=4059d9999999999a", "cursor"),
            ("lat=0&lon=0&cursor=4059D9999999999Ad1", "cursor"),
            ("lat=0&lon=0&cursor=%2B059d9999999999ad1", "cursor"),
            ("lat=0&lon=0&cursor=7ff8000000000000d1", "cursor"),
            ("lat=0&lon=0&cursor=c059d9999999999ad1", "cursor"),
            ("lat=0&lon=0&cursor=4059d9999999999ad%201", "cursor"),
            ("lat=0&lon=0&cursor=%C3%A4%C3%A4%C3%A4%C3%A4%C3%A4%C3%A4%C3%A4%C3%A44", "cursor"),
        ];
        for (text, wanted) in bad {
            assert!(matches!(asked(text), Err(Error::Parameter { name, .. }) if name == wanted), "{text}");
        }
    }

    #[test]
    fn status_and_age_choose_receive_times() {
        let chosen = |text: &str| {
            let asked = asked(&format!("lat=0&lon=0{text}")).unwrap();
            (asked.received_since.map(|time| time.0), asked.received_before.map(|time| time.0))
        };
        assert_eq!(chosen(""), (Some(700_000), None));
        assert_eq!(chosen("&status=available"), (Some(700_000), None));
        assert_eq!(chosen("&status=offline"), (None, Some(700_000)));
        assert_eq!(chosen("&status=on_shipment"), (Some(700_000), None));
        assert_eq!(chosen("&max_age_s=900"), (Some(100_000), None), "an age lets offline drivers in");
        assert_eq!(chosen("&max_age_s=10.5"), (Some(989_500), None));
        assert_eq!(chosen("&max_age_s=900&status=offline"), (Some(100_000), Some(700_000)));
        assert_eq!(chosen("&max_age_s=900&status=available"), (Some(700_000), None));
        assert_eq!(chosen("&max_age_s=10&status=available"), (Some(990_000), None));
    }

    #[test]
    fn status_chooses_by_shipment() {
        let chosen = |text: &str| asked(&format!("lat=0&lon=0{text}")).unwrap().on_shipment;
        assert_eq!(chosen(""), None);
        assert_eq!(chosen("&status=available"), Some(false));
        assert_eq!(chosen("&status=on_shipment"), Some(true));
        assert_eq!(chosen("&status=offline"), None);
    }

    #[test]
    fn cursors_come_back_to_the_last_bit() {
        for distance_m in [0.0, 103.4, 1.0 / 3.0, 20_015_114.442_035_9] {
            let cursor = Cursor { distance_m, driver: DriverId::new("22:1264").unwrap() };
            assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        }
    }

    #[tokio::test]
    async fn pages_follow_each_other_to_the_end() {
        let fleet = Fleet::default();
        let tenant = crate::ids::TenantId::new("acme").unwrap();
        for (number, longitude) in [0.001, 0.002, 0.002, 0.003, 0.004].into_iter().enumerate() {
            let driver = DriverId::new(&format!("d{number}")).unwrap();
            let position = Position::from_degrees(0.0, longitude).unwrap();
            let key = Arc::new(crate::ids::DriverKey::new(tenant.clone(), driver));
            fleet.join(key, &crate::fix::Fix::at(PRESENCE.now, position));
        }
        let (mut cursor, mut seen, mut pages) = (String::new(), Vec::new(), 0);
        loop {
            let response = asked(&format!("lat=0&lon=0&limit=2{cursor}")).unwrap().answer(Some(&fleet), PRESENCE);
            let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            seen.extend(body["drivers"].as_array().unwrap().iter().map(|one| one["driver_id"].clone()));
            pages += 1;
            assert!(body.as_object().unwrap().contains_key("next_cursor"), "null at the end, not missing");
            let Some(next) = body["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!((seen, pages), (["d0", "d1", "d2", "d3", "d4"].map(serde_json::Value::from).to_vec(), 3));
    }
}
