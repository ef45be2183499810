//! The threads that check what takes long: a bounded queue, in which nobody waits behind addresses that failed before, nor
//! behind those that ask for much at once.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Checks at once. Each takes a core for some 20 ms, and 19 MiB.
const THREADS: usize = 2;

/// Checks that wait, of addresses that did not fail lately.
const WAITING_MAX: usize = 4_096;

/// Checks of one address among them. What it asks for beyond is done when nothing else is left to do.
const WAITING_OF_ADDRESS_MAX: usize = 32;

/// Checks that wait, of those that did, and beyond [`WAITING_OF_ADDRESS_MAX`].
const SUSPECTS_MAX: usize = 256;

/// A check, which tells what came of it by itself.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// No room in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Busy;

#[derive(Default)]
struct Queue {
    waiting: VecDeque<(Option<IpAddr>, Job)>,
    /// How many of `waiting` each address has there.
    waiting_of: HashMap<IpAddr, usize>,
    suspects: VecDeque<Job>,
    is_closed: bool,
}

impl Queue {
    fn pop(&mut self) -> Option<Job> {
        let Some((address, job)) = self.waiting.pop_front() else { return self.suspects.pop_front() };
        if let Some(address) = address
            && let Entry::Occupied(mut waiting) = self.waiting_of.entry(address)
        {
            *waiting.get_mut() -= 1;
            if *waiting.get() == 0 {
                waiting.remove();
            }
        }
        Some(job)
    }
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    has_work: Condvar,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works until the pool is gone.
    fn work(&self) {
        let mut queue = self.queue();
        while !queue.is_closed {
            let Some(job) = queue.pop() else {
                queue = self.has_work.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(queue);
            // Whoever waits for it runs into its own timeout; the next ones are served.
            if panic::catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!("a check of credentials panicked");
            }
            queue = self.queue();
        }
    }
}

/// The threads, which end with it.
pub(super) struct Pool(Arc<Shared>);

impl fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Pool")
    }
}

impl Pool {
    pub(super) fn start() -> io::Result<Self> {
        let pool = Self(Arc::default());
        for number in 0..THREADS {
            let shared = Arc::clone(&pool.0);
            thread::Builder::new().name(format!("auth-{number}")).spawn(move || shared.work())?;
        }
        Ok(pool)
    }

    /// Has a job done, for this address if it is known; behind all others if it is a suspect's, or has enough of its own
    /// waiting. Never blocks.
    pub(super) fn submit(&self, job: Job, address: Option<IpAddr>, is_suspect: bool) -> Result<(), Busy> {
        let mut queue = self.0.queue();
        let has_enough = address.is_some_and(|address| {
            queue.waiting_of.get(&address).is_some_and(|waiting| *waiting >= WAITING_OF_ADDRESS_MAX)
        });
        if is_suspect || has_enough {
            if queue.suspects.len() >= SUSPECTS_MAX {
                return Err(Busy);
            }
            queue.suspects.push_back(job);
        } else {
            if queue.waiting.len() >= WAITING_MAX {
                return Err(Busy);
            }
            if let Some(address) = address {
                *queue.waiting_of.entry(address).or_default() += 1;
            }
            queue.waiting.push_back((address, job));
        }
        drop(queue);
        self.0.has_work.notify_one();
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.is_closed = true;
        queue.waiting.clear();
        queue.suspects.clear();
        drop(queue);
        self.0.has_work.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Keeps one thread busy until what is returned is dropped.
    fn occupy(pool: &Pool) -> SyncSender<()> {
        let (begun, beginning) = sync_channel(1);
        let (hold, held): (_, Receiver<()>) = sync_channel(0);
        let job = move || {
            begun.send(()).unwrap();
            // It ends with an error, when the other end is dropped.
            held.recv().unwrap_err();
        };
        pool.submit(Box::new(job), None, false).unwrap();
        beginning.recv_timeout(PATIENCE).unwrap();
        hold
    }

    #[test]
    fn suspects_wait_for_all_others_and_not_longer_than_the_queue() {
        let pool = Pool::start().unwrap();
        let (tell, told) = sync_channel(16);
        let mut held: Vec<_> = (0..THREADS).map(|_| occupy(&pool)).collect();
        for (name, is_suspect) in [("bad", true), ("worse", true), ("good", false), ("better", false)] {
            let tell = tell.clone();
            pool.submit(Box::new(move || tell.send(name).unwrap()), None, is_suspect).unwrap();
        }
        // One thread alone goes on, so that there is an order to see.
        held.pop();
        let order: Vec<_> = (0..4).map(|_| told.recv_timeout(PATIENCE).unwrap()).collect();
        assert_eq!(order, ["good", "better", "bad", "worse"]);

        held.push(occupy(&pool));
        for _ in 0..SUSPECTS_MAX {
            pool.submit(Box::new(|| {}), None, true).unwrap();
        }
        assert_eq!(pool.submit(Box::new(|| {}), None, true), Err(Busy));
        assert_eq!(pool.submit(Box::new(|| {}), None, false), Ok(()), "others have room of their own");
    }

    #[test]
    fn nobody_waits_for_an_address_that_asks_for_much_at_once() {
        let pool = Pool::start().unwrap();
        let (tell, told) = sync_channel(2 * WAITING_OF_ADDRESS_MAX);
        let [many, one] = ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().unwrap());
        let mut held: Vec<_> = (0..THREADS).map(|_| occupy(&pool)).collect();
        let submit = |address, name| {
            let tell = tell.clone();
            pool.submit(Box::new(move || tell.send(name).unwrap()), Some(address), false).unwrap();
        };
        for _ in 0..WAITING_OF_ADDRESS_MAX + 5 {
            submit(many, "many");
        }
        submit(one, "one");
        held.pop();
        let order: Vec<_> = (0..WAITING_OF_ADDRESS_MAX + 6).map(|_| told.recv_timeout(PATIENCE).unwrap()).collect();
        assert_eq!(order.iter().position(|name| *name == "one"), Some(WAITING_OF_ADDRESS_MAX));
        assert!(pool.0.queue().waiting_of.is_empty(), "what is done with is not counted");
    }

    #[test]
    fn a_panic_ends_one_check_and_no_thread() {
        let pool = Pool::start().unwrap();
        for _ in 0..4 * THREADS {
            pool.submit(Box::new(|| panic!("on purpose")), None, false).unwrap();
        }
        let (tell, told) = sync_channel(1);
        pool.submit(Box::new(move || tell.send(()).unwrap()), None, false).unwrap();
        told.recv_timeout(PATIENCE).unwrap();
    }
}
