//! The one writer: takes all turns that wait, writes and syncs them together, and tells whose they were.
//!
//! Where the configuration lets it tell what is only written, it syncs when the oldest of that has waited long enough.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::frame::{self, APPENDER_OF_SEAL, HEADER_BYTES, Place};
use super::record::Turn;
use super::room::{Brake, Room};
use super::segment::Segment;
use super::storage::Storage;
use super::watermark::Watermark;
use super::{JournalId, OnDurable, OnFailure};
use crate::units::TimestampMs;

/// A batch is written when it has so many bytes, though more turns wait.
pub(super) const BATCH_BYTES_MAX: usize = 4 << 20;

/// How often a writer that is held looks whether there is more room.
const BRAKE_LOOK: Duration = Duration::from_millis(200);

/// What reaches the writer.
pub(super) enum Message {
    /// A turn to write.
    Turn { appender: u16, turn: Turn },
    /// The next appender and how to tell it what is durable; sent before its first turn.
    Appender(OnDurable),
    /// Finish: nothing behind this is written.
    Close,
}

/// Why the writer stopped, for whoever asks or waits.
#[derive(Default)]
pub(super) struct Failure(Mutex<Failed>);

#[derive(Default)]
struct Failed {
    error: Option<String>,
    callbacks: Vec<OnFailure>,
}

impl fmt::Debug for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Failure").field(&self.get()).finish()
    }
}

impl Failure {
    pub(super) fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).error.clone()
    }

    /// Calls back once when the journal fails, at once if it has.
    pub(super) fn on_failure(&self, callback: OnFailure) {
        let mut failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match failed.error.clone() {
            None => failed.callbacks.push(callback),
            Some(error) => {
                drop(failed);
                callback(&error);
            }
        }
    }

    fn set(&self, error: &str) {
        tracing::error!(error, "journal failed, nothing is acknowledged any more");
        let mut failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failed.error = Some(error.to_owned());
        let callbacks = std::mem::take(&mut failed.callbacks);
        drop(failed);
        callbacks.into_iter().for_each(|callback| callback(error));
    }
}

/// The state of the writer's thread.
pub(super) struct Writer {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) journal: JournalId,
    pub(super) segment: Segment,
    pub(super) segment_bytes: u64,
    pub(super) watermark: Arc<Watermark>,
    /// Sequence of the last frame in `batch` or before it.
    pub(super) last: u64,
    /// That frame's receive time.
    pub(super) received_at: TimestampMs,
    /// Whether that frame is a seal, or there is none.
    pub(super) is_sealed: bool,
    pub(super) batch: Batch,
    /// How long written frames may go without a sync after they were acknowledged; `None`: they are synced before.
    pub(super) unsynced_max: Option<Duration>,
    /// Sequence of the last frame before `batch`, which may be beyond the watermark.
    pub(super) written: u64,
    /// When it has to be synced, if it is not.
    pub(super) sync_due: Option<Instant>,
    pub(super) room: Arc<Room>,
    pub(super) brake: Brake,
}

/// Frames that are written and synced together.
#[derive(Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    appenders: Vec<Waiting>,
}

/// An appender, and its frames in the batch.
struct Waiting {
    on_durable: OnDurable,
    sequences: Vec<u64>,
}

impl Writer {
    /// Writes until told to close, or until something fails: then nothing is acknowledged any more, and nothing tried
    /// again, for after a failed sync nobody knows what is on the disk.
    pub(super) fn run(mut self, turns: &Receiver<Message>, failure: &Failure) {
        match catch_unwind(AssertUnwindSafe(|| self.serve(turns))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => failure.set(&format!("cannot write {}: {error}", self.segment.name())),
            Err(_) => failure.set("the writer panicked"),
        }
    }

    fn serve(&mut self, turns: &Receiver<Message>) -> io::Result<()> {
        while let Some(first) = self.next(turns)? {
            self.hold()?;
            let mut is_open = self.take(first);
            // While the disk synced the batch before, this one has been growing in the channel.
            while is_open && self.batch.bytes.len() < BATCH_BYTES_MAX {
                let Ok(message) = turns.try_recv() else { break };
                is_open = self.take(message);
            }
            self.commit()?;
            if !is_open {
                break;
            }
        }
        self.finish()
    }

