//! Who may publish and subscribe where.
//!
//! In this order: nobody leaves its tenant, whatever is configured; the first rule of the configuration that speaks of the
//! topic decides; the roles decide the rest ([`builtin`]). In open mode there is no tenant to leave and no role to ask: what
//! no rule denies is allowed.
//!
//! All of it is a pure function of the principal, the name and the rules. A principal does not change while its connection
//! lasts, so the answer for a topic may be kept as long.
//!
//! A filter is allowed as a whole or not at all; it is never narrowed. A rule speaks of a filter if every topic that the
//! filter matches lies in the rule's. So that a wider filter does not get round a rule that denies, what such a rule names is
//! not delivered either ([`Acl::may_deliver`]).

mod builtin;
mod pattern;
mod rule;
#[cfg(test)]
mod tests;

pub use rule::{InvalidRule, Rule};

use rule::Compiled;

use crate::auth::{Principal, Role};

/// Whose fixes an ingest topic carries, as the topic has the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FixesOf<'a> {
    pub(super) tenant: &'a str,
    pub(super) driver: &'a str,
}

/// The rules of the configuration, ready to be asked.
#[derive(Debug, Default)]
pub(super) struct Acl {
    rules: Vec<Compiled>,
    /// Whether there may be something in a subscription that must not be delivered.
    denies_deliveries: bool,
}

/// What a client wants of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Publish,
    Subscribe,
}

impl Acl {
    /// Reads the rules.
    pub(super) fn new(rules: &[Rule]) -> Result<Self, InvalidRule> {
        let rules = rule::compile(rules)?;
        let denies_deliveries = rules.iter().any(|rule| !rule.allows && rule.speaks_of(Verb::Subscribe));
        Ok(Self { rules, denies_deliveries })
    }

    /// Whether a topic may be published on, by a PUBLISH or a will. `fixes_of` if it is an ingest topic.
    pub(super) fn may_publish(&self, who: Option<&Principal>, topic: &str, fixes_of: Option<FixesOf<'_>>) -> bool {
        if let Some(principal) = who
            && !builtin::stays_with_tenant(principal, topic, fixes_of)
        {
            return false;
        }
        match (self.ruled(who, Verb::Publish, topic), who) {
            (Some(allows), _) => allows,
            (None, Some(principal)) => builtin::may_publish(principal, topic, fixes_of),
            (None, None) => true,
        }
    }

    /// Whether a filter, shared or not, may be subscribed to.
    pub(super) fn may_subscribe(&self, who: Option<&Principal>, filter: &str) -> bool {
        let filter = plain(filter);
        if let Some(principal) = who
            && !builtin::filter_stays_with_tenant(principal, filter)
        {
            return false;
        }
        match (self.ruled(who, Verb::Subscribe, filter), who) {
            (Some(allows), _) => allows,
            (None, Some(principal)) => builtin::may_subscribe(principal, filter),
            (None, None) => true,
        }
    }

    /// Whether a message on this topic may be delivered to a client. If its filter was allowed under these rules, only one of
    /// them can deny it; what it subscribed to in a session that goes on was perhaps allowed under others.
    pub(super) fn may_deliver(&self, who: Option<&Principal>, topic: &str, is_resumed: bool) -> bool {
        if is_resumed {
            return self.may_subscribe(who, topic);
        }
        !self.denies_deliveries || self.ruled(who, Verb::Subscribe, topic) != Some(false)
    }

    /// What the first rule says that speaks of this; `None` if none does.
    fn ruled(&self, who: Option<&Principal>, verb: Verb, name: &str) -> Option<bool> {
        // As over HTTP, where whoever asks in open mode is taken for the operator.
        let role = who.map_or(Role::OpsAdmin, |principal| principal.role);
        let speaks = |rule: &&Compiled| rule.speaks_of(verb) && rule.speaks_to(role) && rule.topic.covers(who, name);
        self.rules.iter().find(speaks).map(|rule| rule.allows)
    }
}

/// A filter without `$share/{group}/` before it.
fn plain(filter: &str) -> &str {
    let shared = filter.strip_prefix("$share/").and_then(|shared| shared.split_once('/'));
    shared.map_or(filter, |(_, plain)| plain)
}
