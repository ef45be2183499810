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
//!
//! Two appenders are none of the shards:
//!
//! | appender | frame | records |
//! |---|---|---|
//! | [`APPENDER_OF_SEAL`] | seal: the journal was closed here, and all before it is durable | none |
//! | [`APPENDER_OF_GAP`] | gap: stands for frames that were lost, see `salvage` | 8 bytes: the first sequence that it stands for |
//!
//! A gap has the last of the sequences that it stands for, so that the frame behind it is 1 more again; its first is at
//! least 1 and 1 more than the frame before it.

use super::record::Records;
use crate::units::TimestampMs;

/// Bytes before a frame's records.
pub(super) const HEADER_BYTES: usize = 40;

/// Longest frame; [`super::TurnEncoder::is_full`] tells when to finish a turn.
pub const FRAME_BYTES_MAX: usize = 1 << 20;

/// One turn read back from the journal.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Its place in the journal, from 1 on; of a gap the last that it stands for, see [`Frame::first_sequence`].
    pub sequence: u64,
    /// What was known to be durable when it was written; below `sequence`.
    pub durable: u64,
    /// When the first batch of the turn was received.
    pub received_at: TimestampMs,
    /// How many fixes it holds.
    pub fixes: u32,
    /// Which appender's turn it was; [`APPENDER_OF_SEAL`] for the empty frame that a clean close leaves,
    /// [`APPENDER_OF_GAP`] for one that stands for others.
    pub appender: u16,
    records: &'a [u8],
}

/// The appender of the frame that seals a cleanly closed journal: it has no records, and proves what is before it.
pub const APPENDER_OF_SEAL: u16 = u16::MAX;

/// The appender of a frame that stands for frames that were lost.
pub const APPENDER_OF_GAP: u16 = u16::MAX - 1;

/// Bytes of a gap's records.
const GAP_RECORDS_BYTES: usize = 8;

impl<'a> Frame<'a> {
    /// The decisions in it, in the order they were made. A gap has none.
    pub fn records(&self) -> Records<'a> {
        match (self.appender, self.gap_first()) {
            (APPENDER_OF_GAP, Some(_)) => Records::new(&[], self.received_at),
            (APPENDER_OF_GAP, None) => Records::malformed(),
            _ => Records::new(self.records, self.received_at),
        }
    }

    /// The first sequence that it stands for: its own, unless it is a gap.
    pub fn first_sequence(&self) -> u64 {
        self.gap_first().unwrap_or(self.sequence)
    }

    /// Whether it stands for frames that were lost.
    pub fn is_gap(&self) -> bool {
        self.appender == APPENDER_OF_GAP
    }

    fn gap_first(&self) -> Option<u64> {
        let records: [u8; GAP_RECORDS_BYTES] = self.records.try_into().ok().filter(|_| self.is_gap())?;
        Some(u64::from_le_bytes(records)).filter(|first| (1..=self.sequence).contains(first))
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

/// The bytes of a gap that stands for the frames from `first` to that of `place`.
pub(super) fn gap(first: u64, place: Place, received_at: TimestampMs) -> Vec<u8> {
    debug_assert!(place.appender == APPENDER_OF_GAP && (1..=place.sequence).contains(&first));
    let mut bytes = vec![0; HEADER_BYTES];
    bytes.extend_from_slice(&first.to_le_bytes());
    seal(&mut bytes, place, received_at, 0);
    bytes
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
pub(super) fn find_proof(bytes: &[u8], sequence: u64) -> Option<usize> {
    find(bytes, bytes.len(), &|found, durable| durable >= sequence && is_near(found, sequence))
}

/// Whether a frame may well have the sequence `found` where `sequence` is expected. With the other conditions on a header
/// it is almost always decisive.
pub(super) fn is_near(found: u64, sequence: u64) -> bool {
    found.checked_sub(sequence).is_some_and(|ahead| ahead < 1 << 32)
}

/// Where in `bytes`, below `end`, the first sound frame begins whose sequence and durable sequence are as wanted.
///
/// For the search behind an unsound place: it tries every offset, since a wrong length says nothing of where the next
/// frame begins.
pub(super) fn find(bytes: &[u8], end: usize, is_wanted: &dyn Fn(u64, u64) -> bool) -> Option<usize> {
    (0..bytes.len().saturating_sub(HEADER_BYTES - 1).min(end)).find(|&offset| {
        let header = &bytes[offset..offset + HEADER_BYTES];
        let length = u32_at(header, 4) as usize;
        let (found, durable) = (u64_at(header, 8), u64_at(header, 16));
        // Cheap, and the checksum is not.
        (HEADER_BYTES..=FRAME_BYTES_MAX).contains(&length)
            && durable < found
            && is_wanted(found, durable)
            && bytes.get(offset..offset + length).is_some_and(Frame::is_sound)
    })
}