    /// Waits as long as the brake wants. What is handed over meanwhile waits in the channel, and in front of that.
    fn hold(&mut self) -> io::Result<()> {
        loop {
            let now = Instant::now();
            let pause = self.brake.pause(self.room.brake_bytes_per_s(), now);
            if pause.is_zero() {
                return Ok(());
            }
            let until_sync = self.sync_due.map(|due| due.saturating_duration_since(now));
            if until_sync == Some(Duration::ZERO) {
                self.sync()?;
            } else {
                self.room.pause(pause.min(BRAKE_LOOK).min(until_sync.unwrap_or(BRAKE_LOOK)));
            }
        }
    }

    /// Waits for the next message and syncs when it is time to; `None` once there is nobody left to send one.
    fn next(&mut self, turns: &Receiver<Message>) -> io::Result<Option<Message>> {
        while let Some(due) = self.sync_due {
            if due <= Instant::now() {
                self.sync()?;
                break;
            }
            match turns.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(message) => return Ok(Some(message)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
        Ok(turns.recv().ok())
    }

    /// Adds to the batch; false if it was told to close.
    fn take(&mut self, message: Message) -> bool {
        match message {
            Message::Turn { appender, turn } => {
                self.append(appender, turn);
                self.batch.appenders[usize::from(appender)].sequences.push(self.last);
            }
            Message::Appender(on_durable) => {
                self.batch.appenders.push(Waiting { on_durable, sequences: Vec::new() });
            }
            Message::Close => return false,
        }
        true
    }

    fn append(&mut self, appender: u16, mut turn: Turn) {
        self.last += 1;
        let place = Place { sequence: self.last, durable: self.watermark.get(), appender };
        frame::seal(&mut turn.bytes, place, turn.received_at, turn.fixes);
        self.batch.bytes.extend_from_slice(&turn.bytes);
        self.received_at = turn.received_at;
        self.is_sealed = appender == APPENDER_OF_SEAL;
    }

    /// Writes the batch, makes it durable unless that may wait, and tells those whose frames are in it.
    fn commit(&mut self) -> io::Result<()> {
        if self.batch.bytes.is_empty() {
            return Ok(());
        }
        let begins_segment = self.segment.is_full_for(self.batch.bytes.len(), self.segment_bytes);
        if begins_segment {
            // All before this batch has to be durable, since the next segment says so by being there.
            self.sync()?;
            self.segment.trim()?;
            self.segment = Segment::create(&self.storage, self.journal, self.written + 1)?;
        }
        if self.segment.grows_for(self.batch.bytes.len())
            && let Err(error) = self.room.measure_disk(self.storage.as_ref())
        {
            // What was known of it stands until it is measured the next time.
            tracing::debug!(%error, "the room on the journal's disk is not known anew");
        }
        self.segment.write(&self.batch.bytes)?;
        self.room.wrote(self.batch.bytes.len());
        self.brake.wrote(self.batch.bytes.len());
        self.batch.bytes.clear();
        self.written = self.last;
        match self.unsynced_max {
            // What is not synced has to have one `durable`, and this batch got its own before the sync above.
            Some(unsynced_max) if !begins_segment => {
                self.sync_due.get_or_insert_with(|| Instant::now() + unsynced_max);
            }
            _ => self.sync()?,
        }
        for waiting in self.batch.appenders.iter_mut().filter(|waiting| !waiting.sequences.is_empty()) {
            (waiting.on_durable)(&waiting.sequences);
            waiting.sequences.clear();
        }
        Ok(())
    }

    /// Makes everything written durable.
    fn sync(&mut self) -> io::Result<()> {
        if self.watermark.get() < self.written {
            self.segment.sync()?;
            self.watermark.advance(self.written);
        }
        self.sync_due = None;
        Ok(())
    }

    /// Leaves a frame that proves the last batch, and no zeros behind it.
    fn finish(&mut self) -> io::Result<()> {
        self.sync()?;
        if !self.is_sealed {
            let received_at = self.received_at;
            self.append(APPENDER_OF_SEAL, Turn { bytes: vec![0; HEADER_BYTES], received_at, fixes: 0 });
            self.commit()?;
            self.sync()?;
        }
        self.segment.trim()?;
        self.segment.sync()
    }
}
