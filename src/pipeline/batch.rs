//! What travels from a front door to a shard and back: reports on the way in, verdicts on the way out.

use std::fmt;
use std::sync::Arc;

use crate::codec::Codec;
use crate::fix::{Element, Reason, Verdict};
use crate::ids::DriverKey;
use crate::units::TimestampMs;

/// Elements that an emptied batch keeps room for.
const KEPT_ELEMENTS_MAX: usize = 16_384;

/// Bytes of payloads that an emptied batch keeps room for.
const KEPT_RAW_BYTES_MAX: usize = 4 << 20;

/// Consecutive elements of one driver, read by one codec.
#[derive(Clone, Debug)]
pub struct Run {
    /// Whose.
    pub driver: Arc<DriverKey>,
    /// As what their payloads were read.
    pub codec: Codec,
    /// How many of [`Batch::elements`].
    pub len: u32,
}

/// One payload: where it ends among the elements and the bytes of its batch. It begins where the one before ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadEnd {
    /// In [`Batch::elements`].
    pub element: u32,
    /// In [`Batch::raw`].
    pub byte: u32,
}

/// What the elements of a batch count as their receive time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// They came just now: the rules that compare with the clock compare with this.
    Live(TimestampMs),
    /// They came then, were refused, and are judged once more: as if they came then, but each for itself. What came between
    /// them is not here again, so that they are no row which could be believed against what is stored.
    Again(TimestampMs),
    /// They come from a recording: each was received when it was fixed, so nothing is `past` or `future`, and an element
    /// without a time has none.
    Recorded,
}

impl Received {
    /// The receive time that all elements have in common.
    pub(super) fn at(self) -> Option<TimestampMs> {
        match self {
            Self::Live(received_at) | Self::Again(received_at) => Some(received_at),
            Self::Recorded => None,
        }
    }
}

/// Who sent a batch and waits for it. The one way back from the pipeline to the doors.
pub trait Origin: Send + Sync + fmt::Debug {
    /// The batch was judged and all that it stored is durable; its verdicts stand in the order of its elements.
    ///
    /// Called on a shard's thread, in the order in which this origin's batches reached that shard, or by the submission
    /// itself when the shard is gone: it must not block. A batch that comes back with elements but without verdicts was
    /// not judged (the engine is ending, or its journal is full) and must not be acknowledged.
    fn judged(&self, batch: Batch);

    /// Whether its batches wait for as long as the journal has no room. If not, they come back without verdicts then.
    fn outwaits_full_journal(&self) -> bool {
        true
    }
}

/// Elements that go to one shard together and come back together, judged and durable.
#[derive(Debug)]
pub struct Batch {
    /// When they came.
    pub received: Received,
    /// Whose elements they are, in order.
    pub runs: Vec<Run>,
    /// What was received.
    pub elements: Vec<Element>,
    /// The payloads that the elements came in, one behind the other, for whoever asks what a refused one was.
    pub raw: Vec<u8>,
    /// Where each payload ends.
    pub payloads: Vec<PayloadEnd>,
    /// Empty until judged.
    pub verdicts: Vec<Verdict>,
    /// To whom it goes back.
    pub origin: Arc<dyn Origin>,
}

impl Batch {
    /// An empty batch.
    pub fn new(received: Received, origin: Arc<dyn Origin>) -> Self {
        Self {
            received,
            runs: Vec::new(),
            elements: Vec::new(),
            raw: Vec::new(),
            payloads: Vec::new(),
            verdicts: Vec::new(),
            origin,
        }
    }

    /// Empties the batch for another round with the memory it has, unless that is more than most rounds need.
    pub fn clear(&mut self) {
        if self.elements.capacity() > KEPT_ELEMENTS_MAX || self.raw.capacity() > KEPT_RAW_BYTES_MAX {
            *self = Self::new(self.received, Arc::clone(&self.origin));
        }
        self.runs.clear();
        self.elements.clear();
        self.raw.clear();
        self.payloads.clear();
        self.verdicts.clear();
    }

