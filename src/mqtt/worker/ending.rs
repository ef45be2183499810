//! How connections end: closed with a reason, timed out, or drained with the worker.

use std::io;
use std::time::{Duration, Instant};

use mio::Events;

use super::pump::READS_IN_A_ROW_MAX;
use super::{TICKS_PER_S, Tick, Worker};
use crate::mqtt::close::Close;
use crate::mqtt::connection::{Phase, ReadOutcome};
use crate::mqtt::ingest;
use crate::mqtt::wills::Wills;

/// How long a closed connection may take to hang up.
const LINGER: Tick = 2 * TICKS_PER_S;

/// Closed connections that may take their time at once; the next ones are cut.
const LINGERING_MAX: usize = 1_024;

/// How long a client may leave its answers unread.
const WRITE_BLOCKED_MAX: Tick = 60 * TICKS_PER_S;

/// How long a connection says nothing until the memory is taken back that only traffic needs.
const IDLE: Tick = 5 * TICKS_PER_S;

/// How long a stopping worker waits for its last fixes to be durable.
const DRAIN: Duration = Duration::from_secs(3);

impl Worker {
    /// Ends a connection: says why if it can be said, and lingers for that to arrive.
    pub(super) fn close(&mut self, key: u32, why: Close) {
        let Some(connection) = self.connections.get_mut(key as usize) else { return };
        if connection.phase == Phase::Lingering {
            return;
        }
        let client_id = connection.session.as_ref().map(|session| session.client_id.clone()).unwrap_or_default();
        connection.refuse_pending(why);
        connection.collect_acks();
        connection.end_session(&mut self.context, why);
        self.stats.disconnect(why, &client_id);
        let Some(connection) = self.connections.get_mut(key as usize) else { return };
        connection.phase = Phase::Lingering;
        connection.phase_since = self.context.now_tick;
        connection.carried = Vec::new();
        let is_gone = why == Close::Lost
            || connection.write(self.context.now_tick, usize::MAX).is_err()
            || connection.has_unwritten()
            || connection.shut_write().is_err();
        if is_gone || self.lingering >= LINGERING_MAX {
            self.stats.release(connection.listener);
            self.connections.remove(key as usize);
            return;
        }
        self.lingering += 1;
        self.discard(key);
    }

    /// Throws away what a closed connection still sends, and removes it when it hangs up.
    pub(super) fn discard(&mut self, key: u32) {
        let Some(connection) = self.connections.get_mut(key as usize) else { return };
        for _ in 0..READS_IN_A_ROW_MAX {
            match connection.read_past(&mut self.buffer) {
                ReadOutcome::Some(_) if connection.is_readable => {}
                ReadOutcome::Some(_) | ReadOutcome::Nothing => return,
                ReadOutcome::End | ReadOutcome::Fault(_) => break,
            }
        }
        // It hung up, or it floods on.
        self.remove(key);
    }

    pub(super) fn remove(&mut self, key: u32) {
        let connection = self.connections.remove(key as usize);
        self.stats.release(connection.listener);
        self.lingering -= 1;
    }

    /// Ends what took too long, and publishes wills that waited long enough. One pass over all connections instead of a timer for each.
    pub(super) fn sweep(&mut self) {
        self.swept = Instant::now();
        let now = self.context.now_tick;
        let connect_timeout = self.context.config.connect_timeout_s * TICKS_PER_S;
        let mut timed_out = Vec::new();
        for (key, connection) in &mut self.connections {
            if now - connection.heard_at > IDLE {
                connection.give_back();
            }
            let why = match connection.phase {
                Phase::AwaitingConnect | Phase::AwaitingLink => {
                    (now - connection.phase_since > connect_timeout).then_some(Close::ConnectTimeout)
                }
                Phase::AwaitingAuth => connection.refusal_due(now, connect_timeout),
                Phase::Lingering => (now - connection.phase_since > LINGER).then_some(Close::Lost),
                Phase::Open => {
                    let is_silent = connection.silence_max > 0
                        && !connection.is_paused
                        && now - connection.heard_at > connection.silence_max;
                    let is_blocked = connection.blocked_since.is_some_and(|since| now - since > WRITE_BLOCKED_MAX);
                    match (is_silent, is_blocked) {
                        (true, _) => Some(Close::KeepAliveTimeout),
                        (_, true) => Some(Close::WriteTimeout),
                        _ => connection.lapsed(self.context.now),
                    }
                }
            };
            if let Some(why) = why {
                timed_out.push((key as u32, connection.phase, why));
            }
        }
        ingest::publish_wills(&mut self.context, |wills| wills.due(now));
        for (key, phase, why) in timed_out {
            if phase == Phase::Lingering {
                self.remove(key);
            } else {
                self.close(key, why);
            }
        }
        // Nothing else may wake it for the wills.
        self.context.outbox.flush();
    }

    /// Reads no more, waits for what was read to be durable and acknowledged, and says goodbye. Wills on ingest topics, which
    /// the goodbye makes due, are waited for as well, and so are those that waited for their clients.
    pub(super) fn drain(mut self, events: &mut Events) {
        self.is_stopping = true;
        let deadline = Instant::now() + DRAIN;
        self.drain_outbox(events, deadline);
        let keys: Vec<u32> = self.connections.iter().map(|(key, _)| key as u32).collect();
        for key in keys {
            self.close(key, Close::Stopping);
            if self.context.outbox.is_over_ceiling() {
                self.drain_outbox(events, deadline);
            }
        }
        loop {
            ingest::publish_wills(&mut self.context, Wills::any);
            self.drain_outbox(events, deadline);
            // What the shards did not take until now they do not take in time.
            if self.context.wills.is_empty() || !self.context.outbox.is_empty() {
                break;
            }
        }
        self.stats.count(std::mem::take(&mut self.context.tally));
        let wills = self.context.wills.len();
        if wills > 0 {
            tracing::warn!(wills, "stopped before the last wills were published; they are lost");
        }
        if !self.context.outbox.is_empty() {
            tracing::warn!("stopped before the last fixes were durable; they were not acknowledged");
        }
    }

    fn drain_outbox(&mut self, events: &mut Events, deadline: Instant) {
        loop {
            self.context.outbox.flush();
            self.write_dirty();
            let left = deadline.saturating_duration_since(Instant::now());
            if self.context.outbox.is_empty() || left.is_zero() {
                return;
            }
            // Only the mailbox matters now; events of connections pass by.
            if let Err(error) = self.poll.poll(events, Some(left))
                && error.kind() != io::ErrorKind::Interrupted
            {
                return;
            }
            self.read_clocks();
            self.take_messages();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::mqtt::clients::ClientName;
    use crate::mqtt::config::Config;
    use crate::mqtt::stats::Stats;
    use crate::mqtt::wills::tests::will;
    use crate::mqtt::workbench::Workbench;

    /// More of them than one shard has room for at once.
    #[test]
    fn a_clean_stop_publishes_all_wills_that_wait() {
        let (context, poll) = Workbench::new(Config::default()).into_parts();
        let large = will(&[b' '; 64_000]);
        for number in 0..600 {
            let name = ClientName::new(None, &number.to_string());
            assert!(context.wills.wait(&name, large.clone(), 60, 0, 16).is_none());
        }
        let (stats, wills) = (Arc::<Stats>::default(), Arc::clone(&context.wills));
        let worker = Worker::new(poll, crate::clock::Clock::default(), Instant::now(), Arc::clone(&stats), context);
        worker.drain(&mut Events::with_capacity(8));
        assert_eq!((stats.publishes(), stats.wills_lost(), wills.len()), (600, 0, 0));
    }
}
