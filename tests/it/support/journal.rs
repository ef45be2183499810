//! What the journal of a stopped engine holds, read by the library and not by the engine.

use std::collections::BTreeMap;
use std::path::Path;

use rhumb::counts::Counts;
use rhumb::fix::Fix;
use rhumb::journal::{self, Config, Record};

/// A tenant's name and a driver's.
pub(crate) type Driver = (String, String);

/// The fixes of every driver, as `of` shows them, and the counters of every tenant.
pub(crate) fn read<T>(data_dir: &Path, of: impl Fn(&Fix) -> T) -> (BTreeMap<Driver, Vec<T>>, BTreeMap<String, Counts>) {
    let mut drivers: BTreeMap<Driver, Vec<T>> = BTreeMap::new();
    let mut counters: BTreeMap<String, Counts> = BTreeMap::new();
    let opened = journal::open(&data_dir.join("journal"), &Config::default(), &mut |frame| {
        let mut driver: Option<Driver> = None;
        for record in frame.records() {
            match record? {
                Record::Driver { tenant, driver: name } => driver = Some((tenant.to_owned(), name.to_owned())),
                Record::Fix { fix, .. } => {
                    let driver = driver.clone().expect("a fix has a driver");
                    drivers.entry(driver).or_default().push(of(&fix));
                }
                Record::Counters { tenant, counts } => counters.entry(tenant.to_owned()).or_default().add(&counts),
            }
        }
        Ok(())
    });
    let (journal, recovered) = opened.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(recovered.cut_bytes, 0, "an engine that stopped by itself left a torn end");
    journal.close().unwrap();
    (drivers, counters)
}
