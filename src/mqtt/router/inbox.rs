//! The way to the router's thread: a list under a short lock that it empties in one go, and a bound for each kind of sender.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::link::{Ending, LinkId};
use super::message::Message;
use super::namespace::Arrival;
use super::{Busy, Mount};
use crate::mqtt::codec::ClientPacket;

/// Clients that may wait to be attached or forgotten.
const ARRIVALS_MAX: usize = 1_024;

/// Fixes that may wait to be told; as many again may be on the thread's own list.
const FIXES_MAX: usize = 8_192;

/// What the router is asked for. Packets, resumptions and endings are bounded for each link, and links by connections.
pub(super) enum Command {
    Attach(Mount, Box<Arrival>),
    Forget(Mount, Box<str>),
    Packet(LinkId, Box<ClientPacket>),
    Resume(LinkId),
    Detach(LinkId, Ending),
    Fix(Mount, Message),
    /// Save what is to be saved, and end.
    Stop,
    #[cfg(test)]
    Kill,
}

/// What gathers until the thread looks.
#[derive(Default)]
struct Gathered {
    commands: Vec<Command>,
    arrivals: usize,
    fixes: usize,
    is_closed: bool,
    /// The thread waits, and has to be woken.
    is_waiting: bool,
}

/// The list, between those who hold an [`InboxEnd`] and the router's thread.
#[derive(Default)]
pub(super) struct Inbox {
    gathered: Mutex<Gathered>,
    wake: Condvar,
}

/// The senders' end; when the last is dropped the router ends.
pub(super) struct InboxEnd(Arc<Inbox>);

impl std::fmt::Debug for InboxEnd {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("InboxEnd")
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Swaps what gathered into `taken`, which is empty, and waits for it for so long. False: nobody is left who could send.
    pub(super) fn take(&self, taken: &mut Vec<Command>, wait: Duration) -> bool {
        let mut gathered = self.lock();
        if gathered.commands.is_empty() && !gathered.is_closed && !wait.is_zero() {
            gathered.is_waiting = true;
            let waited = self.wake.wait_timeout_while(gathered, wait, |gathered| {
                gathered.commands.is_empty() && !gathered.is_closed
            });
            gathered = waited.unwrap_or_else(PoisonError::into_inner).0;
            gathered.is_waiting = false;
        }
        std::mem::swap(&mut gathered.commands, taken);
        (gathered.arrivals, gathered.fixes) = (0, 0);
        !gathered.is_closed || !taken.is_empty()
    }
}

impl InboxEnd {
    pub(super) fn new(inbox: Arc<Inbox>) -> Self {
        Self(inbox)
    }

    /// Leaves a command. `Err` gives it back: there is no room for its kind.
    pub(super) fn send(&self, command: Command) -> Result<(), (Busy, Command)> {
        let mut gathered = self.0.lock();
        match &command {
            Command::Attach(..) | Command::Forget(..) => {
                if gathered.arrivals >= ARRIVALS_MAX {
                    return Err((Busy, command));
                }
                gathered.arrivals += 1;
            }
            Command::Fix(..) => {
                if gathered.fixes >= FIXES_MAX {
                    return Err((Busy, command));
                }
                gathered.fixes += 1;
            }
            _ => {}
        }
        gathered.commands.push(command);
        if std::mem::replace(&mut gathered.is_waiting, false) {
            drop(gathered);
            self.0.wake.notify_one();
        }
        Ok(())
    }
}

impl Drop for InboxEnd {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::mqtt::router::message::{Ms, SERVER};

    fn fix() -> Command {
        let message = Message {
            topic: "a".into(),
            payload: Bytes::new(),
            qos: 0,
            retain: false,
            publisher: SERVER,
            expires_at: Ms::NEVER,
            properties: None,
        };
        Command::Fix(Mount::Open, message)
    }

    #[test]
    fn each_kind_has_its_bound() {
        let inbox = Arc::new(Inbox::default());
        let end = InboxEnd::new(Arc::clone(&inbox));
        let fixes = (0..2 * FIXES_MAX).filter(|_| end.send(fix()).is_ok()).count();
        let forget = || Command::Forget(Mount::Open, "a".into());
        let arrivals = (0..2 * ARRIVALS_MAX).filter(|_| end.send(forget()).is_ok()).count();
        assert_eq!((fixes, arrivals), (FIXES_MAX, ARRIVALS_MAX));
        assert!(end.send(Command::Resume(1)).is_ok(), "bounded where it comes from");
        let mut taken = Vec::new();
        assert!(inbox.take(&mut taken, Duration::ZERO));
        assert_eq!(taken.len(), FIXES_MAX + ARRIVALS_MAX + 1);
        assert!(end.send(fix()).is_ok(), "there is room again");
        taken.clear();
        drop(end);
        assert!(inbox.take(&mut taken, Duration::from_secs(60)), "what was sent before is still there");
        taken.clear();
        assert!(!inbox.take(&mut taken, Duration::from_secs(60)), "and then nobody is left");
    }
}
