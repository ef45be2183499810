//! CONNECT: who comes, whether it may, whose place it takes, and the link to the router for those who need one.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::aliases::{Incoming, Outgoing};
use super::clients::{ClientName, ClientRef};
use super::close::Close;
use super::codec::{Connect, ServerPacket, Version, Will};
use super::connection::{Connection, Phase, Session};
use super::frame::Packet;
use super::ingest;
use super::mailbox::{ConnectionRef, Message};
use super::opening;
use super::outbound::Outbound;
use super::router::{Attach, CloseReason, Deliver, Link};
use super::terms::{self, Taken};
use super::worker::{Context, TICKS_PER_S, Tick};
use crate::auth::Admitted;

/// Longest client id, bytes. MQTT has servers take 23 [MQTT-3.1.3-5]; it is kept for as long as what is kept under it.
const CLIENT_ID_BYTES_MAX: usize = 1_024;

impl Connection {
    /// The first packet, which must be a CONNECT [MQTT-3.1.0-1].
    pub(super) fn connect(&mut self, context: &mut Context, packet: &Packet<'_>) -> Result<(), Close> {
        let connect = self.read_connect(packet)?;
        self.authenticate(context, connect)
    }

    /// The CONNECT, if it asks for nothing that nobody gets.
    pub(super) fn read_connect(&mut self, packet: &Packet<'_>) -> Result<Connect, Close> {
        let connect = opening::read_connect(packet).map_err(|refused| {
            if let Some(version) = refused.version {
                opening::put_refusal(&mut self.out, version, refused.why, None);
            }
            refused.why
        })?;
        let version = connect.version;
        let refusal = if self.over_limit {
            Some(Close::TooManyConnections)
        } else if connect.authentication_method.is_some() {
            Some(Close::AuthMethodRefused)
        } else if version == Version::V4 && connect.client_id.is_empty() && !connect.clean_start {
            Some(Close::ClientIdRefused)
        } else if connect.client_id.len() > CLIENT_ID_BYTES_MAX {
            Some(Close::ClientIdTooLong)
        } else {
            None
        };
        if let Some(why) = refusal {
            opening::put_refusal(&mut self.out, version, why, connect.packet_bytes_max);
            return Err(why);
        }
        Ok(connect)
    }

    /// Begins the session of a client that may come in; nobody is asked who it is in open mode.
    pub(super) fn begin_session(
        &mut self,
        context: &mut Context,
        mut connect: Connect,
        admitted: Option<Admitted>,
    ) -> Result<(), Close> {
        let principal = admitted.as_ref().map(|admitted| Arc::clone(&admitted.principal));
        let (ingest_will, routed_will) = match connect.will.take() {
            None => (None, None),
            Some(will) => match terms::take_will(context, admitted.as_ref(), connect.version, will) {
                Ok(Taken::Ingest(will)) => (Some(will), None),
                Ok(Taken::Routed(will)) => (None, Some(will)),
                Err(why) => {
                    opening::put_refusal(&mut self.out, connect.version, why, connect.packet_bytes_max);
                    return Err(why);
                }
            },
        };
        let (keep_alive_s, is_keep_alive_told) = terms::keep_alive_s(&context.config, &connect);
        let is_id_assigned = connect.client_id.is_empty();
        let client_id = if is_id_assigned { assigned_client_id(self.me, context.worker) } else { connect.client_id };
        let silence_max = Tick::from(keep_alive_s) * TICKS_PER_S * 3 / 2;
        let mut session = Session {
            version: connect.version,
            principal,
            standing: admitted.and_then(|admitted| admitted.standing),
            client_id: client_id.into(),
            is_id_assigned,
            clean_start: connect.clean_start,
            session_expiry_s: connect.session_expiry_s,
            receive_maximum: connect.receive_maximum,
            packet_bytes_max: connect.packet_bytes_max,
            ingest_will,
            link: None,
            outbound: None,
            is_resumed: false,
            retry: VecDeque::new(),
            partly_refused: Vec::new(),
            wants_problem_information: connect.wants_problem_information,
            told_keep_alive_s: is_keep_alive_told.then_some(keep_alive_s),
            bucket: None,
            aliases: Incoming::default(),
            outgoing_aliases: Outgoing::new(connect.topic_alias_max, context.config.topic_alias_max),
            unreleased: Vec::new(),
        };
        self.silence_max = silence_max;
        let name = session.name();
        session.bucket = context.clients.buckets.of(&name, &context.config, context.now_tick);
        self.take_name(context, &name, &session);
        let has_kept_session = context.router.has_session(&name.mount, &name.owned_id);
        let needs_link = routed_will.is_some() || (has_kept_session && !session.clean_start);
        let forgets = has_kept_session && session.clean_start && !needs_link;
        // Until CONNACK went, what fails is told by one.
        self.phase = Phase::AwaitingLink;
        self.phase_since = context.now_tick;
        self.session = Some(Box::new(session));
        if needs_link {
            return self.attach(context, routed_will);
        }
        if forgets {
            let forgotten = context.router.forget(&name.mount, &name.owned_id);
            forgotten.map_err(|_| Close::Router(CloseReason::Unavailable))?;
        }
        self.send_connack(context, false)
    }

