//! The router's thread: it owns all namespaces outright, takes commands, and begins anew if it panics.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use slab::Slab;

use super::inbox::{Command, Inbox, Taken};
use super::latest::Latest;
use super::message::Ms;
use super::namespace::Namespace;
use super::retained::Retained;
use super::saved::{Image, Saver};
use super::shared::Shared;
use super::turn::Turn;
use super::{Config, Mount};

/// Longest wait for a command.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Commands between two looks at the clock.
const COMMANDS_AT_ONCE: usize = 256;

/// Retained topics and drivers that are looked at between two looks at the commands, so that nobody waits for another's wildcards.
const LOOKUPS_AT_ONCE: usize = 1_024;

/// How many of these for one session, before it is another tenant's turn.
const LOOKUPS_OF_ONE: usize = 256;

/// Timers of sessions that are gone, beyond as many as there are sessions, before they are cleared away.
const TIMERS_SPARE: usize = 1_024;

/// All namespaces, and what their steps share.
struct Routing {
    began: Instant,
    namespaces: Slab<Namespace>,
    by_mount: HashMap<Mount, usize, foldhash::quality::RandomState>,
    turn: Turn,
    /// When what changed is saved next.
    save_at: Ms,
}

fn since(began: Instant) -> Ms {
    Ms(began.elapsed().as_millis() as u64)
}

/// Whether the thread goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    GoesOn,
    Ends,
}

/// What the thread is started with.
pub(super) struct Start {
    pub(super) config: Config,
    pub(super) shared: Arc<Shared>,
    pub(super) latest: Option<Arc<dyn Latest>>,
    /// What was saved of an earlier router.
    pub(super) image: Option<Image>,
    pub(super) saver: Option<Saver>,
    /// When [`Ms`] began.
    pub(super) began: Instant,
}

/// Runs until nobody is left who could ask for anything, or it is told to stop; `restored` goes once what was saved is there. A
/// panic costs the sessions: their connections are closed, and retained messages go on.
pub(super) fn run(start: Start, inbox: &Inbox, restored: SyncSender<()>) {
    let Start { config, shared, latest, image, saver, began } = start;
    let new = || Routing::new(&config, &shared, latest.as_ref(), began);
    let mut routing = new();
    if let Some(image) = image
        && panic::catch_unwind(AssertUnwindSafe(|| routing.restore(image))).is_err()
    {
        tracing::error!(
            "what was saved of the mqtt router makes it panic, which is a fault of the program's: beginning without it"
        );
        shared.forget_sessions();
        routing = new();
    }
    drop(restored);
    while panic::catch_unwind(AssertUnwindSafe(|| routing.run(inbox, saver.as_ref()))).is_err() {
        tracing::error!(
            "the router panicked, which is a fault of the program's: starting it anew and closing the connections linked to it"
        );
        let retained = routing.take_retained();
        // Its outboxes tell the door as they go.
        drop(routing);
        shared.forget_sessions();
        routing = new();
        for (mount, retained) in retained {
            let index = routing.namespace(&mount);
            routing.turn.retained_bytes += retained.bytes();
            routing.namespaces[index].retained = retained;
        }
        routing.turn.is_unsaved = true;
    }
    if let Some(saver) = saver {
        saver.finish(routing.turn.is_unsaved.then(|| routing.image()));
    }
}

impl Routing {
    fn new(config: &Config, shared: &Arc<Shared>, latest: Option<&Arc<dyn Latest>>, began: Instant) -> Self {
        let turn = Turn::new(config.clone(), Arc::clone(shared), latest.map(Arc::clone), since(began));
        let save_at = turn.now.after_s(config.save_interval_s);
        Self { began, namespaces: Slab::new(), by_mount: HashMap::default(), turn, save_at }
    }

    /// Takes back what was saved.
    fn restore(&mut self, image: Image) {
        for namespace in image.namespaces {
            let index = self.namespace(&namespace.mount);
            self.namespaces[index].restore(namespace, &mut self.turn);
            self.free(index);
        }
    }

    fn image(&self) -> Image {
        let namespaces = self.namespaces.iter().map(|(_, namespace)| namespace.image(&self.turn)).collect();
        Image { taken: self.turn.now, namespaces }
    }

    /// Has what changed saved, if it is time for that.
    fn save(&mut self, saver: &Saver) {
        if self.save_at <= self.turn.now {
            self.save_at = self.turn.now.after_s(self.turn.config.save_interval_s);
            if self.turn.is_unsaved {
                self.turn.is_unsaved = !saver.save(self.image());
            }
        }
    }

    fn take_retained(&mut self) -> Vec<(Mount, Retained)> {
        let empty = || Retained::new(0);
        let namespaces = self.namespaces.iter_mut();
        namespaces.map(|(_, it)| (it.mount.clone(), std::mem::replace(&mut it.retained, empty()))).collect()
    }

    fn run(&mut self, inbox: &Inbox, saver: Option<&Saver>) {
        let mut taken = Taken::default();
        loop {
            self.look();
            self.look_up();
            saver.iter().for_each(|saver| self.save(saver));
            self.turn.post.hand_over();
            if !inbox.take(&mut taken, self.wait()) {
                return;
            }
            // Whoever subscribes now was not there when these came.
            for (mount, message) in taken.fixes.drain(..) {
                if let Some(index) = self.by_mount.get(&mount) {
                    self.namespaces[*index].publish(message, &mut self.turn);
                }
            }
            for (number, command) in taken.commands.drain(..).enumerate() {
                if number % COMMANDS_AT_ONCE == 0 {
                    self.look();
                }
                if self.command(command) == Life::Ends {
                    self.turn.post.hand_over();
                    return;
                }
            }
        }
    }

