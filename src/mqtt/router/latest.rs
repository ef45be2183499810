//! The latest position of every driver, as new subscriptions are offered it: a seam, so that the router knows no index.

use std::sync::Arc;

use bytes::Bytes;

use super::Mount;

/// A topic with the message that is offered as its retained one.
pub type Offer = (Arc<str>, Bytes);

/// Knows the latest accepted fix of every driver.
pub trait Latest: Send + Sync {
    /// The latest fixes on the topics that a filter matches, of this mount and no other. Each is looked up as it is asked for,
    /// which takes microseconds and must not block; how many there are is bounded by the drivers.
    fn matching(&self, mount: &Mount, filter: &str) -> Box<dyn Iterator<Item = Offer> + Send>;
}
