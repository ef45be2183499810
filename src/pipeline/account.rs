//! The books: what became of every received fix, per tenant, consistent at every look.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::counts::Counts;
use crate::ids::TenantId;

/// One tenant's page.
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

    /// Adds another shard's page of the same tenant.
    pub fn add(&mut self, other: &Self) {
        self.judged.add(&other.judged);
        self.in_flight += other.in_flight;
    }
}

/// One shard's books. Its thread writes twice a turn; a scrape reads under the same lock, so that a page always balances.
#[derive(Debug, Default)]
pub struct Books(Mutex<HashMap<TenantId, Page>>);

impl Books {
    /// A turn took these in.
    pub fn open_turn(&self, tenants: &[(TenantId, Counts)]) {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (tenant, counts) in tenants {
            page(&mut pages, tenant).in_flight += counts.received();
        }
    }

    /// The turn became durable and its verdicts final.
    pub fn close_turn(&self, tenants: &[(TenantId, Counts)]) {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (tenant, counts) in tenants {
            let page = page(&mut pages, tenant);
            page.in_flight -= counts.received();
            page.judged.add(counts);
        }
    }

    /// Counts what the journal says of earlier runs.
    pub fn recover(&self, tenant: &TenantId, counts: &Counts) {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        page(&mut pages, tenant).judged.add(counts);
    }

    /// What is final, of every tenant.
    pub fn judged(&self) -> Vec<(TenantId, Counts)> {
        let pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pages.iter().map(|(tenant, page)| (tenant.clone(), page.judged)).collect()
    }

    /// Adds a copy of every page to `total`.
    pub fn add_to(&self, total: &mut HashMap<TenantId, Page>) {
        let pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (tenant, from) in pages.iter() {
            page(total, tenant).add(from);
        }
    }
}

fn page<'a>(pages: &'a mut HashMap<TenantId, Page>, tenant: &TenantId) -> &'a mut Page {
    pages.entry(tenant.clone()).or_default()
}

/// Verdicts of one turn by tenant. A turn has few tenants and long runs of one, so that a list beats a map.
#[derive(Debug, Default)]
pub struct TurnCounts(Vec<(TenantId, Counts)>);

impl TurnCounts {
    /// The counts of a tenant, to count on.
    pub fn of(&mut self, tenant: &TenantId) -> &mut Counts {
        let index = match self.0.iter().position(|(known, _)| known == tenant) {
            Some(index) => index,
            None => {
                self.0.push((tenant.clone(), Counts::default()));
                self.0.len() - 1
            }
        };
        &mut self.0[index].1
    }

    /// Whether anything was refused.
    pub fn have_refusals(&self) -> bool {
        self.0.iter().any(|(_, counts)| counts.rejected.iter().any(|count| *count > 0))
    }

    /// All tenants of the turn.
    pub fn as_slice(&self) -> &[(TenantId, Counts)] {
        &self.0
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
            turn.of(&tenant).count(verdict);
        }
        let books = Books::default();
        let look = || {
            let mut total = HashMap::new();
            books.add_to(&mut total);
            total.get(&tenant).copied().unwrap_or_default()
        };
        assert_eq!(look(), Page::default());
        books.open_turn(turn.as_slice());
        assert_eq!((look().received(), look().in_flight), (4, 4));
        books.close_turn(turn.as_slice());
        let page = look();
        assert_eq!((page.received(), page.in_flight), (4, 0));
        assert_eq!((page.judged.stored, page.judged.late, page.judged.duplicate), (2, 1, 1));
    }
}
