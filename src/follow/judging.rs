//! Each tenant's fences, and where its drivers stand to them: in memory, changed by one thread alone.

use std::collections::HashMap;
use std::hash::BuildHasher;

use fjall::OwnedWriteBatch;
use hashbrown::HashTable;

use super::event::{Fresh, body};
use super::registry::{Kept, Registry};
use super::rules::RULES_ID;
use super::tables::{Tables, key, malformed, split};
use super::{Error, rules};
use crate::fix::Fix;
use crate::geo::fence::{DriverFences, Fence, FenceEvent, FenceRules, FenceSet, FenceSpec, Judge};
use crate::ids::{DriverId, FenceId, TenantId};
use crate::journal::ChangeKind;
use crate::sink::{Batch, OwnedChange};

/// Drivers whose states are not written, before they are without waiting for the next sync: what bounds such a write, at some
/// 150 bytes each.
const UNWRITTEN_MAX: usize = 200_000;

/// All tenants that ever had a fence.
#[derive(Debug, Default)]
pub(super) struct Judging {
    tenants: HashMap<TenantId, Tenant>,
    /// Tenants that have fences now.
    fenced: usize,
    unwritten: usize,
    /// One fix's events, while they are judged.
    events: Vec<FenceEvent>,
}

#[derive(Debug)]
struct Tenant {
    name: TenantId,
    fences: FenceSet,
    judge: Judge,
    drivers: Vec<Driver>,
    /// Places in `drivers`, by name.
    places: HashTable<u32>,
    hash: foldhash::fast::RandomState,
    /// Places of those that changed since they were written.
    unwritten: Vec<u32>,
    /// Rows of the `fences` keyspace that changed: by id, nothing where one goes. The rules have no id.
    changed: HashMap<Box<[u8]>, Option<Kept>>,
    /// Whether rows of drivers are there that nobody stands for any more.
    has_forgotten: bool,
}

#[derive(Debug)]
struct Driver {
    name: DriverId,
    state: DriverFences,
    is_written: bool,
}

impl Judging {
    /// What was written at the last checkpoint. The fences go into the registry too.
    pub(super) fn load(tables: &Tables, registry: &Registry) -> Result<Self, Error> {
        let mut judging = Self::default();
        let mut fences: Vec<(TenantId, Vec<Fence>)> = Vec::new();
        for guard in tables.fences.iter() {
            let (key, value) = guard.into_inner()?;
            let mut read = || {
                let (tenant, id) = split(&key)?;
                let tenant = TenantId::new(tenant).ok()?;
                let mut kept = kept_of(&value)?;
                if id.is_empty() {
                    let rules = rules::decode(&kept.spec)?;
                    judging.tenant(&tenant).judge = Judge::new(rules);
                    registry.rule(&tenant, rules);
                    return Some(());
                }
                let id = FenceId::new(std::str::from_utf8(id).ok()?).ok()?;
                let spec: FenceSpec = serde_json::from_slice(&kept.spec).ok()?;
                let fence = Fence::new(id.clone(), kept.version, &spec).ok()?;
                kept.built_bytes = fence.len_bytes();
                registry.change(&tenant, &id, Some(kept));
                match fences.last_mut().filter(|(last, _)| *last == tenant) {
                    Some((_, fences)) => fences.push(fence),
                    None => fences.push((tenant, vec![fence])),
                }
                Some(())
            };
            read().ok_or_else(|| malformed(&key))?;
        }
        for (tenant, fences) in fences {
            judging.tenant(&tenant).fences = fences.into_iter().collect();
            judging.fenced += 1;
        }
        for guard in tables.drivers.iter() {
            let (key, value) = guard.into_inner()?;
            let read = || {
                let (tenant, name) = split(&key)?;
                let name = DriverId::new(std::str::from_utf8(name).ok()?).ok()?;
                Some((TenantId::new(tenant).ok()?, name, DriverFences::decode(&value)?))
            };
            let (tenant, name, state) = read().ok_or_else(|| malformed(&key))?;
            let tenant = judging.tenant(&tenant);
            let place = tenant.place_of(name.as_str());
            let driver = &mut tenant.drivers[place as usize];
            driver.state = state;
        }
        Ok(judging)
    }

    fn tenant(&mut self, name: &TenantId) -> &mut Tenant {
        self.tenants.entry(name.clone()).or_insert_with(|| Tenant::new(name.clone()))
    }

