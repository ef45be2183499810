//! One device's connection: what it sends when, what is in flight, and what becomes of it when the broker goes.

use std::io::{self, Read};

use mio::net::TcpStream;
use mio::{Interest, Token};

use super::Context;
use super::flights::{Flight, Flights};
use super::outgoing::Outgoing;
use super::socket::{Loss, connect};
use crate::device::Device;
use crate::faults::Kind;
use crate::packet::{self, Packet, Publisher};
use crate::payload::Payload;
use crate::plan::{Load, Plan, Qos};
use crate::schedule::{Schedule, nanoseconds};
use crate::worker::{CONNECT_TIMEOUT, KEEP_ALIVE_S, RECONNECT_TIMEOUT, reconnect_pause};

const REFUSED_FROM: u8 = 0x80;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not yet opened.
    New,
    /// The TCP handshake is under way.
    Connecting,
    /// CONNECT is sent.
    Greeting,
    /// CONNACK is there.
    Open,
    /// Lost; comes back at this time.
    Resting { until_ns: u64 },
    /// Lost for good.
    Ended,
}

pub(super) struct Connection {
    pub(super) device: Device,
    pub(super) schedule: Schedule,
    pub(super) state: State,
    /// Nothing is left to be done for this device.
    pub(super) finished: bool,
    /// It waits for its turn to send more.
    pub(super) runnable: bool,
    publisher: Publisher,
    payload: Payload,
    stream: Option<TcpStream>,
    next_index: u64,
    /// What `next_index` was when it was last let in.
    let_in_at: u64,
    closing_sent: bool,
    out: Outgoing,
    /// The beginning of a packet whose end has not come yet.
    rest: Vec<u8>,
    flights: Flights,
    /// Flights that plan and broker allow.
    in_flight_max: usize,
    wrote_ns: u64,
    /// When the present attempt to be let in began.
    opened_ns: u64,
    lost_at_ns: u64,
    attempt: u32,
    greeted: bool,
}

impl Connection {
    pub(super) fn new(device: Device, plan: &Plan) -> Self {
        Self {
            schedule: Schedule::new(plan, device.number),
            publisher: Publisher::new(&device.topic, plan.version),
            device,
            state: State::New,
            finished: false,
            runnable: false,
            payload: Payload::new(plan.payload.clone()),
            stream: None,
            next_index: 0,
            let_in_at: 0,
            closing_sent: false,
            out: Outgoing::default(),
            rest: Vec::new(),
            flights: Flights::new(plan.window),
            in_flight_max: usize::from(plan.window),
            wrote_ns: 0,
            opened_ns: 0,
            lost_at_ns: 0,
            attempt: 0,
            greeted: false,
        }
    }

    /// Begins to connect; its events carry `token`.
    pub(super) fn open(&mut self, token: Token, context: &mut Context<'_>) {
        self.opened_ns = context.now_ns;
        let opened = connect(context.plan, self.device.number).and_then(|mut stream| {
            context.registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            Ok(stream)
        });
        match opened {
            Ok(stream) => {
                self.stream = Some(stream);
                self.state = State::Connecting;
            }
            Err(error) => self.lose(&error.into(), context),
        }
    }

    pub(super) fn writable(&mut self, context: &mut Context<'_>) {
        if self.state == State::Connecting
            && let Err(loss) = self.greet(context)
        {
            return self.lose(&loss, context);
        }
        if let Err(error) = self.flush() {
            self.lose(&error.into(), context);
        }
    }

