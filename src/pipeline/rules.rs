//! The thresholds that fixes are judged by: the defaults, and what single tenants have otherwise.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::ids::TenantId;

/// Thresholds of the rules. A rule whose threshold is 0, or `false`, is off. That a position is on the earth and a number is
/// no rule that could be off: nothing else can be stored.
///
/// The defaults refuse only what cannot be true whatever is tracked. What depends on the fleet is off, because a fix that is
/// refused is not in the history: that is for whoever knows the fleet to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Largest payload whose fixes are judged, in bytes; those of a larger one are `too_large`. Off: what the doors read at all
    /// is bounded by `mqtt.packet_bytes_max` and `http.body_bytes_max`, and this is for a tenant that is to have less.
    pub payload_bytes_max: u32,
    /// Whether a position with 0 satellites, or one that the tracker calls invalid, is refused as `no_fix`. On: the receiver says
    /// itself that it does not know where it is, and trackers then repeat their last position (seen in Teltonika's own samples).
    /// Off, it is stored with 0 satellites. A message that says so and gives no position at all is `no_fix` in any case: there is
    /// nothing to store.
    pub no_fix: bool,
    /// Whether exactly 0, 0 is refused as `null_island`. On: receivers report it when they know nothing (53 rows of the Austin
    /// recording of 2015), and it is open sea 500 km off Africa. Traccar has it as `filter.zero`.
    pub null_island: bool,
    /// Seconds up to which a fix 1,024 or 2,048 weeks behind its receive time is taken for one of a receiver whose week number
    /// began again at 0, and gets its time back: it is repaired if it is then no older than this. GPS sends ten bits of the week,
    /// and firmware that was not told of the rollovers of 1999 and 2019 is behind by so many weeks and by nothing
    /// else. 90 days, as Traccar has it, are longer than trackers keep a backlog, and short enough that of twenty years
    /// of true history only those 90 days could be mistaken. A recording has no receive time to compare with and is
    /// left as it is.
    pub rollover_s_max: u32,
    /// Seconds that a fix may be older than its receive time. Off: a backlog of yesterday is history, not rubbish.
    pub past_s: u32,
    /// Seconds that a fix may be ahead of its receive time. Five minutes forgive a phone whose clock nobody sets and
    /// still refuse a receiver in the wrong week (Traccar's only threshold on by default is a day).
    pub future_s: u32,
    /// Worst accuracy in metres that is still stored. Off: trackers differ too much in what they call accuracy. Users of
    /// Traccar and OwnTracks settle on 200 to 500 m.
    pub accuracy_m_max: u32,
    /// Highest speed in m/s between a fix and its neighbours in time; one that is further away is `implied_speed` (see
    /// [`super::motion`]). Off, as Traccar's `filter.maxSpeed` is: which speed is impossible depends on what moves, whether a
    /// driver's id may pass to another vehicle, and whether positions are set by hand; a fix that is refused in error is missing in
    /// the history, and one that is kept in error can be taken out by whoever reads it.
    ///
    /// 70 m/s (250 km/h) is right for road vehicles and 350 m/s for airliners, which reach 330 over ground in a jet stream; no
    /// civil receiver goes on above 500 to 515 m/s (u-blox; the export limit of 1,000 knots). What that does to recordings is in
    /// `tests/it/traces.txt`: 70 takes 53 of 359,959 and 58 of 320,907 rows of Warsaw's buses, each a teleport or its redelivery,
    /// 31 of 193,442 of Austin's of 2015 and 4 of 245,228 of 2016, the one jump of a hike, and nothing of the others; 350 takes 7 rows of
    /// all.
    pub speed_mps_max: u32,
    /// Metres around the fix before within which one of a tracker that does not say it moves is `stationary`. Off: jitter of a
    /// parked vehicle is kept, as recorded. Consumer receivers wander by 5 to 15 m while they stand.
    pub stationary_m: u32,
    /// Least milliseconds after the fix before; sooner is `thinned`. Off: what a tracker sends, somebody pays for. (AWS Location
    /// stores one in 30 s when asked to filter by time.)
    pub period_ms_min: u32,
    /// Least metres from the fix before; nearer is `thinned`. Off, for the same reason. (AWS Location: 30 m.)
    pub distance_m_min: u32,
    /// Seconds after the fix before from which `stationary_m` and `distance_m_min` let one pass wherever it is, so that a parked
    /// vehicle still tells that it is there. 0: never. Two minutes: a driver is offline after five (`geo.offline_after_s`), and
    /// so one heartbeat may get lost.
    pub heartbeat_s: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            payload_bytes_max: 0,
            no_fix: true,
            null_island: true,
            rollover_s_max: 90 * 86_400,
            past_s: 0,
            future_s: 300,
            accuracy_m_max: 0,
            speed_mps_max: 0,
            stationary_m: 0,
            period_ms_min: 0,
            distance_m_min: 0,
            heartbeat_s: 120,
        }
    }
}

