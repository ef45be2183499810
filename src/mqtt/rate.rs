//! How fast a client may publish, subscribe and unsubscribe: a bucket of packets and one of bytes, which fill with time and
//! which each such packet takes from.
//!
//! A packet is taken as long as there is anything in both, and may leave them in debt by one packet. Behind that the
//! connection is not read until the debt is paid, or what may be lost is dropped.
//!
//! A client that comes again goes on with the bucket that it left ([`Buckets`]). Whoever comes under another client id is
//! another client: how many of these there may be is for the limits of the listeners to say.
//!
//! A SUBSCRIBE counts once, however many filters it has: these are bounded by `mqtt.packet_bytes_max` and
//! `mqtt.router.subscriptions_max`, and a client that begins with all its filters at once is not to wait minutes for its first
//! publish. What else a client may send counts in nothing:
//! - A PINGREQ is answered here by as few bytes as it has, nobody else hears of it, and a connection with too many answers
//!   unread is not read. One behind a packet that is held waits with it all the same: a client in debt by 256 KiB at 1,000 bytes a
//!   second hears nothing for four minutes, and may take the door for dead. It is not taken for dead itself meanwhile.
//! - An acknowledgement or a PUBREL moves what was let in before, and holding it up would hold that. One that moves nothing
//!   costs a look at what is in flight, and of one client the router lets only so many packets wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;

use super::clients::ClientName;
use super::config::{Config, OverRate};
use super::worker::{TICKS_PER_S, Tick};

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Take,
    /// Not now: what follows it is not read either.
    Hold,
    /// It is lost, as it may be at QoS 0.
    Drop,
}

/// What one client may still send. Counted in parts of [`TICKS_PER_S`], so that each tick adds the rate.
#[derive(Debug)]
pub(super) struct Bucket {
    packets: i64,
    bytes: i64,
    filled_at: Tick,
    is_holding: bool,
}

impl Bucket {
    /// A full one; `None` if no rate is limited.
    pub(super) fn new(config: &Config, now: Tick) -> Option<Self> {
        let is_limited = config.publishes_per_s_max > 0 || config.publish_bytes_per_s_max > 0;
        is_limited.then(|| {
            let (packets, bytes) = capacity(config);
            Self { packets, bytes, filled_at: now, is_holding: false }
        })
    }

    /// What becomes of a packet of so many bytes.
    pub(super) fn admit(&mut self, config: &Config, now: Tick, may_be_lost: bool, bytes: usize) -> Admission {
        (self.packets, self.bytes) = self.filled(config, now);
        self.filled_at = now;
        self.is_holding = false;
        if self.has_left(config) {
            let parts = i64::from(TICKS_PER_S);
            self.packets -= parts;
            self.bytes -= parts * bytes as i64;
            return Admission::Take;
        }
        if may_be_lost && config.over_rate == OverRate::Drop {
            return Admission::Drop;
        }
        self.is_holding = true;
        Admission::Hold
    }

    /// Whether a packet is held that would still be.
    pub(super) fn holds(&self, config: &Config, now: Tick) -> bool {
        let (packets, bytes) = self.filled(config, now);
        self.is_holding && !Self { packets, bytes, ..*self }.has_left(config)
    }

    fn has_left(&self, config: &Config) -> bool {
        (config.publishes_per_s_max == 0 || self.packets > 0) && (config.publish_bytes_per_s_max == 0 || self.bytes > 0)
    }

    /// What is in it by now.
    fn filled(&self, config: &Config, now: Tick) -> (i64, i64) {
        let ticks = i64::from(now.saturating_sub(self.filled_at));
        let (packets_max, bytes_max) = capacity(config);
        // What is not limited is always full.
        let fill = |level: i64, rate: u32, max: i64| match rate {
            0 => max,
            _ => level.saturating_add(ticks * i64::from(rate)).min(max),
        };
        (
            fill(self.packets, config.publishes_per_s_max, packets_max),
            fill(self.bytes, config.publish_bytes_per_s_max, bytes_max),
        )
    }
}

/// A bucket of a client, whose connections may follow each other faster than they leave.
pub(super) type SharedBucket = Arc<Mutex<Bucket>>;

/// Locks; what panicked while it held this left nothing half done.
pub(super) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Clients that are gone and whose buckets are not full again, of which that is remembered. Beyond it, that of all of them is
/// forgotten: so many under as many names might as well have come under new ones.
const GONE_MAX: usize = 16_384;

/// Names with a bucket after which it is looked at first who is gone.
const LOOK_AT: usize = 1_024;

/// The buckets by their clients' names. Bounded by the number of connections and by [`GONE_MAX`], and twice as many between two
/// looks.
#[derive(Debug, Default)]
pub(super) struct Buckets(Mutex<Named>);

#[derive(Debug, Default)]
struct Named {
    by_name: HashMap<ClientName, SharedBucket, foldhash::quality::RandomState>,
    look_at: usize,
}

