//! `GET /v1/drivers/nearest`: the drivers nearest to a place, nearest first, by great-circle distance.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;

use super::answer::{Drivers, aside, json};
use super::error::Error;
use super::extract::{FleetReader, Params, required};
use super::presence::{Presence, Status};
use crate::clock::Clock;
use crate::geo::{self, GeoIndex};
use crate::limits::{NEAREST_LIMIT_DEFAULT, NEAREST_LIMIT_MAX};
use crate::units::{Position, TimestampMs};

/// Half the way around the earth, rounded up: no two places are further apart.
const RADIUS_M_MAX: f64 = 20_100_000.0;

/// A thousand years: no fix is older.
const MAX_AGE_S_MAX: f64 = 31_557_600_000.0;

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
    let query = query(&params, presence)?;
    let limit = query.as_ref().map_or(0, |query| query.limit);
    Ok(aside(limit, move || {
        let fleet = nearest.geo.fleet(principal.tenant.as_str());
        let found = match (&fleet, &query) {
            (Some(fleet), Some(query)) => fleet.nearest(query),
            _ => Vec::new(),
        };
        let drivers: Vec<_> = found
            .iter()
            .map(|found| presence.show(found.driver.driver().as_str(), &found.fix, Some(found.distance_m)))
            .collect();
        let count = drivers.len();
        json(StatusCode::OK, &Drivers { drivers, count, truncated: false })
    })
    .await)
}

/// What is asked of the index; `None` if it is something that no driver answers to.
fn query(params: &Params, presence: Presence) -> Result<Option<geo::Nearest>, Error> {
    let latitude = required("lat", params.number("lat", -90.0..=90.0)?)?;
    let longitude = required("lon", params.number("lon", -180.0..=180.0)?)?;
    let position = Position::from_degrees(latitude, longitude)
        .ok_or_else(|| Error::parameter("lat", "is with lon no place on the earth"))?;
    let limit = params.whole("limit", 1..=NEAREST_LIMIT_MAX)?.unwrap_or(NEAREST_LIMIT_DEFAULT);
    let radius_m = params.number("radius_m", 0.0..=RADIUS_M_MAX)?;
    let max_age_s = params.number("max_age_s", 0.0..=MAX_AGE_S_MAX)?;
    let status = params.parsed("status", Status::parse, || Status::NAMES)?;

    let young_since = max_age_s.map(|seconds| presence.now.saturating_add_ms(-((seconds * 1_000.0) as i64)));
    let Some((received_since, received_before)) = received(status, young_since, presence) else {
        return Ok(None);
    };
    Ok(Some(geo::Nearest { position, limit, radius_m, received_since, received_before }))
}

/// The receive times, from and before, that a status and a greatest age ask for together.
///
/// An age alone takes the place of the rule that leaves offline drivers out. A status that is named holds beside it.
fn received(
    status: Option<Status>,
    young_since: Option<TimestampMs>,
    presence: Presence,
) -> Option<(Option<TimestampMs>, Option<TimestampMs>)> {
    let online_since = presence.online_since();
    match (status, young_since) {
        (None, Some(young_since)) => Some((Some(young_since), None)),
        (None | Some(Status::Available), _) => Some((young_since.max(Some(online_since)), None)),
        (Some(Status::Offline), _) => Some((young_since, Some(online_since))),
        // Nobody is before shipments are.
        (Some(Status::OnShipment), _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRESENCE: Presence = Presence { now: TimestampMs(1_000_000), offline_after_ms: 300_000 };

    fn asked(query_text: &str) -> Result<Option<geo::Nearest>, Error> {
        query(&Params::of(&format!("/?{query_text}").parse().unwrap()).unwrap(), PRESENCE)
    }

    #[test]
    fn defaults_and_bounds() {
        let plain = asked("lat=52.1&lon=21").unwrap().unwrap();
        assert_eq!((plain.position.latitude(), plain.position.longitude()), (52.1, 21.0));
        assert_eq!((plain.limit, plain.radius_m), (10, None));
        let full = asked("lat=-90&lon=180&limit=1000&radius_m=2500.5").unwrap().unwrap();
        assert_eq!((full.limit, full.radius_m), (1_000, Some(2_500.5)));
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
        ];
        for (text, wanted) in bad {
            assert!(matches!(asked(text), Err(Error::Parameter { name, .. }) if name == wanted), "{text}");
        }
    }

    #[test]
    fn status_and_age_choose_receive_times() {
        let chosen = |text: &str| {
            let query = asked(&format!("lat=0&lon=0{text}")).unwrap();
            query.map(|query| (query.received_since.map(|time| time.0), query.received_before.map(|time| time.0)))
        };
        assert_eq!(chosen(""), Some((Some(700_000), None)));
        assert_eq!(chosen("&status=available"), Some((Some(700_000), None)));
        assert_eq!(chosen("&status=offline"), Some((None, Some(700_000))));
        assert_eq!(chosen("&status=on_shipment"), None);
        assert_eq!(chosen("&max_age_s=900"), Some((Some(100_000), None)), "an age lets offline drivers in");
        assert_eq!(chosen("&max_age_s=10.5"), Some((Some(989_500), None)));
        assert_eq!(chosen("&max_age_s=900&status=offline"), Some((Some(100_000), Some(700_000))));
        assert_eq!(chosen("&max_age_s=900&status=available"), Some((Some(700_000), None)));
        assert_eq!(chosen("&max_age_s=10&status=available"), Some((Some(990_000), None)));
    }
}
