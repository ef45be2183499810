//! Who a CONNECT says it is: asked of the authority, waited for without reading on, and answered.
//!
//! While the answer is waited for the connection is in [`Phase::AwaitingAuth`]: what it sends stays unread, and
//! `mqtt.connect_timeout_s` goes on. A refusal that has to be held back stays in that phase until it is due or that time is
//! over, which the worker's sweep sees.

use super::close::Close;
use super::codec::{Connect, Version};
use super::connection::{Connection, Phase, Session};
use super::mailbox::Message;
use super::opening;
use super::worker::{Context, TICKS_PER_S, Tick};
use crate::auth::{Answer, Credentials, Denied, Refusal, Verdict, Waiting};
use crate::units::TimestampMs;

/// A CONNECT that is not answered yet.
#[derive(Debug)]
pub(super) enum Pending {
    /// The authority has it, for as long as this is there.
    Asked {
        /// What came.
        connect: Connect,
        /// Who hangs up takes the question back with it.
        _waiting: Waiting,
    },
    /// It is refused when the time has come.
    Refused {
        /// How the client can be told.
        version: Version,
        /// The largest packet that it takes.
        packet_bytes_max: Option<u32>,
        /// Why.
        why: Close,
        /// From when on.
        due: Tick,
    },
}

impl Connection {
    /// Asks who it is, and begins its session if that is known at once.
    pub(super) fn authenticate(&mut self, context: &mut Context, mut connect: Connect) -> Result<(), Close> {
        if context.authority.is_open() {
            return self.begin_session(context, connect, None);
        }
        let credentials = self.credentials(&mut connect);
        let (mailbox, me) = (context.mailboxes[context.worker].clone(), self.me);
        let tell = move |verdict| mailbox.send(Message::Authenticated { connection: me, verdict });
        self.await_verdict(context.now_tick);
        match context.authority.ask(credentials, self.peer(), context.now, tell) {
            Answer::Now(verdict) => self.judge(context, connect, verdict),
            Answer::Later(waiting) => {
                self.pending = Some(Box::new(Pending::Asked { connect, _waiting: waiting }));
                Ok(())
            }
        }
    }

    /// Reads no more until it is known who it is.
    fn await_verdict(&mut self, now: Tick) {
        self.phase = Phase::AwaitingAuth;
        self.phase_since = now;
    }

    /// Has a CONNECT wait as if the authority had been asked and took its time.
    #[cfg(test)]
    pub(super) fn ask_in_vain(&mut self, connect: Connect, now: Tick) {
        self.await_verdict(now);
        self.pending = Some(Box::new(Pending::Asked { connect, _waiting: Waiting::in_vain() }));
    }

    /// Takes the answer that was waited for.
    pub(super) fn authenticated(&mut self, context: &mut Context, verdict: Verdict) -> Result<(), Close> {
        match self.pending.take().map(|pending| *pending) {
            Some(Pending::Asked { connect, .. }) => self.judge(context, connect, verdict),
            other => {
                self.pending = other.map(Box::new);
                Ok(())
            }
        }
    }

    /// A password is shown by choice, a certificate by whoever set the client up: the password counts. A user name alone shows
    /// nothing.
    fn credentials(&mut self, connect: &mut Connect) -> Credentials {
        let holder = self.holder.take();
        match (connect.username.take(), connect.password.take(), holder) {
            (_, None, Some(holder)) => Credentials::Certificate(*holder),
            (None, None, None) => Credentials::None,
            (user, password, _) => Credentials::Password {
                user: user.unwrap_or_default(),
                password: password.unwrap_or_default().to_vec(),
            },
        }
    }

    fn judge(&mut self, context: &mut Context, connect: Connect, verdict: Verdict) -> Result<(), Close> {
        let Denied { refusal, delay } = match verdict {
            Ok(admitted) => return self.begin_session(context, connect, Some(admitted)),
            Err(denied) => denied,
        };
        let why = match refusal {
            Refusal::Busy => Close::AuthBusy,
            Refusal::Missing => Close::NotAuthorized,
            _ => Close::BadCredentials,
        };
        let Connect { version, packet_bytes_max, .. } = connect;
        if delay.is_zero() {
            self.pending = Some(Box::new(Pending::Refused { version, packet_bytes_max, why, due: context.now_tick }));
            return Err(why);
        }
        let ticks = delay.as_millis() * u128::from(TICKS_PER_S) / 1_000;
        let due = context.now_tick.saturating_add(ticks as Tick);
        self.pending = Some(Box::new(Pending::Refused { version, packet_bytes_max, why, due }));
        Ok(())
    }

    /// Why a connection that waits for its answer has to end now, if it has: its refusal is due, or it has waited for
    /// as long as a CONNECT may take.
    pub(super) fn refusal_due(&self, now: Tick, connect_timeout: Tick) -> Option<Close> {
        let is_late = now - self.phase_since > connect_timeout;
        match self.pending.as_deref() {
            Some(Pending::Refused { why, due, .. }) if *due <= now || is_late => Some(*why),
            Some(Pending::Asked { .. }) if is_late => Some(Close::AuthBusy),
            _ => None,
        }
    }

    /// Answers a CONNECT that waits, where there is anything to say.
    pub(super) fn refuse_pending(&mut self, why: Close) {
        let (version, packet_bytes_max) = match self.pending.take().map(|pending| *pending) {
            Some(Pending::Asked { connect: Connect { version, packet_bytes_max, .. }, .. }) => {
                (version, packet_bytes_max)
            }
            Some(Pending::Refused { version, packet_bytes_max, .. }) => (version, packet_bytes_max),
            None => return,
        };
        opening::put_refusal(&mut self.out, version, why, packet_bytes_max);
    }
}

impl Session {
    /// Why whoever came in may stay no longer, if so.
    pub(super) fn lapsed(&self, now: TimestampMs) -> Option<Close> {
        if self.standing.as_ref().is_some_and(crate::auth::Standing::is_revoked) {
            return Some(Close::Revoked);
        }
        self.principal.as_ref().is_some_and(|principal| principal.is_expired(now)).then_some(Close::Expired)
    }
}