/// The rules of every tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleBook {
    defaults: Rules,
    tenants: HashMap<TenantId, Rules>,
}

impl RuleBook {
    /// These rules for all tenants but those that have their own.
    pub fn new(defaults: Rules, tenants: HashMap<TenantId, Rules>) -> Self {
        Self { defaults, tenants }
    }

    /// A tenant's rules.
    pub fn of(&self, tenant: &TenantId) -> &Rules {
        // Most have none of their own, and then there is nothing to look up.
        if self.tenants.is_empty() { &self.defaults } else { self.tenants.get(tenant).unwrap_or(&self.defaults) }
    }
}

impl From<Rules> for RuleBook {
    fn from(defaults: Rules) -> Self {
        Self::new(defaults, HashMap::new())
    }
}

/// The rule book in effect, replaced while shards judge by it. A shard looks once a turn.
#[derive(Debug)]
pub(super) struct LiveRules {
    /// Counts replacements, so that a look is one load.
    version: AtomicU64,
    book: Mutex<Arc<RuleBook>>,
}

impl LiveRules {
    pub(super) fn new(book: RuleBook) -> Self {
        Self { version: AtomicU64::new(0), book: Mutex::new(Arc::new(book)) }
    }

    /// From the next turn of each shard on, these.
    pub(super) fn replace(&self, book: RuleBook) {
        let mut current = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(book);
        self.version.fetch_add(1, Ordering::Release);
    }

    fn get(&self) -> (u64, Arc<RuleBook>) {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        (self.version.load(Ordering::Acquire), Arc::clone(&book))
    }
}

/// One shard's view of the rule book.
#[derive(Debug)]
pub(super) struct RulesInEffect {
    live: Arc<LiveRules>,
    version: u64,
    book: Arc<RuleBook>,
}

impl RulesInEffect {
    pub(super) fn new(live: Arc<LiveRules>) -> Self {
        let (version, book) = live.get();
        Self { live, version, book }
    }

    /// Takes over what was replaced since. Between two turns, so that one turn is judged by one book.
    pub(super) fn refresh(&mut self) {
        if self.live.version.load(Ordering::Acquire) != self.version {
            (self.version, self.book) = self.live.get();
        }
    }

    /// A tenant's rules.
    pub(super) fn of(&self, tenant: &TenantId) -> &Rules {
        self.book.of(tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_its_own_rules_and_the_others_the_defaults() {
        let acme = TenantId::new("acme").unwrap();
        let own = Rules { future_s: 7, ..Rules::default() };
        let book = RuleBook::new(Rules::default(), HashMap::from([(acme.clone(), own)]));
        assert_eq!(book.of(&acme).future_s, 7);
        assert_eq!(book.of(&TenantId::new("globex").unwrap()), &Rules::default());
    }

    #[test]
    fn a_replaced_book_is_in_effect_from_the_next_look_on() {
        let acme = TenantId::new("acme").unwrap();
        let live = Arc::new(LiveRules::new(RuleBook::default()));
        let mut rules = RulesInEffect::new(Arc::clone(&live));
        live.replace(Rules { past_s: 9, ..Rules::default() }.into());
        assert_eq!(rules.of(&acme).past_s, 0, "a turn under way goes on by what it began with");
        rules.refresh();
        assert_eq!(rules.of(&acme).past_s, 9);
    }
}
