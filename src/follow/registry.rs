//! The geofences in force, for whoever reads them: what the follower has applied so far.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::watch;

use crate::geo::fence::FenceRules;
use crate::ids::{FenceId, TenantId};

/// A fence as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The frame of the change that made it.
    pub version: u64,
    /// Its description: a [`FenceSpec`](crate::geo::fence::FenceSpec) in JSON.
    pub spec: Arc<[u8]>,
    /// Memory that the fence takes that it describes.
    pub built_bytes: usize,
}

impl Kept {
    /// What it counts for [`Config::bytes_max`](super::Config::bytes_max).
    pub(super) fn bytes(&self) -> usize {
        self.spec.len() + self.built_bytes
    }
}

/// All fences in force. The follower writes it, anybody reads.
#[derive(Debug)]
pub struct Registry {
    fences: RwLock<Fences>,
    applied: watch::Sender<u64>,
}

/// What the registry holds, at one instant.
#[derive(Debug, Default)]
pub(super) struct Fences {
    tenants: HashMap<TenantId, BTreeMap<FenceId, Kept>>,
    bytes: usize,
    /// By what the fences of each tenant are judged that ever had one.
    rules: HashMap<TenantId, FenceRules>,
    /// The frame up to which all changes are in it.
    applied: u64,
}

impl Default for Registry {
    fn default() -> Self {
        Self { fences: RwLock::default(), applied: watch::Sender::new(0) }
    }
}

impl Registry {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Fences> {
        self.fences.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A tenant's fence.
    pub fn get(&self, tenant: &str, id: &str) -> Option<Kept> {
        self.read().get(tenant, id).cloned()
    }

    /// A tenant's fences in the order of their ids, those behind `after`, `limit` at most or what takes so many bytes; and
    /// whether there are more.
    pub fn list(
        &self,
        tenant: &str,
        after: Option<&FenceId>,
        limit: usize,
        bytes_max: usize,
    ) -> (Vec<(FenceId, Kept)>, bool) {
        let fences = self.read();
        let Some(of_tenant) = fences.tenants.get(tenant) else { return (Vec::new(), false) };
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut page = Vec::new();
        let mut bytes = 0;
        for (id, kept) in of_tenant.range::<FenceId, _>((begin, Bound::Unbounded)) {
            if page.len() == limit || bytes > bytes_max {
                return (page, true);
            }
            bytes += kept.spec.len();
            page.push((id.clone(), kept.clone()));
        }
        (page, false)
    }

    /// How many fences each tenant has that has any.
    pub fn counts(&self) -> Vec<(TenantId, usize)> {
        self.read().tenants.iter().map(|(tenant, fences)| (tenant.clone(), fences.len())).collect()
    }

    /// Waits until the changes up to this frame are in force.
    pub async fn wait_for(&self, sequence: u64) {
        // The sender is this registry's own, and does not go while it is asked.
        drop(self.applied.subscribe().wait_for(|applied| *applied >= sequence).await);
    }

    /// Puts a fence, or removes it where `kept` is `None`.
    pub(super) fn change(&self, tenant: &TenantId, id: &FenceId, kept: Option<Kept>) {
        let mut fences = self.fences.write().unwrap_or_else(PoisonError::into_inner);
        fences.change(tenant, id, kept);
    }

    /// From now on a tenant's fences are judged by these.
    pub(super) fn rule(&self, tenant: &TenantId, rules: FenceRules) {
        self.fences.write().unwrap_or_else(PoisonError::into_inner).rules.insert(tenant.clone(), rules);
    }

    /// All changes up to this frame are in it.
    pub(super) fn applied_to(&self, sequence: u64) {
        self.fences.write().unwrap_or_else(PoisonError::into_inner).applied = sequence;
        self.applied.send_replace(sequence);
    }
}

impl Fences {
    pub(super) fn get(&self, tenant: &str, id: &str) -> Option<&Kept> {
        self.tenants.get(tenant)?.get(id)
    }

    /// How many fences a tenant has.
    pub(super) fn len_of(&self, tenant: &str) -> usize {
        self.tenants.get(tenant).map_or(0, BTreeMap::len)
    }

    /// How many tenants have fences.
    pub(super) fn tenants(&self) -> usize {
        self.tenants.len()
    }

    /// By what a tenant's fences are judged, once it had one.
    pub(super) fn rules_of(&self, tenant: &str) -> Option<FenceRules> {
        self.rules.get(tenant).copied()
    }

    /// Bytes of all descriptions, and of the fences that they describe.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn applied(&self) -> u64 {
        self.applied
    }

    fn change(&mut self, tenant: &TenantId, id: &FenceId, kept: Option<Kept>) {
        let former = match kept {
            Some(kept) => {
                self.bytes += kept.bytes();
                self.tenants.entry(tenant.clone()).or_default().insert(id.clone(), kept)
            }
            None => self.tenants.get_mut(tenant).and_then(|fences| fences.remove(id)),
        };
        self.bytes -= former.map_or(0, |former| former.bytes());
        if self.tenants.get(tenant).is_some_and(BTreeMap::is_empty) {
            self.tenants.remove(tenant);
        }
    }
}
