//! One shard whose journal's storage throws away, and the way of one batch at a time through it and back.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::Context;
use rhumb::geo::GeoIndex;
use rhumb::journal::{self, Journal, Resume, Storage, StorageFile, Unopened};
use rhumb::live::Feed;
use rhumb::pipeline::{
    Batch, Claim, Config, DedupeConfig, History, Ingress, Origin, Parts, Pipeline, Received, Recovering,
    RegistryConfig, RuleBook,
};
use rhumb::units::TimestampMs;

/// A pipeline of one shard.
pub(crate) struct OneShard {
    pipeline: Pipeline,
    journal: Journal,
    claim: Claim,
    returned: Arc<Returned>,
}

impl OneShard {
    /// Starts it empty, with a store to ask or none.
    pub(crate) fn start(rules: RuleBook, history: Option<History>) -> anyhow::Result<Self> {
        let stored_sequence = history.as_ref().map(|history| Arc::clone(&history.stored_sequence));
        let mut recovering = Recovering::new(Parts {
            config: Config { shards: 1 },
            dedupe: DedupeConfig::default(),
            rules,
            registry: RegistryConfig::default(),
            geo: Arc::new(GeoIndex::default()),
            feed: Feed::default(),
            history,
        });
        let mut apply = |frame: &journal::Frame<'_>| recovering.apply(frame);
        let (journal, _) =
            Unopened::on(Arc::new(Nowhere)).open(&journal::Config::default(), &Resume::default(), &mut apply)?;
        let pipeline = recovering.start(&journal, stored_sequence.as_ref())?;
        let claim = pipeline.ingress().claim(1).context("no room in a new pipeline")?;
        Ok(Self { pipeline, journal, claim, returned: Arc::default() })
    }

    /// The way in, for names.
    pub(crate) fn ingress(&self) -> &Ingress {
        self.pipeline.ingress()
    }

    /// An empty batch that comes back here.
    pub(crate) fn batch(&self) -> Batch {
        Batch::new(Received::Live(TimestampMs(0)), Arc::clone(&self.returned) as Arc<dyn Origin>)
    }

    /// Has a batch judged and its fixes handed to the journal, and waits for it.
    pub(crate) fn judge(&self, batch: Batch) -> Batch {
        self.claim.submit(0, batch);
        self.returned.wait()
    }

    /// Ends it.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        self.pipeline.stop();
        self.journal.close()?;
        Ok(())
    }
}

/// Where the batch comes back to.
#[derive(Debug, Default)]
struct Returned {
    batch: Mutex<Option<Batch>>,
    came: Condvar,
}

impl Returned {
    fn wait(&self) -> Batch {
        let mut batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(batch) = batch.take() {
                return batch;
            }
            batch = self.came.wait(batch).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Origin for Returned {
    fn judged(&self, batch: Batch) {
        *self.batch.lock().unwrap_or_else(PoisonError::into_inner) = Some(batch);
        self.came.notify_one();
    }
}

/// A storage that forgets everything: of the disk nothing is counted.
#[derive(Debug)]
struct Nowhere;

impl Storage for Nowhere {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn create(&self, _name: &str) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(Self))
    }

    fn open(&self, _name: &str) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(Self))
    }

    fn open_for_write(&self, _name: &str) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(Self))
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }
}

impl StorageFile for Nowhere {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn written_at(&self) -> io::Result<SystemTime> {
        Ok(SystemTime::UNIX_EPOCH)
    }

    fn read_at(&self, _buffer: &mut [u8], _offset: u64) -> io::Result<usize> {
        Ok(0)
    }

    fn write_all_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        Ok(())
    }

    fn set_len_bytes(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
