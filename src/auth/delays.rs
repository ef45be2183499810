//! Addresses that failed, and for how long each is kept waiting for its next refusal.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Failures of an address that are answered at once: somebody mistypes, or a device has yet to be added.
const FREE_FAILURES: u32 = 3;

/// The first delay; each further failure doubles it.
const DELAY_MIN: Duration = Duration::from_millis(250);

/// The longest.
const DELAY_MAX: Duration = Duration::from_secs(5);

/// After so long without a failure an address counts as new.
const FORGIVEN_AFTER: Duration = Duration::from_secs(120);

/// Most addresses that are remembered. With one more, the quarter that failed longest ago is forgotten.
const ADDRESSES_MAX: usize = 16_384;

#[derive(Clone, Copy, Debug)]
struct Record {
    failures: u32,
    last: Instant,
}

/// The addresses that failed lately. An IPv6 address stands for its /64, which a single subscriber has all of.
#[derive(Debug, Default)]
pub(super) struct Delays(HashMap<IpAddr, Record>);

impl Delays {
    /// Takes a failure down, and tells how long its answer has to wait.
    pub(super) fn fail(&mut self, address: IpAddr, now: Instant) -> Duration {
        let address = key(address);
        if self.0.len() >= ADDRESSES_MAX && !self.0.contains_key(&address) {
            self.forget_oldest(now);
        }
        let record = self.0.entry(address).or_insert(Record { failures: 0, last: now });
        if is_forgiven(record, now) {
            record.failures = 0;
        }
        record.failures = record.failures.saturating_add(1);
        record.last = now;
        let Some(doublings) = record.failures.checked_sub(FREE_FAILURES + 1) else { return Duration::ZERO };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        DELAY_MIN.saturating_mul(factor).min(DELAY_MAX)
    }

    /// Takes a success down, which makes up for a quarter of the failures and no more: whoever knows one password and tries
    /// others in turn waits all the same.
    pub(super) fn succeed(&mut self, address: IpAddr) {
        if let Some(record) = self.0.get_mut(&key(address)) {
            record.failures -= record.failures / 4;
        }
    }

    /// Whether an address failed so often that its failures wait.
    pub(super) fn is_suspect(&self, address: IpAddr, now: Instant) -> bool {
        self.0.get(&key(address)).is_some_and(|record| record.failures > FREE_FAILURES && !is_forgiven(record, now))
    }

    fn forget_oldest(&mut self, now: Instant) {
        self.0.retain(|_, record| !is_forgiven(record, now));
        if self.0.len() < ADDRESSES_MAX {
            return;
        }
        let mut times: Vec<Instant> = self.0.values().map(|record| record.last).collect();
        let (_, oldest_kept, _) = times.select_nth_unstable(ADDRESSES_MAX / 4);
        let oldest_kept = *oldest_kept;
        self.0.retain(|_, record| record.last > oldest_kept);
    }
}

fn is_forgiven(record: &Record, now: Instant) -> bool {
    now.saturating_duration_since(record.last) >= FORGIVEN_AFTER
}

/// What an address is remembered by.
pub(super) fn key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn failures_wait_longer_and_longer_until_successes_or_time_clear_them() {
        let (mut delays, begin) = (Delays::default(), Instant::now());
        let one = address("192.0.2.1");
        let waits: Vec<u128> = (0..11).map(|_| delays.fail(one, begin).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 250, 500, 1_000, 2_000, 4_000, 5_000, 5_000, 5_000]);
        assert!(delays.is_suspect(one, begin));
        assert_eq!(delays.fail(address("192.0.2.2"), begin), Duration::ZERO, "each address has its own");
        assert!(!delays.is_suspect(address("192.0.2.2"), begin));

        let later = begin + FORGIVEN_AFTER;
        assert!(!delays.is_suspect(one, later));
        assert_eq!(delays.fail(one, later), Duration::ZERO);

        for _ in 0..8 {
            delays.fail(one, later);
        }
        for failures in [9, 7, 6, 5, 4] {
            assert!(delays.is_suspect(one, later), "{failures}");
            delays.succeed(one);
        }
        assert!(!delays.is_suspect(one, later));
    }

    #[test]
    fn failures_with_a_success_after_each_wait_all_the_same() {
        let (mut delays, now) = (Delays::default(), Instant::now());
        let one = address("192.0.2.1");
        let mut waits = Vec::new();
        for _ in 0..6 {
            waits.push(delays.fail(one, now).as_millis());
            delays.succeed(one);
        }
        assert_eq!(waits, [0, 0, 0, 250, 250, 250]);
    }

    #[test]
    fn however_often_it_fails_the_delay_keeps_to_its_bound() {
        let (mut delays, now) = (Delays::default(), Instant::now());
        for _ in 0..10_000 {
            assert!(delays.fail(address("::1"), now) <= DELAY_MAX);
        }
    }

    #[test]
    fn neighbours_in_a_64_are_one_and_mapped_addresses_are_what_they_map() {
        assert_eq!(key(address("2001:db8:1:2:3:4:5:6")), key(address("2001:db8:1:2::1")));
        assert_ne!(key(address("2001:db8:1:2::1")), key(address("2001:db8:1:3::1")));
        assert_eq!(key(address("::ffff:192.0.2.1")), address("192.0.2.1"));
    }

    #[test]
    fn addresses_are_bounded_and_the_oldest_go_first() {
        let (mut delays, begin) = (Delays::default(), Instant::now());
        let number = |number: u32| IpAddr::from(number.to_be_bytes());
        for index in 0..ADDRESSES_MAX as u32 {
            delays.fail(number(index), begin + Duration::from_micros(u64::from(index)));
        }
        let now = begin + Duration::from_secs(1);
        delays.fail(number(u32::MAX), now);
        assert!(delays.0.len() <= ADDRESSES_MAX * 3 / 4 + 1, "{}", delays.0.len());
        assert!(delays.0.contains_key(&number(ADDRESSES_MAX as u32 - 1)) && !delays.0.contains_key(&number(0)));
        // All at the same instant: nobody is kept for ever.
        let mut delays = Delays::default();
        for index in 0..=ADDRESSES_MAX as u32 {
            delays.fail(number(index), begin);
        }
        assert!(delays.0.len() <= ADDRESSES_MAX);
    }
}