    /// Adds the elements that `decode` makes of one payload of a driver, and the payload itself, and returns how many
    /// elements it has. The bytes of all payloads of a batch have to stay below 4 GiB.
    ///
    /// Of the elements of one payload, one at most can take the receive time for its own: where several lack a time, their
    /// order in time is unknown, and each is refused as [`Reason::NoTime`].
    pub fn add_payload(
        &mut self,
        driver: &Arc<DriverKey>,
        codec: Codec,
        raw: &[u8],
        decode: impl FnOnce(&mut Vec<Element>),
    ) -> usize {
        let before = self.elements.len();
        decode(&mut self.elements);
        let payload = &mut self.elements[before..];
        let len = payload.len();
        if len > 1 {
            let is_timeless = |element: &Element| element.is_ok_and(|report| report.time.is_none());
            if payload.iter().filter(|element| is_timeless(element)).count() > 1 {
                for element in payload.iter_mut().filter(|element| is_timeless(element)) {
                    *element = Err(Reason::NoTime);
                }
            }
        }
        if len > 0 {
            match self.runs.last_mut() {
                Some(run) if run.codec == codec && Arc::ptr_eq(&run.driver, driver) => run.len += len as u32,
                _ => self.runs.push(Run { driver: Arc::clone(driver), codec, len: len as u32 }),
            }
            self.raw.extend_from_slice(raw);
            self.payloads.push(PayloadEnd { element: self.elements.len() as u32, byte: self.raw.len() as u32 });
        }
        len
    }
}

/// How large the payload of each element is, asked in the order of the elements.
#[derive(Debug)]
pub(super) struct PayloadSizes<'a> {
    /// The payloads from the one on that was asked for last.
    ends: &'a [PayloadEnd],
    begin: u32,
}

impl<'a> PayloadSizes<'a> {
    pub(super) fn of(ends: &'a [PayloadEnd]) -> Self {
        Self { ends, begin: 0 }
    }

    /// The size in bytes of the payload that an element came in. No later one was asked for.
    pub(super) fn bytes_around(&mut self, element: usize) -> u32 {
        while let [first, rest @ ..] = self.ends
            && first.element as usize <= element
        {
            (self.begin, self.ends) = (first.byte, rest);
        }
        self.ends.first().map_or(0, |payload| payload.byte - self.begin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fix::Report;
    use crate::pipeline::testing::{Nobody, driver};

    fn batch() -> Batch {
        Batch::new(Received::Live(TimestampMs(0)), Arc::new(Nobody))
    }

    #[test]
    fn one_timeless_element_in_a_payload_stands_and_several_fall() {
        let timeless = Ok(Report::at(None, 1.0, 2.0));
        let timed = Ok(Report::at(Some(TimestampMs(5)), 1.0, 2.0));
        let driver = driver("d");

        let mut one = batch();
        assert_eq!(one.add_payload(&driver, Codec::Native, b"", |elements| elements.extend([timeless, timed])), 2);
        assert!(one.elements[0].is_ok() && one.elements[1].is_ok());

        let mut two = batch();
        two.add_payload(&driver, Codec::Native, b"", |elements| elements.extend([timeless, timed, timeless]));
        assert_eq!(two.elements[0], Err(Reason::NoTime));
        assert!(two.elements[1].is_ok());
        assert_eq!(two.elements[2], Err(Reason::NoTime));
    }

    #[test]
    fn payloads_of_one_driver_in_a_row_are_one_run() {
        let timeless = Ok(Report::at(None, 1.0, 2.0));
        let (first, second) = (driver("a"), driver("b"));
        let mut batch = batch();
        for whose in [&first, &first, &second] {
            batch.add_payload(whose, Codec::Native, b"xy", |elements| elements.push(timeless));
        }
        batch.add_payload(&second, Codec::Native, b"skipped", |_| {});
        batch.add_payload(&second, Codec::Compact, b"z", |elements| elements.extend([timeless; 1]));
        assert_eq!(batch.runs.iter().map(|run| run.len).collect::<Vec<_>>(), [2, 1, 1]);
        let ends: Vec<_> = batch.payloads.iter().map(|end| (end.element, end.byte)).collect();
        assert_eq!((ends, &batch.raw[..]), (vec![(1, 2), (2, 4), (3, 6), (4, 7)], &b"xyxyxyz"[..]));
        let mut sizes = PayloadSizes::of(&batch.payloads);
        assert_eq!([0, 1, 1, 3].map(|element| sizes.bytes_around(element)), [2, 2, 2, 1]);
        assert!(batch.elements.iter().all(Result::is_ok), "each payload has its own receive time to give");
    }
}
