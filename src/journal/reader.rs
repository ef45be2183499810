//! Reading the journal from a position up to its durable end, while it is written.

use std::sync::Arc;

use super::error::{Damage, Error};
use super::frame::Frame;
use super::scan::{Scan, Step};
use super::segment;
use super::storage::Storage;
use super::watermark::Watermark;
use super::{JournalId, JournalPosition};

/// Gives the frames behind a position, one after the other, and never one that is not durable.
#[derive(Debug)]
pub struct Reader {
    storage: Arc<dyn Storage>,
    watermark: Arc<Watermark>,
    scan: Scan,
    /// The last frame that was given.
    after: u64,
    /// What was durable before the buffer was last filled from here on: frames beyond may be in it half.
    trusted: u64,
}

impl Reader {
    /// Stands behind the frame `after`; 0 is before the first. Where `after` is one of those that a gap stands for, it is
    /// behind the gap.
    pub(super) fn open(
        storage: &Arc<dyn Storage>,
        watermark: &Arc<Watermark>,
        journal: JournalId,
        after: u64,
    ) -> Result<Self, Error> {
        let durable = watermark.get();
        let firsts = segment::list(storage.as_ref())?;
        let outside = || Error::Outside {
            position: JournalPosition { journal, sequence: after },
            journal,
            first: firsts.first().copied().unwrap_or(1),
            last: durable,
        };
        if after > durable {
            return Err(outside());
        }
        // The newest segment that begins no later than with the frame to be read next.
        let first = firsts.iter().rev().find(|first| **first <= after + 1).copied().ok_or_else(outside)?;
        let mut reader = Self {
            storage: Arc::clone(storage),
            watermark: Arc::clone(watermark),
            scan: Scan::open(storage.as_ref(), first)?,
            after: first - 1,
            trusted: 0,
        };
        while reader.after < after && reader.next()?.is_some() {}
        Ok(reader)
    }

    /// The next frame; `None` if there is none that is durable yet: [`Watermark::wait_past`] tells when to ask again.
    /// Blocks for the disk where the frame is no longer cached.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend its items")]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, Error> {
        let next = self.after + 1;
        if next > self.trusted {
            let durable = self.watermark.get();
            if next > durable {
                return Ok(None);
            }
            self.scan.forget();
            self.trusted = durable;
        }
        let mut step = self.scan.step()?;
        if step == Step::End {
            self.go_on_at(next)?;
            step = self.scan.step()?;
        }
        match step {
            Step::Frame if self.scan.frame().first_sequence() == next => {
                // Of a gap it is the last that it stands for.
                self.after = self.scan.frame().sequence;
                Ok(Some(self.scan.frame()))
            }
            Step::Frame => Err(self.scan.damaged(self.scan.frame_offset(), Damage::Sequence)),
            Step::End => Err(self.scan.damaged(self.scan.offset(), Damage::Missing)),
            Step::Unsound => Err(self.scan.damaged(self.scan.offset(), Damage::Frame)),
        }
    }

    /// The last frame that was given, or behind which the reader was opened.
    pub fn after(&self) -> u64 {
        self.after
    }

    /// The journal's watermark, to wait for more.
    pub fn watermark(&self) -> &Watermark {
        &self.watermark
    }

    /// Goes over to the segment that begins with `next`.
    fn go_on_at(&mut self, next: u64) -> Result<(), Error> {
        let firsts = segment::list(self.storage.as_ref())?;
        if firsts.binary_search(&next).is_err() {
            return Err(self.scan.damaged(self.scan.offset(), Damage::Missing));
        }
        let scan = Scan::open(self.storage.as_ref(), next)?;
        if scan.journal() != self.scan.journal() {
            return Err(scan.damaged(0, Damage::Misplaced));
        }
        self.scan = scan;
        Ok(())
    }
}