    /// Takes the client's name, and the place of whoever has it.
    fn take_name(&self, context: &Context, name: &ClientName, session: &Session) {
        let me = ClientRef { worker: context.worker, connection: self.me };
        let succession = session.ingest_will.as_ref().map(|will| Arc::clone(&will.succession));
        if let Some(former) = context.clients.take(name.clone(), me, session.clean_start, succession) {
            context.mailboxes[former.worker]
                .send(Message::Close { connection: former.connection, why: Close::TakenOver });
        }
    }

    /// Lets the client in, if it takes a packet that says so.
    pub(super) fn send_connack(&mut self, context: &mut Context, session_present: bool) -> Result<(), Close> {
        let Some(session) = &self.session else { return Ok(()) };
        let properties = terms::connack_properties(&context.config, session);
        let packet = ServerPacket::ConnAck { session_present, reason: 0, properties: Box::new(properties) };
        let begins_anew = session.clean_start;
        let name = (!context.wills.is_empty()).then(|| session.name());
        self.say(&packet)?;
        self.phase = Phase::Open;
        // A will that waited is called off, unless the session that it waited with ends here [MQTT-3.1.3-9]. Not before: the client
        // of a session that is not let in is not back.
        if let Some(will) = name.and_then(|name| context.wills.take(&name))
            && begins_anew
        {
            ingest::publish_will(context, will);
        }
        Ok(())
    }

    /// The connection's link, made now if it has none.
    pub(super) fn link(&mut self, context: &Context) -> Result<&Link, Close> {
        if self.session.as_ref().is_some_and(|session| session.link.is_none()) {
            self.attach(context, None)?;
        }
        let link = self.session.as_ref().and_then(|session| session.link.as_ref());
        link.ok_or(Close::Router(CloseReason::Unavailable))
    }

    fn attach(&mut self, context: &Context, will: Option<Will>) -> Result<(), Close> {
        let me = self.me;
        let Some(session) = &mut self.session else { return Ok(()) };
        let queue_bytes_max = context.config.subscriber_queue_bytes_max;
        let mailbox = Arc::clone(&context.mailboxes[context.worker]);
        let outbound = Arc::new(Outbound::new(mailbox, context.worker, me, queue_bytes_max));
        let ClientName { mount, owned_id } = session.name();
        let (acl, principal) = (Arc::clone(&context.acl), session.principal.clone());
        let link = context.router.attach(Attach {
            mount,
            client_id: owned_id.into(),
            version: session.version,
            clean_start: session.clean_start,
            session_expiry_s: session.session_expiry_s,
            may_subscribe: Box::new(move |filter| acl.may_subscribe(principal.as_deref(), filter)),
            will,
            receive_maximum: session.receive_maximum,
            unreleased_max: if session.version == Version::V5 { context.config.in_flight_max } else { u16::MAX },
            packet_bytes_max: session.packet_bytes_max,
            outbox: Arc::clone(&outbound) as Arc<dyn Deliver>,
        });
        session.link = Some(link.map_err(|_| Close::Router(CloseReason::Unavailable))?);
        session.outbound = Some(outbound);
        Ok(())
    }
}

/// A client id that nobody has and nobody guesses [MQTT-3.1.3-6].
fn assigned_client_id(connection: ConnectionRef, worker: usize) -> String {
    let unguessable = RandomState::new().hash_one((connection.key, connection.generation, worker));
    format!("rhumb-{worker}-{}-{unguessable:016x}", connection.generation)
}
