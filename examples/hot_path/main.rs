//! The hot path, decode to journal hand-over, for counting instructions: `hot_path FIXES` judges that many and ends.
//!
//! Payloads as trackers send them are decoded into batches; one shard judges each batch, packs it into a frame and hands it
//! to the journal, whose storage throws away. One batch is under way at a time, and payloads, drivers, receive times and
//! batch sizes are fixed, so that two runs differ only by their number of fixes.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::Context;
use rhumb::codec::Codec;
use rhumb::geo::GeoIndex;
use rhumb::ids::DriverKey;
use rhumb::journal::{self, Resume, Storage, StorageFile, Unopened};
use rhumb::live::Feed;
use rhumb::pipeline::{Batch, Config, DedupeConfig, Origin, Parts, Received, Recovering, RegistryConfig, RuleBook};
use rhumb::units::TimestampMs;
use rhumb::wire::native;

/// Drivers that take turns.
const DRIVERS: usize = 50;

/// Fixes of a driver in a row, as a read of a pipelining tracker brings them.
const FIXES_IN_A_ROW: usize = 20;

/// When the first fix is.
const START: i64 = 1_708_093_024_000;

fn main() -> anyhow::Result<()> {
    let fixes: usize = std::env::args().nth(1).context("hot_path FIXES")?.parse()?;
    let mut recovering = Recovering::new(Parts {
        config: Config { shards: 1 },
        dedupe: DedupeConfig::default(),
        rules: RuleBook::default(),
        registry: RegistryConfig::default(),
        geo: Arc::new(GeoIndex::default()),
        feed: Feed::default(),
        history: None,
    });
    let mut apply = |frame: &journal::Frame<'_>| recovering.apply(frame);
    let (journal, _) =
        Unopened::on(Arc::new(Nowhere)).open(&journal::Config::default(), &Resume::default(), &mut apply)?;
    let pipeline = recovering.start(&journal, None)?;
    let ingress = pipeline.ingress();
    let drivers = (0..DRIVERS)
        .map(|driver| ingress.route("acme", &format!("truck-{driver}")))
        .collect::<Result<Vec<Arc<DriverKey>>, _>>()?;

    let claim = ingress.claim(1).context("no room in a new pipeline")?;
    let returned = Arc::new(Returned::default());
    let mut batch = Batch::new(Received::Live(TimestampMs(START)), Arc::clone(&returned) as Arc<dyn Origin>);
    let mut payload = *TEMPLATE;
    for turn in 0..fixes.div_ceil(DRIVERS * FIXES_IN_A_ROW) {
        let time_ms = START + (turn * FIXES_IN_A_ROW * 1_000) as i64;
        batch.received = Received::Live(TimestampMs(time_ms + (FIXES_IN_A_ROW * 1_000) as i64));
        for (number, driver) in drivers.iter().enumerate() {
            for step in 0..FIXES_IN_A_ROW {
                render(&mut payload, number, turn * FIXES_IN_A_ROW + step, time_ms + step as i64 * 1_000);
                batch.add_payload(driver, Codec::Native, &payload, |elements| {
                    native::decode(&payload, 1, elements);
                });
            }
        }
        claim.submit(0, batch);
        batch = returned.wait();
        batch.clear();
    }
    pipeline.stop();
    journal.close()?;
    Ok(())
}

/// A payload whose digits are written over for each fix, so that making it costs next to nothing.
const TEMPLATE: &[u8; 109] =
    b"{\"latitude\":52.2000000,\"longitude\":21.0000000,\"timestamp\":1708093024,\"speed\":12.5,\"heading\":270,\"battery\":80}";

/// Where the last digits of latitude, longitude and time stand in [`TEMPLATE`].
const LATITUDE_END: usize = 22;
const LONGITUDE_END: usize = 45;
const TIMESTAMP_END: usize = 68;

/// A vehicle on its way, its clock in whole seconds.
fn render(payload: &mut [u8], driver: usize, step: usize, time_ms: i64) {
    put_digits(&mut payload[LATITUDE_END - 7..LATITUDE_END], driver * 1_000 + step * 37);
    put_digits(&mut payload[LONGITUDE_END - 7..LONGITUDE_END], driver * 2_000 + step * 53);
    put_digits(&mut payload[TIMESTAMP_END - 10..TIMESTAMP_END], (time_ms / 1_000) as usize);
}

fn put_digits(digits: &mut [u8], mut number: usize) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
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
