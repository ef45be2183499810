//! Wills on ingest topics, which are the door's own to publish, and those among them whose clients may still come back.
//!
//! A will is published when its connection is lost, or once its delay or its session is over, whichever is first
//! [MQTT-3.1.2-8]; unless its client goes on with its session before [MQTT-3.1.3-9]. All workers share those that wait, since
//! a client may come back to any. They do not outlive the process: at a clean stop, which ends the sessions of those who have
//! no link to the router, all are published.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hashbrown::HashMap;

use super::clients::ClientName;
use super::connection::Source;
use super::worker::{TICKS_PER_S, Tick};

/// Wills that may wait, some 300 bytes each beside their payloads. One more is published at once.
const WAITING_MAX: usize = 65_536;

/// Bytes of their payloads likewise.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// A will whose topic carries fixes.
#[derive(Clone, Debug)]
pub(super) struct IngestWill {
    pub(super) source: Source,
    pub(super) payload: Bytes,
    /// How long it waits for its client, seconds.
    pub(super) delay_s: u32,
}

/// When a will is due, in ticks, and a number that tells those of one tick apart.
type Due = (u64, u64);

#[derive(Debug, Default)]
struct Waiting {
    by_client: HashMap<ClientName, (Due, IngestWill), foldhash::quality::RandomState>,
    by_due: BTreeMap<Due, ClientName>,
    bytes: usize,
    number_last: u64,
}

impl Waiting {
    fn take(&mut self, name: &ClientName) -> Option<IngestWill> {
        let (due, will) = self.by_client.remove(name)?;
        self.by_due.remove(&due);
        self.bytes -= will.payload.len();
        Some(will)
    }
}

/// Wills that wait, of clients of all workers.
#[derive(Debug, Default)]
pub(super) struct Wills {
    waiting: Mutex<Waiting>,
    /// How many there are: mostly none, and then nobody locks.
    count: AtomicUsize,
}

impl Wills {
    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Has a client's will wait for so many seconds from `now` on. One that need not wait, or has no room to, is given back:
    /// it is due.
    pub(super) fn wait(&self, name: ClientName, will: IngestWill, wait_s: u32, now: Tick) -> Option<IngestWill> {
        if wait_s == 0 {
            return Some(will);
        }
        let mut waiting = self.lock();
        // One that is left there is of a session that this one ended.
        waiting.take(&name);
        let bytes = waiting.bytes + will.payload.len();
        if waiting.by_client.len() >= WAITING_MAX || bytes > WAITING_BYTES_MAX {
            self.counted(&waiting);
            return Some(will);
        }
        waiting.bytes = bytes;
        waiting.number_last += 1;
        let due = (u64::from(now) + u64::from(wait_s) * u64::from(TICKS_PER_S), waiting.number_last);
        waiting.by_due.insert(due, name.clone());
        waiting.by_client.insert(name, (due, will));
        self.counted(&waiting);
        None
    }

    /// Takes the will away that waits for this client.
    pub(super) fn take(&self, name: &ClientName) -> Option<IngestWill> {
        if self.is_empty() {
            return None;
        }
        let mut waiting = self.lock();
        let will = waiting.take(name);
        self.counted(&waiting);
        will
    }

    /// Takes the next will away whose time has come.
    pub(super) fn due(&self, now: Tick) -> Option<IngestWill> {
        self.soonest(|(at, _)| at <= u64::from(now))
    }

    /// Takes the next will away, its time come or not.
    pub(super) fn any(&self) -> Option<IngestWill> {
        self.soonest(|_| true)
    }

    fn soonest(&self, is_wanted: impl FnOnce(Due) -> bool) -> Option<IngestWill> {
        if self.is_empty() {
            return None;
        }
        let mut waiting = self.lock();
        let (due, name) = waiting.by_due.first_key_value()?;
        let name = is_wanted(*due).then(|| name.clone())?;
        let will = waiting.take(&name);
        self.counted(&waiting);
        will
    }

    fn counted(&self, waiting: &Waiting) {
        self.count.store(waiting.by_client.len(), Ordering::Release);
    }

    /// Locks; what panicked while it held this left nothing half done that is worse than one will lost.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::codec::Codec;
    use crate::ids::{DriverId, DriverKey, TenantId};
    use crate::mqtt::close::Close;
    use crate::mqtt::config::Config;
    use crate::mqtt::connection::{Connection, Phase};
    use crate::mqtt::ingest;
    use crate::mqtt::workbench::Workbench;

    fn name(client_id: &str) -> ClientName {
        ClientName::new(None, client_id)
    }

    fn will(payload: &[u8]) -> IngestWill {
        let driver = DriverKey::new(TenantId::new("acme").unwrap(), DriverId::new("d1").unwrap());
        let source = Source { driver: Arc::new(driver), codec: Codec::Native };
        IngestWill { source, payload: Bytes::copy_from_slice(payload), delay_s: 0 }
    }

    fn due(wills: &Wills, now: Tick) -> Vec<Bytes> {
        std::iter::from_fn(|| wills.due(now)).map(|will| will.payload).collect()
    }

