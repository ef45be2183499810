//! SUBSCRIBE: which of its filters the client may subscribe to. Only those go to the router, and its answer is put together
//! with the refusals.

use super::close::Close;
use super::codec::{ClientPacket, ServerPacket, Subscription};
use super::connection::Connection;
use super::worker::Context;

/// Reason code of MQTT 5: unspecified error.
const UNSPECIFIED: u8 = 0x80;

/// Reason code of MQTT 5: not authorized.
const NOT_AUTHORIZED: u8 = 0x87;

/// Reason code of MQTT 5: topic filter invalid.
const FILTER_INVALID: u8 = 0x8F;

/// Stands for the router's answer.
const ASKED: u8 = 0;

/// A SUBSCRIBE of which some filters were refused, while the router is asked for the others. There are no more of these than
/// the router has packets of this client waiting.
#[derive(Debug)]
pub(super) struct PartlyRefused {
    pkid: u16,
    /// One for each filter of the SUBSCRIBE: why it was refused, or [`ASKED`].
    reasons: Vec<u8>,
}

impl Connection {
    pub(super) fn subscribe(
        &mut self,
        context: &mut Context,
        pkid: u16,
        identifier: Option<u32>,
        mut subscriptions: Vec<Subscription>,
    ) -> Result<(), Close> {
        let reasons: Vec<u8> = subscriptions.iter().map(|wanted| self.refusal_of(context, &wanted.filter)).collect();
        let refused = reasons.iter().filter(|reason| **reason != ASKED).count();
        context.tally.subscriptions_refused += refused as u64;
        if refused == reasons.len() {
            return self.say(&ServerPacket::SubAck { pkid, reasons });
        }
        if refused > 0 {
            let mut reason = reasons.iter();
            subscriptions.retain(|_| reason.next() == Some(&ASKED));
            if let Some(session) = &mut self.session {
                session.partly_refused.push(PartlyRefused { pkid, reasons });
            }
        }
        self.send_routed(context, ClientPacket::Subscribe { pkid, identifier, subscriptions })
    }

    /// Passes the router's SUBACK on, with what was refused before it was asked.
    pub(super) fn subscribed(&mut self, pkid: u16, granted: Vec<u8>) -> Result<(), Close> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let Some(place) = session.partly_refused.iter().position(|partly| partly.pkid == pkid) else {
            return self.say(&ServerPacket::SubAck { pkid, reasons: granted });
        };
        let PartlyRefused { mut reasons, .. } = session.partly_refused.remove(place);
        let mut granted = granted.into_iter();
        for reason in reasons.iter_mut().filter(|reason| **reason == ASKED) {
            *reason = granted.next().unwrap_or(UNSPECIFIED);
        }
        self.say(&ServerPacket::SubAck { pkid, reasons })
    }

    /// Why a filter is refused, or [`ASKED`] if it is not.
    fn refusal_of(&self, context: &Context, filter: &str) -> u8 {
        let who = self.session.as_ref().and_then(|session| session.principal.as_deref());
        if !context.config.takes_topic(filter) {
            FILTER_INVALID
        } else if context.acl.may_subscribe(who, filter) {
            ASKED
        } else if who.is_some() {
            NOT_AUTHORIZED
        } else {
            // In open mode it is nobody's authorization that is lacking.
            UNSPECIFIED
        }
    }
}
