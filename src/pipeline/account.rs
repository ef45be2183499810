//! The books: what became of every received fix, per tenant and codec, consistent at every look.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::codec::Codec;
use crate::counts::Counts;
use crate::ids::TenantId;

/// What became of fixes: those of a tenant that one codec read, or all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Fixes whose verdict is final, since the journal began.
    pub judged: Counts,
    /// Fixes taken in by a shard whose turn is not durable yet. Counted on its own, up and down, and not as a difference.
    pub in_flight: u64,
}

impl Page {
    /// Fixes taken in: `stored + duplicate + Σ rejected + in flight`.
    pub fn received(&self) -> u64 {
        self.judged.received() + self.in_flight
    }

    /// Adds another page.
    fn add(&mut self, other: &Self) {
        self.judged.add(&other.judged);
        self.in_flight += other.in_flight;
    }
}

/// One tenant's account: a page for each codec that it was heard in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account(Vec<(Codec, Page)>);

impl Account {
    /// The pages, in the order of the codecs.
    pub fn pages(&self) -> &[(Codec, Page)] {
        &self.0
    }

    /// The sum of all pages.
    pub fn total(&self) -> Page {
        let mut total = Page::default();
        self.0.iter().for_each(|(_, page)| total.add(page));
        total
    }

    fn page(&mut self, codec: Codec) -> &mut Page {
        let index = self.0.iter().position(|(known, _)| *known >= codec).unwrap_or(self.0.len());
        if self.0.get(index).is_none_or(|(known, _)| *known != codec) {
            self.0.insert(index, (codec, Page::default()));
        }
        &mut self.0[index].1
    }

    /// Adds another shard's account of the same tenant.
    fn add(&mut self, other: &Self) {
        for (codec, page) in &other.0 {
            self.page(*codec).add(page);
        }
    }
}

/// Fixes of one tenant and codec, counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Whose.
    pub tenant: TenantId,
    /// As what they were read.
    pub codec: Codec,
    /// What became of them.
    pub counts: Counts,
}

/// One shard's books. Its thread writes twice a turn; a scrape reads under the same lock, so that a page always balances.
#[derive(Debug, Default)]
pub struct Books(Mutex<HashMap<TenantId, Account>>);

impl Books {
    /// A turn took these in.
    pub fn open_turn(&self, turn: &[Counted]) {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for Counted { tenant, codec, counts } in turn {
            account(&mut accounts, tenant).page(*codec).in_flight += counts.received();
        }
    }

    /// The turn became durable and its verdicts final.
    pub fn close_turn(&self, turn: &[Counted]) {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for Counted { tenant, codec, counts } in turn {
            let page = account(&mut accounts, tenant).page(*codec);
            page.in_flight -= counts.received();
            page.judged.add(counts);
        }
    }

    /// Counts what the journal says of earlier runs.
    pub fn recover(&self, tenant: &TenantId, codec: Codec, counts: &Counts) {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        account(&mut accounts, tenant).page(codec).judged.add(counts);
    }

    /// What is final, of every tenant and codec.
    pub fn judged(&self) -> Vec<Counted> {
        let accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_tenant = |(tenant, account): (&TenantId, &Account)| {
            let counted =
                |(codec, page): &(Codec, Page)| Counted { tenant: tenant.clone(), codec: *codec, counts: page.judged };
            account.pages().iter().map(counted).collect::<Vec<_>>()
        };
        accounts.iter().flat_map(of_tenant).collect()
    }

    /// Adds a copy of every account to `total`.
    pub fn add_to(&self, total: &mut HashMap<TenantId, Account>) {
        let accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (tenant, from) in accounts.iter() {
            account(total, tenant).add(from);
        }
    }
}

fn account<'a>(accounts: &'a mut HashMap<TenantId, Account>, tenant: &TenantId) -> &'a mut Account {
    accounts.entry(tenant.clone()).or_default()
}

/// Verdicts of one turn by tenant and codec. A turn has few of them and long runs of one, so that a list beats a map.
#[derive(Debug, Default)]
pub struct TurnCounts(Vec<Counted>);

impl TurnCounts {
    /// The counts of a tenant's fixes of one codec, to count on.
    pub fn of(&mut self, tenant: &TenantId, codec: Codec) -> &mut Counts {
        let is_it = |counted: &Counted| counted.codec == codec && counted.tenant == *tenant;
        let index = match self.0.iter().position(is_it) {
            Some(index) => index,
            None => {
                self.0.push(Counted { tenant: tenant.clone(), codec, counts: Counts::default() });
                self.0.len() - 1
            }
        };
        &mut self.0[index].counts
    }

    /// Whether anything was refused.
    pub fn have_refusals(&self) -> bool {
        self.0.iter().any(|counted| counted.counts.rejected.iter().any(|count| *count > 0))
    }

    /// All of the turn.
    pub fn as_slice(&self) -> &[Counted] {
        &self.0
    }
}

/// Messages that were read and are not meant to hold a fix, since the start: a farewell, a waypoint.
#[derive(Debug, Default)]
pub struct Skipped([AtomicU64; Codec::COUNT]);

impl Skipped {
    /// Counts so many.
    pub fn add(&self, codec: Codec, messages: usize) {
        if messages > 0 {
            self.0[codec as usize].fetch_add(messages as u64, Ordering::Relaxed);
        }
    }

    /// How many there were, of each codec that had any.
    pub fn of_each(&self) -> Vec<(Codec, u64)> {
        let counts = Codec::ALL.into_iter().zip(&self.0).map(|(codec, count)| (codec, count.load(Ordering::Relaxed)));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fix::{Reason, Verdict};

    #[test]
    fn pages_balance_before_during_and_after_a_turn() {
        let tenant = TenantId::new("acme").unwrap();
        let mut turn = TurnCounts::default();
        for verdict in [Verdict::Accepted, Verdict::Late, Verdict::Duplicate, Verdict::Rejected(Reason::NullIsland)] {
            turn.of(&tenant, Codec::Native).count(verdict);
        }
        turn.of(&tenant, Codec::Flespi).count(Verdict::Accepted);
        let books = Books::default();
        let look = || {
            let mut total = HashMap::new();
            books.add_to(&mut total);
            total.remove(&tenant).unwrap_or_default()
        };
        assert_eq!(look(), Account::default());
        books.open_turn(turn.as_slice());
        assert_eq!((look().total().received(), look().total().in_flight), (5, 5));
        books.close_turn(turn.as_slice());
        let page = look().total();
        assert_eq!((page.received(), page.in_flight), (5, 0));
        assert_eq!((page.judged.stored, page.judged.late, page.judged.duplicate), (3, 1, 1));
        let of_each: Vec<_> = look().pages().iter().map(|(codec, page)| (*codec, page.received())).collect();
        assert_eq!(of_each, [(Codec::Native, 4), (Codec::Flespi, 1)]);
    }

    #[test]
    fn skipped_messages_are_told_by_codec() {
        let skipped = Skipped::default();
        [(Codec::OwnTracks, 1), (Codec::Compact, 1), (Codec::OwnTracks, 1), (Codec::Native, 0)]
            .iter()
            .for_each(|(codec, messages)| skipped.add(*codec, *messages));
        assert_eq!(skipped.of_each(), [(Codec::OwnTracks, 2), (Codec::Compact, 1)]);
    }
}
