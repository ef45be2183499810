//! Certificates: what a door shows of itself over TLS, and whom it asks to show theirs.
//!
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
