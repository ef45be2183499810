//! The way of a change into the journal, and the wait until it is in force.
//!
//! Whether a change is allowed is decided here, once, against what is journalled: what the follower has applied, and what is
//! on its way to it. What is journalled is applied and not asked again.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time;

use super::rules::{self, RULES_ID};
use super::{Config, Kept, Registry};
use crate::geo::fence::FenceRules;
use crate::ids::{FenceId, TenantId};
use crate::journal::{Appender, CHANGE_BODY_BYTES_MAX, ChangeKind, Journal, TURNS_IN_FLIGHT_MAX, TurnEncoder};
use crate::sink::{SinkState, SinkStatus};
use crate::units::TimestampMs;

/// Changes that are on their way to the follower.
const UNDER_WAY_MAX: usize = 4_096;

/// What a change waits for until it is in force.
const IN_FORCE_MAX: Duration = Duration::from_secs(5);

/// Changes geofences. Clones change the same.
#[derive(Clone, Debug)]
pub struct Changes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Arc<Registry>,
    follower: Arc<SinkStatus>,
    bounds: Bounds,
    rules: FenceRules,
    /// The journal's last frame when this began: behind it nobody else changes rules.
    last: u64,
    desk: Mutex<Desk>,
    /// Whom the journal's writer tells next that its change is durable.
    waiting: Arc<Mutex<VecDeque<Waiting>>>,
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    tenants_max: usize,
    per_tenant_max: usize,
    bytes_max: usize,
}

/// Where changes are decided on, one after the other.
#[derive(Debug)]
struct Desk {
    appender: Appender,
    encoder: TurnEncoder,
    under_way: Vec<UnderWay>,
    /// Tenants whose rules are known to be journalled as they are now.
    ruled: HashSet<TenantId>,
}

/// What a change says, and what the fence counts for [`Config::bytes_max`] that it leaves, if it leaves one.
struct Body<'a> {
    spec: &'a [u8],
    bytes: Option<usize>,
}

/// A change that is handed to the journal and was not in force when last looked.
#[derive(Debug)]
struct UnderWay {
    tenant: TenantId,
    id: FenceId,
    /// What the fence counts that there is then; `None`: there is none.
    bytes: Option<usize>,
    /// Of the one that there was before.
    bytes_before: Option<usize>,
    /// Its frame, once it is durable; 0 until then.
    sequence: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Waiting {
    sequence: Arc<AtomicU64>,
    durable: oneshot::Sender<u64>,
}

/// What has to be so for a change to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    None,
    /// The fence is there.
    Exists,
    /// It is not.
    Absent,
    /// It is there in one of these versions.
    Versions(Vec<u64>),
}

/// Why a change is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such fence to remove.
    #[error("there is no geofence of this id")]
    Unknown,
    /// The condition does not hold.
    #[error("the geofence is not as the request wants it to be: it was changed by somebody else, or is not there")]
    Condition,
    /// The tenant has as many as it may have.
    #[error("there are {per_tenant_max} geofences, as many as fences.per_tenant_max allows: remove some")]
    TenantFull {
        /// `fences.per_tenant_max`
        per_tenant_max: usize,
    },
    /// No room for another tenant's, or for this description.
    #[error(
        "there is no room for it: geofences of all tenants take what fences.bytes_max allows, or are of as many tenants as registry.tenants_max"
    )]
    Full,
    /// The description is longer than a change may be.
    #[error("the geofence's description is longer than {CHANGE_BODY_BYTES_MAX} bytes")]
    TooLong,
    /// Too much is on its way, or the journal takes nothing now, or the follower has stopped.
    #[error("geofences cannot be changed now")]
    Unavailable,
}

/// A change that is on its way into the journal.
#[derive(Debug)]
pub struct Ticket {
    /// Whether there was a fence of that id before.
    pub existed: bool,
    durable: oneshot::Receiver<u64>,
}

/// A change that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its frame: the version of the fence.
    pub version: u64,
    /// Whether fixes are judged by it by now. If not, they will be, and those journalled behind it no other way.
    pub in_force: bool,
}

