//! What happens when: drawn from a seed.

use std::time::Duration;

use crate::support::loadgen::Order;

/// How long after its start an engine may not be ready yet.
const RECOVERY_MS: u64 = 25;

/// When the engine is killed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Blow {
    /// So long after it was ready.
    UnderLoad { after: Duration },
    /// So soon after it was ready that the fleets are just coming back.
    AfterStart { after: Duration },
    /// So soon after it was started that it may still read its journal.
    InRecovery { after: Duration },
    /// So soon after one of the journal's files came or went: a snapshot on its way, a segment cut off or begun.
    InKeeping { after: Duration },
    /// So long after it was told to stop.
    InDrain { after: Duration, grace: Duration },
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number of the range, both ends included.
    pub(super) fn between(&mut self, least: u64, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        least + (mixed ^ mixed >> 31) % (most - least + 1)
    }

    fn millis(&mut self, least: u64, most: u64) -> Duration {
        // To the microsecond: what is to be hit is shorter than a millisecond.
        Duration::from_micros(self.between(least * 1_000, most * 1_000))
    }

    /// The next kill.
    pub(super) fn blow(&mut self) -> Blow {
        match self.between(0, 19) {
            0..=7 => Blow::UnderLoad { after: self.millis(50, 1_500) },
            8..=10 => Blow::InKeeping { after: self.millis(0, 8) },
            11..=12 => Blow::AfterStart { after: self.millis(0, 50) },
            13..=16 => Blow::InRecovery { after: self.millis(0, RECOVERY_MS) },
            _ => Blow::InDrain { after: self.millis(20, 600), grace: self.millis(0, 10) },
        }
    }
}

/// The fleets of a round: one for each quality of service and way to publish, each a tenant's own. They fill a segment of
/// 1 MiB every few seconds.
pub(super) fn orders(random: &mut Random, duration: Duration) -> Vec<Order> {
    let acme: &[&[&str]] =
        &[&["--qos", "1"], &["--qos", "1", "--mqtt-version", "5", "--pipeline", "5", "--window", "50"]];
    let globex: &[&[&str]] = &[&["--qos", "2", "--mqtt-version", "5"], &["--qos", "2", "--pipeline", "3"]];
    let initech: &[&[&str]] = &[&["--qos", "1", "--single"], &["--qos", "1", "--mode", "faithful"]];
    let fleets = [("acme", 12, 2_400, acme), ("globex", 8, 1_200, globex), ("initech", 6, 150, initech)];
    let order = |(tenant, devices, rate, manners): (&'static str, u32, u32, &[&'static [&'static str]])| {
        let manner = manners[random.between(0, manners.len() as u64 - 1) as usize];
        Order { tenant, devices, rate, seed: random.between(1, u64::MAX / 2), duration, manner }
    };
    fleets.map(order).into()
}
