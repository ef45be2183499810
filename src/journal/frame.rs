//! The frame: one turn of one appender, with what recovery needs to trust it.
//!
//! All integers are little-endian.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | CRC32C of everything behind it |
//! | 4 | 4 | length of the whole frame, header included, at most [`FRAME_BYTES_MAX`] |
//! | 8 | 8 | sequence: 1 more than the frame before |
//! | 16 | 8 | durable: the highest sequence known to be synced when this frame was written; below its own |
//! | 24 | 8 | receive time, ms since the epoch |
//! | 32 | 4 | how many of the records are fixes |
//! | 36 | 2 | appender: whose turn it was |
//! | 38 | 2 | 0 |
//! | 40 | | records, see `record` |
//!
//! A frame whose first eight bytes are 0 is none: the clean end of a segment.

use super::record::Records;
use crate::units::TimestampMs;

/// Bytes before a frame's records.
pub(super) const HEADER_BYTES: usize = 40;

/// Longest frame; [`super::TurnEncoder::is_full`] tells when to finish a turn.
pub const FRAME_BYTES_MAX: usize = 1 << 20;

/// One turn read back from the journal.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Its place in the journal, from 1 on, without gaps.
    pub sequence: u64,
    /// What was known to be durable when it was written; below `sequence`.
    pub durable: u64,
    /// When the first batch of the turn was received.
    pub received_at: TimestampMs,
    /// How many fixes it holds.
    pub fixes: u32,
    /// Which appender's turn it was; [`APPENDER_OF_SEAL`] for the empty frame that a clean close leaves.
    pub appender: u16,
    records: &'a [u8],
}

/// The appender of the frame that seals a cleanly closed journal: it has no records, and proves what is before it.
pub const APPENDER_OF_SEAL: u16 = u16::MAX;

impl<'a> Frame<'a> {
    /// The decisions in it, in the order they were made.
    pub fn records(&self) -> Records<'a> {
        Records::new(self.records, self.received_at)
    }

    /// Bytes that it takes in its segment.
    pub fn len_bytes(&self) -> usize {
        HEADER_BYTES + self.records.len()
    }

    /// Whether `bytes` are one whole frame.
    pub(super) fn is_sound(bytes: &[u8]) -> bool {
        bytes.len() >= HEADER_BYTES
            && u32_at(bytes, 4) as usize == bytes.len()
            && crc32c::crc32c(&bytes[4..]) == u32_at(bytes, 0)
    }

    /// The frame in `bytes`, which have been found sound.
    pub(super) fn parse(bytes: &'a [u8]) -> Self {
        let (header, records) = bytes.split_at(HEADER_BYTES);
        Self {
            sequence: u64_at(header, 8),
            durable: u64_at(header, 16),
            received_at: TimestampMs(u64_at(header, 24) as i64),
            fixes: u32_at(header, 32),
            appender: u16::from_le_bytes([header[36], header[37]]),
            records,
        }
    }
}

/// What a frame's header says beside what its turn says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) sequence: u64,
    pub(super) durable: u64,
    pub(super) appender: u16,
}

/// Completes the header in front of a turn's records.
pub(super) fn seal(bytes: &mut [u8], place: Place, received_at: TimestampMs, fixes: u32) {
    debug_assert!((HEADER_BYTES..=FRAME_BYTES_MAX).contains(&bytes.len()));
    debug_assert!(place.durable < place.sequence);
    let length = bytes.len() as u32;
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    bytes[8..16].copy_from_slice(&place.sequence.to_le_bytes());
    bytes[16..24].copy_from_slice(&place.durable.to_le_bytes());
    bytes[24..32].copy_from_slice(&received_at.0.to_le_bytes());
    bytes[32..36].copy_from_slice(&fixes.to_le_bytes());
    bytes[36..38].copy_from_slice(&place.appender.to_le_bytes());
    bytes[38..40].copy_from_slice(&[0; 2]);
    let crc = crc32c::crc32c(&bytes[4..]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
}

/// What the first eight bytes of a frame announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    /// A frame of so many bytes, if its checksum agrees.
    Frame(usize),
    /// Nothing: the clean end.
    End,
    /// No frame can have this length.
    Unsound,
}

/// Reads the length of the frame that begins with `first`.
pub(super) fn announced(first: &[u8; 8]) -> Announced {
    let length = u32_at(first, 4) as usize;
    if (HEADER_BYTES..=FRAME_BYTES_MAX).contains(&length) {
        Announced::Frame(length)
    } else if *first == [0; 8] {
        Announced::End
    } else {
        Announced::Unsound
    }
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes([bytes[offset], bytes[offset + 1], bytes[offset + 2], bytes[offset + 3]])
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from(u32_at(bytes, offset)) | u64::from(u32_at(bytes, offset + 4)) << 32
}

/// Where in `bytes` the first sound frame begins that was written when `sequence` was known to be durable.
///
/// For the search behind an unsound place: it tries every offset, since a wrong length says nothing of where the next
/// frame begins.
pub(super) fn find_proof(bytes: &[u8], sequence: u64) -> Option<usize> {
    (0..bytes.len().saturating_sub(HEADER_BYTES - 1)).find(|&offset| {
        let header = &bytes[offset..offset + HEADER_BYTES];
        // Cheap and almost always decisive: only a real header has both sequences near each other.
        let (found, durable) = (u64_at(header, 8), u64_at(header, 16));
        let plausible = durable >= sequence && durable < found && found - sequence < 1 << 32;
        let length = u32_at(header, 4) as usize;
        plausible
            && (HEADER_BYTES..=FRAME_BYTES_MAX).contains(&length)
            && bytes.get(offset..offset + length).is_some_and(Frame::is_sound)
    })
}
