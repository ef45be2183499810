//! What the door and the operator read of the router without asking its thread.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::{DashMap, DashSet};

use super::Mount;

/// A client id in its namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClientName {
    pub(super) mount: Mount,
    pub(super) client_id: Box<str>,
}

/// See the module. Written by the router's thread only, but for the count of fixes that did not reach it.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) sessions: DashSet<ClientName>,
    pub(super) subscriptions: AtomicUsize,
    pub(super) by_mount: DashMap<Mount, usize>,
    pub(super) fixes_dropped: AtomicU64,
    pub(super) messages_dropped: AtomicU64,
    pub(super) unretained: AtomicU64,
}

impl Shared {
    pub(super) fn subscribed(&self, mount: &Mount) {
        self.subscriptions.fetch_add(1, Ordering::Relaxed);
        *self.by_mount.entry(mount.clone()).or_insert(0) += 1;
    }

    pub(super) fn unsubscribed(&self, mount: &Mount, count: usize) {
        self.subscriptions.fetch_sub(count, Ordering::Relaxed);
        if let dashmap::Entry::Occupied(mut entry) = self.by_mount.entry(mount.clone()) {
            *entry.get_mut() = entry.get().saturating_sub(count);
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }

    pub(super) fn count_unretained(&self) {
        self.unretained.fetch_add(1, Ordering::Relaxed);
    }

    /// Forgets all sessions: the thread that knew them is gone.
    pub(super) fn forget_sessions(&self) {
        self.sessions.clear();
        self.by_mount.clear();
        self.subscriptions.store(0, Ordering::Relaxed);
    }
}
