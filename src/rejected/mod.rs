//! Refusals as evidence: what was refused, why, and the bytes that came.
//!
//! Shards hand over what they refused once its turn is durable, and a thread of its own writes it down: JSON lines in
//! `data_dir/rejected/`, and the last few of each driver in memory, for questions.
//!
//! - Evidence never slows ingestion and never ends the engine: what does not fit into the queue, or cannot be written, is
//!   counted as unrecorded. The counts in the journal are exact whatever happens here.
//! - Lines are not synced. `kill -9` loses what was still in the queue, a few milliseconds' worth as a rule; a crash of the
//!   machine what the operating system had not written back, some 30 seconds' worth at worst. A clean stop loses nothing.
//! - Everything is bounded: a payload is cut, the queue holds [`QUEUED_BYTES_MAX`](recorder), the memory `memory_bytes_max`, the
//!   files together `bytes_max`. The oldest goes first.
//! - A line that does not read, such as the torn end that a crash leaves, is skipped by whoever reads.
//!
//! A backup leaves all of this out.

mod config;
mod files;
mod filter;
mod line;
mod members;
mod reader;
mod recent;
mod recorder;
mod status;

use std::fmt;
use std::sync::Arc;

pub use config::Config;
pub use filter::Filter;
pub use members::members;
pub use reader::{Reader, Unreadable};
pub use recorder::{Parcel, Recorder, Recording};

use crate::codec::Codec;
use crate::fix::Reason;
use crate::ids::DriverKey;
use crate::units::TimestampMs;

/// Where refusals are kept, in a data directory.
pub const DIRECTORY: &str = "rejected";

/// Refusals of a driver that are kept in memory.
pub const RECENT_PER_DRIVER_MAX: usize = 8;

/// What was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// When it came.
    pub received_at: TimestampMs,
    /// Whose it was.
    pub driver: Arc<DriverKey>,
    /// As what it was read.
    pub codec: Codec,
    /// Why it was refused.
    pub reason: Reason,
    /// How many fixes of the payload: one, unless the payload holds several and cannot be taken apart.
    pub fixes: u32,
    /// What came: of an array the refused member alone.
    pub payload: Payload,
}

/// The bytes that came, or their beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    bytes: Box<[u8]>,
    is_cut: bool,
}

impl Payload {
    /// Keeps the first `bytes_max` bytes. Text is not cut within a character.
    pub fn cut(bytes: &[u8], bytes_max: usize) -> Self {
        if bytes.len() <= bytes_max {
            return Self { bytes: bytes.into(), is_cut: false };
        }
        let head = &bytes[..bytes_max];
        let whole = match std::str::from_utf8(head) {
            // Only its last character was cut.
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => head.len(),
        };
        Self { bytes: head[..whole].into(), is_cut: true }
    }

    /// What there is of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// It as text, if it is UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok()
    }

    /// Whether more came than was kept.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// It in hexadecimal digits, for what is no text.
    pub fn hex(&self) -> impl fmt::Display {
        Hex(&self.bytes)
    }
}

/// Bytes as pairs of digits.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl Refusal {
    /// What it takes in memory, about: itself, its payload, and its places in maps.
    fn cost_bytes(&self) -> usize {
        const PLACES_BYTES: usize = 256;
        size_of::<Self>() + PLACES_BYTES + self.payload.bytes.len()
    }
}

#[cfg(test)]
mod testing {
    //! Refusals to test with.

    use super::*;
    use crate::ids::{DriverId, TenantId};

    pub(super) fn key(tenant: &str, driver: &str) -> Arc<DriverKey> {
        Arc::new(DriverKey::new(TenantId::new(tenant).unwrap(), DriverId::new(driver).unwrap()))
    }

    pub(super) fn refusal(driver: &str, received_ms: i64, payload: &[u8]) -> Refusal {
        Refusal {
            received_at: TimestampMs(received_ms),
            driver: key("acme", driver),
            codec: Codec::Native,
            reason: Reason::NullIsland,
            fixes: 1,
            payload: Payload::cut(payload, usize::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_cut_between_characters() {
        for (bytes, max, kept, is_cut) in [
            (&b"abc"[..], 3, &b"abc"[..], false),
            (b"abcd", 3, b"abc", true),
            ("aä".as_bytes(), 2, b"a", true),
            ("aä".as_bytes(), 3, "aä".as_bytes(), false),
            (b"\xff\xfe\xfd", 2, b"\xff\xfe", true),
            (b"", 0, b"", false),
        ] {
            let payload = Payload::cut(bytes, max);
            assert_eq!((payload.bytes(), payload.is_cut()), (kept, is_cut), "{bytes:?} {max}");
        }
        assert_eq!(Payload::cut(b"\x00\xff", 9).hex().to_string(), "00ff");
    }
}
