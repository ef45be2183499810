//! `[http]` and `[admin]` of the configuration.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::server::Bounds;

/// `[http]`: the public API. Its bounds hold for the operator's port as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Connections at once; the next one waits.
    pub connections_max: usize,
    /// Longest body; a longer one is 413.
    pub body_bytes_max: usize,
    /// Most fixes in a body; more are 413.
    pub fixes_max: usize,
    /// Until the headers of the next request are there, from the connection's start or the last answer.
    pub header_timeout_s: u64,
    /// Until a body is there; later is 408.
    pub body_timeout_s: u64,
    /// Until a request is answered; later is 503.
    pub request_timeout_s: u64,
    /// How long an answer waits for a client that does not read it.
    pub write_timeout_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            connections_max: 10_000,
            body_bytes_max: 1_048_576,
            fixes_max: 10_000,
            header_timeout_s: 30,
            body_timeout_s: 20,
            request_timeout_s: 30,
            write_timeout_s: 30,
        }
    }
}

/// After this the shutdown cuts what is still under way: the whole engine has five seconds to end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

impl Config {
    /// What [`super::serve`] holds clients to.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            connections_max: self.connections_max,
            header_timeout: Duration::from_secs(self.header_timeout_s),
            write_timeout: Duration::from_secs(self.write_timeout_s),
            drain_timeout: DRAIN_TIMEOUT,
        }
    }

    pub(super) fn body_timeout(&self) -> Duration {
        Duration::from_secs(self.body_timeout_s)
    }

    pub(super) fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_s)
    }
}

/// `[admin]`: the operator's port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// Where it listens.
    pub listen: SocketAddr,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9090)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_optional_and_known() {
        assert_eq!(toml::from_str::<Config>("").unwrap(), Config::default());
        let set: Config = toml::from_str("listen = \"127.0.0.1:0\"\nbody_bytes_max = 10").unwrap();
        assert_eq!((set.listen.port(), set.body_bytes_max), (0, 10));
        assert!(toml::from_str::<Config>("body_max = 10").is_err());
        assert!(toml::from_str::<AdminConfig>("listen = \"nowhere\"").is_err());
    }
}
