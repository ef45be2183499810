//! What each role may do with drivers and their fixes, whichever door it comes through.

use super::{Principal, Role};
use crate::ids::{DriverId, TenantId};

impl Role {
    /// Whether whoever has it is one driver, and nothing beyond.
    pub fn is_driver(self) -> bool {
        matches!(self, Self::Driver | Self::Device)
    }
}

impl Principal {
    /// Whether it may bring fixes of this driver of its tenant.
    pub fn may_report(&self, driver: &DriverId) -> bool {
        match self.role {
            Role::OpsAdmin => true,
            Role::Dispatcher => false,
            Role::Driver | Role::Device => self.is(driver),
        }
    }

    /// Whether it may see where this driver of its tenant is and was.
    pub fn may_see(&self, driver: &DriverId) -> bool {
        self.may_see_fleet() || self.is(driver)
    }

    /// Whether it may see where all drivers of its tenant are.
    pub fn may_see_fleet(&self) -> bool {
        !self.role.is_driver()
    }

    /// Whether it may see what was refused of this driver of its tenant, payloads included.
    pub fn may_see_rejections(&self, driver: &DriverId) -> bool {
        self.may_report(driver)
    }

    /// Whether it may use the operator's port: an `ops_admin`, of `tenant` if that is given.
    pub fn may_operate(&self, tenant: Option<&TenantId>) -> bool {
        self.role == Role::OpsAdmin && tenant.is_none_or(|tenant| *tenant == self.tenant)
    }

    fn is(&self, driver: &DriverId) -> bool {
        self.driver.as_ref() == Some(driver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_has_its_rights() {
        let id = |text| DriverId::new(text).unwrap();
        // Role, driver of the principal; may it, for d1: report, see, see the fleet, see rejections.
        let cases = [
            (Role::OpsAdmin, None, [true, true, true, true]),
            (Role::Dispatcher, None, [false, true, true, false]),
            (Role::Dispatcher, Some("d1"), [false, true, true, false]),
            (Role::Driver, Some("d1"), [true, true, false, true]),
            (Role::Driver, Some("d2"), [false, false, false, false]),
            (Role::Device, Some("d1"), [true, true, false, true]),
            (Role::Device, Some("d2"), [false, false, false, false]),
            (Role::Device, None, [false, false, false, false]),
        ];
        for (role, driver, expected) in cases {
            let principal = Principal { role, driver: driver.map(id), ..Principal::open(None).unwrap() };
            let d1 = id("d1");
            let found = [
                principal.may_report(&d1),
                principal.may_see(&d1),
                principal.may_see_fleet(),
                principal.may_see_rejections(&d1),
            ];
            assert_eq!(found, expected, "{role:?} {driver:?}");
            assert_eq!(principal.may_operate(None), role == Role::OpsAdmin);
        }
        let admin = Principal::open(Some("acme")).unwrap();
        assert!(admin.may_operate(Some(&TenantId::new("acme").unwrap())));
        assert!(!admin.may_operate(Some(&TenantId::new("ops").unwrap())));
    }
}
