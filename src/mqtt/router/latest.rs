//! The latest position of every driver, as new subscriptions are offered it: a seam, so that the router knows no index.

use std::sync::Arc;

use bytes::Bytes;

use super::Mount;

/// A topic with the message that is offered as its retained one.
pub type Offer = (Arc<str>, Bytes);

/// Offers, one for each driver that is looked at, and `None` for one that has nothing to offer.
pub type Offers = Box<dyn Iterator<Item = Option<Offer>> + Send>;

/// Knows the latest accepted fix of every driver.
pub trait Latest: Send + Sync {
    /// The latest fixes on the topics that a filter matches, of this mount and no other. Each is looked up as it is asked for,
    /// which takes microseconds and must not block. How often is asked is bounded by the drivers and tenants; in between the
    /// router does other things.
    fn matching(&self, mount: &Mount, filter: &str) -> Offers;
}
