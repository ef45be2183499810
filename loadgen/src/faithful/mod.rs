//! Faithful mode: one rumqttc client per device, as an application would have it.

mod client;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

use self::client::{Client, Event, EventLoop};
use crate::acked_log::AckedLines;
use crate::device::Device;
use crate::faults::{Item, Kind};
use crate::payload::Payload;
use crate::plan::{Plan, Qos};
use crate::schedule::Schedule;
use crate::tally::Tally;
use crate::worker::{self, CONNECT_TIMEOUT, Link, OPENING_MAX, RECONNECT_TIMEOUT, RunClock, STALL_TIMEOUT};

/// How often progress is shown and acknowledged fixes reach their file.
const TICK: Duration = Duration::from_millis(50);
/// How long a client may take to say good-bye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What the devices of the thread share.
struct Shared {
    plan: Plan,
    tally: RefCell<Tally>,
    acked: RefCell<AckedLines>,
    opening: Semaphore,
    /// The run's clock, once it has started.
    clock: watch::Receiver<Option<RunClock>>,
    /// Devices that are in.
    open: RefCell<usize>,
    /// Told once by each device: it is in, or cannot be.
    greeted: mpsc::Sender<()>,
}

/// A publish on its way to the broker.
#[derive(Clone, Copy, Debug)]
struct Flight {
    item: Item,
    qos: Qos,
    begun_ns: Option<u64>,
}

/// What one device has handed over, shared by the half that publishes and the half that polls.
#[derive(Default)]
struct Flights {
    /// Handed to the client, not yet on the wire.
    queued: VecDeque<Flight>,
    /// On the wire, by packet id.
    sent: HashMap<u16, Flight>,
}

/// Plays `devices` from the first connection to the last acknowledgement.
pub fn run(plan: &Plan, devices: Vec<Device>, link: Link) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, play(plan, devices, link))
}

async fn play(plan: &Plan, devices: Vec<Device>, link: Link) -> anyhow::Result<()> {
    let (start, clock) = watch::channel(None);
    let count = devices.len();
    let (greeted, mut greetings) = mpsc::channel(count.max(1));
    let shared = Rc::new(Shared {
        plan: plan.clone(),
        tally: RefCell::default(),
        acked: RefCell::new(link.acked),
        opening: Semaphore::new(OPENING_MAX),
        clock,
        open: RefCell::default(),
        greeted,
    });
    let over = Rc::new(Notify::new());
    let (done, mut dones) = mpsc::channel(count.max(1));
    for device in devices {
        let (shared, done, over) = (Rc::clone(&shared), done.clone(), Rc::clone(&over));
        tokio::task::spawn_local(async move { Player::new(device, shared).play(&done, &over).await });
    }
    for _ in 0..count {
        let _greeting = greetings.recv().await;
    }
    link.events.send(worker::Event::Ready { open: *shared.open.borrow() })?;
    // Clients have to be polled while the other threads get ready.
    let wait_for_start = async |pause: Duration| loop {
        match link.start.try_recv() {
            Ok(()) => return true,
            Err(std::sync::mpsc::TryRecvError::Disconnected) => return false,
            Err(std::sync::mpsc::TryRecvError::Empty) => sleep(pause).await,
        }
    };
    if !wait_for_start(Duration::from_millis(1)).await {
        return Ok(());
    }
    start.send_replace(Some(RunClock::start()));
    let mut finished = 0;
    while finished < count {
        let _tick = timeout(TICK, async {
            while finished < count {
                let _done = dones.recv().await;
                finished += 1;
            }
        })
        .await;
        shared.acked.borrow_mut().flush()?;
        link.progress.show(&shared.tally.borrow().counts, *shared.open.borrow());
    }
    link.events.send(worker::Event::Ended(Box::new(shared.tally.take())))?;
    wait_for_start(TICK).await;
    over.notify_waiters();
    sleep(TICK).await;
    Ok(())
}

/// One device with its client.
struct Player {
    device: Device,
    shared: Rc<Shared>,
    schedule: Schedule,
    payload: Payload,
    next_index: u64,
    closing_sent: bool,
    flights: RefCell<Flights>,
    /// Something was acknowledged.
    room: Notify,
}

impl Player {
    fn new(device: Device, shared: Rc<Shared>) -> Self {
        Self {
            schedule: Schedule::new(&shared.plan, device.number),
            device,
            payload: Payload::new(shared.plan.payload.clone()),
            shared,
            next_index: 0,
            closing_sent: false,
            flights: RefCell::default(),
            room: Notify::new(),
        }
    }

