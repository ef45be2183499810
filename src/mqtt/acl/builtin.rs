//! What the roles may do where no rule of the configuration says otherwise.
//!
//! | role | publishes | subscribes |
//! |---|---|---|
//! | `device`, `driver` | on ingest topics that carry its own fixes; on `tenant/{tenant}/driver/{driver}/#`, but for `command` | within `tenant/{tenant}/driver/{driver}/#` |
//! | `dispatcher` | nothing | within `tenant/{tenant}/#` |
//! | `ops_admin` | on ingest topics of its tenant; on `tenant/{tenant}/#` | within `tenant/{tenant}/#` |
//!
//! A topic outside `tenant/` that carries no fixes is nobody's, unless a rule gives it to somebody. A device publishes no commands to itself: what it finds retained below `command` was said by somebody who may. A device or
//! driver whose credentials name no driver may do nothing.

use super::FixesOf;
use crate::auth::{Principal, Role};

/// The first level of everything that belongs to a tenant.
const TENANT: &str = "tenant";

/// The level above drivers' ids.
const DRIVER: &str = "driver";

/// The level below a driver's id under which it is told what to do.
const COMMAND: &str = "command";

/// Whether a topic names no other tenant, and whose fixes it carries is of this one.
pub(super) fn stays_with_tenant(principal: &Principal, topic: &str, fixes_of: Option<FixesOf<'_>>) -> bool {
    let tenant = principal.tenant.as_str();
    let mut levels = topic.split('/');
    let names_own = levels.next() != Some(TENANT) || levels.next().is_none_or(|named| named == tenant);
    names_own && fixes_of.is_none_or(|fixes| fixes.tenant == tenant)
}

/// Whether a plain filter can match no topic that names another tenant.
pub(super) fn filter_stays_with_tenant(principal: &Principal, filter: &str) -> bool {
    let mut levels = filter.split('/');
    match levels.next() {
        Some("+" | "#") => false,
        Some(TENANT) => levels.next().is_none_or(|named| named == principal.tenant.as_str()),
        _ => true,
    }
}

/// Whether the role publishes here, on a topic that stays with its tenant.
pub(super) fn may_publish(principal: &Principal, topic: &str, fixes_of: Option<FixesOf<'_>>) -> bool {
    match (principal.role, fixes_of) {
        (Role::OpsAdmin, Some(_)) => true,
        (Role::OpsAdmin, None) => below_tenant(principal, topic).is_some(),
        (Role::Dispatcher, _) => false,
        (Role::Driver | Role::Device, Some(fixes)) => {
            principal.driver.as_ref().is_some_and(|driver| driver.as_str() == fixes.driver)
        }
        (Role::Driver | Role::Device, None) => {
            below_driver(principal, topic).is_some_and(|mut levels| levels.next() != Some(COMMAND))
        }
    }
}

/// Whether the role subscribes to this plain filter, which stays with its tenant.
pub(super) fn may_subscribe(principal: &Principal, filter: &str) -> bool {
    match principal.role {
        Role::OpsAdmin | Role::Dispatcher => below_tenant(principal, filter).is_some(),
        Role::Driver | Role::Device => below_driver(principal, filter).is_some(),
    }
}

/// The levels of a name behind `tenant/{tenant}`; `None` if it does not begin so.
fn below_tenant<'a>(principal: &Principal, name: &'a str) -> Option<impl Iterator<Item = &'a str>> {
    let mut levels = name.split('/');
    (levels.next() == Some(TENANT) && levels.next() == Some(principal.tenant.as_str())).then_some(levels)
}

/// The levels of a name behind `tenant/{tenant}/driver/{driver}`; `None` if it does not begin so.
fn below_driver<'a>(principal: &Principal, name: &'a str) -> Option<impl Iterator<Item = &'a str>> {
    let driver = principal.driver.as_ref()?;
    let mut levels = below_tenant(principal, name)?;
    (levels.next() == Some(DRIVER) && levels.next() == Some(driver.as_str())).then_some(levels)
}