impl Buckets {
    /// The bucket of a client, as it left it if it was there before; `None` if no rate is limited.
    pub(super) fn of(&self, name: &ClientName, config: &Config, now: Tick) -> Option<SharedBucket> {
        let full = Bucket::new(config, now)?;
        let mut named = lock(&self.0);
        if named.by_name.len() >= named.look_at.max(LOOK_AT) {
            named.forget(config, now);
        }
        if let Some(bucket) = named.by_name.get(name) {
            // What was held went with its connection.
            lock(bucket).is_holding = false;
            return Some(Arc::clone(bucket));
        }
        let bucket = Arc::new(Mutex::new(full));
        named.by_name.insert(name.clone(), Arc::clone(&bucket));
        Some(bucket)
    }
}

impl Named {
    /// Forgets whoever is gone and could have a full bucket by now.
    fn forget(&mut self, config: &Config, now: Tick) {
        let is_gone = |bucket: &SharedBucket| Arc::strong_count(bucket) == 1;
        let mut gone = 0;
        self.by_name.retain(|_, bucket| {
            let is_kept = !is_gone(bucket) || lock(bucket).filled(config, now) != capacity(config);
            gone += usize::from(is_kept && is_gone(bucket));
            is_kept
        });
        if gone > GONE_MAX {
            self.by_name.retain(|_, bucket| !is_gone(bucket));
        }
        self.look_at = 2 * self.by_name.len();
    }
}