    async fn play(mut self, done: &mpsc::Sender<()>, over: &Notify) {
        let mut connected = match self.connect().await {
            Err(reason) if self.shared.plan.reconnect => self.try_again(reason, CONNECT_TIMEOUT).await,
            connected => connected,
        };
        if let Err(reason) = &connected {
            self.shared.tally.borrow_mut().lost(reason);
        }
        // The main task counts greetings until the last; it cannot be gone.
        let _greeted = self.shared.greeted.try_send(());
        loop {
            let (client, mut event_loop) = match connected {
                Ok(connection) => connection,
                Err(_) => break,
            };
            let ended = self.session(&client, &mut event_loop).await;
            *self.shared.open.borrow_mut() -= 1;
            let Err(reason) = ended else {
                self.account();
                let _counted = done.try_send(());
                return close(&client, &mut event_loop, over).await;
            };
            self.shared.tally.borrow_mut().lost(&reason);
            connected = self.reconnect(reason).await;
        }
        self.account();
        let _counted = done.try_send(());
    }

    async fn connect(&self) -> Result<(Client, EventLoop), String> {
        let _permit = self.shared.opening.acquire().await.map_err(|error| error.to_string())?;
        let (client, mut event_loop) = client::open(&self.shared.plan, &self.device.id);
        let greeting = async {
            while event_loop.poll().await? != Event::LetIn {}
            Ok::<(), String>(())
        };
        timeout(CONNECT_TIMEOUT, greeting).await.map_err(|_| "the broker did not let the device in in time")??;
        *self.shared.open.borrow_mut() += 1;
        Ok((client, event_loop))
    }

    async fn reconnect(&self, reason: String) -> Result<(Client, EventLoop), String> {
        if !self.shared.plan.reconnect {
            return Err(reason);
        }
        let connection = self.try_again(reason, RECONNECT_TIMEOUT).await?;
        self.shared.tally.borrow_mut().counts.reconnected += 1;
        Ok(connection)
    }

    /// Connects until it is let in, with longer and longer pauses, for so long; the error tells why the first attempt failed.
    ///
    /// A new client each time: rumqttc forgets what is in flight when the broker has forgotten the session.
    async fn try_again(&self, reason: String, limit: Duration) -> Result<(Client, EventLoop), String> {
        let connecting = async {
            let mut attempt = 0;
            loop {
                sleep(worker::reconnect_pause(attempt)).await;
                if let Ok(connection) = self.connect().await {
                    return connection;
                }
                attempt += 1;
            }
        };
        timeout(limit, connecting).await.map_err(|_| reason)
    }

    /// Publishes and polls until the device has nothing left to do, or the connection ends.
    async fn session(&mut self, client: &Client, event_loop: &mut EventLoop) -> Result<(), String> {
        let shared = Rc::clone(&self.shared);
        let mut start = shared.clock.clone();
        // Split by hand: the publishing half needs the device, the polling half only what is shared.
        let Self { device, schedule, payload, next_index, closing_sent, flights, room, .. } = self;
        let id = device.id.clone();
        let publishing = async {
            let clock = match start.wait_for(Option::is_some).await.map(|clock| *clock) {
                Ok(Some(clock)) => clock,
                Ok(None) | Err(_) => return Ok(()),
            };
            let mut half = Publishing { device, schedule, payload, flights, room, client, shared: &shared, clock };
            half.resend().await;
            half.publish(next_index, closing_sent).await?;
            while !half.flights.borrow().is_empty() {
                half.acknowledged().await?;
            }
            Ok(())
        };
        let polling = async {
            loop {
                match event_loop.poll().await? {
                    Event::Left(packet_id) => flights.borrow_mut().leave(packet_id, &shared, room),
                    Event::Acknowledged(packet_id, taken) => {
                        let flight = flights.borrow_mut().sent.remove(&packet_id);
                        if let Some(flight) = flight {
                            shared.judge(&flight, taken, &id);
                        }
                        room.notify_one();
                    }
                    Event::LetIn | Event::Other => {}
                }
            }
        };
        tokio::select! {
            ended = publishing => ended,
            ended = polling => ended,
        }
    }

    fn account(&self) {
        let flights = self.flights.borrow();
        let mut tally = self.shared.tally.borrow_mut();
        let in_flight = flights.sent.values().chain(&flights.queued);
        tally.counts.unacked += in_flight.filter(|flight| flight.qos != Qos::AtMostOnce).count() as u64;
        let now_ns = self.shared.clock.borrow().map_or(0, |clock| clock.now_ns());
        for intended_ns in self.schedule.missed(self.next_index, now_ns) {
            tally.counts.unsent += 1;
            tally.latency.record_ns(now_ns.saturating_sub(intended_ns));
        }
    }
}

