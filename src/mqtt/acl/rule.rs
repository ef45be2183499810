//! `[[mqtt.acl]]`: rules that come before what the roles may do by themselves.

use serde::{Deserialize, Serialize};

use super::Verb;
use super::pattern::{self, Pattern};
use crate::auth::Role;

/// Most rules.
const RULES_MAX: usize = 64;

/// Stands for every role.
const EVERY_ROLE: &str = "*";

/// The first level of everything that belongs to a tenant.
const TENANT_LEVEL: &str = "tenant";

const ROLES: [Role; 4] = [Role::OpsAdmin, Role::Dispatcher, Role::Driver, Role::Device];

/// One rule, as it is configured. The first that speaks of role, action and topic decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Whom it speaks of: a role's name, or `*` for all. In open mode everybody is an `ops_admin`.
    pub role: String,
    /// `publish` (wills too), `subscribe` or `all`.
    pub action: String,
    /// `allow` or `deny`.
    pub effect: String,
    /// A topic filter, with `{tenant}` and `{driver}` for the principal's own.
    pub topic: String,
}

/// A rule that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRule {
    /// Which of its keys; empty for the list as a whole.
    pub key: &'static str,
    /// What stands there, and in which entry.
    pub found: String,
    /// What may stand there.
    pub wants: String,
}

/// A rule, ready to be asked.
#[derive(Debug)]
pub(super) struct Compiled {
    role: Option<Role>,
    publishes: bool,
    subscribes: bool,
    pub(super) allows: bool,
    pub(super) topic: Pattern,
}

impl Compiled {
    pub(super) fn speaks_of(&self, verb: Verb) -> bool {
        match verb {
            Verb::Publish => self.publishes,
            Verb::Subscribe => self.subscribes,
        }
    }

    pub(super) fn speaks_to(&self, role: Role) -> bool {
        self.role.is_none_or(|named| named == role)
    }
}

/// Reads all rules.
pub(super) fn compile(rules: &[Rule]) -> Result<Vec<Compiled>, InvalidRule> {
    if rules.len() > RULES_MAX {
        let wants = format!("at most {RULES_MAX} entries");
        return Err(InvalidRule { key: "", found: format!("{} entries", rules.len()), wants });
    }
    let read = |(index, rule): (usize, &Rule)| {
        compile_one(rule).map_err(|(key, found, wants)| InvalidRule {
            key,
            found: format!("{found:?} in entry {}", index + 1),
            wants,
        })
    };
    rules.iter().enumerate().map(read).collect()
}

fn compile_one(rule: &Rule) -> Result<Compiled, (&'static str, &str, String)> {
    let role = match &rule.role[..] {
        EVERY_ROLE => None,
        name => Some(ROLES.into_iter().find(|role| role.as_str() == name).ok_or_else(|| {
            let names = ROLES.map(Role::as_str).join(", ");
            ("role", name, format!("one of {names}, or {EVERY_ROLE} for all"))
        })?),
    };
    let (publishes, subscribes) = match &rule.action[..] {
        "publish" => (true, false),
        "subscribe" => (false, true),
        "all" => (true, true),
        other => return Err(("action", other, "publish, subscribe or all".to_owned())),
    };
    let allows = match &rule.effect[..] {
        "allow" => true,
        "deny" => false,
        other => return Err(("effect", other, "allow or deny".to_owned())),
    };
    let topic = Pattern::read(&rule.topic).map_err(|wants| ("topic", &rule.topic[..], wants))?;
    if allows && names_other_tenants(&rule.topic) {
        let wants = format!(
            "a topic of the principal's own tenant, {TENANT_LEVEL}/{}/.., or one outside {TENANT_LEVEL}/, since no rule lets \
             anybody into another tenant",
            pattern::TENANT
        );
        return Err(("topic", &rule.topic, wants));
    }
    Ok(Compiled { role, publishes, subscribes, allows, topic })
}

/// Whether a rule's topic could lie in a tenant other than the principal's.
fn names_other_tenants(topic: &str) -> bool {
    let mut levels = topic.split('/');
    match levels.next() {
        Some(TENANT_LEVEL) => levels.next().is_some_and(|level| level != pattern::TENANT),
        Some(first) => first == "+" || first == "#" || first.starts_with('{'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(role: &str, action: &str, effect: &str, topic: &str) -> Rule {
        let [role, action, effect, topic] = [role, action, effect, topic].map(str::to_owned);
        Rule { role, action, effect, topic }
    }

    #[test]
    fn rules_that_cannot_be_meant_name_their_entry_and_key() {
        let good = rule("*", "all", "deny", "#");
        for (bad, key, found) in [
            (rule("boss", "all", "deny", "a"), "role", "\"boss\" in entry 2"),
            (rule("*", "read", "deny", "a"), "action", "\"read\" in entry 2"),
            (rule("*", "all", "forbid", "a"), "effect", "\"forbid\" in entry 2"),
            (rule("*", "all", "deny", "a#"), "topic", "\"a#\" in entry 2"),
            (rule("*", "all", "allow", "tenant/acme/x"), "topic", "\"tenant/acme/x\" in entry 2"),
            (rule("*", "all", "allow", "tenant/#"), "topic", "\"tenant/#\" in entry 2"),
            (rule("*", "all", "allow", "tenant/+/x"), "topic", "\"tenant/+/x\" in entry 2"),
            (rule("*", "all", "allow", "+/x"), "topic", "\"+/x\" in entry 2"),
            (rule("*", "all", "allow", "#"), "topic", "\"#\" in entry 2"),
            (rule("*", "all", "allow", "{driver}/x"), "topic", "\"{driver}/x\" in entry 2"),
        ] {
            let invalid = compile(&[good.clone(), bad]).unwrap_err();
            assert_eq!((invalid.key, &invalid.found[..]), (key, found), "{}", invalid.wants);
        }
        for topic in ["tenant", "tenant/{tenant}", "tenant/{tenant}/#", "owntracks/{driver}/cmd", "$SYS/#"] {
            assert!(compile(&[rule("driver", "publish", "allow", topic)]).is_ok(), "{topic}");
        }
        let invalid = compile(&vec![good; RULES_MAX + 1]).unwrap_err();
        assert_eq!((invalid.key, &invalid.found[..]), ("", "65 entries"));
    }
}
