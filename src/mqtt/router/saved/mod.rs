//! What outlives the process: kept sessions with their subscriptions and what waits for their clients, and retained messages.
//!
//! Every [`Config::save_interval_s`](super::Config::save_interval_s), if anything changed, and when the engine stops, the
//! router's thread takes an image, which shares its messages, and another thread writes it to the file `router` in the data
//! directory: under another name, synced, and then in place of the one before. A crash loses what changed since; fixes are in
//! the journal and not concerned. A file that does not read is told and set aside, and the router begins empty.

mod decode;
mod encode;
mod file;
mod image;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub(super) use self::file::{Saver, load};
use super::Mount;
use super::message::{Message, Ms};
use super::session::{Flying, Queued, Subscribed};
use super::will::PendingWill;

/// Everything, at one instant.
#[derive(Debug)]
pub(super) struct Image {
    /// When, as all times in it count.
    pub(super) taken: Ms,
    pub(super) namespaces: Vec<NamespaceImage>,
}

/// One namespace.
#[derive(Debug)]
pub(super) struct NamespaceImage {
    pub(super) mount: Mount,
    pub(super) retained: Vec<Arc<Message>>,
    pub(super) sessions: Vec<SessionImage>,
}

/// One session, as if its client had just been lost.
#[derive(Debug)]
pub(super) struct SessionImage {
    pub(super) client_id: Box<str>,
    pub(super) expires_at: Ms,
    pub(super) will: Option<PendingWill>,
    pub(super) subscriptions: Vec<Subscribed>,
    pub(super) received: Vec<u16>,
    pub(super) pkid_last: u16,
    pub(super) in_flight: Vec<Flying>,
    pub(super) queue: Vec<Queued>,
}
