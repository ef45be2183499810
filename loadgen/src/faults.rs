//! Trouble on purpose: what trackers and radio links do to a stream of fixes, by percentage.

use crate::fix::Fix;
use crate::random::Random;

/// Payloads that are no fix, each wrong in its own way. They are valid MQTT on the right topic.
const GARBAGE: [&[u8]; 10] = [
    b"",
    b"{",
    b"null",
    b"hello",
    b"\x00\xff\xfe\x80\x81",
    b"{\"latitude\":52.229700,\"longitude\":21.0122",
    b"{\"latitude\":\"north\",\"longitude\":21.0122}",
    b"{\"latitude\":1e999,\"longitude\":21.0122,\"timestamp\":\"yesterday\"}",
    b"{\"longitude\":21.0122,\"timestamp\":\"2026-11-20T15:08:21Z\"}",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

/// The shares of publishes that are spoiled, in percent, 0 to 100.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shares {
    /// The fix before, once more.
    pub duplicates: f64,
    /// A fix that is overtaken by the next one.
    pub reorder: f64,
    /// A payload that is no fix.
    pub garbage: f64,
}

/// What is published, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A fix in its order.
    Fresh,
    /// A fix that was published before.
    Duplicate,
    /// A fix that comes after a newer one.
    Overtaken,
    /// The garbage of this number, of [`garbage`].
    Garbage(u8),
}

/// One publish: its fix, which garbage does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// What sort of publish it is.
    pub kind: Kind,
    /// The fix; all zero where `kind` is garbage.
    pub fix: Fix,
}

/// The bytes of garbage number `number`.
pub fn garbage(number: u8) -> &'static [u8] {
    GARBAGE[usize::from(number) % GARBAGE.len()]
}

/// One device's faults.
#[derive(Clone, Debug)]
pub struct Faults {
    shares: Shares,
    random: Random,
    last: Option<Fix>,
    overtaken: Option<Fix>,
}

impl Faults {
    /// The faults of device `number` under `seed`.
    pub fn new(shares: Shares, seed: u64, number: u64) -> Self {
        Self { shares, random: Random::new(!seed, number), last: None, overtaken: None }
    }

    /// The next publish, from a source of fixes that is asked up to twice.
    pub fn next(&mut self, mut fresh: impl FnMut() -> Fix) -> Item {
        if self.shares == Shares::default() {
            return Item { kind: Kind::Fresh, fix: fresh() };
        }
        if let Some(fix) = self.overtaken.take() {
            return Item { kind: Kind::Overtaken, fix };
        }
        let mut luck = self.random.unit() * 100.0;
        if luck < self.shares.garbage {
            let number = (self.random.next_u64() % GARBAGE.len() as u64) as u8;
            return Item { kind: Kind::Garbage(number), fix: Fix::default() };
        }
        luck -= self.shares.garbage;
        if luck < self.shares.duplicates
            && let Some(fix) = self.last
        {
            return Item { kind: Kind::Duplicate, fix };
        }
        luck -= self.shares.duplicates;
        if (0.0..self.shares.reorder).contains(&luck) {
            self.overtaken = Some(fresh());
        }
        let fix = fresh();
        self.last = Some(fix);
        Item { kind: Kind::Fresh, fix }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(shares: Shares, count: usize) -> Vec<Item> {
        let mut faults = Faults::new(shares, 1, 1);
        let mut time_ms = 0;
        let mut fresh = || {
            time_ms += 1;
            Fix { time_ms, ..Fix::default() }
        };
        (0..count).map(|_| faults.next(&mut fresh)).collect()
    }

    fn percent(items: &[Item], wanted: impl Fn(Kind) -> bool) -> f64 {
        items.iter().filter(|item| wanted(item.kind)).count() as f64 * 100.0 / items.len() as f64
    }

    #[test]
    fn without_faults_fixes_pass_in_order() {
        assert!(run(Shares::default(), 100).iter().enumerate().all(|(n, item)| item.fix.time_ms == n as i64 + 1));
    }

    #[test]
    fn shares_are_kept_and_every_fix_is_sent_fresh_or_overtaken_once() {
        let items = run(Shares { duplicates: 10.0, reorder: 5.0, garbage: 2.0 }, 100_000);
        assert!((percent(&items, |kind| kind == Kind::Duplicate) - 10.0).abs() < 1.0);
        assert!((percent(&items, |kind| kind == Kind::Overtaken) - 5.0).abs() < 1.0);
        assert!((percent(&items, |kind| matches!(kind, Kind::Garbage(_))) - 2.0).abs() < 0.5);
        let mut times: Vec<i64> = items
            .iter()
            .filter(|item| matches!(item.kind, Kind::Fresh | Kind::Overtaken))
            .map(|item| item.fix.time_ms)
            .collect();
        let sent = times.len();
        times.sort_unstable();
        times.dedup();
        assert_eq!(times.len(), sent);
    }

    #[test]
    fn an_overtaken_fix_follows_the_one_that_overtook_it() {
        let items = run(Shares { reorder: 100.0, ..Shares::default() }, 4);
        let times: Vec<i64> = items.iter().map(|item| item.fix.time_ms).collect();
        assert_eq!(times, [2, 1, 4, 3]);
    }

    #[test]
    fn no_garbage_is_a_fix() {
        for number in 0..GARBAGE.len() as u8 {
            let read: Result<serde_json::Value, _> = serde_json::from_slice(garbage(number));
            let fix = read.is_ok_and(|value| value["latitude"].is_number() && value["longitude"].is_number());
            assert!(!fix, "{number}");
        }
    }
}
