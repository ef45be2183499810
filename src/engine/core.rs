//! The engine without its doors: journal, shards, index and store, recovered and running.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::budget::{Budget, Follower};
use super::fences::{self, Fences, Judging};
use super::keeper::{self, Keeper};
use super::progress::Progress;
use super::{Failure, resuming};
use crate::backup::{self, Backups};
use crate::clock::Clock;
use crate::config::Config;
use crate::follow::Followed;
use crate::geo::GeoIndex;
use crate::journal::{self, Damage, Frame, Journal, JournalId, JournalPosition, Resume, Unopened};
use crate::live::Feed;
use crate::pipeline::{History, Parts, Pipeline, Recovering};
use crate::rejected::{Recorder, Recording};
use crate::sink::{self, Embedded, SinkHandle, SinkState, SinkStatus};
use crate::store::Store;

/// How long a stopping sink may go on writing what is durable. The rest is the first to be at the next start.
const SINK_DRAIN: Duration = Duration::from_secs(1);

/// What events that were judged last may take to be told.
const EVENTS_DRAIN: Duration = Duration::from_millis(200);

/// How often a store that is behind is looked at.
const STORE_LOOK: Duration = Duration::from_millis(50);

/// How often it is told how far behind it is.
const STORE_TOLD_INTERVAL: Duration = Duration::from_secs(10);

/// What every way of running the engine needs.
pub(super) struct Core {
    pub(super) journal: Arc<Journal>,
    pub(super) pipeline: Pipeline,
    pub(super) geo: Arc<GeoIndex>,
    pub(super) feed: Feed,
    pub(super) backups: Backups,
    pub(super) keeper: Keeper,
    sink: Option<SinkHandle>,
    /// `None`: there are no geofences.
    pub(super) fences: Option<Fences>,
    /// `None`: nothing is kept of what is refused.
    recording: Option<Recording>,
    /// Held for as long as the data directory is in use.
    _lock: File,
}

