//! Certificates: what a door shows of itself over TLS, and whom it asks to show theirs.
//!
//! # What a handshake costs
//! Server's time for one, ECDSA P-256 on both sides, X25519, on the worker that takes fixes too (median of 600 in memory, one core
//! of a 2-core virtual machine with other work on it, November 2026):
//!
//! | | TLS 1.3 | 1.3 resumed | TLS 1.2 | 1.2 resumed |
//! |---|---|---|---|---|
//! | no client certificate | 115 µs | 103 µs | 100 µs | 16 µs |
//! | a client certificate | 230 µs | 107 µs | 215 µs | 17 µs |
//! | with lists of revoked ones | 290 µs | 107 µs | 267 µs | 17 µs |
//!
//! A resumed session of 1.3 agrees on a key anew, which most of its time goes to; what it saves is the certificates. What bounds
//! all that is the rate at which a listener takes connections (`connections_per_s_max`): a connection has one handshake. Those
//! with TLS take 1,000 a second unless told otherwise, which is less than a third of one core, and a fleet of 18,000 back in 18
//! seconds; whoever is over it waits in the system's backlog and costs nothing.
//!
//! # What changes
//! A [`Server`] holds one pair of certificate and key, read from PEM files, and begins sessions with it: TLS 1.2 and 1.3, by
//! rustls over ring. When the files change, a new pair is taken whole or not at all, and only new sessions see it. Sessions
//! may be resumed by tickets; those of a former pair are not taken, so that a client certificate is looked at anew after a
//! change of its authority. A client certificate that was revoked since is told of by the [`Revocations`], which doors look at
//! while a connection lasts.

mod error;
mod files;
mod holder;
mod revocations;
mod server;
mod watch;

pub use error::Error;
pub use files::{ClientCertificates, Files, Part};
pub use holder::Holder;
pub use revocations::Revocations;
pub use server::Server;
pub use watch::watch;

#[cfg(test)]
pub(crate) mod testing;
