//! What can go wrong with a journal, and what the operator can do about it.

use std::io;

use super::JournalPosition;

/// Why a journal could not be opened, read or closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process writes this journal.
    #[error("the journal in {directory} is in use by another process; stop it, or give this one another data_dir")]
    InUse {
        /// Where the lock is.
        directory: String,
    },
    /// Bytes that had been acknowledged do not read back. Nothing was changed.
    #[error(
        "journal segment {segment} is damaged at byte {offset}: {reason}. What follows proves that this was durable, so \
         it is not a torn end and nothing was cut: restore the segment from a backup, or let `rhumb journal verify \
         --salvage NEWDIR` recover what is whole and put that in the journal's place"
    )]
    Damaged {
        /// File name of the segment.
        segment: String,
        /// Where in the file the first unsound frame begins.
        offset: u64,
        /// What is wrong there.
        reason: Damage,
    },
    /// Written by a version of Rhumb that this one does not read.
    #[error("journal segment {segment} has format version {found}; this program reads version {wanted}")]
    Version {
        /// File name of the segment.
        segment: String,
        /// Its version.
        found: u32,
        /// The one that would be understood.
        wanted: u32,
    },
    /// There is no journal to look into.
    #[error("there is no journal in {directory}")]
    NoJournal {
        /// Where one was looked for.
        directory: String,
    },
    /// Something is where a salvaged journal should go.
    #[error("{directory} is not empty: name a directory that is not there yet")]
    NotEmpty {
        /// Where it should go.
        directory: String,
    },
    /// A salvage into this directory broke off, and what is there is a part of a journal.
    #[error(
        "the journal is a part of one, for the salvage that wrote it broke off (its file `unfinished` says so): empty \
         its directory and salvage again"
    )]
    Unfinished,
    /// A position that this journal does not hold: of another journal, not yet written, or no longer kept.
    #[error("position {position} is not in this journal, which holds {first} to {last} of {journal}")]
    Outside {
        /// What was asked for.
        position: JournalPosition,
        /// The journal's own id.
        journal: super::JournalId,
        /// First sequence it still holds.
        first: u64,
        /// Last durable sequence.
        last: u64,
    },
    /// The operating system refused.
    #[error("journal: cannot {action}: {source}")]
    Io {
        /// What was tried.
        action: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The writer stopped at an error and acknowledges nothing any more; a restart recovers what is durable.
    #[error("the journal has failed and acknowledges nothing more: {0}")]
    Failed(String),
}

impl Error {
    /// Says what was tried when the operating system refused; for `map_err`.
    pub(super) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }
}

/// What is wrong with a place in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The segment's header.
    #[error("its header does not read")]
    Header,
    /// A header of another journal or with another first sequence than the file's name.
    #[error("its header belongs to another place")]
    Misplaced,
    /// The segment that the journal begins with. Nothing takes it away, as long as no snapshot stands for it.
    #[error("it is not there, and the journal begins with it")]
    Gone,
    /// A frame whose length or checksum is wrong.
    #[error("a frame does not match its checksum")]
    Frame,
    /// A sound frame, but not the next one.
    #[error("the sequence is broken")]
    Sequence,
    /// A sound frame that names more, or less, as durable than its place allows.
    #[error("a frame says that what cannot be was durable before it")]
    Durable,
    /// The segment ends and the next one does not go on where it ended.
    #[error("frames are missing behind it")]
    Missing,
    /// The checksum is right and the records are not: written by a fault of the program.
    #[error("a frame's records do not read")]
    Records,
}

/// Records of a sound frame that do not read; see [`Damage::Records`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed journal records")]
pub struct Malformed;

/// The journal takes no more turns: closed, or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal has stopped")]
pub struct Stopped;