impl Changes {
    /// Into a journal that `follower` follows, whose fences are in `registry`.
    pub fn new(
        journal: &Journal,
        registry: Arc<Registry>,
        follower: Arc<SinkStatus>,
        config: &Config,
        tenants_max: usize,
    ) -> Self {
        let waiting: Arc<Mutex<VecDeque<Waiting>>> = Arc::default();
        let told = Arc::clone(&waiting);
        let appender = journal.appender(Box::new(move |sequences: &[u64]| {
            let mut waiting = lock(&told);
            for (sequence, durable) in sequences.iter().zip(std::iter::from_fn(|| waiting.pop_front())) {
                durable.sequence.store(*sequence, Ordering::Release);
                // An error says that whoever asked has gone.
                let _ = durable.durable.send(*sequence);
            }
        }));
        let failed = Arc::clone(&waiting);
        journal.on_failure(Box::new(move |_| lock(&failed).clear()));
        let (per_tenant_max, bytes_max) = (config.per_tenant_max, config.bytes_max);
        let desk = Desk { appender, encoder: TurnEncoder::new(), under_way: Vec::new(), ruled: HashSet::new() };
        Self(Arc::new(Inner {
            registry,
            follower,
            bounds: Bounds { tenants_max, per_tenant_max, bytes_max },
            rules: config.rules(),
            last: journal.watermark().get(),
            desk: Mutex::new(desk),
            waiting,
        }))
    }

    /// The fences in force.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    #[cfg(test)]
    pub(super) fn shared_registry(&self) -> Arc<Registry> {
        Arc::clone(&self.0.registry)
    }

    /// Journals that the fences of all tenants that have some are judged by the rules of the configuration from now on, as far
    /// as they are not.
    pub fn keep_rules(&self, now: TimestampMs) {
        for (tenant, _) in self.registry().counts() {
            if self.0.rule(&mut lock(&self.0.desk), &tenant, now).is_err() {
                tracing::warn!(%tenant, "the journal takes nothing: its rules of geofences stay as they are");
            }
        }
    }

    /// Begins to put a fence with this description, which has to be a sound one.
    pub fn put(
        &self,
        tenant: &TenantId,
        id: &FenceId,
        (spec, built_bytes): (&[u8], usize),
        condition: &Condition,
        now: TimestampMs,
    ) -> Result<Ticket, Refused> {
        if spec.len() > CHANGE_BODY_BYTES_MAX {
            return Err(Refused::TooLong);
        }
        let mut desk = lock(&self.0.desk);
        let before = self.0.admit(&mut desk, tenant, id, Some(spec.len() + built_bytes), condition)?;
        self.0.rule(&mut desk, tenant, now)?;
        let body = Body { spec, bytes: Some(spec.len() + built_bytes) };
        self.0.append(&mut desk, (tenant, id), ChangeKind::GeofencePut, body, before, now)
    }

    /// Begins to remove a fence.
    pub fn remove(
        &self,
        tenant: &TenantId,
        id: &FenceId,
        condition: &Condition,
        now: TimestampMs,
    ) -> Result<Ticket, Refused> {
        let mut desk = lock(&self.0.desk);
        let before = self.0.admit(&mut desk, tenant, id, None, condition)?;
        let body = Body { spec: &[], bytes: None };
        self.0.append(&mut desk, (tenant, id), ChangeKind::GeofenceRemoved, body, before, now)
    }

    /// Waits until a change is durable, and a while longer until it is in force.
    pub async fn finish(&self, ticket: Ticket) -> Result<Applied, Refused> {
        let version = ticket.durable.await.map_err(|_| Refused::Unavailable)?;
        let in_force = time::timeout(IN_FORCE_MAX, self.registry().wait_for(version)).await.is_ok();
        Ok(Applied { version, in_force })
    }
}

