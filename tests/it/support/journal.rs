//! What the journal of a stopped engine holds, read by the library and not by the engine.

use std::collections::BTreeMap;
use std::path::Path;

use rhumb::counts::Counts;
use rhumb::fix::Fix;
use rhumb::journal::{Config, JournalPosition, Record, Resume, Unopened};

/// A tenant's name and a driver's.
pub(crate) type Driver = (String, String);

/// What a journal holds.
#[derive(Debug)]
pub(crate) struct Journalled<T> {
    /// Its first frame. Those before it were cut off.
    pub(crate) first: u64,
    /// The fixes of every driver, in the journal's order.
    pub(crate) drivers: BTreeMap<Driver, Vec<T>>,
    /// The counters of every tenant, of the frames that are there.
    pub(crate) counters: BTreeMap<String, Counts>,
}

/// Reads all that a journal holds, cut or not, with the fixes as `of` shows them.
pub(crate) fn read<T>(data_dir: &Path, of: impl Fn(&Fix) -> T) -> Journalled<T> {
    let files = Unopened::take(&data_dir.join("journal")).unwrap();
    let first = files.first().unwrap().unwrap();
    // Whatever its snapshots stand for, what is in front of the first frame is all that may be missing.
    let behind_the_cut = |newest: &u64| {
        let JournalPosition { journal, .. } = files.read_snapshot(*newest, &mut |_| Ok(())).unwrap();
        JournalPosition { journal, sequence: first - 1 }
    };
    let snapshot = files.snapshots().unwrap().first().filter(|_| first > 1).map(behind_the_cut);
    let resume = Resume { snapshot, followed: Vec::new() };
    let mut drivers: BTreeMap<Driver, Vec<T>> = BTreeMap::new();
    let mut counters: BTreeMap<String, Counts> = BTreeMap::new();
    let opened = files.open(&Config::default(), &resume, &mut |frame| {
        let mut driver: Option<Driver> = None;
        for record in frame.records() {
            match record? {
                Record::Driver { tenant, driver: name } => driver = Some((tenant.to_owned(), name.to_owned())),
                Record::Fix { fix, .. } => {
                    let driver = driver.clone().expect("a fix has a driver");
                    drivers.entry(driver).or_default().push(of(&fix));
                }
                Record::Counters { tenant, counts, .. } => counters.entry(tenant.to_owned()).or_default().add(&counts),
                Record::Change(_) => {}
            }
        }
        Ok(())
    });
    let (journal, recovered) = opened.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(recovered.cut_bytes, 0, "an engine that stopped by itself left a torn end");
    journal.close().unwrap();
    Journalled { first, drivers, counters }
}
