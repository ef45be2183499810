//! The way to the router's thread: lists under a short lock that it empties in one go, and a bound for each kind of sender.
//!
//! Fixes have a list of their own and come in portions, so that whoever took what was sent to it, and says so, is not heard
//! only behind thousands of them.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::link::{Ending, LinkId};
use super::message::Message;
use super::namespace::Arrival;
use super::{Busy, Mount};
use crate::mqtt::codec::ClientPacket;

/// Clients that may wait to be attached or forgotten.
const ARRIVALS_MAX: usize = 1_024;

/// Fixes that may wait to be told.
const FIXES_MAX: usize = 8_192;

/// Fixes that are taken at once.
const FIXES_AT_ONCE: usize = 256;

/// What the router is asked for. Packets, resumptions and endings are bounded for each link, and links by connections.
pub(super) enum Command {
    Attach(Mount, Box<Arrival>),
    Forget(Mount, Box<str>),
    Packet(LinkId, Box<ClientPacket>),
    Resume(LinkId),
    Detach(LinkId, Ending),
    /// Save what is to be saved, and end.
    Stop,
    #[cfg(test)]
    Kill,
}

/// An accepted fix, and whose subscribers are told of it.
pub(super) type Fix = (Mount, Message);

/// What gathers until the thread looks.
#[derive(Default)]
struct Gathered {
    commands: Vec<Command>,
    fixes: VecDeque<Fix>,
    arrivals: usize,
    is_closed: bool,
    /// The thread waits, and has to be woken.
    is_waiting: bool,
}

impl Gathered {
    fn is_empty(&self) -> bool {
        self.commands.is_empty() && self.fixes.is_empty()
    }
}

/// What the thread took.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) commands: Vec<Command>,
    pub(super) fixes: Vec<Fix>,
}

/// The lists, between those who hold an [`InboxEnd`] and the router's thread.
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

    /// Takes the commands that gathered and a portion of the fixes into `taken`, which is empty, and waits for them for so
    /// long. False: nobody is left who could send.
    pub(super) fn take(&self, taken: &mut Taken, wait: Duration) -> bool {
        let mut gathered = self.lock();
        if gathered.is_empty() && !gathered.is_closed && !wait.is_zero() {
            gathered.is_waiting = true;
            let has_nothing = |gathered: &mut Gathered| gathered.is_empty() && !gathered.is_closed;
            let waited = self.wake.wait_timeout_while(gathered, wait, has_nothing);
            gathered = waited.unwrap_or_else(PoisonError::into_inner).0;
            gathered.is_waiting = false;
        }
        std::mem::swap(&mut gathered.commands, &mut taken.commands);
        gathered.arrivals = 0;
        let portion = gathered.fixes.len().min(FIXES_AT_ONCE);
        taken.fixes.extend(gathered.fixes.drain(..portion));
        !gathered.is_closed || !taken.commands.is_empty() || !taken.fixes.is_empty()
    }
}

impl InboxEnd {
    pub(super) fn new(inbox: Arc<Inbox>) -> Self {
        Self(inbox)
    }

    /// Leaves a command. `Err` gives it back: there is no room for its kind.
    pub(super) fn send(&self, command: Command) -> Result<(), (Busy, Command)> {
        let mut gathered = self.0.lock();
        if matches!(command, Command::Attach(..) | Command::Forget(..)) {
            if gathered.arrivals >= ARRIVALS_MAX {
                return Err((Busy, command));
            }
            gathered.arrivals += 1;
        }
        gathered.commands.push(command);
        self.wake(gathered);
        Ok(())
    }

    /// Leaves a fix, if there is room for it.
    pub(super) fn send_fix(&self, fix: Fix) -> Result<(), Busy> {
        let mut gathered = self.0.lock();
        if gathered.fixes.len() >= FIXES_MAX {
            return Err(Busy);
        }
        gathered.fixes.push_back(fix);
        self.wake(gathered);
        Ok(())
    }

    fn wake(&self, mut gathered: MutexGuard<'_, Gathered>) {
        if std::mem::replace(&mut gathered.is_waiting, false) {
            drop(gathered);
            self.0.wake.notify_one();
        }
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

    fn fix() -> Fix {
        (Mount::Open, Message::fix("a".into(), Bytes::new(), 0))
    }

    #[test]
    fn each_kind_has_its_bound() {
        let inbox = Arc::new(Inbox::default());
        let end = InboxEnd::new(Arc::clone(&inbox));
        let fixes = (0..2 * FIXES_MAX).filter(|_| end.send_fix(fix()).is_ok()).count();
        let forget = || Command::Forget(Mount::Open, "a".into());
        let arrivals = (0..2 * ARRIVALS_MAX).filter(|_| end.send(forget()).is_ok()).count();
        assert_eq!((fixes, arrivals), (FIXES_MAX, ARRIVALS_MAX));
        assert!(end.send(Command::Resume(1)).is_ok(), "bounded where it comes from");
        let mut taken = Taken::default();
        assert!(inbox.take(&mut taken, Duration::ZERO));
        assert_eq!((taken.commands.len(), taken.fixes.len()), (ARRIVALS_MAX + 1, FIXES_AT_ONCE));
        assert!(end.send_fix(fix()).is_ok() && end.send(forget()).is_ok(), "there is room again");
    }

    #[test]
    fn what_was_sent_is_taken_before_the_end() {
        let inbox = Arc::new(Inbox::default());
        let end = InboxEnd::new(Arc::clone(&inbox));
        for _ in 0..=FIXES_AT_ONCE {
            assert!(end.send_fix(fix()).is_ok());
        }
        drop(end);
        for portion in [FIXES_AT_ONCE, 1] {
            let mut taken = Taken::default();
            assert!(inbox.take(&mut taken, Duration::from_secs(60)));
            assert_eq!(taken.fixes.len(), portion);
        }
        assert!(!inbox.take(&mut Taken::default(), Duration::from_secs(60)), "nobody is left");
    }
}
