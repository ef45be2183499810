//! Who the client of a seed turns out to be where credentials are asked for: the authority's part, played by the seed.

use std::sync::Arc;
use std::time::Duration;

use super::Rng;
use crate::auth::{Admitted, Denied, Principal, Refusal, Role, Verdict};
use crate::ids::{DriverId, TenantId};
use crate::units::TimestampMs;

/// Turns after which a verdict comes, at most.
const TURNS_MAX: usize = 4;

/// Where clients are from.
pub(super) const TENANTS: [&str; 2] = ["acme", "globex"];

/// What a door asks of who comes.
#[derive(Clone, Debug)]
pub(super) enum Asks {
    /// Nothing.
    Nobody,
    /// Who it is, and the answer takes its time.
    Everybody(Answer),
}

/// The authority's answer to one CONNECT.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// How many turns it takes; `None`: it never comes.
    pub(super) turns_left: Option<usize>,
    /// What it is.
    pub(super) verdict: Verdict,
}

impl Asks {
    /// What a seed's door asks, and what it would be told at `now`.
    pub(super) fn of(rng: &mut Rng, now: TimestampMs) -> Self {
        if rng.one_in(2) {
            return Self::Nobody;
        }
        let turns_left = (!rng.one_in(12)).then(|| rng.below(TURNS_MAX));
        let verdict = if rng.one_in(6) {
            let delay = if rng.one_in(2) { Duration::ZERO } else { Duration::from_millis(rng.next() % 4_000) };
            Err(Denied { refusal: *rng.pick(&Refusal::ALL), delay })
        } else {
            Ok(Admitted { principal: Arc::new(principal(rng, now)), standing: None })
        };
        Self::Everybody(Answer { turns_left, verdict })
    }

    /// Where the client is from, if it will be let in.
    pub(super) fn tenant(&self) -> Option<&TenantId> {
        let Self::Everybody(Answer { verdict: Ok(admitted), .. }) = self else { return None };
        Some(&admitted.principal.tenant)
    }

    /// The answer, once it is there.
    pub(super) fn next_turn(&mut self) -> Option<Verdict> {
        let Self::Everybody(Answer { turns_left: Some(turns_left), verdict }) = self else { return None };
        match turns_left.checked_sub(1) {
            Some(less) => {
                *turns_left = less;
                None
            }
            None => Some(verdict.clone()),
        }
    }
}

/// Somebody in one of two tenants, some with a token that is about to expire.
fn principal(rng: &mut Rng, now: TimestampMs) -> Principal {
    let driver = if rng.one_in(4) { "d2" } else { "d1" };
    Principal {
        tenant: TenantId::new(if rng.one_in(3) { TENANTS[1] } else { TENANTS[0] }).unwrap(),
        role: *rng.pick(&Role::ALL),
        subject: if rng.one_in(4) { "ann" } else { "bob" }.into(),
        driver: (!rng.one_in(4)).then(|| DriverId::new(driver).unwrap()),
        expires_at: rng.one_in(4).then(|| TimestampMs(now.0 + (rng.next() % 1_000) as i64)),
    }
}
