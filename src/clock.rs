//! Where the time comes from. Only the edges of the engine read a clock; inside, time is a parameter.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::units::TimestampMs;

/// The clock that the front doors stamp their batches with.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's own.
    #[default]
    System,
    /// One that stands until it is set, for tests.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `now` until [`Clock::set`].
    pub fn manual(now: TimestampMs) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(now.0)))
    }

    /// The present instant. A machine set to before 1970 reads as 1970.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn now(&self) -> TimestampMs {
        match self {
            Self::System => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                TimestampMs(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
            }
            Self::Manual(now_ms) => TimestampMs(now_ms.load(Ordering::Relaxed)),
        }
    }

    /// Moves a manual clock; a system clock is not touched.
    pub fn set(&self, now: TimestampMs) {
        if let Self::Manual(now_ms) = self {
            now_ms.store(now.0, Ordering::Relaxed);
        }
    }
}
