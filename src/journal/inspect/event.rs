//! What a walk through a journal comes by.

use std::fmt;

use crate::journal::error::Damage;
use crate::journal::{Unusable, snapshot};

/// What a walk comes by, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A segment begins.
    Segment {
        /// First sequence of its name.
        first: u64,
        /// Length of the file.
        bytes: u64,
    },
    /// A whole frame whose records read, in its place: [`super::Walk::frame`] gives it.
    Frame,
    /// Something is damaged; the walk goes on behind it.
    Damage(Finding),
    /// The end of the newest segment. Nothing comes behind it.
    End(End),
}

/// One damaged place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// File name of the segment.
    pub segment: String,
    /// Where in the file it begins.
    pub offset: u64,
    /// What is wrong there.
    pub reason: Damage,
    /// The frames that are lost, as far as the frames around tell.
    pub lost: Option<Lost>,
    /// Bytes from `offset` to what is sound again, or to the end of the file.
    pub skipped_bytes: u64,
}

/// Frames that are lost, by their sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The first of them.
    pub first: u64,
    /// The last.
    pub last: u64,
}

impl Lost {
    /// How many they are.
    pub fn frames(self) -> u64 {
        self.last - self.first + 1
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "segment {} is damaged at byte {}: {}", self.segment, self.offset, self.reason)?;
        match self.lost {
            Some(lost) if lost.frames() == 1 => write!(formatter, "; frame {} is lost", lost.first)?,
            Some(lost) => write!(formatter, "; {} frames are lost, {} to {}", lost.frames(), lost.first, lost.last)?,
            None => write!(formatter, "; no frame is lost by it, as far as can be told")?,
        }
        write!(formatter, ", {} bytes skipped", self.skipped_bytes)
    }
}

/// A snapshot beside the segments.
#[derive(Debug)]
pub struct Snapshot {
    /// It stands for all frames up to this one.
    pub sequence: u64,
    /// Why it does not, if so.
    pub unusable: Option<Unusable>,
}

impl Snapshot {
    /// Its file name.
    pub fn name(&self) -> String {
        snapshot::name(self.sequence)
    }
}

/// The end of the newest segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// File name of the segment.
    pub segment: String,
    /// Where its last frame ends.
    pub offset: u64,
    /// Bytes behind it that are no whole frame: a batch that is being written, or was when the engine stopped. The next
    /// start cuts them; nothing of it was acknowledged.
    pub torn_bytes: u64,
    /// The last sequence.
    pub last: u64,
    /// Whether the journal was closed there.
    pub is_sealed: bool,
}