    /// Looks up some of the retained messages and latest fixes that sessions wait for.
    fn look_up(&mut self) {
        let mut steps = LOOKUPS_AT_ONCE;
        while steps > 0
            && let Some(address) = self.turn.lookups.pop()
        {
            let portion = steps.min(LOOKUPS_OF_ONE);
            let mut left = portion;
            if let Some(namespace) = self.namespaces.get_mut(address.namespace)
                && namespace.session(address).is_some()
            {
                namespace.look_up(address.session, &mut left, &mut self.turn);
            }
            // A turn is a step, even if nothing was looked at.
            steps -= (portion - left).max(1);
        }
    }

    fn wait(&self) -> Duration {
        if !self.turn.lookups.is_empty() {
            return Duration::ZERO;
        }
        let next = self.turn.timers.next().min(if self.turn.is_unsaved { self.save_at } else { Ms::NEVER });
        Duration::from_millis(next.left_ms(self.turn.now)).min(WAIT_MAX)
    }

    /// Looks at the clock, and at the sessions whose time has come.
    fn look(&mut self) {
        self.turn.now = since(self.began);
        while let Some((at, address)) = self.turn.timers.due(self.turn.now) {
            let Some(namespace) = self.namespaces.get_mut(address.namespace) else { continue };
            let Some(session) = namespace.session(address) else { continue };
            if session.looked_at == at {
                session.looked_at = Ms::NEVER;
                namespace.look(address.session, &mut self.turn);
                self.free(address.namespace);
            }
        }
        if self.turn.timers.len() > TIMERS_SPARE + 2 * self.turn.shared.sessions.len() {
            let namespaces = &mut self.namespaces;
            self.turn.timers.retain(|at, address| {
                let session = namespaces.get_mut(address.namespace).and_then(|namespace| namespace.session(address));
                session.is_some_and(|session| session.looked_at == at)
            });
        }
    }

    fn command(&mut self, command: Command) -> Life {
        match command {
            Command::Packet(link, packet) => {
                if let Some(address) = self.turn.links.get(&link).copied() {
                    self.namespaces[address.namespace].packet(address.session, *packet, &mut self.turn);
                    self.turn.is_unsaved = true;
                }
            }
            Command::Resume(link) => {
                if let Some(address) = self.turn.links.get(&link).copied()
                    && let Some(session) = self.namespaces[address.namespace].session(address)
                {
                    if let Some(client) = &mut session.client {
                        client.paused_since = None;
                    }
                    session.flush(&mut self.turn);
                }
            }
            Command::Attach(mount, arrival) => {
                let index = self.namespace(&mount);
                self.make_room(index, &arrival.client_id);
                self.namespaces[index].attach(*arrival, &mut self.turn);
                self.turn.is_unsaved = true;
                self.free(index);
            }
            Command::Detach(link, ending) => {
                if let Some(address) = self.turn.links.get(&link).copied() {
                    self.namespaces[address.namespace].detach(address.session, ending, &mut self.turn);
                    self.turn.is_unsaved = true;
                    self.free(address.namespace);
                }
            }
            Command::Forget(mount, client_id) => {
                if let Some(index) = self.by_mount.get(&mount).copied() {
                    self.namespaces[index].forget(&client_id, &mut self.turn);
                    self.turn.is_unsaved = true;
                    self.free(index);
                }
            }
            Command::Stop => return Life::Ends,
            #[cfg(test)]
            Command::Kill => panic!("told to"),
        }
        Life::GoesOn
    }

    /// With no room left for anybody's sessions, the tenant that has the most away gives up the longest away for one that is
    /// about to begin, unless an owner or a tenant is to make that room with its own.
    fn make_room(&mut self, index: usize, client_id: &str) {
        let namespace = &self.namespaces[index];
        let is_full = self.turn.shared.sessions.len() >= self.turn.config.sessions_max;
        if !is_full || namespace.has_session(client_id) || !namespace.has_room_of_its_own(client_id, &self.turn) {
            return;
        }
        if let Some(most) = self.turn.away.most() {
            self.namespaces[most].give_up_longest_away(&mut self.turn);
            // The other is filled in a moment.
            if most != index {
                self.free(most);
            }
        }
    }

    /// The place of a mount's namespace, made where there is none.
    fn namespace(&mut self, mount: &Mount) -> usize {
        if let Some(index) = self.by_mount.get(mount) {
            return *index;
        }
        let entry = self.namespaces.vacant_entry();
        let index = entry.key();
        entry.insert(Namespace::new(mount.clone(), index, &self.turn.config));
        self.by_mount.insert(mount.clone(), index);
        self.turn.namespaces = self.namespaces.len();
        index
    }

    /// Lets a namespace go that holds nothing.
    fn free(&mut self, index: usize) {
        if self.namespaces.get(index).is_some_and(Namespace::is_empty) {
            let namespace = self.namespaces.remove(index);
            self.by_mount.remove(&namespace.mount);
            self.turn.namespaces = self.namespaces.len();
        }
    }
}
