//! The matrix: every role, every verb, and every name that a small vocabulary makes, held against a model.
//!
//! The model knows no prefixes and no rules about wildcards. It says of each single topic who may read and write it, and
//! takes a filter for allowed if every topic that the vocabulary knows for it is.

mod wire;

use std::collections::BTreeSet;

use super::*;
use crate::ids::{DriverId, TenantId};

const OWN: &str = "acme";
const OWN_DRIVER: &str = "d1";

/// Levels that stand in for wildcards: all that a rule or a role looks at, some that nobody does, and none.
const WORDS: [&str; 9] = ["tenant", "acme", "globex", "driver", "d1", "d2", "command", "zz", ""];

const TOPICS: [&str; 26] = [
    "tenant",
    "tenant/acme",
    "tenant/acm/x",
    "tenant/acme/x",
    "tenant/acme/driver/d1",
    "tenant/acme/driver/d1/location",
    "tenant/acme/driver/d1/status/a",
    "tenant/acme/driver/d1/command/go",
    "tenant/acme/driver/d2/location",
    "tenant/acme/driver/d2/command/go",
    "tenant/acme/driver/d11/location",
    "tenant/acme/drivers/d1/location",
    "tenant/acme/geofence/g1/enter",
    "tenant/globex/geofence/g1/enter",
    "tenant/globex/driver/d1/location",
    "tenant/globex/driver/d1/command/go",
    "tenant//driver/d1/location",
    "/tenant/acme/driver/d1/location",
    "Tenant/acme/driver/d1/location",
    "mapped/d1",
    "mapped/d2",
    "foreign/d1",
    "misc",
    "misc/d1/x",
    "$SYS/broker",
    "acme/driver/d1",
];

/// Rules of a configuration: role, action, effect, topic.
type RuleSet = &'static [[&'static str; 4]];

const RULE_SETS: [RuleSet; 4] = [
    &[],
    &[["*", "subscribe", "deny", "misc"], ["*", "publish", "deny", "misc/#"], ["*", "all", "deny", "$SYS/#"]],
    &[
        ["dispatcher", "publish", "allow", "tenant/{tenant}/driver/+/command/#"],
        ["device", "all", "allow", "misc/{driver}/#"],
        ["*", "publish", "deny", "mapped/{driver}"],
        ["ops_admin", "all", "deny", "tenant/+/driver/d2/#"],
        ["*", "all", "allow", "misc/#"],
    ],
    &[["*", "all", "allow", "tenant/{tenant}/driver/{driver}/command/#"], ["*", "all", "deny", "#"]],
];

fn configured(rules: RuleSet) -> Vec<Rule> {
    let entry = |rule: &[&str; 4]| {
        let [role, action, effect, topic] = rule.map(str::to_owned);
        Rule { role, action, effect, topic }
    };
    rules.iter().map(entry).collect()
}

fn principals() -> Vec<Option<Principal>> {
    let mut principals = vec![None];
    for role in [Role::OpsAdmin, Role::Dispatcher, Role::Driver, Role::Device] {
        for driver in [None, Some(DriverId::new(OWN_DRIVER).unwrap())] {
            let tenant = TenantId::new(OWN).unwrap();
            principals.push(Some(Principal { tenant, role, subject: "x".into(), driver, expires_at: None }));
        }
    }
    principals
}

/// Whose fixes a topic carries: as the door tells them, with `mapped/{driver}` of the own tenant and `foreign/{driver}` of
/// another.
fn fixes_of(topic: &str) -> Option<FixesOf<'_>> {
    match topic.split('/').collect::<Vec<_>>()[..] {
        ["tenant", tenant, "driver", driver, "location"] => Some(FixesOf { tenant, driver }),
        ["mapped", driver] => Some(FixesOf { tenant: OWN, driver }),
        ["foreign", driver] => Some(FixesOf { tenant: "globex", driver }),
        _ => None,
    }
}

