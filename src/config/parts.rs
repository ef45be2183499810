//! The sections that no other part owns, and stand-ins for those whose part comes later in the build-up.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// `[mqtt]`
pub mod mqtt {
    use super::*;

    /// The MQTT front door.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct Config {
        /// Address and port of the listener, for MQTT 3.1.1 and 5.
        pub listen: SocketAddr,
        /// Threads that serve connections; 0 is one per core.
        pub workers: usize,
        /// Largest packet that is read, header and all.
        pub packet_bytes_max: usize,
        /// Seconds that a connection may take to its CONNECT.
        pub connect_timeout_s: u64,
        /// Most connections at a time.
        pub connections_max: usize,
        /// Unacknowledged publishes that a client may have under way (Receive Maximum of MQTT 5).
        pub in_flight_max: u16,
        /// Messages that wait for a subscriber before it loses the oldest.
        pub subscriber_queue_max: usize,
        /// Bytes that wait to be written to a connection before it is closed as too slow.
        pub write_buffer_bytes_max: usize,
    }

    impl Default for Config {
        fn default() -> Self {
            Self {
                listen: SocketAddr::from(([127, 0, 0, 1], 1883)),
                workers: 0,
                packet_bytes_max: 262_144,
                connect_timeout_s: 10,
                connections_max: 100_000,
                in_flight_max: 1_024,
                subscriber_queue_max: 1_024,
                write_buffer_bytes_max: 1_048_576,
            }
        }
    }
}

/// `[http]`
pub mod http {
    use super::*;

    /// The public HTTP API.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct Config {
        /// Address and port of the listener.
        pub listen: SocketAddr,
        /// Largest request body.
        pub body_bytes_max: usize,
        /// Most connections at a time.
        pub connections_max: usize,
        /// Seconds that a request may take, body included.
        pub request_timeout_s: u64,
    }

    impl Default for Config {
        fn default() -> Self {
            Self {
                listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
                body_bytes_max: 1_048_576,
                connections_max: 10_000,
                request_timeout_s: 30,
            }
        }
    }
}

/// `[pipeline]`
pub mod pipeline {
    use super::*;

    /// The shards.
    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct Config {
        /// Shard threads; 0 is one per core.
        pub shards: usize,
    }
}

/// `[journal]`
pub mod journal {
    use super::*;

    /// The durable log.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct Config {
        /// Bytes after which a segment is closed and the next begun.
        pub segment_bytes: u64,
    }

    impl Default for Config {
        fn default() -> Self {
            Self { segment_bytes: 67_108_864 }
        }
    }
}

/// `[store]`
pub mod store {
    use super::*;

    /// The embedded store.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    pub struct Config {
        /// Whether history is kept beyond the window in memory.
        pub enabled: bool,
    }

    impl Default for Config {
        fn default() -> Self {
            Self { enabled: true }
        }
    }
}
