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
                listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
                connections_max: 1_024,
                body_bytes_max: 1_048_576,
                fixes_max: 10_000,
                header_timeout_s: 30,
                body_timeout_s: 20,
                request_timeout_s: 60,
                write_timeout_s: 30,
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
