//! Namespaces inside the router: every topic, filter and share group carries its tenant there.
//!
//! A mounted name is `{root}/-/{name}`, or `{root}$/-/{name}` if the name begins with `$`, so that a client's leading wildcard
//! never matches those [MQTT-4.7.2-1]. Roots hold no wildcard, so no filter leaves its root. Shared filters have `+` for the
//! level that is always `-`: they match the same, and the router, which mixes up two subscriptions of a client over one
//! filter, takes them for others.

use crate::ids::TenantId;

/// The namespace of a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Mount {
    /// One namespace for all (open mode).
    Open,
    /// A tenant's own.
    Tenant(TenantId),
}

/// A topic filter as the router sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MountedFilter {
    /// What topics are matched with.
    pub(super) plain: String,
    /// What is subscribed to: `plain`, or `$share/{group}/{plain}`.
    pub(super) path: String,
}

impl Mount {
    /// The name that a topic has inside.
    pub(super) fn topic(&self, topic: &str) -> String {
        self.name("/-/", topic)
    }

    fn name(&self, level: &str, name: &str) -> String {
        let (root, tenant) = self.root();
        let dollar = if name.starts_with('$') { "$" } else { "" };
        let mut mounted = String::with_capacity(root.len() + tenant.len() + name.len() + 4);
        for part in [root, dollar, tenant, level, name] {
            mounted.push_str(part);
        }
        mounted
    }

    /// The names that a valid filter has inside. The router tells share groups apart by their name alone, so the name
    /// holds the mounted filter as well: equal names of two tenants, or over two filters, are different groups.
    pub(super) fn filter(&self, filter: &str) -> MountedFilter {
        let Some((group, rest)) = filter.strip_prefix("$share/").and_then(|shared| shared.split_once('/')) else {
            let plain = self.topic(filter);
            return MountedFilter { path: plain.clone(), plain };
        };
        let plain = self.name("/+/", rest);
        let path = format!("$share/{}\u{1}0{}/{plain}", escape(&plain), escape(group));
        MountedFilter { plain, path }
    }

    /// The client's name for a topic inside; `None` if it is of another namespace.
    pub(super) fn unmount<'a>(&self, mounted: &'a str) -> Option<&'a str> {
        let (root, tenant) = self.root();
        let rest = mounted.strip_prefix(root)?;
        let (rest, is_dollar) = rest.strip_prefix('$').map_or((rest, false), |rest| (rest, true));
        let topic = rest.strip_prefix(tenant)?.strip_prefix("/-/")?;
        (topic.starts_with('$') == is_dollar).then_some(topic)
    }

    fn root(&self) -> (&'static str, &str) {
        match self {
            Self::Open => ("open", ""),
            Self::Tenant(tenant) => ("tenant:", tenant.as_str()),
        }
    }
}

/// One level without `/`, different for different texts.
fn escape(text: &str) -> String {
    text.replace('\u{1}', "\u{1}1").replace('/', "\u{1}2")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rumqttd::protocol::matches;

    use super::*;

    fn tenant(name: &str) -> Mount {
        Mount::Tenant(TenantId::new(name).unwrap())
    }

    #[test]
    fn names_come_back_as_they_went_in() {
        for mount in [Mount::Open, tenant("acme")] {
            for topic in
                ["a", "/a", "a/", "/", "tenant/acme/driver/d1/location", "$SYS/x", "$", "été/x", "tenant:acme/x"]
            {
                assert_eq!(mount.unmount(&mount.topic(topic)), Some(topic));
            }
        }
    }

    #[test]
    fn wildcards_stay_inside_and_off_dollar_topics() {
        let acme = tenant("acme");
        for filter in ["#", "+/#", "+/+/+", "/#"] {
            let mounted = acme.filter(filter).plain;
            for (other, topic) in [
                (tenant("acme2"), "a/b/c"),
                (tenant("acm"), "e/b/c"),
                (Mount::Open, "a/b/c"),
                (Mount::Open, "acme/b/c"),
                (acme.clone(), "$SYS/b/c"),
            ] {
                assert!(!matches(&other.topic(topic), &mounted), "{filter} of acme matches {topic} of {other:?}");
            }
        }
        assert!(matches(&acme.topic("a/b"), &acme.filter("#").plain));
        assert!(matches(&acme.topic("$SYS/b"), &acme.filter("$SYS/#").plain));
        assert!(matches(&acme.topic("a"), &acme.filter("a/#").plain));
    }

    #[test]
    fn share_groups_differ_by_tenant_filter_and_name() {
        let paths = [
            tenant("a").filter("$share/g/x/y").path,
            tenant("b").filter("$share/g/x/y").path,
            Mount::Open.filter("$share/g/x/y").path,
            tenant("a").filter("$share/h/x/y").path,
            tenant("a").filter("$share/g/x/z").path,
            tenant("a").filter("$share/g/x\u{1}2y").path,
            tenant("a").filter("$share/g/x\u{1}y").path,
        ];
        let groups: std::collections::HashSet<_> = paths.iter().map(|path| path.split('/').nth(1).unwrap()).collect();
        assert_eq!(groups.len(), paths.len());
        let system = tenant("a").filter("$share/g/$SYS/#").plain;
        assert!(matches(&tenant("a").topic("$SYS/x"), &system) && !matches(&tenant("a").topic("x/SYS/x"), &system));
        let shared = tenant("a").filter("$share/g/#").plain;
        assert!(matches(&tenant("a").topic("x"), &shared) && shared != tenant("a").filter("#").plain);
        for stranger in [tenant("b").topic("x"), Mount::Open.topic("a/x"), tenant("a").topic("$SYS/x")] {
            assert!(!matches(&stranger, &shared), "{stranger}");
        }
    }

    proptest! {
        #[test]
        fn no_filter_matches_another_mounts_topic(filter in "[a-c+#/$:]{1,8}", topic in "[a-c/$:]{1,8}", tenant_of_topic in "[a-c]{1,3}") {
            let own = tenant("b");
            let other = tenant(&tenant_of_topic);
            for mounted in [own.filter(&filter).plain, own.filter(&format!("$share/g/{filter}")).plain] {
            for other in [other.clone(), Mount::Open] {
                let topic = other.topic(&topic);
                prop_assert!(other == own || (!matches(&topic, &mounted) && own.unmount(&topic).is_none()));
            }
            }
        }
    }
}
