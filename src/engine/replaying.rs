//! `rhumb replay`: recordings, or refusals on record, into the data directory of this configuration, or to a broker.

use std::io::{self, Write};

use anyhow::Context;

use super::core::{self, Core};
use super::progress::Progress;
use crate::config::Config;
use crate::limits::PAYLOAD_FIXES_MAX;
use crate::rejected::{self, Filter, Reader};
use crate::replay::{self, BrokerUrl, Inlet, Mqtt, Offline, Plan, Summary};

/// Replays as planned and prints the summary, also of a replay that ended early. Blocks until every row is durable, or
/// acknowledged by the broker.
///
/// # Errors
/// [`replay::Error`] for what is wrong with files or broker, [`super::Failure`] for the data directory.
pub fn replay(config: &Config, plan: &Plan, broker: Option<&BrokerUrl>, is_json: bool) -> anyhow::Result<()> {
    let (summary, ended) = match broker {
        Some(broker) => replay::run(plan, &mut Mqtt::connect(broker)?),
        None => offline(config, |target| replay::run(plan, target))?,
    };
    print(&summary, &ended, is_json)?;
    Ok(ended?)
}

/// Judges the refusals on record again, as far as the filter has them, and prints the summary. What is refused again is not
/// recorded a second time. Blocks until every fix is durable.
///
/// # Errors
/// As [`replay`].
pub fn replay_rejected(config: &Config, filter: &Filter, is_json: bool) -> anyhow::Result<()> {
    // Before the data directory is made, if there is none.
    let refusals = Reader::open(&config.data_dir.join(rejected::DIRECTORY)).map_err(replay::Error::from)?;
    let config = Config { rejected: rejected::Config::OFF, ..config.clone() };
    // As many as a payload may hold over MQTT, and over HTTP.
    let fixes_max = PAYLOAD_FIXES_MAX.max(config.http.fixes_max);
    let (summary, ended) = offline(&config, |target| replay::judge_again(refusals, filter, fixes_max, target))?;
    print(&summary, &ended, is_json)?;
    Ok(ended?)
}

fn print(summary: &Summary, ended: &Result<(), replay::Error>, is_json: bool) -> anyhow::Result<()> {
    if summary.rows > 0 || ended.is_ok() {
        let mut out = io::stdout().lock();
        let printed = if is_json { writeln!(out, "{}", summary.to_json()) } else { write!(out, "{summary}") };
        printed.context("cannot write to standard output")?;
    }
    Ok(())
}

/// Runs a replay into the data directory.
fn offline(
    config: &Config,
    run: impl FnOnce(&mut Offline<Inlet>) -> (Summary, Result<(), replay::Error>),
) -> anyhow::Result<(Summary, Result<(), replay::Error>)> {
    let lock = core::take(&config.data_dir)?;
    let progress = Progress::new();
    let core = progress.told_during(|| Core::start(config, lock, &progress))?;
    // Nobody listens here, and nothing is kept for whoever might.
    drop(core.feed.listen_to_events());
    let inlet = Inlet::new(core.pipeline.ingress().clone()).context("the shards have no room for a replay")?;
    let room = core.journal.room();
    let (summary, mut ended) = run(&mut Offline::new(inlet));
    if matches!(ended, Err(replay::Error::Stopped)) && room.is_full() {
        ended = Err(replay::Error::Full);
    }
    let stopped = core.stop();
    // What ended the replay comes before what it made of the end.
    if ended.is_ok() {
        stopped?;
    }
    Ok((summary, ended))
}