    #[test]
    fn they_come_when_they_are_due_unless_their_clients_were_there_before() {
        let wills = Wills::default();
        for (client_id, wait_s) in [("a", 3), ("b", 1), ("c", 2), ("d", 1)] {
            assert!(wills.wait(name(client_id), will(client_id.as_bytes()), wait_s, 100).is_none());
        }
        assert!(wills.wait(name("e"), will(b"e"), 0, 100).is_some(), "it need not wait");
        assert!(due(&wills, 100 + TICKS_PER_S - 1).is_empty());
        assert_eq!(wills.take(&name("d")).unwrap().payload, "d");
        assert!(wills.take(&name("d")).is_none() && wills.take(&name("x")).is_none());
        assert_eq!(due(&wills, 100 + 2 * TICKS_PER_S), ["b", "c"]);
        assert!(!wills.is_empty());
        assert_eq!(wills.any().unwrap().payload, "a");
        assert!(wills.is_empty() && wills.any().is_none());
        assert!(wills.wait(name("a"), will(b"a"), u32::MAX, Tick::MAX).is_none());
        assert!(due(&wills, Tick::MAX).is_empty(), "later than ticks go");
    }

    #[test]
    fn there_is_room_for_so_many_and_so_much() {
        let wills = Wills::default();
        for number in 0..WAITING_MAX {
            assert!(wills.wait(name(&number.to_string()), will(b""), 9, 0).is_none());
        }
        assert!(wills.wait(name("x"), will(b""), 9, 0).is_some());
        assert!(wills.take(&name("7")).is_some());
        assert!(wills.wait(name("x"), will(b""), 9, 0).is_none());

        let wills = Wills::default();
        let large = will(&vec![0; 1 << 20]);
        for number in 0..64 {
            assert!(wills.wait(name(&number.to_string()), large.clone(), 9, 0).is_none());
        }
        assert!(wills.wait(name("x"), will(b"x"), 9, 0).is_some());
        assert!(wills.due(Tick::MAX).is_some());
        assert!(wills.wait(name("x"), will(b"x"), 9, 0).is_none());
    }

    /// A client that leaves a fix behind, and 5 s to come back.
    fn testator(door: &mut Workbench, begins_anew: bool, expiry_s: u8) -> Connection {
        let connect = [
            b"\x10\x44\0\x04MQTT\x05",
            &[if begins_anew { 0x06 } else { 0x04 }][..],
            b"\0\0\x05\x11\0\0\0",
            &[expiry_s],
            b"\0\x01c\x05\x18\0\0\0\x05\0\x20tenant/default/driver/d/location\0\x02{}",
        ];
        let mut connect = connect.concat();
        connect[1] = connect.len() as u8 - 2;
        let mut connection = door.connection(false);
        assert_eq!(connection.take_packets(&mut door.context, &connect), Ok(connect.len()));
        assert_eq!((connection.phase, connection.out[3]), (Phase::Open, 0));
        connection
    }

    /// How many wills were published until so many seconds later.
    fn published(door: &mut Workbench, after_s: u32) -> u64 {
        door.context.now_tick += after_s * TICKS_PER_S;
        while let Some(will) = door.context.wills.due(door.context.now_tick) {
            ingest::publish_will(&mut door.context, &will);
        }
        std::mem::take(&mut door.context.tally.publishes)
    }

    #[test]
    fn a_will_waits_for_its_delay_or_its_session_and_not_for_whoever_begins_anew() {
        let mut door = Workbench::new(Config::default());
        let normal = Close::ByClient { publish_will: false, session_expiry_s: None };
        let shortened = Close::ByClient { publish_will: true, session_expiry_s: Some(1) };
        // How the connection ends, the session's expiry, and how many are out at once, after 4 s and after 5 s.
        for (why, expiry_s, expected) in [
            (Close::Lost, 60, [0, 0, 1]),
            (Close::Lost, 4, [0, 1, 0]),
            (Close::Lost, 0, [1, 0, 0]),
            (Close::KeepAliveTimeout, 60, [0, 0, 1]),
            (Close::Stopping, 60, [1, 0, 0]),
            (normal, 60, [0, 0, 0]),
            (shortened, 60, [0, 1, 0]),
        ] {
            testator(&mut door, true, expiry_s).end_session(&mut door.context, why);
            let found = [0, 4, 1].map(|after_s| published(&mut door, after_s));
            assert_eq!(found, expected, "{why:?} {expiry_s}");
            assert!(door.context.wills.is_empty());
        }
        // Back after its connection was lost, or while it was not missed yet; with its session, or beginning one anew.
        for (is_missed, begins_anew, expected) in
            [(true, false, 0), (true, true, 1), (false, false, 0), (false, true, 1)]
        {
            let mut first = testator(&mut door, true, 60);
            let mut second = if is_missed {
                first.end_session(&mut door.context, Close::Lost);
                testator(&mut door, begins_anew, 60)
            } else {
                let second = testator(&mut door, begins_anew, 60);
                first.end_session(&mut door.context, Close::TakenOver);
                second
            };
            assert_eq!(published(&mut door, 60), expected, "missed: {is_missed}, anew: {begins_anew}");
            second.end_session(&mut door.context, normal);
        }
    }
}
