//! A driver's record: its latest fix and the leaf it is in, on one cache line, written under its sequence.
//!
//! The sequence is odd while somebody writes. Who writes takes it from even to odd by compare and swap, so writers
//! exclude each other; who reads takes no part, and reads again if the sequence was odd or has moved on meanwhile. (A
//! seqlock whose data are relaxed atomics between an acquire and a release fence: H. Boehm, "Can seqlocks get along
//! with programming language memory models?", 2012.)

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};
use std::{hint, thread};

use super::cells::Place;
use super::steps::{step, whole};
use super::tree::Root;
use crate::fix::Fix;
use crate::units::{Position, TimestampMs};

/// Turns of a wait before the thread that is waited for is given the core.
const SPINS_MAX: u32 = 64;

/// Where in the tree a driver is: a leaf, its depth, and the entry of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Home {
    pub(super) leaf: u32,
    pub(super) depth: u8,
    pub(super) entry: u8,
    pub(super) root: Root,
}

impl Home {
    /// Of a silent driver, in the byte of its depth.
    const SILENT: u8 = 1 << 7;
}

/// See the module.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Record {
    sequence: AtomicU32,
    leaf: AtomicU32,
    words: [AtomicU64; 6],
    depth_and_root: AtomicU8,
    entry: AtomicU8,
    /// See [`Traits`].
    traits: AtomicU16,
    /// The list of the [`Wheel`](super::wheel::Wheel) that the driver stands in.
    pub(super) next: AtomicU32,
}

/// What is known of a driver besides its fixes: the number of its set of tags, and whether it is busy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traits(u16);

impl Traits {
    const ON_SHIPMENT: u16 = 1 << 15;

    pub(super) fn new(tag_set: u16, on_shipment: bool) -> Self {
        Self(tag_set | if on_shipment { Self::ON_SHIPMENT } else { 0 })
    }

    pub(super) fn tag_set(self) -> u16 {
        self.0 & !Self::ON_SHIPMENT
    }

    pub(super) fn on_shipment(self) -> bool {
        self.0 & Self::ON_SHIPMENT != 0
    }
}

const _: () = assert!(size_of::<Record>() == 64, "a record is one cache line");

impl Record {
    /// Where the driver was last. Not torn, but of no particular instant: [`Record::fix`] goes with the rest.
    pub(super) fn position(&self) -> Position {
        unpack_position(self.words[0].load(Ordering::Relaxed))
    }

    /// The latest fix.
    pub(super) fn fix(&self) -> Fix {
        self.snapshot().fix()
    }

    /// All of one writing. Waits only while a writer is in the middle of one.
    pub(super) fn snapshot(&self) -> Snapshot {
        step();
        let mut spins = 0;
        loop {
            let before = self.sequence.load(Ordering::Acquire);
            let words = self.words.each_ref().map(|word| word.load(Ordering::Relaxed));
            let traits = Traits(self.traits.load(Ordering::Relaxed));
            fence(Ordering::Acquire);
            if before & 1 == 0 && self.sequence.load(Ordering::Relaxed) == before {
                return Snapshot { words, traits };
            }
            wait(&mut spins);
        }
    }

    /// Writes the fix if the driver stays in the cell of its leaf by it, and in the tree that `root` chooses; otherwise
    /// leaves all as it was. `respot` is to tell the entry of the leaf where in the cell the driver is now, if that has
    /// changed.
    pub(super) fn write_in_cell(&self, fix: &Fix, root: impl FnOnce() -> Root, respot: impl FnOnce(Home, u16)) -> bool {
        self.writing(|record| {
            let home = record.home();
            let (old, new) = (Place::new(record.position()), Place::new(fix.position));
            if !old.shares_cell(new, home.depth) || home.root != root() {
                return false;
            }
            record.store(fix);
            let spot = new.spot(home.depth);
            if spot != old.spot(home.depth) {
                respot(home, spot);
            }
            true
        })
    }

    /// When the latest fix was received and in which tree the driver is, while nobody can change that. Whoever writes
    /// afterwards sees all that the caller did before.
    pub(super) fn heard_at(&self) -> (TimestampMs, Root) {
        self.writing(|record| (record.received_at(), record.home().root))
    }

    /// The tree that the driver is in, or is on the move from.
    pub(super) fn root(&self) -> Root {
        self.home().root
    }

    /// Gives the driver other traits.
    pub(super) fn set_traits(&self, traits: Traits) {
        self.writing(|record| record.traits.store(traits.0, Ordering::Relaxed));
    }

    fn received_at(&self) -> TimestampMs {
        TimestampMs(self.words[2].load(Ordering::Relaxed) as i64)
    }

    /// Writes the fix together with the leaf it belongs in. Only for whoever holds the tree's lock.
    pub(super) fn write(&self, fix: &Fix, home: Home) {
        self.writing(|record| {
            record.store(fix);
            record.settle_in(home);
        });
    }

    /// Gives the driver another leaf, chosen by its position while nobody can change that. Only for whoever holds the
    /// tree's lock.
    pub(super) fn rehome(&self, choose: impl FnOnce(Position) -> Home) {
        self.writing(|record| record.settle_in(choose(record.position())));
    }

    /// Gives the driver another place in the trees if `choose` finds one, by its receive time, position and present place,
    /// while nobody can change those; tells the position and the place it had. Only for whoever holds the tree's lock.
    pub(super) fn resettle(
        &self,
        choose: impl FnOnce(TimestampMs, Position, Home) -> Option<Home>,
    ) -> Option<(Position, Home)> {
        self.writing(|record| {
            let (position, home) = (record.position(), record.home());
            let new_home = choose(record.received_at(), position, home)?;
            record.settle_in(new_home);
            Some((position, home))
        })
    }