    /// Whether any tenant has fences.
    pub(super) fn has_fences(&self) -> bool {
        self.fenced > 0
    }

    /// Whether this one has.
    pub(super) fn has_fences_of(&self, tenant: &str) -> bool {
        self.tenants.get(tenant).is_some_and(|tenant| !tenant.fences.is_empty())
    }

    /// Drivers whose standing is kept.
    pub(super) fn drivers(&self) -> usize {
        self.tenants.values().map(|tenant| tenant.drivers.len()).sum()
    }

    /// Whether so much is not written that it should be without waiting.
    pub(super) fn is_full(&self) -> bool {
        self.unwritten >= UNWRITTEN_MAX
    }

    /// Judges the fixes of a batch, and gives what they show in the order of the journal.
    pub(super) fn judge(&mut self, batch: &Batch) -> Vec<Fresh> {
        let mut fresh = Vec::new();
        for run in batch.drivers() {
            let Some(tenant) = self.tenants.get_mut(run.tenant()).filter(|tenant| !tenant.fences.is_empty()) else {
                continue;
            };
            let place = tenant.place_of(run.driver());
            // A late fix is history, also for a driver whose newest the follower has not seen.
            for (number, fix, _) in run.numbered().filter(|(.., late)| !late) {
                tenant.judge(place, fix, &mut self.events);
                fresh.extend(self.events.drain(..).enumerate().map(|(nth, event)| Fresh {
                    number,
                    body: body(&tenant.name, run.driver(), fix, nth, &event),
                    tenant: tenant.name.clone(),
                    fence: event.fence,
                    kind: event.kind,
                }));
            }
            self.unwritten += usize::from(tenant.touch(place));
        }
        // Those of one fix stay in their order.
        fresh.sort_by_key(|event| event.number);
        fresh
    }

    /// Applies a change, for what is judged from now on; into the registry too.
    pub(super) fn change(&mut self, change: &OwnedChange, registry: &Registry) -> Result<(), Error> {
        let sequence = change.sequence;
        let unknown = || Error::Change { sequence };
        let name = TenantId::new(&change.tenant).map_err(|_| unknown())?;
        let kept = |built_bytes| Kept { version: sequence, spec: (*change.body).into(), built_bytes };
        if change.kind == ChangeKind::GeofenceRules {
            let rules = rules::decode(&change.body).filter(|_| *change.id == *RULES_ID).ok_or_else(unknown)?;
            self.tenant(&name).rule(rules, kept(0));
            registry.rule(&name, rules);
            return Ok(());
        }
        let id = FenceId::new(&change.id).map_err(|_| unknown())?;
        let kept = match change.kind {
            ChangeKind::GeofencePut => {
                let Some(fence) = fence_of(&id, sequence, &change.body) else { return Ok(()) };
                let kept = kept(fence.len_bytes());
                let tenant = self.tenant(&name);
                let is_first = tenant.fences.is_empty();
                tenant.fences.put(fence);
                self.fenced += usize::from(is_first);
                Some(kept)
            }
            ChangeKind::GeofenceRemoved | ChangeKind::GeofenceRules => {
                let tenant = self.tenant(&name);
                if tenant.fences.remove(id.as_str()).is_some() && tenant.fences.is_empty() {
                    let unwritten = tenant.forget();
                    self.unwritten -= unwritten;
                    self.fenced -= 1;
                }
                None
            }
        };
        registry.change(&name, &id, kept.clone());
        self.tenant(&name).changed.insert(id.as_str().as_bytes().into(), kept);
        Ok(())
    }

    /// Adds to a batch of writes what changed since it was written.
    pub(super) fn write(&self, tables: &Tables, writes: &mut OwnedWriteBatch) -> Result<(), Error> {
        for tenant in self.tenants.values() {
            tenant.write(tables, writes)?;
        }
        Ok(())
    }

    /// All that [`Judging::write`] added is written.
    pub(super) fn written(&mut self) {
        self.tenants.values_mut().for_each(Tenant::written);
        self.unwritten = 0;
    }
}

impl Tenant {
    fn new(name: TenantId) -> Self {
        Self {
            name,
            fences: FenceSet::new(),
            judge: Judge::new(FenceRules::default()),
            drivers: Vec::new(),
            places: HashTable::new(),
            hash: foldhash::fast::RandomState::default(),
            unwritten: Vec::new(),
            changed: HashMap::new(),
            has_forgotten: false,
        }
    }

