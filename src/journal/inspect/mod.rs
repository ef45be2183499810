//! Looking into a journal from outside: what is in it, and whether it is whole.
//!
//! Takes no lock and changes nothing, so that it may be done while an engine writes. Then the newest segment may end in the
//! middle of a batch, and segments come and go; none of that is damage, and told apart as recovery does it: what is behind
//! an unsound place is a torn end unless something proves that it was durable. A proof is written after what it proves, so
//! that the place, read once more after the proof was seen, is whole unless it is damaged.
//!
//! Unlike recovery, which stops at the first damage, a [`Walk`] goes on behind it: with the next sound frame, looked for at
//! every offset.

mod event;
mod files;
mod search;
mod stat;
mod verify;
mod walk;

pub use event::{End, Event, Finding, Lost, Snapshot};
pub use files::Files;
pub use stat::{SegmentStat, SnapshotStat, Stat, stat, sum};
pub use verify::{Verified, verify};
pub use walk::Walk;
