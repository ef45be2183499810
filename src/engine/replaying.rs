//! `rhumb replay`: recordings into the data directory of this configuration, or to a broker.

use std::io::{self, Write};

use anyhow::Context;

use super::core::{self, Core};
use super::progress::Progress;
use crate::config::Config;
use crate::replay::{self, BrokerUrl, Inlet, Mqtt, Offline, Plan, Summary};

/// Replays as planned and prints the summary, also of a replay that ended early. Blocks until every row is durable, or
/// acknowledged by the broker.
///
/// # Errors
/// [`replay::Error`] for what is wrong with files or broker, [`super::Failure`] for the data directory.
pub fn replay(config: &Config, plan: &Plan, broker: Option<&BrokerUrl>, is_json: bool) -> anyhow::Result<()> {
    let (summary, ended) = match broker {
        Some(broker) => replay::run(plan, &mut Mqtt::connect(broker)?),
        None => offline(config, plan)?,
    };
    if summary.rows > 0 || ended.is_ok() {
        let mut out = io::stdout().lock();
        let printed = if is_json { writeln!(out, "{}", summary.to_json()) } else { write!(out, "{summary}") };
        printed.context("cannot write to standard output")?;
    }
    Ok(ended?)
}

fn offline(config: &Config, plan: &Plan) -> anyhow::Result<(Summary, Result<(), replay::Error>)> {
    let lock = core::take(&config.data_dir)?;
    let progress = Progress::new();
    let core = progress.told_during(|| Core::start(config, lock, &progress))?;
    let inlet = Inlet::new(core.pipeline.ingress().clone()).context("the shards have no room for a replay")?;
    let room = core.journal.room();
    let (summary, mut ended) = replay::run(plan, &mut Offline::new(inlet));
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
