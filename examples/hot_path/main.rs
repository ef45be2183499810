//! The hot path, decode to journal hand-over, for counting instructions: `hot_path FIXES` judges that many and ends.
//!
//! Payloads as trackers send them are decoded into batches; one shard judges each batch, packs it into a frame and hands it
//! to the journal, whose storage throws away. One batch is under way at a time, and payloads, drivers, receive times and
//! batch sizes are fixed, so that two runs differ only by their number of fixes.

#[path = "engine.rs"]
mod engine;

use std::sync::Arc;

use anyhow::Context;
use rhumb::codec::Codec;
use rhumb::ids::DriverKey;
use rhumb::pipeline::{Received, RuleBook};
use rhumb::units::TimestampMs;
use rhumb::wire::native;

use engine::OneShard;

/// Drivers that take turns.
const DRIVERS: usize = 50;

/// Fixes of a driver in a row, as a read of a pipelining tracker brings them.
const FIXES_IN_A_ROW: usize = 20;

/// When the first fix is.
const START: i64 = 1_708_093_024_000;

fn main() -> anyhow::Result<()> {
    let fixes: usize = std::env::args().nth(1).context("hot_path FIXES")?.parse()?;
    let engine = OneShard::start(RuleBook::default(), None)?;
    let drivers = (0..DRIVERS)
        .map(|driver| engine.ingress().route("acme", &format!("truck-{driver}")))
        .collect::<Result<Vec<Arc<DriverKey>>, _>>()?;

    let mut batch = engine.batch();
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
        batch = engine.judge(batch);
        batch.clear();
    }
    engine.stop()
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
