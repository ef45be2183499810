//! `[tenant.NAME.rules]`: the rules that one tenant has otherwise than the others.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::{Invalid, Origin};
use crate::ids::TenantId;
use crate::pipeline::{RuleBook, Rules};

/// The section of all of them.
pub(super) const SECTION: &str = "tenant";

/// What one tenant has otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tenant {
    /// Keys of `[rules]` with the values that are this tenant's. The others are as there, whatever is written there later.
    pub rules: Table,
}

/// What may stand in a tenant's section: the rules as they are.
pub(super) fn defaults(all: &Table) -> Value {
    Value::Table(
        all.iter().filter(|(name, _)| *name == "rules").map(|(name, rules)| (name.clone(), rules.clone())).collect(),
    )
}

/// A key in a tenant's section, and which it is there; `None` if it is of no tenant.
pub(super) fn within<'a>(key: &'a [String], origin: &Origin) -> Result<Option<&'a [String]>, Invalid> {
    match key {
        [section, tenant, within @ ..] if section == SECTION => match TenantId::new(tenant) {
            Ok(_) => Ok(Some(within)),
            Err(error) => Err(Invalid {
                origin: origin.clone(),
                key: Some(key.join(".")),
                found: format!("\"{tenant}\""),
                wants: format!("the id of a tenant after \"{SECTION}.\": {error}"),
            }),
        },
        _ => Ok(None),
    }
}

/// The rules of all tenants: each has the defaults, and over them its own.
pub(super) fn rule_book(defaults: &Rules, tenants: &BTreeMap<String, Tenant>) -> RuleBook {
    let all = Table::try_from(defaults).expect("the section of rules serialises: a test does it");
    let with = |own: &Table| -> Rules {
        let rules = all.clone().into_iter().chain(own.clone()).collect::<Table>();
        rules.try_into().expect("each key was checked when it was read")
    };
    let own = tenants.iter().filter_map(|(name, tenant)| Some((TenantId::new(name).ok()?, with(&tenant.rules))));
    RuleBook::new(defaults.clone(), own.collect::<HashMap<_, _>>())
}
