//! What was acknowledged, to be held against what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rhumb::store::{self, Store};
use rhumb::wire::time::{EARLIEST, LATEST};

use super::plan::Random;
use crate::support::journal::{self, Driver, Journalled};
use crate::support::loadgen::Acked;
use crate::support::rhumb::{Books, Rhumb, rfc3339_ms};

/// Acknowledged fixes by tenant and driver, as times in ms.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Those of the rounds before, in order.
    settled: BTreeMap<Driver, Vec<i64>>,
    /// Those of this round, as they came.
    round: BTreeMap<&'static str, Acked>,
    /// No fix of this round is older.
    round_begin_ms: i64,
    /// The books as they were last seen.
    books: BTreeMap<&'static str, Books>,
}

impl Ledger {
    /// New fleets publish fixes from now on.
    pub(super) fn begin_round(&mut self, now_ms: i64) {
        self.round.clear();
        self.round_begin_ms = now_ms;
    }

    /// Where a tenant's acknowledgements are noted.
    pub(super) fn of(&mut self, tenant: &'static str) -> &mut Acked {
        self.round.entry(tenant).or_default()
    }

    /// The books of every tenant, and all that one driver of each was promised.
    pub(super) fn look(&mut self, rhumb: &Rhumb, random: &mut Random) {
        for (&tenant, acked) in &self.round {
            // That they balance is held where they are read.
            let books = rhumb.books(tenant);
            let before = self.books.insert(tenant, books).unwrap_or(books);
            let has_fallen =
                books.stored < before.stored || books.duplicate < before.duplicate || books.rejected < before.rejected;
            assert!(!has_fallen, "{tenant}: the books were {before:?} and are {books:?}");
            let Some(driver) = acked.keys().nth(random.between(0, acked.len().max(1) as u64 - 1) as usize) else {
                continue;
            };
            let there: BTreeSet<i64> = rhumb.track_times_ms(tenant, driver, self.round_begin_ms).into_iter().collect();
            let lost: Vec<_> = acked[driver].iter().filter(|time| !there.contains(time)).take(5).collect();
            assert!(lost.is_empty(), "{tenant}/{driver}: {lost:?} of {} are lost", acked[driver].len());
            // A late fix never moves "now", and more may have come since.
            assert!(
                latest_ms(rhumb, tenant, driver) >= there.last().copied(),
                "{tenant}/{driver}: the latest position"
            );
        }
    }

    /// The fleets are done, and everything they sent was acknowledged: it is there, and nothing else.
    pub(super) fn end_round(&mut self, rhumb: &Rhumb) {
        for (tenant, acked) in std::mem::take(&mut self.round) {
            for (driver, times) in acked {
                let there = rhumb.track_times_ms(tenant, &driver, self.round_begin_ms);
                let what = format!("{tenant}/{driver} in this round");
                let settled = self.settled.entry((tenant.to_owned(), driver)).or_default();
                settled.extend(times);
                settled.sort_unstable();
                settled.dedup();
                // A driver's clock may have run some ms ahead of the round before.
                let begin = settled.partition_point(|time| *time < self.round_begin_ms);
                assert_same(&what, &there, &settled[begin..]);
            }
            self.books.insert(tenant, rhumb.books(tenant));
        }
    }

    /// Over HTTP: the store merged with memory.
    pub(super) fn assert_tracks(&mut self, rhumb: &Rhumb) {
        for ((tenant, driver), times) in &self.settled {
            let there = rhumb.track_times_ms(tenant, driver, 0);
            assert_same(&format!("{tenant}/{driver}"), &there, times);
            assert_eq!(
                latest_ms(rhumb, tenant, driver),
                there.last().copied(),
                "{tenant}/{driver}: the latest position"
            );
        }
        for (tenant, seen) in &mut self.books {
            *seen = rhumb.books(tenant);
            let of_tenant = self.settled.iter().filter(|((owner, _), _)| owner == tenant);
            let fixes: u64 = of_tenant.map(|(_, times)| times.len() as u64).sum();
            assert_eq!((seen.stored, seen.in_flight), (fixes, 0), "{tenant}: {seen:?}");
        }
    }

