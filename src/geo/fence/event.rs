//! What is told of a driver and a fence.

use std::fmt;

use crate::ids::FenceId;
use crate::units::{Position, TimestampMs};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FenceEventKind {
    /// The driver is inside from here on.
    Enter = 0,
    /// It is no longer.
    Exit = 1,
    /// It has been inside for as long as the fence's `dwell_s`.
    Dwell = 2,
}

impl FenceEventKind {
    /// All of them, each at its number.
    pub const ALL: [Self; 3] = [Self::Enter, Self::Exit, Self::Dwell];

    /// The name in topics and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enter => "enter",
            Self::Exit => "exit",
            Self::Dwell => "dwell",
        }
    }
}

impl fmt::Display for FenceEventKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// One event of the driver whose fix was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FenceEvent {
    /// What happened.
    pub kind: FenceEventKind,
    /// At which fence.
    pub fence: FenceId,
    /// The version of the fence that it was judged by.
    pub version: u64,
    /// When: on the way to the fix, so never before the fix that came before it, nor after this one.
    pub time: TimestampMs,
    /// Where the driver was then.
    pub position: Position,
}