impl Core {
    /// Recovers what the data directory holds, and starts the shards. The directory is this process' own by `lock`, which
    /// [`take`] gives. Blocks for as long as the journal takes to read.
    pub(super) fn start(config: &Config, lock: File, progress: &Progress) -> anyhow::Result<Self> {
        let directory = &config.data_dir;
        if backup::is_half_restored(directory) {
            return Err(Failure::Mismatch(format!(
                "a restore into {} was not finished: empty it, and restore again",
                directory.display()
            ))
            .into());
        }
        let geo = Arc::new(GeoIndex::default());
        let feed = Feed::default();
        let store = if config.store.enabled {
            Some(Store::open(&directory.join("store"), &config.store).context("cannot open the embedded store")?)
        } else {
            None
        };
        let applied = match &store {
            Some(store) => store.applied().context("cannot read the embedded store")?,
            None => None,
        };
        let kept_of_fences = fences::open(config)?;
        let journal_dir = directory.join("journal");
        if let Some(applied) = applied
            && !journal::exists(&journal_dir).map_err(Failure::from)?
        {
            return Err(Failure::Mismatch(format!(
                "{} is missing, and the store beside it holds its fixes up to frame {applied}: restore the journal from a \
                 backup. To start anew instead, move the directory `store` away as well; its fixes are only there",
                journal_dir.display()
            ))
            .into());
        }
        // All of it, until a snapshot has told how much need not be read.
        progress.total(journal::bytes_behind(&journal_dir, 0));
        let files = Unopened::take(&journal_dir).map_err(Failure::from)?;
        let first = files.first().map_err(Failure::from)?.unwrap_or(1);
        let history = match &store {
            Some(store) => Some(history(store, applied, first)?),
            None => None,
        };
        let mut recovering = Recovering::new(Parts {
            config: config.pipeline.clone(),
            dedupe: config.dedupe.clone(),
            rules: config.rule_book(),
            registry: config.registry.clone(),
            geo: Arc::clone(&geo),
            feed: feed.clone(),
            history,
        });
        let began = Instant::now();
        let resuming = resuming::from_snapshot(&files, &mut recovering).map_err(Failure::Journal)?;
        let behind = resuming.snapshot.map_or(0, |snapshot| snapshot.sequence);
        progress.total(journal::bytes_behind(&journal_dir, behind));
        let mut journal_bytes = 0;
        let mut apply = |frame: &Frame<'_>| {
            progress.frame(frame.len_bytes(), frame.fixes);
            journal_bytes += frame.len_bytes() as u64;
            recovering.apply(frame)
        };
        let followed = applied.into_iter().chain(resuming.reach()).collect();
        let resume = Resume { snapshot: resuming.snapshot, followed };
        let opened = files.open(&config.journal, &resume, &mut apply);
        let (journal, recovered) = opened.map_err(|error| match error {
            journal::Error::Outside { position, journal, first, last } if Some(position) == applied => {
                mismatch(position, journal, first, last)
            }
            journal::Error::Outside { position, journal, last, .. } => snapshot_mismatch(position, journal, last),
            journal::Error::Damaged { reason: Damage::Gone, .. } if !resuming.unusable.is_empty() => Failure::Journal(
                format!("{error}. None of the snapshots beside it reads that stand for what is gone; the log says why"),
            ),
            other => other.into(),
        })?;
        if recovered.cut_bytes > 0 {
            tracing::warn!(bytes = recovered.cut_bytes, "cut a torn end off the journal; none of it was acknowledged");
        }
        tracing::info!(
            snapshot = resuming.snapshot.map_or(0, |position| position.sequence),
            fixes = recovered.fixes,
            frames = recovered.frames,
            seconds = began.elapsed().as_secs_f64(),
            "journal recovered"
        );
        // What was cut for their sake would be missed at the next start.
        resuming
            .unusable
            .iter()
            .try_for_each(|sequence| journal.set_snapshot_aside(*sequence))
            .map_err(Failure::from)?;
        let journal = Arc::new(journal);
        let keeping = Arc::default();
        let copied =
            backup::Copied { store: store.clone(), store_config: config.store.clone(), follow: kept_of_fences.clone() };
        let backups = Backups::new(&journal, copied, Arc::clone(&keeping));
        let followed = Followed { journal: journal.id(), first, last: recovered.last };
        let judging = match kept_of_fences {
            Some(tables) => Some(Judging::start(tables, config, &feed, &journal, followed)?),
            None => None,
        };
        let sink = match store {
            Some(store) => Some({
                if applied.is_none() && first > 1 {
                    begin_behind_the_cut(&store, JournalPosition { journal: journal.id(), sequence: first - 1 })?;
                }
                sink::start(Embedded::new(store), config.sink, Arc::clone(&journal))
                    .context("cannot start the embedded store's thread")?
            }),
            None => None,
        };
        let needed = recovering.store_needed(recovered.last);
        if applied.map_or(0, |position| position.sequence) < needed
            && let Some(sink) = &sink
        {
            wait_for_store(sink.status(), needed, progress)?;
        }
        let recording = match &config.rejected {
            off if off.is_off() => None,
            rejected => Some(
                Recording::start(directory, rejected, Clock::System).context("cannot start the recorder's thread")?,
            ),
        };
        if let Some(recording) = &recording {
            recovering.record_refusals(recording.recorder());
        }
        let stored_sequence = sink.as_ref().map(SinkHandle::written);
        let pipeline =
            recovering.start(&journal, stored_sequence.as_ref()).context("cannot start the shards' threads")?;
        // Without the store nobody can tell what is new, so it is never given up.
        // Neither are geofences: with it went who changed them meanwhile.
        let status = sink.iter().map(|sink| Arc::clone(sink.status())).chain(judging.iter().map(Judging::status));
        let followers: Vec<_> = status.map(|status| Follower { status, is_expendable: false }).collect();
        let fences = judging.map(|judging| judging.open(config, &journal));
        let keeper = Keeper::start(keeper::Parts {
            journal: Arc::clone(&journal),
            snapshots: pipeline.snapshots().clone(),
            keeping,
            budget: Budget::new(Arc::clone(&journal), followers, config.journal.on_full),
            config: config.journal.clone(),
            recovered: resuming.taken(),
            recovered_bytes: journal_bytes,
        });
        let keeper = keeper.context("cannot start the journal's keeper")?;
        Ok(Self { journal, pipeline, geo, feed, backups, keeper, sink, fences, recording, _lock: lock })
    }

    /// The embedded sink's state, if the store is on.
    pub(super) fn sink_status(&self) -> Option<Arc<SinkStatus>> {
        self.sink.as_ref().map(|sink| Arc::clone(sink.status()))
    }

    /// What was refused, if anything is kept of it.
    pub(super) fn recorder(&self) -> Option<Recorder> {
        self.recording.as_ref().map(|recording| recording.recorder().clone())
    }

    /// Judges what is durable by the geofences, has the events told, and ends that. Blocks for as long as it takes, some
    /// [`SINK_DRAIN`] at most.
    pub(super) fn stop_fences(&mut self) {
        if let Some(fences) = self.fences.take() {
            fences.stop(SINK_DRAIN);
            self.feed.wait_for_events(EVENTS_DRAIN);
        }
    }

    /// Ends what is under way and closes everything. Blocks for as long as that takes, a second or two.
    ///
    /// # Errors
    /// The journal could not be closed.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        self.stop_fences();
        let Self { journal, pipeline, backups, keeper, sink, recording, _lock, .. } = self;
        journal.release_brake();
        backups.stop();
        // The doors are closed and all that they took is durable. What the store has by now, the last snapshot leaves to it.
        if let Some(sink) = sink {
            sink.stop(SINK_DRAIN);
        }
        keeper.stop();
        pipeline.stop();
        if let Some(recording) = recording {
            recording.stop();
        }
        match Arc::try_unwrap(journal) {
            Ok(journal) => journal.close().map_err(Failure::from)?,
            // A probe or a scrape still holds it; it closes itself when the last of them lets go.
            Err(journal) => drop(journal),
        }
        Ok(())
    }
}