    fn rule(&mut self, rules: FenceRules, kept: Kept) {
        self.judge = Judge::new(rules);
        self.changed.insert(Box::default(), Some(kept));
    }

    /// The place of a driver, which gets one where it has none.
    fn place_of(&mut self, name: &str) -> u32 {
        let Self { drivers, places, hash, .. } = self;
        let hashed = hash.hash_one(name);
        if let Some(place) = places.find(hashed, |place| drivers[*place as usize].name.as_str() == name) {
            return *place;
        }
        let place = drivers.len() as u32;
        let name = DriverId::new(name).expect("the journal's reader checks ids");
        drivers.push(Driver { name, state: DriverFences::default(), is_written: true });
        places.insert_unique(hashed, place, |place| hash.hash_one(drivers[*place as usize].name.as_str()));
        place
    }

    fn judge(&mut self, place: u32, fix: &Fix, events: &mut Vec<FenceEvent>) {
        let driver = &mut self.drivers[place as usize];
        self.judge.judge(&self.fences, &driver.name, &mut driver.state, fix, events);
    }

    /// Notes that a driver's state is to be written; whether it was not noted before.
    fn touch(&mut self, place: u32) -> bool {
        let was_written = std::mem::replace(&mut self.drivers[place as usize].is_written, false);
        if was_written {
            self.unwritten.push(place);
        }
        was_written
    }

    /// Without fences nobody stands anywhere. Gives how many were still to be written.
    fn forget(&mut self) -> usize {
        self.drivers = Vec::new();
        self.places = HashTable::new();
        self.has_forgotten = true;
        std::mem::take(&mut self.unwritten).len()
    }

    fn write(&self, tables: &Tables, writes: &mut OwnedWriteBatch) -> Result<(), Error> {
        let name = self.name.as_str();
        for (id, kept) in &self.changed {
            match kept {
                Some(Kept { version, spec, .. }) => {
                    let value = [&version.to_be_bytes()[..], spec].concat();
                    writes.insert(&tables.fences, key(name, id), value);
                }
                None => writes.remove(&tables.fences, key(name, id)),
            }
        }
        if self.has_forgotten {
            for guard in tables.drivers.prefix(key(name, &[])) {
                let key = guard.key()?;
                let driver = split(&key).and_then(|(_, driver)| std::str::from_utf8(driver).ok());
                // One that came again is written below.
                if !driver.is_some_and(|driver| self.has(driver)) {
                    writes.remove(&tables.drivers, key);
                }
            }
        }
        let mut value = Vec::new();
        for place in &self.unwritten {
            let driver = &self.drivers[*place as usize];
            value.clear();
            driver.state.encode(&mut value);
            writes.insert(&tables.drivers, key(name, driver.name.as_str().as_bytes()), value.as_slice());
        }
        Ok(())
    }

    fn has(&self, driver: &str) -> bool {
        let is_it = |place: &u32| self.drivers[*place as usize].name.as_str() == driver;
        self.places.find(self.hash.hash_one(driver), is_it).is_some()
    }

    fn written(&mut self) {
        self.changed.clear();
        self.has_forgotten = false;
        for place in self.unwritten.drain(..) {
            self.drivers[place as usize].is_written = true;
        }
    }
}

/// A row of the `fences` keyspace.
/// The fence that a change describes. What can be none any more (rules of an older version were laxer) leaves all as it is, in
/// every replay alike: one tenant's description must not stop the fences of all.
fn fence_of(id: &FenceId, version: u64, spec: &[u8]) -> Option<Fence> {
    let read = serde_json::from_slice(spec).map_err(|error| error.to_string());
    let built =
        read.and_then(|spec: FenceSpec| Fence::new(id.clone(), version, &spec).map_err(|error| error.to_string()));
    match built {
        Ok(fence) => Some(fence),
        Err(error) => {
            tracing::error!(%id, version, error, "a geofence in the journal is none, and is passed over: put it again");
            None
        }
    }
}

fn kept_of(value: &[u8]) -> Option<Kept> {
    let version = super::tables::number_of(value)?;
    Some(Kept { version, spec: value[8..].into(), built_bytes: 0 })
}