    fn greet(&mut self, context: &Context<'_>) -> Result<(), Loss> {
        let Some(stream) = &self.stream else { return Ok(()) };
        if let Some(error) = stream.take_error()? {
            return Err(error.into());
        }
        match stream.peer_addr() {
            // Where nobody listens on a port of the range that the system hands out, TCP can connect a socket to itself.
            Ok(peer) if stream.local_addr()? == peer => return Err(Loss::Io(io::ErrorKind::ConnectionRefused)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let plan = context.plan;
        let credentials = plan.credentials.as_ref();
        packet::put_connect(self.out.bytes(), plan.version, &self.device.id, credentials, plan.reconnect, KEEP_ALIVE_S);
        self.state = State::Greeting;
        Ok(())
    }

    pub(super) fn readable(&mut self, context: &mut Context<'_>) {
        let mut scratch = std::mem::take(&mut context.scratch);
        if let Err(loss) = self.read(&mut scratch, context) {
            self.lose(&loss, context);
        }
        context.scratch = scratch;
    }

    fn read(&mut self, scratch: &mut [u8], context: &mut Context<'_>) -> Result<(), Loss> {
        loop {
            let Some(stream) = &mut self.stream else { return Ok(()) };
            let length = match stream.read(scratch) {
                Ok(0) => return Err(Loss::Closed),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            if self.rest.is_empty() {
                let taken = self.take_packets(&scratch[..length], context)?;
                self.rest.extend_from_slice(&scratch[taken..length]);
            } else {
                let mut rest = std::mem::take(&mut self.rest);
                rest.extend_from_slice(&scratch[..length]);
                let taken = self.take_packets(&rest, context)?;
                rest.drain(..taken);
                self.rest = rest;
            }
            // A read that leaves room has emptied the socket; what comes later is a new edge.
            if length < scratch.len() {
                break;
            }
        }
        self.flush()?;
        Ok(())
    }

    fn take_packets(&mut self, input: &[u8], context: &mut Context<'_>) -> Result<usize, Loss> {
        let mut taken = 0;
        while let Some((packet, length)) = packet::next(&input[taken..], context.plan.version)? {
            taken += length;
            self.take(packet, context)?;
        }
        Ok(taken)
    }

    fn take(&mut self, packet: Packet, context: &mut Context<'_>) -> Result<(), Loss> {
        match packet {
            Packet::Connack { code: 0, receive_maximum, .. } => self.let_in(receive_maximum, context),
            Packet::Connack { code, .. } => return Err(Loss::Refused(code)),
            Packet::Puback(id, reason) => {
                self.judge(id, reason, context);
                self.land(id, context);
            }
            Packet::Pubrec(id, reason) if reason >= REFUSED_FROM => {
                self.judge(id, reason, context);
                self.land(id, context);
            }
            Packet::Pubrec(id, reason) => {
                let again = self.flights.get(id).is_some_and(|flight| std::mem::replace(&mut flight.released, true));
                if !again {
                    self.judge(id, reason, context);
                }
                packet::put_pubrel(self.out.bytes(), id);
            }
            Packet::Pubcomp(id) => self.land(id, context),
            Packet::Disconnect(reason) => return Err(Loss::Disconnected(reason)),
            Packet::Pingresp | Packet::Publish | Packet::Suback(_) => {}
        }
        Ok(())
    }

    /// Counts the broker's word on a publish.
    fn judge(&mut self, id: u16, reason: u8, context: &mut Context<'_>) {
        context.progressed_ns = context.now_ns;
        let Some(flight) = self.flights.get(id).copied() else {
            return context.tally.error(&"the broker acknowledged what was not sent", 1);
        };
        context.tally.ended_ns = context.now_ns;
        if let Some(begun_ns) = flight.begun_ns {
            context.tally.latency.record_ns(context.now_ns.saturating_sub(begun_ns));
        }
        if reason >= REFUSED_FROM {
            context.tally.counts.refused += 1;
            return;
        }
        context.tally.counts.acked += 1;
        if !matches!(flight.item.kind, Kind::Garbage(_)) {
            context.acked.push(&self.device.id, flight.item.fix.time_ms);
        }
    }

    fn land(&mut self, id: u16, context: &mut Context<'_>) {
        context.progressed_ns = context.now_ns;
        self.flights.end(id);
    }

    fn let_in(&mut self, receive_maximum: u16, context: &mut Context<'_>) {
        self.state = State::Open;
        self.attempt = 0;
        self.let_in_at = self.next_index;
        // However long it was away: the wait for what it owes begins now.
        context.progressed_ns = context.now_ns;
        self.in_flight_max = usize::from(context.plan.window.min(receive_maximum.max(1)));
        if !std::mem::replace(&mut self.greeted, true) {
            context.greeted += 1;
            return;
        }
        context.tally.counts.reconnected += 1;
        for (id, flight) in self.flights.iter() {
            if flight.released {
                packet::put_pubrel(self.out.bytes(), id);
            } else {
                let payload = self.payload.of(&flight.item);
                self.publisher.put(self.out.bytes(), flight.qos, id, true, payload);
            }
            context.tally.counts.resent += 1;
        }
    }

    /// Sends what may leave now. True if there is more and the socket still takes it: call again soon.
    pub(super) fn pump(&mut self, context: &mut Context<'_>) -> bool {
        if !context.running || self.finished || self.state != State::Open {
            return false;
        }
        let more = self.send_due(context).unwrap_or_else(|error| {
            self.lose(&error.into(), context);
            false
        });
        if self.has_lived_its_life(context.plan) {
            self.drop_on_purpose(context);
            return false;
        }
        let all_sent = !self.schedule.holds(self.next_index, context.now_ns)
            && (context.plan.qos != Qos::AtMostOnce || self.closing_sent);
        if self.state == State::Open && all_sent && self.flights.len() == 0 && self.out.is_empty() {
            self.finish(context);
        }
        more
    }

    fn send_due(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        let plan = context.plan;
        while self.out.is_empty() {
            let due = self.schedule.due(self.next_index, context.now_ns, self.room(plan));
            if due == 0 {
                break;
            }
            for _ in 0..due {
                let begun_ns = self.schedule.intended_ns(self.next_index).unwrap_or(context.now_ns);
                self.put_next(plan.qos, Some(begun_ns), context);
                self.next_index += 1;
            }
            self.flush()?;
            if plan.qos == Qos::AtMostOnce {
                // Others come first, then this one again.
                return Ok(self.out.is_empty() && self.schedule.due(self.next_index, context.now_ns, 1) > 0);
            }
        }
        let last = plan.qos == Qos::AtMostOnce && !self.closing_sent;
        if last && self.out.is_empty() && !self.schedule.holds(self.next_index, context.now_ns) {
            self.closing_sent = true;
            self.put_next(Qos::AtLeastOnce, None, context);
            self.flush()?;
        }
        Ok(false)
    }

    /// How many publishes fit into the next write.
    fn room(&self, plan: &Plan) -> usize {
        if plan.qos == Qos::AtMostOnce {
            return plan.pipeline;
        }
        let room = self.in_flight_max.saturating_sub(self.flights.len());
        let wanted = plan.pipeline.min(self.in_flight_max);
        // In a closed loop a write waits until it is whole.
        if plan.load == Load::Closed && room < wanted { 0 } else { room.min(wanted) }
    }

    fn put_next(&mut self, qos: Qos, begun_ns: Option<u64>, context: &mut Context<'_>) {
        let item = self.device.next(context.clock.wall_ms(context.now_ns));
        let id = if qos == Qos::AtMostOnce {
            None
        } else {
            self.flights.begin(Flight { item, qos, begun_ns, released: false })
        };
        let before = self.out.bytes().len();
        let payload = self.payload.of(&item);
        self.publisher.put(self.out.bytes(), qos, id.unwrap_or(0), false, payload);
        context.tally.counts.bytes += (self.out.bytes().len() - before) as u64;
        context.tally.sent(item.kind);
        context.progressed_ns = context.now_ns;
        self.wrote_ns = context.now_ns;
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        self.out.write_to(stream)
    }

    /// What has to be done now and then: pings, coming back, the end of the run.
    pub(super) fn tick(&mut self, token: Token, context: &mut Context<'_>) {
        match self.state {
            State::Open => {
                let silence_ns = context.now_ns.saturating_sub(self.wrote_ns);
                if silence_ns > u64::from(KEEP_ALIVE_S) * 500_000_000 && self.out.is_empty() {
                    self.wrote_ns = context.now_ns;
                    self.out.bytes().extend_from_slice(&packet::PINGREQ);
                    if let Err(error) = self.flush() {
                        self.lose(&error.into(), context);
                    }
                }
                self.pump(context);
            }
            State::Resting { until_ns } if until_ns <= context.now_ns => self.open(token, context),
            State::Connecting | State::Greeting
                if context.now_ns.saturating_sub(self.opened_ns) > nanoseconds(CONNECT_TIMEOUT) =>
            {
                self.lose(&Loss::Timeout, context);
            }
            State::New | State::Connecting | State::Greeting | State::Resting { .. } | State::Ended => {}
        }
    }

    /// The run's clock starts anew: whoever is away comes back by the new one.
    pub(super) fn restart_clock(&mut self) {
        (self.wrote_ns, self.opened_ns, self.lost_at_ns) = (0, 0, 0);
        if let State::Resting { until_ns } = &mut self.state {
            *until_ns = 0;
        }
    }

    /// The connection is gone, or could not be made: the device comes back or stays away.
    pub(super) fn lose(&mut self, loss: &Loss, context: &mut Context<'_>) {
        if self.finished {
            return;
        }
        self.drop_stream(context);
        if self.state == State::Open || self.attempt == 0 {
            context.tally.lost(loss);
            self.lost_at_ns = context.now_ns;
        }
        let away_ns = context.now_ns.saturating_sub(self.lost_at_ns);
        if context.plan.reconnect && away_ns < nanoseconds(RECONNECT_TIMEOUT) {
            self.state = State::Resting { until_ns: context.now_ns + nanoseconds(reconnect_pause(self.attempt)) };
            self.attempt += 1;
        } else {
            self.state = State::Ended;
            self.finish(context);
        }
    }

    /// The broker had its time to let the device in: it stays away.
    pub(super) fn give_up(&mut self, context: &mut Context<'_>) {
        if self.finished {
            return;
        }
        self.drop_stream(context);
        // A device that tried again and again has told why.
        if self.attempt == 0 {
            context.tally.lost(&Loss::Timeout);
        }
        self.state = State::Ended;
        self.finish(context);
    }

    /// Whether it is to be dropped now: with all that it was to send handed to the system, acknowledged or not.
    fn has_lived_its_life(&self, plan: &Plan) -> bool {
        self.state == State::Open
            && self.out.is_empty()
            && plan.drop_every.is_some_and(|publishes| self.next_index - self.let_in_at >= u64::from(publishes))
    }

    fn drop_on_purpose(&mut self, context: &mut Context<'_>) {
        context.tally.counts.dropped += 1;
        self.drop_stream(context);
        self.lost_at_ns = context.now_ns;
        self.state = State::Resting { until_ns: context.now_ns };
    }

    fn drop_stream(&mut self, context: &Context<'_>) {
        if let Some(mut stream) = self.stream.take() {
            // It is closed in any case; an error here changes nothing.
            let _deregistered = context.registry.deregister(&mut stream);
        }
        self.out.clear();
        self.rest.clear();
    }

    fn finish(&mut self, context: &mut Context<'_>) {
        self.finished = true;
        context.finished += 1;
        if !std::mem::replace(&mut self.greeted, true) {
            context.greeted += 1;
        }
    }

    /// Adds up what the run leaves behind.
    pub(super) fn account(&self, context: &mut Context<'_>) {
        context.tally.counts.unacked += self.flights.iter().filter(|(_, flight)| !flight.released).count() as u64;
        for intended_ns in self.schedule.missed(self.next_index, context.now_ns) {
            context.tally.counts.unsent += 1;
            context.tally.latency.record_ns(context.now_ns.saturating_sub(intended_ns));
        }
    }

    /// Says good-bye.
    pub(super) fn close(mut self) {
        if self.state == State::Open && self.out.is_empty() {
            self.out.bytes().extend_from_slice(&packet::DISCONNECT);
            // The run is over and counted; a broker that is gone by now changes nothing.
            let _said = self.flush();
        }
    }

    /// Whether the broker owes something: an acknowledgement, or room in the socket.
    pub(super) fn waits(&self) -> bool {
        self.state == State::Open && (self.flights.len() > 0 || !self.out.is_empty())
    }
}
