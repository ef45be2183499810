//! A tracker that publishes at QoS 1 as fast as it is acknowledged and remembers what was, through crashes of the server.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

use super::mqtt::{self, Client, PUBACK, Version};
use super::{fix_time_ms, native_fix, topic};

/// Publishes that are under way at a time.
const WINDOW: usize = 32;

/// One connection's worth of one driver's fixes.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) tenant: String,
    pub(crate) driver: String,
    version: Version,
    fixes_sent: u64,
    unacked: BTreeSet<u64>,
    /// Times of the fixes whose acknowledgement arrived, in ms.
    pub(crate) acked_ms: BTreeSet<u64>,
}

impl Publisher {
    /// One that has sent nothing.
    pub(crate) fn new(tenant: &str, driver: &str, version: Version) -> Self {
        Self {
            tenant: tenant.to_owned(),
            driver: driver.to_owned(),
            version,
            fixes_sent: 0,
            unacked: BTreeSet::new(),
            acked_ms: BTreeSet::new(),
        }
    }

    /// How many different fixes it has sent.
    pub(crate) fn fixes_sent(&self) -> u64 {
        self.fixes_sent
    }

    /// Publishes until the connection ends, first again what was not acknowledged on the one before.
    pub(crate) fn run(&mut self, address: SocketAddr) {
        let mut client = Client::connect(address, self.version, &format!("tracker-{}", self.driver));
        let topic = topic(&self.tenant, &self.driver);
        let mut again = self.unacked.clone();
        let mut under_way: VecDeque<(u16, u64)> = VecDeque::new();
        let mut id = 0;
        loop {
            let mut burst = Vec::new();
            while under_way.len() < WINDOW {
                let n = again.pop_first().unwrap_or_else(|| {
                    self.fixes_sent += 1;
                    self.fixes_sent
                });
                id = if id == u16::MAX { 1 } else { id + 1 };
                burst.extend(mqtt::publish(self.version, &topic, native_fix(n).as_bytes(), 1, id));
                under_way.push_back((id, n));
                self.unacked.insert(n);
            }
            if client.send(&burst).is_err() {
                return;
            }
            // Half a window of acknowledgements before the next write, so that several go into one.
            while under_way.len() > WINDOW / 2 {
                let Some(ack) = client.receive() else { return };
                if ack.kind() != PUBACK {
                    // A server that drains says goodbye; what follows is the end.
                    continue;
                }
                // Acknowledgements come in the order of the publishes [MQTT-4.6.0-2].
                let (expected, n) = under_way.pop_front().expect("the loop's condition");
                assert_eq!((ack.id(), ack.ack_reason()), (expected, 0));
                self.unacked.remove(&n);
                self.acked_ms.insert(fix_time_ms(n));
            }
        }
    }
}