/// MQTT's matching, written down as section 4.7 tells it.
fn matches(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        (["#"], _) => true,
        ([], []) => true,
        ([level, filter @ ..], [text, topic @ ..]) => (*level == "+" || level == text) && matches(filter, topic),
        _ => false,
    }
}

fn levels(name: &str) -> Vec<&str> {
    name.split('/').collect()
}

fn matches_topic(filter: &str, topic: &str) -> bool {
    let is_hidden = topic.starts_with('$') && !filter.starts_with('$');
    !is_hidden && matches(&levels(filter), &levels(topic))
}

/// What the model says of one topic, all rules apart.
fn model_role(who: &Principal, writes: bool, topic: &str) -> bool {
    let is_own_driver = |driver: &str| who.driver.as_ref().is_some_and(|own| own.as_str() == driver);
    let fixes = fixes_of(topic);
    match (who.role, writes) {
        (Role::Dispatcher, true) => false,
        (Role::OpsAdmin, true) if fixes.is_some() => true,
        (Role::Driver | Role::Device, true) if fixes.is_some() => is_own_driver(fixes.unwrap().driver),
        (Role::OpsAdmin | Role::Dispatcher, _) => levels(topic).starts_with(&["tenant", OWN]),
        (Role::Driver | Role::Device, _) => match levels(topic)[..] {
            ["tenant", OWN, "driver", _, "command", ..] if writes => false,
            ["tenant", OWN, "driver", driver, ..] => is_own_driver(driver),
            _ => false,
        },
    }
}

/// What the model says of all these topics at once, which are those of one filter, or one to be written to.
fn model(who: Option<&Principal>, writes: bool, topics: &BTreeSet<String>, rules: RuleSet) -> bool {
    let crosses = |topic: &String| {
        let named = levels(topic);
        let elsewhere = writes && fixes_of(topic).is_some_and(|fixes| fixes.tenant != OWN);
        elsewhere || (named[0] == "tenant" && named.get(1).is_some_and(|tenant| *tenant != OWN))
    };
    if who.is_some() && topics.iter().any(crosses) {
        return false;
    }
    for [role, action, effect, pattern] in rules {
        let is_role = *role == "*" || *role == who.map_or("ops_admin", |who| who.role.as_str());
        let is_action = *action == "all" || *action == if writes { "publish" } else { "subscribe" };
        let driver = match who {
            None => "+",
            Some(who) => who.driver.as_ref().map_or("nobody/at/all", |driver| driver.as_str()),
        };
        let tenant = if who.is_some() { OWN } else { "+" };
        let pattern = pattern.replace("{tenant}", tenant).replace("{driver}", driver);
        if is_role && is_action && topics.iter().all(|topic| matches_topic(&pattern, topic)) {
            return *effect == "allow";
        }
    }
    who.is_none_or(|who| topics.iter().all(|topic| model_role(who, writes, topic)))
}

