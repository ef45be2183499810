//! How other threads reach a worker: a list under a short lock, and one wake for all that gathers.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mio::Waker;
use mio::net::TcpStream;

use super::close::Close;
use super::router::FromRouter;
use crate::auth::Verdict;
use crate::pipeline::{Batch, Origin};

/// A connection of a worker: its place, and which of the connections that had that place it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConnectionRef {
    pub(super) key: u32,
    pub(super) generation: u32,
}

/// What a worker is told.
#[derive(Debug)]
pub(super) enum Message {
    /// Serve this one, of the listener with this number. Over the limit, it only gets its refusal.
    Accepted { socket: TcpStream, listener: u8, over_limit: bool },
    /// Who a connection is that waits to be told.
    Authenticated { connection: ConnectionRef, verdict: Verdict },
    /// A batch came back from a shard.
    Judged { shard: usize, batch: Batch },
    /// The router has something for a connection.
    Routed { connection: ConnectionRef, from_router: FromRouter, cost: usize },
    /// End a connection.
    Close { connection: ConnectionRef, why: Close },
    /// Drain and leave.
    Stop,
}

/// A worker's mailbox. What can gather in it is bounded by its senders: connections, batches under way, subscribers' queues.
pub(super) struct Mailbox {
    messages: Mutex<Vec<Message>>,
    /// What the router has for the worker's connections and did not hand over yet. Nobody but the router's thread looks.
    routed: Mutex<Vec<Message>>,
    waker: Waker,
    is_woken: AtomicBool,
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Mailbox")
    }
}

impl Mailbox {
    pub(super) fn new(waker: Waker) -> Self {
        Self { messages: Mutex::default(), routed: Mutex::default(), waker, is_woken: AtomicBool::new(false) }
    }

    /// Leaves a message. Never blocks for longer than another sender's push.
    pub(super) fn send(&self, message: Message) {
        lock(&self.messages).push(message);
        self.wake();
    }

    /// Puts a message to those that [`Mailbox::hand_over`] leaves, which is for the router's thread alone.
    pub(super) fn gather(&self, message: Message) {
        lock(&self.routed).push(message);
    }

    /// Leaves what gathered, under one lock and with one wake.
    pub(super) fn hand_over(&self) {
        let mut routed = lock(&self.routed);
        if !routed.is_empty() {
            lock(&self.messages).append(&mut routed);
            self.wake();
        }
    }

    fn wake(&self) {
        if !self.is_woken.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            // A worker with connections looks into its mailbox at every sweep all the same.
            tracing::error!(%error, "could not wake an mqtt worker");
        }
    }

    /// Swaps the messages that gathered into `taken`, which is empty.
    pub(super) fn take(&self, taken: &mut Vec<Message>) {
        // Before the look: whoever comes after it wakes again.
        self.is_woken.store(false, Ordering::Release);
        std::mem::swap(&mut *lock(&self.messages), taken);
    }
}

/// Locks; nothing is left half done by what panicked while it held one of these.
fn lock(messages: &Mutex<Vec<Message>>) -> MutexGuard<'_, Vec<Message>> {
    messages.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One shard's way back to a worker.
#[derive(Debug)]
pub(super) struct ShardReturn {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) shard: usize,
}

impl Origin for ShardReturn {
    fn judged(&self, batch: Batch) {
        self.mailbox.send(Message::Judged { shard: self.shard, batch });
    }
}
