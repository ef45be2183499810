//! Where every driver is now, and who is near: the latest fixes of each tenant's fleet in memory, with an index over them.
//!
//! - Each driver has one record, its latest fix, on one cache line ([`record`]).
//! - A tree of cells ([`cells`], [`tree`], [`nodes`]) says which drivers are where. It is as deep as drivers are dense, so
//!   that three of them on two continents are found as fast as the nearest of a million in a city. A leaf knows where in
//!   its cell each driver is, to a 256th of the sides, so that a search ([`nearest`], [`frontier`]) reads hardly more
//!   records than it returns.
//! - Readers take no lock that a writer of positions could wait for. A writer whose driver stays in its cell writes the
//!   record and the leaf's entry, and nothing else; one whose driver leaves it changes the tree under the fleet's lock for a
//!   fraction of a microsecond. That no search loses a driver on the move is argued in [`moves`], and tried step by step in
//!   `interleaved`.
//! - Drivers that fall silent go to a tree of their own ([`presence`]), when a wheel of ticks ([`wheel`]) says so.
//! - Searches are exact on the sphere ([`distance`]), at the poles and across the antimeridian.
//!
//! Which geofences a driver enters, leaves and dwells in is judged from its fixes alone ([`fence`]).
//!
//! `geo` does no I/O and reads no clock.

mod area;
mod cells;
mod density;
mod distance;
pub mod fence;
mod fleet;
mod frontier;
mod geojson;
#[cfg(test)]
mod interleaved;
mod moves;
mod names;
mod nearest;
mod nodes;
mod presence;
mod profiles;
mod record;
mod rings;
mod slab;
mod steps;
#[cfg(test)]
mod testing;
mod tree;
mod waiting;
mod wheel;
mod within;

use std::sync::Arc;

use dashmap::DashMap;

pub use self::area::{Area, InvalidArea, VERTICES_MAX};
pub use self::density::{DENSITY_CELLS_MAX, DensityCell, InvalidGrid, ZOOM_MAX};
pub use self::distance::{EARTH_RADIUS_M, distance_m};
pub use self::fleet::{Fleet, Slot};
pub use self::geojson::{Geometry, Vertex};
pub use self::nearest::{After, Nearest, Neighbour};
pub use self::presence::{LOOKS_MAX, Silenced};
pub use self::profiles::{TAG_SETS_MAX, TooManyTagSets};
pub use self::within::Found;
use crate::ids::TenantId;

/// The fleets of all tenants. A query sees the one that it asks for and no other.
#[derive(Debug, Default)]
pub struct GeoIndex {
    fleets: DashMap<TenantId, Arc<Fleet>>,
}

impl GeoIndex {
    /// A tenant's fleet, if it has ever had a driver.
    pub fn fleet(&self, tenant: &str) -> Option<Arc<Fleet>> {
        self.fleets.get(tenant).map(|fleet| Arc::clone(&fleet))
    }

    /// Tenants that ever had a driver, in no order.
    pub fn tenants(&self) -> Vec<TenantId> {
        self.fleets.iter().map(|fleet| fleet.key().clone()).collect()
    }

    /// A tenant's fleet, empty if it had none.
    pub fn fleet_or_new(&self, tenant: &TenantId) -> Arc<Fleet> {
        self.fleet(tenant.as_str()).unwrap_or_else(|| Arc::clone(&self.fleets.entry(tenant.clone()).or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::testing::{fix_at, key};

    #[test]
    fn tenants_do_not_see_each_other() {
        let index = GeoIndex::default();
        let [acme, other] = ["acme", "other"].map(|name| TenantId::new(name).unwrap());
        assert!(index.fleet("acme").is_none());
        index.fleet_or_new(&acme).join(key("d1"), &fix_at(52.0, 21.0));
        index.fleet_or_new(&other).join(key("d1"), &fix_at(10.0, 20.0));
        let [mine, theirs] = ["acme", "other"].map(|name| index.fleet(name).unwrap().latest("d1").unwrap());
        assert_eq!((mine, theirs), (fix_at(52.0, 21.0), fix_at(10.0, 20.0)));
        assert_eq!(index.fleet_or_new(&acme).len(), 1);
    }
}