/// What is in a full bucket.
fn capacity(config: &Config) -> (i64, i64) {
    let parts = i64::from(config.publish_burst_s) * i64::from(TICKS_PER_S);
    (parts * i64::from(config.publishes_per_s_max), parts * i64::from(config.publish_bytes_per_s_max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::close::Close;
    use crate::mqtt::workbench::Workbench;

    fn config(publishes: u32, bytes: u32, burst_s: u32, over_rate: OverRate) -> Config {
        Config {
            publishes_per_s_max: publishes,
            publish_bytes_per_s_max: bytes,
            publish_burst_s: burst_s,
            over_rate,
            ..Config::default()
        }
    }

    /// Publishes that are taken if as many as may be are sent in each tick.
    fn taken(config: &Config, ticks: Tick, bytes: usize) -> usize {
        let mut bucket = Bucket::new(config, 0).unwrap();
        let mut taken = 0;
        for now in 0..ticks {
            while bucket.admit(config, now, false, bytes) == Admission::Take {
                taken += 1;
            }
        }
        taken
    }

    #[test]
    fn a_burst_is_taken_and_then_the_rate() {
        // 2 s worth at once, and 10 s at the rate, less what a tick adds.
        let expected = 7 * 2 + 7 * 10;
        let publishes = taken(&config(7, 0, 2, OverRate::Delay), 101, 1_000);
        assert!((expected..=expected + 1).contains(&publishes), "{publishes}");
        let bytes = 100 * taken(&config(0, 1_000, 2, OverRate::Delay), 101, 100);
        assert!((12_000..=12_100).contains(&bytes), "{bytes}");
        let both = taken(&config(7, 100, 1, OverRate::Delay), 101, 100);
        assert!((11..=12).contains(&both), "{both}");
    }

    #[test]
    fn who_comes_again_goes_on_with_its_bucket() {
        let mut door = Workbench::new(config(10, 0, 10, OverRate::Delay));
        let connect = |id: u8| [&b"\x10\x0D\0\x04MQTT\x04\x02\0\0\0\x01"[..], &[id]].concat();
        let publish = b"\x30\x24\0\x20tenant/default/driver/d/location{}";
        let publishes = publish.repeat(150);
        // How many publishes are taken of a client that sends as many as it can and leaves, or is not seen to leave.
        let mut burst = |id, now, leaves| {
            door.context.now_tick = now;
            let mut connection = door.connection(false);
            assert_eq!(connection.take_packets(&mut door.context, &connect(id)), Ok(15));
            let taken = connection.take_packets(&mut door.context, &publishes).unwrap() / publish.len();
            if leaves {
                connection.end_session(&mut door.context, Close::Lost);
            }
            taken
        };
        assert_eq!(
            [burst(b'a', 0, true), burst(b'a', 0, true), burst(b'b', 0, false), burst(b'b', 0, true)],
            [100, 0, 100, 0]
        );
        let (later, much_later) = (burst(b'a', 5 * TICKS_PER_S, true), burst(b'a', 60 * TICKS_PER_S, true));
        assert_eq!((later, much_later), (50, 100), "who was away has what came together meanwhile");
    }

    #[test]
    fn buckets_of_clients_that_are_gone_are_forgotten_when_they_are_full() {
        let config = config(1, 0, 10, OverRate::Delay);
        let buckets = Buckets::default();
        let of = |number: usize, now| buckets.of(&ClientName::new(None, &number.to_string()), &config, now).unwrap();
        let connected = of(0, 0);
        for number in 1..=20 * GONE_MAX {
            assert_eq!(lock(&of(number, 0)).admit(&config, 0, false, 1), Admission::Take);
        }
        let count = lock(&buckets.0).by_name.len();
        assert!(count <= 2 * GONE_MAX + 2, "{count}");
        lock(&buckets.0).forget(&config, 20 * TICKS_PER_S);
        assert_eq!(lock(&buckets.0).by_name.len(), 1);
        assert!(Arc::ptr_eq(&connected, &of(0, 20 * TICKS_PER_S)), "who is still there");
    }

    #[test]
    fn without_limits_there_is_no_bucket() {
        assert!(Bucket::new(&config(0, 0, 10, OverRate::Drop), 0).is_none());
    }

    #[test]
    fn what_is_over_is_held_or_if_it_may_be_lost_dropped() {
        let delay = config(1, 0, 1, OverRate::Delay);
        let mut bucket = Bucket::new(&delay, 5).unwrap();
        assert_eq!(bucket.admit(&delay, 5, true, 9), Admission::Take);
        assert!(!bucket.holds(&delay, 5), "nothing waits");
        assert_eq!(bucket.admit(&delay, 5, true, 9), Admission::Hold);
        assert!(bucket.holds(&delay, 5));
        assert!(!bucket.holds(&delay, 5 + TICKS_PER_S));
        assert_eq!(bucket.admit(&delay, 5 + TICKS_PER_S, true, 9), Admission::Take);
        assert!(!bucket.holds(&delay, 5 + TICKS_PER_S));

        let drop = config(1, 0, 1, OverRate::Drop);
        let mut bucket = Bucket::new(&drop, 0).unwrap();
        assert_eq!(bucket.admit(&drop, 0, true, 9), Admission::Take);
        assert_eq!(bucket.admit(&drop, 0, true, 9), Admission::Drop);
        assert!(!bucket.holds(&drop, 0), "a drop holds nothing up");
        assert_eq!(bucket.admit(&drop, 0, false, 9), Admission::Hold);
    }

    /// Of so many packets sent at once, how many are taken in which tick.
    fn taken_by_tick(config: &Config, packets: &[u8], ticks: Tick) -> Vec<usize> {
        let mut door = Workbench::new(config.clone());
        let mut connection = door.connection(false);
        let connect = b"\x10\x0D\0\x04MQTT\x04\x02\0\0\0\x01c";
        assert_eq!(connection.take_packets(&mut door.context, connect), Ok(connect.len()));
        let (mut left, mut taken) = (packets, Vec::new());
        for tick in 0..ticks {
            door.context.now_tick = tick;
            let bytes = connection.take_packets(&mut door.context, left).unwrap();
            left = &left[bytes..];
            taken.push(bytes);
        }
        connection.end_session(&mut door.context, Close::Lost);
        taken
    }

    #[test]
    fn what_costs_others_counts_and_is_never_dropped_unless_it_is_a_publish_at_qos_0() {
        let subscribe: &[u8] = b"\x82\x06\0\x01\0\x01a\0";
        let unsubscribe: &[u8] = b"\xA2\x05\0\x01\0\x01a";
        let ping: &[u8] = b"\xC0\0";
        let publish: &[u8] = b"\x30\x03\0\x01a";
        let release: &[u8] = b"\x62\x02\0\x09";
        for (packet, over_rate, is_counted) in [
            (subscribe, OverRate::Drop, true),
            (subscribe, OverRate::Delay, true),
            (unsubscribe, OverRate::Drop, true),
            (publish, OverRate::Delay, true),
            (publish, OverRate::Drop, false),
            (ping, OverRate::Delay, false),
            (release, OverRate::Delay, false),
        ] {
            let config = config(2, 0, 1, over_rate);
            let taken = taken_by_tick(&config, &packet.repeat(9), 2 * TICKS_PER_S);
            let expected = if is_counted { 2 } else { 9 };
            assert_eq!(taken[0], expected * packet.len(), "{packet:02x?} {over_rate:?}");
            let later: usize = taken[1..].iter().sum();
            let expected = if is_counted { 4 } else { 0 };
            assert_eq!(later, expected * packet.len(), "{packet:02x?} {over_rate:?}: {taken:?}");
        }
        let by_bytes = taken_by_tick(&config(0, 8, 1, OverRate::Drop), &subscribe.repeat(9), 1);
        assert_eq!(by_bytes, [subscribe.len()]);
        let unlimited = taken_by_tick(&config(0, 0, 1, OverRate::Drop), &subscribe.repeat(9), 1);
        assert_eq!(unlimited, [9 * subscribe.len()]);
    }

    #[test]
    fn a_packet_of_more_than_the_burst_passes_and_is_paid_for() {
        let config = config(0, 100, 1, OverRate::Delay);
        let mut bucket = Bucket::new(&config, 0).unwrap();
        assert_eq!(bucket.admit(&config, 0, false, 1_100), Admission::Take);
        assert_eq!(bucket.admit(&config, 99, false, 1), Admission::Hold);
        assert_eq!(bucket.admit(&config, 101, false, 1), Admission::Take);
        assert_eq!(bucket.admit(&config, Tick::MAX, false, 1), Admission::Take, "no overflow");
    }
}