/// The store as the shards see it. One that is empty begins with the first frame of the journal.
fn history(store: &Store, applied: Option<JournalPosition>, first: u64) -> anyhow::Result<History> {
    let began = match applied {
        Some(_) => store.began().context("cannot read the embedded store")?,
        None => first - 1,
    };
    let stored_sequence = Arc::new(AtomicU64::new(applied.map_or(first - 1, |position| position.sequence)));
    Ok(History { store: store.clone(), stored_sequence, began })
}

/// Lets an empty store begin with what the journal still has.
fn begin_behind_the_cut(store: &Store, behind: JournalPosition) -> anyhow::Result<()> {
    tracing::warn!(
        frame = behind.sequence,
        "the store is new and the journal has been cut: fixes up to this frame are not in any track, and what is older than \
         a driver's memory of that time is refused as `past`, unless the store has it as a duplicate"
    );
    store.begin(behind).context("cannot write the embedded store")
}

/// Says how a snapshot is not of the journal beside it.
fn snapshot_mismatch(snapshot: JournalPosition, journal: JournalId, last: u64) -> Failure {
    let sequence = snapshot.sequence;
    Failure::Mismatch(if snapshot.journal == journal {
        format!(
            "the journal ends with frame {last}, and a snapshot beside it has what was durable up to frame {sequence}: the \
             journal has lost its end. Restore it from a backup"
        )
    } else {
        format!(
            "a snapshot in the journal's directory is of journal {}, and the segments beside it are of {journal}: put those \
             together that belong together, or move the files `*.snapshot` away if the segments begin with frame 1",
            snapshot.journal
        )
    })
}

/// Says how a store's position is not in the journal beside it. With such a store, what is a duplicate could not be told.
fn mismatch(applied: JournalPosition, journal: JournalId, first: u64, last: u64) -> Failure {
    Failure::Mismatch(if applied.journal == journal && applied.sequence < first {
        format!(
            "the store holds fixes up to frame {}, and the journal beside it begins with frame {first}: what was between has \
             been cut off while the store was not there to take it. Restore a store that is newer, or move the directory \
             `store` away to go on without the history in it",
            applied.sequence
        )
    } else if applied.journal == journal {
        format!(
            "the journal ends with frame {last}, and the store holds fixes up to frame {}: the journal has lost its end. \
             Restore it from a backup; fixes of the frames between are only in the directory `store`",
            applied.sequence
        )
    } else {
        format!(
            "the store follows journal {}, and the one beside it is {journal}: put the pair that belongs together into \
             `data_dir`, or move the directory `store` away, and it is written anew as far as this journal reaches back",
            applied.journal
        )
    })
}

/// Waits until the store holds everything up to a frame.
fn wait_for_store(status: &SinkStatus, last: u64, progress: &Progress) -> anyhow::Result<()> {
    let mut told = None;
    while status.written().load(Ordering::Acquire) < last {
        if let SinkState::Stopped { error } = status.state() {
            anyhow::bail!("the embedded store cannot be written: {error}");
        }
        progress.awaits_store(status.lag_frames());
        if told.is_none_or(|told: Instant| told.elapsed() >= STORE_TOLD_INTERVAL) {
            told = Some(Instant::now());
            let (frames, state) = (status.lag_frames(), status.state());
            tracing::info!(frames, ?state, "the store is far behind the journal: waiting until it has caught up");
        }
        thread::park_timeout(STORE_LOOK);
    }
    Ok(())
}

/// Says what to do about a data directory that cannot be made or written.
fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    let path = path.display();
    Failure::DataDir(format!(
        "cannot write {path}: {error}; let the server's user write in `data_dir`, or give that another directory"
    ))
}

/// Takes the data directory for this process, for as long as the file is held; makes it where missing.
pub(super) fn take(directory: &Path) -> anyhow::Result<File> {
    fs::create_dir_all(directory).map_err(|error| unwritable(directory, &error))?;
    let path = directory.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| unwritable(&path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::InUse(directory.to_owned()).into()),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}
