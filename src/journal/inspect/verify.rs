//! Whether a journal is whole.

use super::event::{End, Event, Finding};
use super::files::Files;
use super::walk::Walk;
use crate::journal::JournalId;
use crate::journal::error::Error;

/// What [`verify`] saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Which journal; `None` if no segment tells.
    pub journal: Option<JournalId>,
    /// Segments that were read.
    pub segments: u64,
    /// Whole frames.
    pub frames: u64,
    /// Fixes in them.
    pub fixes: u64,
    /// Snapshots that are whole. What is in them their writer has to know.
    pub snapshots: u64,
    /// Snapshots that are not, and why: file names and reasons.
    pub unusable_snapshots: Vec<(String, String)>,
    /// Places that are damaged, and snapshots that are not whole.
    pub damages: u64,
    /// Frames that are lost there.
    pub lost_frames: u64,
    /// How the newest segment ends. A torn end is none of the damage: recovery cuts it.
    pub end: End,
}

/// Reads the whole journal, tells each damage as it is found, and gives the sum. Holds a few MiB, however long the journal.
///
/// # Errors
/// The files cannot be read, or are of a version that this program does not read. Damage is no error.
pub fn verify(files: &Files, tell: &mut dyn FnMut(&Finding)) -> Result<Verified, Error> {
    let mut walk = Walk::checking(files)?;
    let mut verified = Verified {
        journal: walk.journal(),
        segments: 0,
        frames: 0,
        fixes: 0,
        snapshots: 0,
        unusable_snapshots: Vec::new(),
        damages: 0,
        lost_frames: 0,
        end: End::default(),
    };
    for snapshot in walk.snapshots() {
        match &snapshot.unusable {
            None => verified.snapshots += 1,
            Some(reason) => {
                verified.unusable_snapshots.push((snapshot.name(), reason.to_string()));
                verified.damages += 1;
            }
        }
    }
    while let Some(event) = walk.next()? {
        match event {
            Event::Segment { .. } => verified.segments += 1,
            Event::Frame => {
                verified.frames += 1;
                verified.fixes += u64::from(walk.frame().fixes);
            }
            Event::Damage(finding) => {
                tell(&finding);
                verified.damages += 1;
                verified.lost_frames += finding.lost.map_or(0, |lost| lost.frames());
            }
            Event::End(end) => verified.end = end,
        }
    }
    Ok(verified)
}
