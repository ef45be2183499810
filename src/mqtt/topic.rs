//! Which topics carry fixes, and whose.

/// What a topic is to the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic<'a> {
    /// `tenant/{tenant}/driver/{driver}/location`; the names are not checked yet.
    Ingest { tenant: &'a str, driver: &'a str },
    /// Any other: for the router.
    Other,
}

/// Tells an ingest topic by its shape.
pub(super) fn classify(topic: &str) -> Topic<'_> {
    let ingest = || {
        let (tenant, rest) = topic.strip_prefix("tenant/")?.split_once('/')?;
        let driver = rest.strip_prefix("driver/")?.strip_suffix("/location")?;
        (!driver.contains('/')).then_some(Topic::Ingest { tenant, driver })
    };
    ingest().unwrap_or(Topic::Other)
}

/// The topic that a driver's fixes are told on.
pub(super) fn location_topic(tenant: &str, driver: &str) -> String {
    format!("tenant/{tenant}/driver/{driver}/location")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_shape_is_an_ingest_topic() {
        let ingest = |tenant, driver| Topic::Ingest { tenant, driver };
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
            ("", Topic::Other),
        ];
        for (topic, expected) in cases {
            assert_eq!(classify(topic), expected, "{topic}");
        }
        assert_eq!(classify(&location_topic("acme", "d1")), ingest("acme", "d1"));
    }
}
