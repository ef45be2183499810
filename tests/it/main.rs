//! The integration tests: the real binary, real clients and real servers, one scenario a file.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests poll other processes, and a test that cannot go on panics"
)]

mod support;

mod acl;
mod auth;
mod backup;
mod books;
mod clients;
mod compact;
mod config;
mod crash;
mod decode;
mod determinism;
mod door;
mod faults;
mod fences;
mod formats;
mod full;
mod geofences;
mod http;
mod journal;
mod late;
mod layout;
mod limits;
mod promises;
mod rejected;
mod reload;
mod replay;
mod router;
mod servers;
mod shutdown;
mod snapshots;
mod starting;
mod traces;
mod transports;
