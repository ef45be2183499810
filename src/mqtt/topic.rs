//! Which topics carry fixes, and whose.

use super::mapping::{Mapped, Mapping};

/// What a topic is to the door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Topic<'a> {
    /// `tenant/{tenant}/driver/{driver}/location`; the names are not checked yet.
    Native { tenant: &'a str, driver: &'a str },
    /// One that the configuration maps to a codec.
    Mapped(Mapped),
    /// Any other: for the router.
    Other,
}

/// Tells an ingest topic by its shape; the native one is told first.
pub(super) fn classify<'a>(topic: &'a str, mapping: &Mapping) -> Topic<'a> {
    let native = || {
        let (tenant, rest) = topic.strip_prefix("tenant/")?.split_once('/')?;
        let driver = rest.strip_prefix("driver/")?.strip_suffix("/location")?;
        (!driver.contains('/')).then_some(Topic::Native { tenant, driver })
    };
    native().or_else(|| mapping.find(topic).map(Topic::Mapped)).unwrap_or(Topic::Other)
}

/// The topic that a driver's fixes are told on.
pub(super) fn location_topic(tenant: &str, driver: &str) -> String {
    format!("tenant/{tenant}/driver/{driver}/location")
}

/// The topic that an event of a geofence is told on.
pub(super) fn geofence_topic(tenant: &str, fence: &str, event: &str) -> String {
    format!("tenant/{tenant}/geofence/{fence}/{event}")
}

#[cfg(test)]
mod tests {
    use super::super::mapping::IngestTopic;
    use super::*;
    use crate::codec::Codec;

    #[test]
    fn only_the_whole_shape_is_an_ingest_topic() {
        let mapping = Mapping::new(&IngestTopic::defaults()).unwrap();
        let ingest = |tenant, driver| Topic::Native { tenant, driver };
        let mapped = Mapped { codec: Codec::Teltonika, driver: "1".to_owned(), tenant: None };
        let cases = [
            ("tenant/acme/driver/d1/location", ingest("acme", "d1")),
            ("tenant//driver//location", ingest("", "")),
            ("tenant/a b/driver/ä/location", ingest("a b", "ä")),
            ("tenant/acme/driver/d1/location/x", Topic::Other),
            ("tenant/acme/driver/d1/x/location", Topic::Other),
            ("tenant/acme/driver/location", Topic::Other),
            ("tenant/acme/drivers/d1/location", Topic::Other),
            ("/tenant/acme/driver/d1/location", Topic::Other),
            ("tenant/acme/driver/d1/command", Topic::Other),
            ("teltonika/1/data", Topic::Mapped(mapped)),
            ("teltonika/1/data/x", Topic::Other),
            ("", Topic::Other),
        ];
        for (topic, expected) in cases {
            assert_eq!(classify(topic, &mapping), expected, "{topic}");
        }
        assert_eq!(classify(&location_topic("acme", "d1"), &mapping), ingest("acme", "d1"));
    }
}