impl Inner {
    /// Decides on a change that leaves a description of `bytes`, or none; gives the bytes of the one before, if there is one.
    fn admit(
        &self,
        desk: &mut Desk,
        tenant: &TenantId,
        id: &FenceId,
        bytes: Option<usize>,
        condition: &Condition,
    ) -> Result<Option<usize>, Refused> {
        let fences = self.registry.read();
        let applied = fences.applied();
        // After a crash there may be changes that were acknowledged and are not judged anew yet.
        if applied < self.last {
            return Err(Refused::Unavailable);
        }
        let is_under_way = |change: &UnderWay| {
            let sequence = change.sequence.load(Ordering::Acquire);
            sequence == 0 || sequence > applied
        };
        desk.under_way.retain(is_under_way);
        let not_durable = desk.under_way.iter().filter(|change| change.sequence.load(Ordering::Acquire) == 0).count();
        // One turn may come on top, with the rules.
        if not_durable + 2 > TURNS_IN_FLIGHT_MAX
            || desk.under_way.len() >= UNDER_WAY_MAX
            || desk.appender.is_full()
            || matches!(self.follower.state(), SinkState::Stopped { .. } | SinkState::Ended)
        {
            return Err(Refused::Unavailable);
        }
        let pending = desk.under_way.iter().rfind(|change| change.tenant == *tenant && change.id == *id);
        let kept = fences.get(tenant.as_str(), id.as_str());
        let before = match pending {
            Some(change) => change.bytes,
            None => kept.map(Kept::bytes),
        };
        let holds = match condition {
            Condition::None => true,
            Condition::Exists => before.is_some(),
            Condition::Absent => before.is_none(),
            // Of a change under way nobody knows the version yet.
            Condition::Versions(versions) => {
                pending.is_none() && kept.is_some_and(|kept| versions.contains(&kept.version))
            }
        };
        if !holds {
            return Err(Refused::Condition);
        }
        let Some(bytes) = bytes else { return before.map(Some).ok_or(Refused::Unknown) };
        let of_tenant = |change: &&UnderWay| change.tenant == *tenant;
        let len = fences.len_of(tenant.as_str()) as i64
            + desk.under_way.iter().filter(of_tenant).map(UnderWay::more).sum::<i64>();
        if before.is_none() && len >= self.bounds.per_tenant_max as i64 {
            return Err(Refused::TenantFull { per_tenant_max: self.bounds.per_tenant_max });
        }
        let all = fences.bytes() as i64 + desk.under_way.iter().map(UnderWay::more_bytes).sum::<i64>();
        let is_new_tenant = len == 0 && !desk.ruled.contains(tenant);
        if all + bytes as i64 > self.bounds.bytes_max as i64
            || (is_new_tenant && desk.ruled.len().max(fences.tenants()) >= self.bounds.tenants_max)
        {
            return Err(Refused::Full);
        }
        Ok(before)
    }

    /// Journals the rules that a tenant's fences are judged by, unless it is known that they are.
    fn rule(&self, desk: &mut Desk, tenant: &TenantId, now: TimestampMs) -> Result<(), Refused> {
        let is_known = || {
            let fences = self.registry.read();
            fences.applied() >= self.last && fences.rules_of(tenant.as_str()) == Some(self.rules)
        };
        if desk.ruled.contains(tenant) || is_known() {
            desk.ruled.insert(tenant.clone());
            return Ok(());
        }
        desk.encoder.begin(now);
        let id = FenceId::new(RULES_ID).expect("a word is an id");
        desk.encoder.change(tenant, ChangeKind::GeofenceRules, &id, &rules::encode(&self.rules));
        self.hand_over(desk, Arc::default())?;
        desk.ruled.insert(tenant.clone());
        Ok(())
    }

    fn append(
        &self,
        desk: &mut Desk,
        (tenant, id): (&TenantId, &FenceId),
        kind: ChangeKind,
        Body { spec, bytes }: Body<'_>,
        bytes_before: Option<usize>,
        now: TimestampMs,
    ) -> Result<Ticket, Refused> {
        desk.encoder.begin(now);
        desk.encoder.change(tenant, kind, id, spec);
        let sequence: Arc<AtomicU64> = Arc::default();
        let durable = self.hand_over(desk, Arc::clone(&sequence))?;
        desk.under_way.push(UnderWay { tenant: tenant.clone(), id: id.clone(), bytes, bytes_before, sequence });
        Ok(Ticket { existed: bytes_before.is_some(), durable })
    }

    /// Hands the turn over that was encoded.
    fn hand_over(&self, desk: &mut Desk, sequence: Arc<AtomicU64>) -> Result<oneshot::Receiver<u64>, Refused> {
        let (sender, durable) = oneshot::channel();
        // Before the turn: the writer may be done with it at once.
        lock(&self.waiting).push_back(Waiting { sequence, durable: sender });
        let turn = desk.encoder.finish();
        match desk.appender.append(turn) {
            Ok(()) => Ok(durable),
            Err(_) => {
                // The writer has stopped, and calls nobody back.
                lock(&self.waiting).pop_back();
                Err(Refused::Unavailable)
            }
        }
    }
}

impl UnderWay {
    /// How many fences more there are by it.
    fn more(&self) -> i64 {
        i64::from(self.bytes.is_some()) - i64::from(self.bytes_before.is_some())
    }

    fn more_bytes(&self) -> i64 {
        self.bytes.unwrap_or_default() as i64 - self.bytes_before.unwrap_or_default() as i64
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
