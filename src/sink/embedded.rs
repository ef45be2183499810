//! The embedded store as a sink.

use super::{Batch, Error, Sink};
use crate::journal::JournalPosition;
use crate::store::{self, DriverFixes, Store};

/// Feeds a [`Store`].
#[derive(Debug)]
pub struct Embedded(Store);

impl Embedded {
    /// A sink into this store. There must be no other that writes to it.
    pub fn new(store: Store) -> Self {
        Self(store)
    }
}

impl Sink for Embedded {
    fn name(&self) -> &'static str {
        "embedded"
    }

    fn place(&self) -> &'static str {
        "store"
    }

    fn resume(&mut self) -> Result<Option<JournalPosition>, Error> {
        Ok(self.0.applied()?)
    }

    fn write(&mut self, batch: &Batch, upto: JournalPosition) -> Result<(), Error> {
        let drivers: Vec<_> = batch
            .drivers()
            .iter()
            .map(|run| DriverFixes { tenant: run.tenant(), driver: run.driver(), fixes: run.fixes() })
            .collect();
        Ok(self.0.apply(&drivers, upto)?)
    }

    fn sync(&mut self) -> Result<(), Error> {
        Ok(self.0.sync()?)
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        if error.is_retryable() { Self::Retry(error.into()) } else { Self::Stop(error.into()) }
    }
}
