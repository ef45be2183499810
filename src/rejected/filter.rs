//! Which refusals somebody wants.

use super::Refusal;
use crate::codec::Codec;
use crate::fix::Reason;
use crate::ids::{DriverId, TenantId};
use crate::units::TimestampMs;

/// Refusals that have all of this; what is `None` is not asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Received then or later.
    pub since: Option<TimestampMs>,
    /// Refused for this.
    pub reason: Option<Reason>,
    /// Of this tenant.
    pub tenant: Option<TenantId>,
    /// Of this driver.
    pub driver: Option<DriverId>,
    /// Read as this.
    pub codec: Option<Codec>,
}

impl Filter {
    /// Whether this is one of them.
    pub fn has(&self, refusal: &Refusal) -> bool {
        self.since.is_none_or(|since| refusal.received_at >= since)
            && self.reason.is_none_or(|reason| refusal.reason == reason)
            && self.tenant.as_ref().is_none_or(|tenant| refusal.driver.tenant() == tenant)
            && self.driver.as_ref().is_none_or(|driver| refusal.driver.driver() == driver)
            && self.codec.is_none_or(|codec| refusal.codec == codec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rejected::testing::refusal;

    #[test]
    fn a_filter_asks_for_everything_that_it_names() {
        let refusal = refusal("d1", 1_000, b"");
        let cases = [
            (Filter::default(), true),
            (Filter { since: Some(TimestampMs(1_000)), ..Filter::default() }, true),
            (Filter { since: Some(TimestampMs(1_001)), ..Filter::default() }, false),
            (Filter { reason: Some(Reason::NullIsland), ..Filter::default() }, true),
            (Filter { reason: Some(Reason::Future), ..Filter::default() }, false),
            (Filter { tenant: TenantId::new("acme").ok(), ..Filter::default() }, true),
            (Filter { tenant: TenantId::new("other").ok(), ..Filter::default() }, false),
            (Filter { driver: DriverId::new("d1").ok(), ..Filter::default() }, true),
            (Filter { driver: DriverId::new("d2").ok(), ..Filter::default() }, false),
            (Filter { codec: Some(Codec::Native), ..Filter::default() }, true),
            (Filter { codec: Some(Codec::Compact), reason: Some(Reason::NullIsland), ..Filter::default() }, false),
        ];
        for (filter, expected) in cases {
            assert_eq!(filter.has(&refusal), expected, "{filter:?}");
        }
    }
}