/// The half of a session that publishes.
struct Publishing<'a> {
    device: &'a mut Device,
    schedule: &'a Schedule,
    payload: &'a mut Payload,
    flights: &'a RefCell<Flights>,
    room: &'a Notify,
    client: &'a Client,
    shared: &'a Shared,
    clock: RunClock,
}

impl Publishing<'_> {
    /// Hands over again what the last connection left unacknowledged.
    async fn resend(&mut self) {
        let left: Vec<Flight> = {
            let mut flights = self.flights.borrow_mut();
            let Flights { queued, sent, .. } = &mut *flights;
            sent.drain().map(|(_, flight)| flight).chain(queued.drain(..)).collect()
        };
        for flight in left {
            self.shared.tally.borrow_mut().counts.resent += 1;
            self.hand_over(flight).await;
        }
    }

    async fn publish(&mut self, next_index: &mut u64, closing_sent: &mut bool) -> Result<(), String> {
        let qos = self.shared.plan.qos;
        while self.schedule.holds(*next_index, self.clock.now_ns()) {
            let intended_ns = self.schedule.intended_ns(*next_index);
            let wait_ns = intended_ns.unwrap_or(0).saturating_sub(self.clock.now_ns());
            if wait_ns > 0 {
                sleep(Duration::from_nanos(wait_ns)).await;
            }
            while self.flights.borrow().len() >= usize::from(self.shared.plan.window) {
                self.acknowledged().await?;
            }
            let now_ns = self.clock.now_ns();
            if !self.schedule.holds(*next_index, now_ns) {
                break;
            }
            *next_index += 1;
            self.publish_next(qos, Some(intended_ns.unwrap_or(now_ns))).await;
        }
        if qos == Qos::AtMostOnce && !std::mem::replace(closing_sent, true) {
            self.publish_next(Qos::AtLeastOnce, None).await;
        }
        Ok(())
    }

    /// Waits until something was acknowledged; an error is a broker that has stalled.
    async fn acknowledged(&self) -> Result<(), String> {
        let waited = timeout(STALL_TIMEOUT, self.room.notified()).await;
        waited.map_err(|_| "the broker did not acknowledge for 30 s".to_owned())
    }

    async fn publish_next(&mut self, qos: Qos, begun_ns: Option<u64>) {
        let item = self.device.next(self.clock.wall_ms(self.clock.now_ns()));
        self.shared.tally.borrow_mut().sent(item.kind);
        self.hand_over(Flight { item, qos, begun_ns }).await;
    }

    async fn hand_over(&mut self, flight: Flight) {
        let payload = self.payload.of(&flight.item);
        let bytes = self.device.topic.len() + payload.len();
        self.shared.tally.borrow_mut().counts.bytes += bytes as u64;
        self.flights.borrow_mut().queued.push_back(flight);
        // If the event loop is gone, so is the session, and the flight is handed over again.
        let _taken = self.client.publish(&self.device.topic, flight.qos, payload).await;
    }
}

impl Flights {
    fn len(&self) -> usize {
        self.queued.len() + self.sent.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The oldest publish went out: at QoS 0 that is all there is to know.
    fn leave(&mut self, packet_id: u16, shared: &Shared, room: &Notify) {
        let Some(flight) = self.queued.pop_front() else { return };
        if flight.qos == Qos::AtMostOnce {
            shared.progressed();
            room.notify_one();
        } else {
            self.sent.insert(packet_id, flight);
        }
    }
}

impl Shared {
    fn progressed(&self) -> u64 {
        let now_ns = self.clock.borrow().map_or(0, |clock| clock.now_ns());
        self.tally.borrow_mut().ended_ns = now_ns;
        now_ns
    }

    fn judge(&self, flight: &Flight, taken: bool, id: &str) {
        let now_ns = self.progressed();
        let mut tally = self.tally.borrow_mut();
        if let Some(begun_ns) = flight.begun_ns {
            tally.latency.record_ns(now_ns.saturating_sub(begun_ns));
        }
        if !taken {
            tally.counts.refused += 1;
            return;
        }
        tally.counts.acked += 1;
        if !matches!(flight.item.kind, Kind::Garbage(_)) {
            self.acked.borrow_mut().push(id, flight.item.fix.time_ms);
        }
    }
}

/// Keeps the client alive until the run is over, then says good-bye.
async fn close(client: &Client, event_loop: &mut EventLoop, over: &Notify) {
    tokio::select! {
        () = over.notified() => {}
        () = async { while event_loop.poll().await.is_ok() {} } => return,
    }
    let good_bye = async {
        client.disconnect().await;
        while event_loop.poll().await.is_ok() {}
    };
    // The run is over and counted; whether the broker hears it changes nothing.
    let _said = timeout(CLOSE_TIMEOUT, good_bye).await;
}
