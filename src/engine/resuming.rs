//! Where recovery begins: with the newest snapshot that reads, or with the journal's first frame.

use crate::journal::{JournalPosition, Malformed, Unopened, Unusable};
use crate::pipeline::{Recovering, SnapshotCheck, SnapshotTaken};

/// What recovery has before it reads the journal.
#[derive(Clone, Debug, Default)]
pub(super) struct Resuming {
    /// What the snapshot stands for that was loaded.
    pub(super) snapshot: Option<JournalPosition>,
    /// The highest frame of which anything is in it.
    upto: u64,
    /// Bytes in its chunks.
    bytes: u64,
    /// Newer ones that do not read.
    pub(super) unusable: Vec<u64>,
}

impl Resuming {
    /// How far the journal has to reach for the snapshot.
    pub(super) fn reach(&self) -> Option<JournalPosition> {
        self.snapshot.map(|snapshot| JournalPosition { sequence: self.upto, ..snapshot })
    }

    /// The snapshot as whoever took it knew it.
    pub(super) fn taken(&self) -> Option<SnapshotTaken> {
        self.snapshot.map(|snapshot| SnapshotTaken { sequence: snapshot.sequence, bytes: self.bytes })
    }
}

/// Loads the newest snapshot that reads. One that does not is told, and the one before it tried.
///
/// # Errors
/// In words: the snapshots could not be looked for, or one was read once and not a second time.
pub(super) fn from_snapshot(files: &Unopened, recovering: &mut Recovering) -> Result<Resuming, String> {
    let mut resuming = Resuming::default();
    for sequence in files.snapshots().map_err(|error| error.to_string())? {
        // At first without taking anything in: what was taken could not be given back.
        match check(files, sequence) {
            Ok(whole) => {
                files.read_snapshot(sequence, &mut |chunk| recovering.restore(chunk)).map_err(|error| {
                    format!(
                        "snapshot {sequence} was whole a moment ago, and now {error}: see to the disk of `data_dir`"
                    )
                })?;
                recovering.restored();
                return Ok(Resuming { unusable: resuming.unusable, ..whole });
            }
            Err(error) => {
                resuming.unusable.push(sequence);
                let file = format!("{sequence:020}.snapshot");
                tracing::warn!(file, %error, "a snapshot is not used: recovery takes longer, and nothing is lost if an older one or the whole journal is there");
            }
        }
    }
    Ok(resuming)
}

fn check(files: &Unopened, sequence: u64) -> Result<Resuming, Unusable> {
    let mut check = SnapshotCheck::default();
    let mut bytes = 0;
    let position = files.read_snapshot(sequence, &mut |chunk| {
        bytes += chunk.len() as u64;
        check.chunk(chunk)
    })?;
    let reach = check.finish()?;
    if reach.sequence != sequence {
        return Err(Malformed.into());
    }
    Ok(Resuming { snapshot: Some(position), upto: reach.upto, bytes, unusable: Vec::new() })
}
