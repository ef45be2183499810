//! The last accepted fix of every driver, offered to new subscriptions as if it were retained (`mqtt.retain_latest`).

use std::iter;
use std::sync::Arc;

use bytes::Bytes;

use super::router::{Latest, Mount, Offer, Offers};
use super::topic::location_topic;
use crate::fix::Fix;
use crate::geo::GeoIndex;
use crate::ids::DriverKey;
use crate::wire::native;

/// The index of positions as the router asks it.
pub struct LatestFixes(Arc<GeoIndex>);

impl LatestFixes {
    /// Of this index.
    pub fn new(index: Arc<GeoIndex>) -> Self {
        Self(index)
    }
}

/// One level of the topics that fixes are told on, as a filter has it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Level {
    Any,
    This(Box<str>),
}

impl Level {
    fn of(level: &str) -> Self {
        if level == "+" { Self::Any } else { Self::This(level.into()) }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::This(this) => **this == *name,
        }
    }
}

/// The tenants and drivers whose `tenant/{tenant}/driver/{driver}/location` a filter matches, if any can be.
fn wanted(filter: &str) -> Option<(Level, Level)> {
    let mut named = [Level::Any, Level::Any, Level::Any, Level::Any, Level::Any];
    let mut levels = filter.split('/');
    for place in &mut named {
        match levels.next()? {
            "#" => break,
            level => *place = Level::of(level),
        }
    }
    let [tenants, tenant, drivers, driver, location] = named;
    let ends = matches!(levels.next(), None | Some("#"));
    let is_location = tenants.matches("tenant") && drivers.matches("driver") && location.matches("location");
    (ends && is_location).then_some((tenant, driver))
}

impl Latest for LatestFixes {
    fn matching(&self, mount: &Mount, filter: &str) -> Offers {
        let Some((tenant, driver)) = wanted(filter) else { return Box::new(iter::empty()) };
        let tenants: Vec<Box<str>> = match (mount, tenant) {
            (Mount::Tenant(own), tenant) if tenant.matches(own.as_str()) => vec![own.as_str().into()],
            (Mount::Tenant(_), _) => Vec::new(),
            (Mount::Open, Level::This(tenant)) => vec![tenant],
            (Mount::Open, Level::Any) => self.0.tenants().iter().map(|tenant| tenant.as_str().into()).collect(),
        };
        let index = Arc::clone(&self.0);
        Box::new(tenants.into_iter().flat_map(move |tenant| of_tenant(&index, &tenant, &driver)))
    }
}

/// What one tenant has to offer: for each look at it one, so that nobody finds out at once that many have nothing.
fn of_tenant(index: &GeoIndex, tenant: &str, driver: &Level) -> Offers {
    let Some(fleet) = index.fleet(tenant) else { return Box::new(iter::once(None)) };
    match driver {
        Level::This(driver) => Box::new(iter::once(fleet.latest(driver).map(|fix| offer(tenant, driver, &fix)))),
        Level::Any => {
            let count = fleet.len();
            let nth = move |number| fleet.nth(number).map(|(driver, fix)| offer_of(&driver, &fix));
            Box::new((0..count).map(nth).chain(iter::once(None)))
        }
    }
}

fn offer_of(driver: &DriverKey, fix: &Fix) -> Offer {
    offer(driver.tenant().as_str(), driver.driver().as_str(), fix)
}

fn offer(tenant: &str, driver: &str, fix: &Fix) -> Offer {
    let mut payload = Vec::new();
    native::encode(driver, fix, &mut payload);
    (location_topic(tenant, driver).into(), Bytes::from(payload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DriverId, TenantId};
    use crate::units::{Position, TimestampMs};

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name).unwrap()
    }

    fn index() -> LatestFixes {
        let index = GeoIndex::default();
        let fix = Fix::at(TimestampMs(0), Position { latitude_e7: 521_000_000, longitude_e7: 210_000_000 });
        for (tenant_name, drivers) in [("acme", 3), ("other", 1)] {
            for number in 0..drivers {
                let driver = DriverId::new(&format!("d{number}")).unwrap();
                let key = DriverKey::new(tenant(tenant_name), driver);
                index.fleet_or_new(&tenant(tenant_name)).join(Arc::new(key), &fix);
            }
        }
        LatestFixes::new(Arc::new(index))
    }

    #[test]
    fn a_filter_finds_the_drivers_of_its_mount() {
        let index = index();
        let acme = Mount::Tenant(tenant("acme"));
        let cases = [
            (&Mount::Open, "#", 4),
            (&Mount::Open, "tenant/+/driver/+/location", 4),
            (&Mount::Open, "tenant/acme/driver/+/location", 3),
            (&Mount::Open, "tenant/+/driver/d0/location", 2),
            (&Mount::Open, "tenant/acme/driver/d1/#", 1),
            (&Mount::Open, "tenant/acme/driver/d1/location/#", 1),
            (&Mount::Open, "+/+/+/+/+", 4),
            (&Mount::Open, "tenant/acme/driver/d9/location", 0),
            (&Mount::Open, "tenant/nobody/#", 0),
            (&Mount::Open, "tenant/acme/driver/d1", 0),
            (&Mount::Open, "tenant/acme/driver/d1/location/x", 0),
            (&Mount::Open, "tenant/acme/driver/d1/location/+", 0),
            (&Mount::Open, "tenant/acme/drivers/+/location", 0),
            (&Mount::Open, "x/#", 0),
            (&acme, "#", 3),
            (&acme, "tenant/other/#", 0),
            (&acme, "tenant/+/driver/d0/location", 1),
        ];
        for (mount, filter, count) in cases {
            assert_eq!(index.matching(mount, filter).flatten().count(), count, "{mount:?} {filter}");
        }
        let offers = index.matching(&acme, "tenant/acme/driver/d2/location");
        let (topic, payload) = offers.flatten().next().unwrap();
        assert_eq!(&*topic, "tenant/acme/driver/d2/location");
        assert!(payload.starts_with(b"{\"driver_id\":\"d2\""), "{payload:?}");
    }
}
