//! What a run does, validated: every bound is checked before the first connection.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::faults::Shares;

/// Publishes a second that no broker is expected to exceed: bounds how far fixes may run ahead of the clock.
const CLOSED_LOOP_RATE_MAX: f64 = 2_000_000.0;

/// MQTT 3.1.1 or 5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// Protocol level 4.
    #[default]
    V3,
    /// Protocol level 5.
    V5,
}

/// Quality of service of the publishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Qos {
    /// 0: never acknowledged. Each device closes with one fix at QoS 1, whose acknowledgement tells that the broker has
    /// taken in everything before it.
    AtMostOnce,
    /// 1: PUBACK.
    #[default]
    AtLeastOnce,
    /// 2: PUBREC, PUBREL, PUBCOMP.
    ExactlyOnce,
}

/// How devices are played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// All connections of a thread in one event loop with an encoder of its own: cheap enough to saturate a server.
    #[default]
    Raw,
    /// A rumqttc client per device.
    Faithful,
}

/// What sets the pace.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Load {
    /// A rate over all devices, whether the broker keeps up or not.
    Open {
        /// Publishes a second.
        per_second: f64,
    },
    /// The broker: the next write leaves when the acknowledgements (at QoS 0: room in the socket) are there.
    #[default]
    Closed,
}

/// Name and password of the MQTT URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub user: String,
    /// Password, perhaps empty.
    pub password: String,
}

/// A validated run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the broker listens.
    pub address: SocketAddr,
    /// Sent with CONNECT where given.
    pub credentials: Option<Credentials>,
    /// How devices are played.
    pub mode: Mode,
    /// Protocol version.
    pub version: Version,
    /// Quality of service.
    pub qos: Qos,
    /// Devices, one connection each.
    pub devices: u32,
    /// Threads that share the devices.
    pub threads: u32,
    /// Pace.
    pub load: Load,
    /// Publishes of the whole run, if numbered.
    pub publishes: Option<u64>,
    /// Length of the run, if timed.
    pub duration: Option<Duration>,
    /// Publishes a write, at most.
    pub pipeline: usize,
    /// Unacknowledged publishes a connection, at most.
    pub window: u16,
    /// Topic with `{tenant}` and `{driver}`.
    pub topic: String,
    /// Tenant of all devices.
    pub tenant: String,
    /// Put before every driver id.
    pub driver_prefix: String,
    /// Seed of routes and faults.
    pub seed: u64,
    /// Trace to drive instead of made-up routes.
    pub trace: Option<PathBuf>,
    /// Trouble on purpose.
    pub faults: Shares,
    /// What every publish carries instead of a fix.
    pub payload: Option<Arc<[u8]>>,
    /// Where to list acknowledged fixes.
    pub acked_log: Option<PathBuf>,
    /// Whether devices come back after a lost connection.
    pub reconnect: bool,
    /// Publishes after which a device drops its connection without a word, to come back at once.
    pub drop_every: Option<u32>,
    /// Connections that subscribe to all that is published.
    pub subscribers: u32,
    /// How long the connections are kept after the run, silent.
    pub hold: Duration,
    /// Number of loopback addresses that connections come from; 1 leaves the choice to the system.
    pub source_addresses: u8,
    /// Process to measure.
    pub pid: Option<u32>,
}

impl Default for Plan {
    /// A thousand devices for 30 s against a broker on this machine, as fast as it takes them.
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 1883)),
            credentials: None,
            mode: Mode::default(),
            version: Version::default(),
            qos: Qos::default(),
            devices: 1_000,
            threads: 1,
            load: Load::default(),
            publishes: None,
            duration: Some(Duration::from_secs(30)),
            pipeline: 20,
            window: 20,
            topic: "tenant/{tenant}/driver/{driver}/location".to_owned(),
            tenant: "loadgen".to_owned(),
            driver_prefix: "d".to_owned(),
            seed: 1,
            trace: None,
            faults: Shares::default(),
            payload: None,
            acked_log: None,
            reconnect: false,
            drop_every: None,
            subscribers: 0,
            hold: Duration::ZERO,
            source_addresses: 1,
            pid: None,
        }
    }
}

impl Plan {
    /// How far back the fix clock of a device starts: the number of fixes it may make beyond one a millisecond.
    pub fn clock_back_ms(&self) -> i64 {
        let seconds = self.duration.map(|duration| duration.as_secs_f64());
        let timed = seconds.map(|seconds| match self.load {
            Load::Open { per_second } => per_second * seconds,
            Load::Closed => CLOSED_LOOP_RATE_MAX * seconds,
        });
        let counted = self.publishes.map(|publishes| publishes as f64);
        let total = timed.into_iter().chain(counted).fold(f64::INFINITY, f64::min);
        let fixes_per_device = total / f64::from(self.devices);
        let room_ms = match (self.load, seconds) {
            (Load::Open { per_second }, _) => total / per_second * 1_000.0,
            (Load::Closed, Some(seconds)) if counted.is_none() => seconds * 1_000.0,
            (Load::Closed, _) => 0.0,
        };
        // Two milliseconds a fix leaves room for bursts.
        if 2.0 * fixes_per_device <= room_ms { 0 } else { fixes_per_device as i64 + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fix_clock_is_set_back_only_where_a_device_outruns_it() {
        let plan = |devices, load, publishes, seconds| {
            let duration = Some(Duration::from_secs(seconds)).filter(|_| seconds > 0);
            Plan { devices, load, publishes, duration, ..Plan::default() }.clock_back_ms()
        };
        assert_eq!(plan(1_000, Load::Open { per_second: 50_000.0 }, None, 30), 0);
        assert_eq!(plan(1, Load::Open { per_second: 5_000.0 }, None, 10), 50_001);
        assert_eq!(plan(1_000, Load::Closed, Some(500_000), 0), 501);
        assert_eq!(plan(1_000, Load::Closed, None, 30), 60_001);
    }
}
