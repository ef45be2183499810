//! What the store says of the past that left memory, kept for the rest of a turn: a backlog comes in the order of its times, and
//! one look tells of hundreds of them.

use super::drivers::DriverIndex;
use crate::ids::DriverKey;
use crate::store::{self, Store, Stretch};
use crate::units::TimestampMs;

/// The stretch that was read last, of one driver.
///
/// Good until fixes leave memory, which they do between two turns: until then, whatever the store got since is in memory too.
#[derive(Debug)]
pub(super) struct Past {
    driver: Option<DriverIndex>,
    stretch: Stretch,
    looks: usize,
}

impl Default for Past {
    fn default() -> Self {
        Self { driver: None, stretch: Stretch::nothing(), looks: 0 }
    }
}

impl Past {
    /// Forgets what was read. To be called before a turn.
    pub(super) fn forget(&mut self) {
        self.driver = None;
    }

    /// The stretch of a driver's history around a time, read from the store if it is not the one that was read last.
    pub(super) fn around(
        &mut self,
        store: &Store,
        driver: DriverIndex,
        key: &DriverKey,
        time: TimestampMs,
    ) -> Result<&Stretch, store::Error> {
        if self.driver != Some(driver) || !self.stretch.covers(time) {
            self.driver = None;
            self.looks += 1;
            store.stretch(key.tenant().as_str(), key.driver().as_str(), time, &mut self.stretch)?;
            self.driver = Some(driver);
        }
        Ok(&self.stretch)
    }

    /// How often the store was asked since the last call.
    pub(super) fn take_looks(&mut self) -> usize {
        std::mem::take(&mut self.looks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fix::Fix;
    use crate::ids::{DriverId, TenantId};
    use crate::journal::{JournalId, JournalPosition};
    use crate::store::{Config, DriverFixes};
    use crate::units::Position;

    #[test]
    fn a_backlog_in_order_takes_a_look_for_each_block_it_passes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), &Config::default()).unwrap();
        let fix = |second: i64| Fix::at(TimestampMs(second * 1_000), Position::default());
        // Twenty blocks of an hour each, a day apart.
        let stored: Vec<Fix> =
            (0..20).flat_map(|day| (0..64).map(move |minute| fix(day * 86_400 + minute * 60))).collect();
        let upto = JournalPosition { journal: JournalId([7; 16]), sequence: 1 };
        store.apply(&[DriverFixes { tenant: "acme", driver: "d", fixes: &stored }], upto).unwrap();
        let key = DriverKey::new(TenantId::new("acme").unwrap(), DriverId::new("d").unwrap());
        let other = DriverKey::new(TenantId::new("acme").unwrap(), DriverId::new("e").unwrap());
        let mut past = Past::default();
        for minute in 0..20 * 1_440 {
            let time = TimestampMs(minute * 60_000);
            let found = past.around(&store, 0, &key, time).unwrap().at(time).is_some();
            assert_eq!(found, minute % 1_440 < 64, "{minute}");
        }
        let looks = past.take_looks();
        assert!((20..=40).contains(&looks), "{looks}");
        assert_eq!(
            past.around(&store, 1, &other, TimestampMs(0)).unwrap().at(TimestampMs(0)),
            None,
            "another driver's"
        );
        past.forget();
        assert!(past.around(&store, 1, &other, TimestampMs(0)).is_ok());
        assert_eq!(past.take_looks(), 2, "what was read is good for one turn");
    }
}