    /// Where it is in the tree. Only for whoever holds the tree's lock, or is writing.
    pub(super) fn home(&self) -> Home {
        let depth_and_root = self.depth_and_root.load(Ordering::Relaxed);
        Home {
            leaf: self.leaf.load(Ordering::Relaxed),
            depth: depth_and_root & !Home::SILENT,
            entry: self.entry.load(Ordering::Relaxed),
            root: if depth_and_root & Home::SILENT == 0 { Root::Heard } else { Root::Silent },
        }
    }

    fn settle_in(&self, home: Home) {
        self.leaf.store(home.leaf, Ordering::Relaxed);
        let root = if home.root == Root::Silent { Home::SILENT } else { 0 };
        self.depth_and_root.store(home.depth | root, Ordering::Relaxed);
        self.entry.store(home.entry, Ordering::Relaxed);
    }

    fn store(&self, fix: &Fix) {
        for (word, value) in self.words.iter().zip(pack(fix)) {
            word.store(value, Ordering::Relaxed);
        }
    }

    fn writing<T>(&self, write: impl FnOnce(&Self) -> T) -> T {
        let mut spins = 0;
        let before = loop {
            let sequence = self.sequence.load(Ordering::Relaxed);
            let odd = sequence.wrapping_add(1);
            if sequence & 1 == 0
                && self.sequence.compare_exchange_weak(sequence, odd, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                break sequence;
            }
            wait(&mut spins);
        };
        fence(Ordering::Release);
        let result = whole(|| write(self));
        self.sequence.store(before.wrapping_add(2), Ordering::Release);
        step();
        result
    }
}

/// A writer is in its dozen stores; only if it lost its core in the middle is there anything to wait for.
fn wait(spins: &mut u32) {
    *spins += 1;
    if *spins < SPINS_MAX {
        hint::spin_loop();
    } else {
        thread::yield_now();
    }
}

fn pack(fix: &Fix) -> [u64; 6] {
    let mut present = 0_u64;
    let mut field = |bit: u64, value: Option<u64>| {
        present |= u64::from(value.is_some()) << bit;
        value.unwrap_or_default()
    };
    let speed = field(0, fix.speed_mmps.map(u64::from));
    let altitude = field(1, fix.altitude_cm.map(|value| u64::from(value as u32)));
    let accuracy = field(2, fix.accuracy_cm.map(u64::from));
    let seq = field(3, fix.seq.map(u64::from));
    let heading = field(4, fix.heading_cdeg.map(u64::from));
    let hdop = field(5, fix.hdop_centi.map(u64::from));
    let battery = field(6, fix.battery_percent.map(u64::from));
    let satellites = field(7, fix.satellites.map(u64::from));
    [
        u64::from(fix.position.latitude_e7 as u32) | u64::from(fix.position.longitude_e7 as u32) << 32,
        fix.time.0 as u64,
        fix.received_at.0 as u64,
        speed | altitude << 32,
        accuracy | seq << 32,
        heading | hdop << 16 | battery << 32 | satellites << 40 | present << 48,
    ]
}

fn unpack_position(word: u64) -> Position {
    Position { latitude_e7: word as u32 as i32, longitude_e7: (word >> 32) as u32 as i32 }
}

/// What a record held at one instant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Snapshot {
    words: [u64; 6],
    pub(super) traits: Traits,
}

impl Snapshot {
    pub(super) fn position(&self) -> Position {
        unpack_position(self.words[0])
    }

    pub(super) fn received_at(&self) -> TimestampMs {
        TimestampMs(self.words[2] as i64)
    }

    pub(super) fn fix(&self) -> Fix {
        unpack(self.words)
    }
}

fn unpack(words: [u64; 6]) -> Fix {
    let [position, time, received_at, motion, quality, small] = words;
    let present = |bit: u64| small >> (48 + bit) & 1 == 1;
    Fix {
        time: TimestampMs(time as i64),
        received_at: TimestampMs(received_at as i64),
        position: unpack_position(position),
        speed_mmps: present(0).then_some(motion as u32),
        altitude_cm: present(1).then_some((motion >> 32) as u32 as i32),
        accuracy_cm: present(2).then_some(quality as u32),
        seq: present(3).then_some((quality >> 32) as u32),
        heading_cdeg: present(4).then_some(small as u16),
        hdop_centi: present(5).then_some((small >> 16) as u16),
        battery_percent: present(6).then_some((small >> 32) as u8),
        satellites: present(7).then_some((small >> 40) as u8),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::geo::testing::fix;

    proptest! {
        #[test]
        fn a_fix_comes_back_whole(first in fix(), second in fix()) {
            let record = Record::default();
            let home = Home { leaf: 7, depth: 0, entry: 3, root: Root::Silent };
            record.write(&first, home);
            prop_assert_eq!(record.fix(), first);
            let mut spot = Place::new(first.position).spot(0);
            prop_assert!(!record.write_in_cell(&second, || Root::Heard, |_, _| ()));
            prop_assert_eq!(record.fix(), first);
            record.set_traits(Traits::new(4_095, true));
            let stayed = record.write_in_cell(&second, || Root::Silent, |respotted, new| {
                assert_eq!(respotted, home);
                spot = new;
            });
            prop_assert!(stayed);
            prop_assert_eq!((record.fix(), record.home()), (second, home));
            prop_assert_eq!(spot, Place::new(second.position).spot(0));
            let traits = record.snapshot().traits;
            prop_assert_eq!((traits.tag_set(), traits.on_shipment()), (4_095, true));
        }
    }
}
