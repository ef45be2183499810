//! Rows straight into an engine of this process: judged, made durable and counted by verdict.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::Target;
use super::error::Error;
use super::source::Row;
use super::summary::Summary;
use crate::codec::Codec;
use crate::counts::Counts;
use crate::fix::Element;
use crate::ids::DriverKey;
use crate::pipeline::batch::{Batch, Origin, Received};

/// Rows that may wait for their verdicts.
const IN_FLIGHT_MAX: u64 = 16_384;

/// The engine's inlet as a replay sees it.
///
/// Every element that was submitted comes back to its origin in some [`Batch`], with its verdict or, once the engine has
/// stopped, without. A driver's elements are judged in the order in which they were submitted.
pub trait Submit {
    /// Takes a payload. May keep it to make larger batches, and blocks while too many are on their way.
    fn submit(&mut self, driver: &Arc<DriverKey>, submission: &Submission<'_>, origin: &Arc<dyn Origin>);

    /// Sends on whatever was kept. Blocks likewise.
    fn flush(&mut self);
}

/// A payload of one driver.
#[derive(Clone, Copy, Debug)]
pub struct Submission<'a> {
    /// What it counts as its receive time.
    pub received: Received,
    /// As what it was read.
    pub codec: Codec,
    /// What came.
    pub raw: &'a [u8],
    /// What was read.
    pub elements: &'a [Element],
}

/// A replay into an engine.
#[derive(Debug)]
pub struct Offline<S> {
    inlet: S,
    tally: Arc<Tally>,
    origin: Arc<dyn Origin>,
    sent: u64,
    /// Of the sent, those that were back when last looked at.
    seen_back: u64,
}

impl<S: Submit> Offline<S> {
    /// A replay through this inlet.
    pub fn new(inlet: S) -> Self {
        let tally = Arc::new(Tally::default());
        let origin: Arc<dyn Origin> = Arc::clone(&tally) as Arc<dyn Origin>;
        Self { inlet, tally, origin, sent: 0, seen_back: 0 }
    }

    /// Sends a payload of a driver. Blocks while too many are on their way.
    pub(super) fn send_payload(&mut self, driver: &Arc<DriverKey>, submission: &Submission<'_>) -> Result<(), Error> {
        if self.sent - self.seen_back >= IN_FLIGHT_MAX {
            self.wait_until_back(self.sent - IN_FLIGHT_MAX / 2)?;
        }
        self.inlet.submit(driver, submission, &self.origin);
        self.sent += submission.elements.len() as u64;
        Ok(())
    }

    fn wait_until_back(&mut self, count: u64) -> Result<Counts, Error> {
        self.inlet.flush();
        let books = self.tally.wait_until_back(count)?;
        self.seen_back = books.back;
        Ok(books.counts)
    }
}

impl<S: Submit> Target for Offline<S> {
    fn send(&mut self, row: Row, raw: &[u8]) -> Result<(), Error> {
        let (received, codec) = (Received::Recorded, Codec::Recording);
        self.send_payload(&row.driver, &Submission { received, codec, raw, elements: &[row.element] })
    }

    fn flush(&mut self) {
        self.inlet.flush();
    }

    fn finish(&mut self, summary: &mut Summary) -> Result<(), Error> {
        summary.counts = self.wait_until_back(self.sent)?;
        Ok(())
    }
}

/// Counts the verdicts as they come back.
#[derive(Default)]
struct Tally {
    books: Mutex<Books>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct Books {
    counts: Counts,
    /// Elements that came back, judged or not.
    back: u64,
    has_stopped: bool,
}

impl Tally {
    /// Blocks until `count` elements are back in all, or the engine has stopped.
    fn wait_until_back(&self, count: u64) -> Result<Books, Error> {
        let is_waiting = |books: &mut Books| books.back < count && !books.has_stopped;
        let books = self.changed.wait_while(self.lock(), is_waiting).unwrap_or_else(PoisonError::into_inner);
        if books.has_stopped { Err(Error::Stopped) } else { Ok(*books) }
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Origin for Tally {
    fn judged(&self, batch: Batch) {
        let mut books = self.lock();
        books.back += batch.elements.len() as u64;
        books.has_stopped |= batch.verdicts.len() != batch.elements.len();
        for verdict in &batch.verdicts {
            books.counts.count(*verdict);
        }
        drop(books);
        self.changed.notify_one();
    }

    /// A replay can be run again, and nobody might be there to make room.
    fn outwaits_full_journal(&self) -> bool {
        false
    }
}

impl fmt::Debug for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Tally").field(&*self.lock()).finish()
    }
}