    /// In the embedded store of an engine that has stopped, and in as much of its journal as was not cut off. Gives the
    /// journal's first frame.
    pub(super) fn assert_stored(&self, data_dir: &Path) -> u64 {
        let Journalled { first, drivers, counters } = journal::read(data_dir, |fix| fix.time.0);
        let is_cut = first > 1;
        let store = Store::open(&data_dir.join("store"), &store::Config::default()).unwrap();
        let mut stored_of: BTreeMap<&str, u64> = BTreeMap::new();
        for ((tenant, driver), acked) in &self.settled {
            let track = store.track(tenant, driver, EARLIEST, LATEST, usize::MAX).unwrap();
            let stored: Vec<i64> = track.iter().map(|fix| fix.time.0).collect();
            assert_same(&format!("{tenant}/{driver} in the store"), &stored, acked);
            *stored_of.entry(tenant).or_default() += stored.len() as u64;
        }
        for (driver, mut times) in drivers {
            let what = format!("{}/{} in the journal from frame {first} on", driver.0, driver.1);
            let acked = self.settled.get(&driver).unwrap_or_else(|| panic!("{what}: no such driver"));
            times.sort_unstable();
            if is_cut {
                let there: BTreeSet<i64> = times.iter().copied().collect();
                let held: Vec<i64> = acked.iter().copied().filter(|time| there.contains(time)).collect();
                assert_same(&what, &times, &held);
            } else {
                assert_same(&what, &times, acked);
            }
        }
        for (tenant, books) in &self.books {
            assert_eq!(stored_of.get(tenant), Some(&books.stored), "{tenant}: the store and the books");
            let counted = counters.get(*tenant).copied().unwrap_or_default();
            let (duplicate, rejected) = (counted.duplicate, counted.rejected.iter().sum::<u64>());
            let is_told = (duplicate, rejected) == (books.duplicate, books.rejected)
                || is_cut && duplicate <= books.duplicate && rejected <= books.rejected;
            assert!(is_told, "{tenant}: {duplicate} and {rejected} in the journal from frame {first} on, {books:?}");
        }
        first
    }

    /// The books of all tenants in one.
    pub(super) fn totals(&self) -> Books {
        let sum = |of: fn(&Books) -> u64| self.books.values().map(of).sum();
        Books {
            received: sum(|books| books.received),
            stored: sum(|books| books.stored),
            duplicate: sum(|books| books.duplicate),
            rejected: sum(|books| books.rejected),
            in_flight: sum(|books| books.in_flight),
        }
    }

    /// How many different fixes were acknowledged.
    pub(super) fn fixes_acked(&self) -> usize {
        self.settled.values().map(Vec::len).sum()
    }

    /// How many drivers there are.
    pub(super) fn drivers(&self) -> usize {
        self.settled.len()
    }
}

/// The time of a driver's latest position.
fn latest_ms(rhumb: &Rhumb, tenant: &str, driver: &str) -> Option<i64> {
    let response = rhumb.get(tenant, &format!("/v1/drivers/{driver}/location"));
    (response.status == 200).then(|| rfc3339_ms(response.json(200)["timestamp"].as_str().unwrap()))
}

/// Two lists of times that have to be the same, each in order.
fn assert_same(what: &str, found: &[i64], acked: &[i64]) {
    if found == acked {
        return;
    }
    let twice: Vec<_> = found.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).take(5).collect();
    let (there, promised): (BTreeSet<_>, BTreeSet<_>) = (found.iter().collect(), acked.iter().collect());
    let lost: Vec<_> = promised.difference(&there).take(5).collect();
    let strange: Vec<_> = there.difference(&promised).take(5).collect();
    let (found, acked) = (found.len(), acked.len());
    panic!(
        "{what}: {found} fixes for {acked} acknowledged; lost {lost:?}, twice {twice:?}, never acknowledged {strange:?}"
    );
}