/// Filters with up to two levels of a topic replaced by `+`, cut anywhere and ended with `#`, and shared.
fn filters() -> BTreeSet<String> {
    let mut filters = BTreeSet::from(["#".to_owned(), "+".to_owned(), "+/#".to_owned()]);
    for topic in TOPICS {
        let named = levels(topic);
        for mask in 0_u32..1 << named.len() {
            if mask.count_ones() > 2 {
                continue;
            }
            let with_plus = |(index, text): (usize, &&'static str)| if mask >> index & 1 == 1 { "+" } else { text };
            let filter: Vec<&str> = named.iter().enumerate().map(with_plus).collect();
            filters.insert(filter.join("/"));
            for cut in 1..=filter.len() {
                filters.insert(format!("{}/#", filter[..cut].join("/")));
            }
        }
    }
    let shared: Vec<String> = filters.iter().map(|filter| format!("$share/group/{filter}")).collect();
    filters.extend(shared);
    filters
}

/// The topics that the vocabulary knows for a filter.
fn topics_of(filter: &str) -> BTreeSet<String> {
    let plain = filter.strip_prefix("$share/group/").unwrap_or(filter);
    let mut topics = vec![Vec::new()];
    for level in levels(plain) {
        topics = match level {
            "+" => topics.iter().flat_map(|topic| WORDS.map(|word| [&topic[..], &[word]].concat())).collect(),
            "#" => {
                let ends = [&[][..], &["zz"], &["zz", "zz"], &["acme"], &["globex", "x"], &["command"]];
                topics.iter().flat_map(|topic| ends.map(|end| [&topic[..], end].concat())).collect()
            }
            text => topics.into_iter().map(|topic| [&topic[..], &[text]].concat()).collect(),
        };
    }
    let mut topics: BTreeSet<String> =
        topics.into_iter().filter(|topic| !topic.is_empty()).map(|topic| topic.join("/")).collect();
    topics.extend(TOPICS.into_iter().filter(|topic| matches_topic(plain, topic)).map(str::to_owned));
    topics.remove("");
    topics
}

#[test]
fn every_role_verb_and_name_is_as_the_model_says() {
    let filters: Vec<(String, BTreeSet<String>)> =
        filters().into_iter().map(|name| (name.clone(), topics_of(&name))).collect();
    let (mut cases, mut allowed) = (0, 0);
    for rules in RULE_SETS {
        let acl = Acl::new(&configured(rules)).unwrap();
        for who in principals() {
            let who = who.as_ref();
            for topic in TOPICS {
                let expected = model(who, true, &BTreeSet::from([topic.to_owned()]), rules);
                let found = acl.may_publish(who, topic, fixes_of(topic));
                assert_eq!(found, expected, "{who:?} publishes on {topic} with {rules:?}");
                (cases, allowed) = (cases + 1, allowed + usize::from(found));
            }
            for (filter, topics) in &filters {
                let expected = model(who, false, topics, rules);
                let found = acl.may_subscribe(who, filter);
                assert_eq!(found, expected, "{who:?} subscribes to {filter} with {rules:?}");
                (cases, allowed) = (cases + 1, allowed + usize::from(found));
            }
        }
    }
    assert!(cases > 10_000 && allowed > 500 && allowed < cases / 2, "{cases} cases, {allowed} allowed");
}

/// Whatever was subscribed to, a message gets through only if its own topic might have been subscribed to, as far as the
/// rules go.
#[test]
fn what_a_rule_denies_is_not_delivered_through_a_wider_filter() {
    for rules in RULE_SETS {
        let acl = Acl::new(&configured(rules)).unwrap();
        for who in principals() {
            let who = who.as_ref();
            for topic in TOPICS {
                // Of a single topic the model's word is the rules' word, once the role has allowed it.
                let denied = !model(who, false, &BTreeSet::from([topic.to_owned()]), rules)
                    && who.is_none_or(|who| model_role(who, false, topic));
                if denied {
                    assert!(!acl.may_deliver(who, topic, false), "{who:?} {topic} {rules:?}");
                }
                let may = acl.may_subscribe(who, topic);
                if may {
                    assert!(acl.may_deliver(who, topic, false), "{who:?} {topic} {rules:?}");
                }
                assert_eq!(acl.may_deliver(who, topic, true), may, "{who:?} {topic} {rules:?}");
            }
        }
    }
    let deny =
        Rule { role: "*".into(), action: "subscribe".into(), effect: "deny".into(), topic: "test/secret".into() };
    let acl = Acl::new(&[deny]).unwrap();
    assert!(acl.may_subscribe(None, "#") && !acl.may_deliver(None, "test/secret", false));
    assert!(!acl.may_subscribe(None, "test/secret") && acl.may_deliver(None, "test/other", false));
    assert!(!acl.may_subscribe(None, "$share/g/test/secret") && acl.may_publish(None, "test/secret", None));
}
