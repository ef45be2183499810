//! The command line: options as they are typed, checked and turned into a plan.

use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{Parser, ValueEnum};

use crate::faults::Shares;
use crate::plan::{Credentials, Load, Mode, Plan, Qos, Version};
use crate::worker::KEEP_ALIVE_S;

const DEVICES_MAX: u32 = 100_000;
const THREADS_MAX: u32 = 64;
const PIPELINE_MAX: usize = 1_000;
const RATE_MAX: f64 = 10_000_000.0;
const PUBLISHES_MAX: u64 = 100_000_000_000;
const DURATION_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Publishes in flight over all devices; each takes 64 bytes here.
const IN_FLIGHT_MAX: u64 = 20_000_000;
const DURATION_DEFAULT: Duration = Duration::from_secs(30);
const PIPELINE_DEFAULT: usize = 20;

/// Drives a fleet of made-up or recorded devices against any MQTT broker and measures how it copes.
///
/// Exits with 0 if every publish was acknowledged (at QoS 0: sent, and the closing one of each device acknowledged),
/// with 1 if connections or acknowledgements were lost, with 2 if the options make no sense.
///
/// Fixes carry the time of now, each device's every one a millisecond of its own. Where a device may publish more than
/// one a millisecond its clock starts so far in the past that it never runs ahead of now.
#[derive(Debug, Parser)]
#[command(name = "loadgen", version)]
pub struct Cli {
    /// Broker: mqtt://[user[:password]@]host[:port]
    #[arg(long, default_value = "mqtt://127.0.0.1:1883", value_name = "URL")]
    target: String,
    /// Devices, each with a connection of its own
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    devices: u32,
    /// Publishes a second over all devices (open loop: latency counts from the intended moment), or `max` (closed loop)
    #[arg(long, default_value = "max", value_name = "N|max")]
    rate: String,
    /// Quality of service: 0, 1 or 2
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2), value_name = "QOS")]
    qos: u8,
    /// Length of the run, as in 500ms, 30s, 5m, 1h [default: 30s unless --publishes is given]
    #[arg(long, value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Ends the run after so many publishes
    #[arg(long, value_name = "N")]
    publishes: Option<u64>,
    /// raw: own encoder and event loop, saturates a server from one core; faithful: one rumqttc client per device
    #[arg(long, value_enum, default_value = "raw")]
    mode: ModeName,
    /// MQTT 3 (3.1.1) or 5
    #[arg(long, default_value = "3", value_parser = ["3", "5"], value_name = "VERSION")]
    mqtt_version: String,
    /// Publishes a write, at most
    #[arg(long, value_name = "N")]
    pipeline: Option<usize>,
    /// Unacknowledged publishes a connection at QoS 1 and 2 [default: as many as --pipeline]
    #[arg(long, value_name = "N")]
    window: Option<u16>,
    /// One publish a connection at a time: send it, wait for its acknowledgement
    #[arg(long, conflicts_with_all = ["pipeline", "window"])]
    single: bool,
    /// Threads that share the devices
    #[arg(long, default_value_t = 1, value_name = "N")]
    threads: u32,
    /// Tenant in the topic
    #[arg(long, default_value = "loadgen")]
    tenant: String,
    /// Topic, with {tenant} and {driver}
    #[arg(long, default_value = "tenant/{tenant}/driver/{driver}/location", value_name = "TEMPLATE")]
    topic: String,
    /// Put before every driver id, so that runs do not share drivers [default: d, or nothing with --trace]
    #[arg(long, value_name = "TEXT")]
    driver_prefix: Option<String>,
    /// Seed of routes and faults: the same seed makes the same run
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// CSV of recorded fixes (plain or .gz): one vehicle per device, positions of the file at the time of now
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Publishes that repeat the fix before, percent
    #[arg(long, default_value_t = 0.0, value_name = "PCT")]
    duplicates: f64,
    /// Publishes that are overtaken by the next one, percent
    #[arg(long, default_value_t = 0.0, value_name = "PCT")]
    reorder: f64,
    /// Publishes whose payload is no fix, percent
    #[arg(long, default_value_t = 0.0, value_name = "PCT")]
    garbage: f64,
    /// Every publish carries this instead of a fix
    #[arg(long, conflicts_with = "acked_log", value_name = "TEXT")]
    payload: Option<String>,
    /// Writes a line `driver fix-time-in-ms` for every acknowledged fix
    #[arg(long, value_name = "FILE")]
    acked_log: Option<PathBuf>,
    /// Devices come back after a lost connection and send what was not acknowledged again; a broker that is
    /// not there, or lets nobody in, is asked again for half a minute before the run and a minute during it
    #[arg(long)]
    reconnect: bool,
    /// Every connection is dropped without a DISCONNECT after so many publishes, and its device comes back at once
    /// (goes with --reconnect; past 400 drops a second one address runs out of ports: see --source-spread)
    #[arg(long, requires = "reconnect", value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    drop_every: Option<u32>,
    /// So many more connections subscribe to everything published and count it
    #[arg(long, default_value_t = 0, value_name = "N")]
    subscribers: u32,
    /// Keeps the connections open and silent for so long after the run, while the memory of --pid is measured
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    hold: Option<Duration>,
    /// Connections come from so many addresses 127.0.0.1, 127.0.0.2, … (past 28,000 connections one has no port left)
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=250), value_name = "N")]
    source_spread: u8,
    /// Measures CPU time and memory of this process: the broker's
    #[arg(long)]
    pid: Option<u32>,
    /// Allows a target that is not on this machine
    #[arg(long)]
    allow_remote: bool,
    /// Prints one JSON object instead of the table
    #[arg(long)]
    pub json: bool,
    /// Shows a line a second even if standard error is no terminal
    #[arg(long)]
    pub progress: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeName {
    Raw,
    Faithful,
}

impl Cli {
    /// The checked plan; an error names the option that makes no sense.
    pub fn plan(&self) -> anyhow::Result<Plan> {
        let (address, credentials) = parse_target(&self.target, self.allow_remote)?;
        let load = parse_rate(&self.rate)?;
        let mode = match self.mode {
            ModeName::Raw => Mode::Raw,
            ModeName::Faithful => Mode::Faithful,
        };
        let qos = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce][usize::from(self.qos)];
        let pipeline = if self.single { 1 } else { self.pipeline.unwrap_or(PIPELINE_DEFAULT) };
        ensure!((1..=PIPELINE_MAX).contains(&pipeline), "--pipeline: 1 to {PIPELINE_MAX}");
        let window = self.window.unwrap_or(u16::try_from(pipeline)?);
        ensure!(window >= 1, "--window: at least 1");
        ensure!((1..=DEVICES_MAX).contains(&self.devices), "--devices: 1 to {DEVICES_MAX}");
        let in_flight = u64::from(self.devices) * u64::from(window);
        ensure!(in_flight <= IN_FLIGHT_MAX, "--window times --devices: at most {IN_FLIGHT_MAX}");
        ensure!(self.subscribers <= DEVICES_MAX, "--subscribers: at most {DEVICES_MAX}");
        let hold_max = Duration::from_secs(u64::from(KEEP_ALIVE_S));
        ensure!(self.hold.is_none_or(|hold| hold <= hold_max), "--hold: at most {} s", KEEP_ALIVE_S);
        ensure!((1..=THREADS_MAX).contains(&self.threads), "--threads: 1 to {THREADS_MAX}");
        let publishes_max = self.publishes.unwrap_or(1);
        ensure!((1..=PUBLISHES_MAX).contains(&publishes_max), "--publishes: 1 to {PUBLISHES_MAX}");
        let duration = self.duration.or_else(|| self.publishes.is_none().then_some(DURATION_DEFAULT));
        ensure!(duration.is_none_or(|length| length <= DURATION_MAX), "--duration: at most {} days", 7);
        for (name, percent) in [("duplicates", self.duplicates), ("reorder", self.reorder), ("garbage", self.garbage)] {
            ensure!((0.0..=100.0).contains(&percent), "--{name}: 0 to 100");
        }
        let faulty = self.duplicates + self.reorder + self.garbage;
        ensure!(faulty <= 100.0, "--duplicates, --reorder and --garbage: together at most 100");
        ensure!(self.topic.contains("{driver}"), "--topic: needs {{driver}}");
        ensure!(self.topic.len() + self.tenant.len() <= 1_000, "--topic: at most 1,000 bytes");
        ensure!(!self.topic.contains(['+', '#']), "--topic: publishing takes no wildcard");
        ensure!(mode == Mode::Raw || self.source_spread == 1, "--source-spread: only in raw mode");
        ensure!(mode == Mode::Raw || self.drop_every.is_none(), "--drop-every: only in raw mode");
        let drivers = if self.trace.is_some() { "" } else { "d" };
        Ok(Plan {
            address,
            credentials,
            mode,
            version: if self.mqtt_version == "5" { Version::V5 } else { Version::V3 },
            qos,
            devices: self.devices,
            threads: self.threads.min(self.devices),
            load,
            publishes: self.publishes,
            duration,
            pipeline: pipeline.min(usize::from(window)),
            window,
            topic: self.topic.clone(),
            tenant: self.tenant.clone(),
            driver_prefix: self.driver_prefix.clone().unwrap_or_else(|| drivers.to_owned()),
            seed: self.seed,
            trace: self.trace.clone(),
            faults: Shares { duplicates: self.duplicates, reorder: self.reorder, garbage: self.garbage },
            payload: self.payload.as_deref().map(|text| text.as_bytes().into()),
            acked_log: self.acked_log.clone(),
            reconnect: self.reconnect,
            drop_every: self.drop_every,
            subscribers: self.subscribers,
            hold: self.hold.unwrap_or_default(),
            source_addresses: self.source_spread,
            pid: self.pid,
        })
    }
}

fn parse_rate(text: &str) -> anyhow::Result<Load> {
    if text == "max" {
        return Ok(Load::Closed);
    }
    let per_second: f64 = text.replace('_', "").parse().context("--rate: a number of publishes a second, or max")?;
    ensure!(per_second > 0.0 && per_second <= RATE_MAX, "--rate: above 0 and at most {RATE_MAX}");
    Ok(Load::Open { per_second })
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let seconds = match &text[digits.len()..] {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        unit => return Err(format!("unknown unit {unit}: ms, s, m or h")),
    };
    let count: f64 = digits.parse().map_err(|_| "a number and its unit, as in 30s".to_owned())?;
    Duration::try_from_secs_f64(count * seconds)
        .ok()
        .filter(|length| !length.is_zero())
        .ok_or_else(|| "above 0".to_owned())
}

fn parse_target(url: &str, allow_remote: bool) -> anyhow::Result<(std::net::SocketAddr, Option<Credentials>)> {
    let rest = url.strip_prefix("mqtt://").or_else(|| url.strip_prefix("tcp://"));
    let rest = rest.context("--target: must begin with mqtt://")?.trim_end_matches('/');
    let (user_info, host) = match rest.rsplit_once('@') {
        Some((user_info, host)) => (Some(user_info), host),
        None => (None, rest),
    };
    let credentials = user_info.map(|user_info| {
        let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
        Credentials { user: percent_decoded(user), password: percent_decoded(password) }
    });
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let with_port = if has_port { host.to_owned() } else { format!("{host}:1883") };
    let mut addresses = with_port.to_socket_addrs().with_context(|| format!("--target: cannot resolve {host}"))?;
    let Some(address) = addresses.next() else { bail!("--target: {host} has no address") };
    ensure!(
        allow_remote || address.ip().is_loopback(),
        "--target: {} is not on this machine; load for others needs --allow-remote",
        address.ip()
    );
    Ok((address, credentials))
}

/// `%40` and its like back as characters; what is no such code stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        let byte = code.filter(|_| *first == b'%').and_then(|code| u8::from_str_radix(code, 16).ok());
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(arguments: &[&str]) -> anyhow::Result<Plan> {
        Cli::try_parse_from(std::iter::once(&"loadgen").chain(arguments))?.plan()
    }

    fn refusal(arguments: &[&str]) -> String {
        plan(arguments).unwrap_err().to_string()
    }

    #[test]
    fn the_documented_command_is_an_open_loop() {
        let line = "--target mqtt://127.0.0.1:1883 --devices 1000 --rate 50000 --qos 1 --duration 30s";
        let plan = plan(&line.split(' ').collect::<Vec<_>>()).unwrap();
        assert_eq!(plan.load, Load::Open { per_second: 50_000.0 });
        assert_eq!((plan.devices, plan.qos, plan.duration), (1_000, Qos::AtLeastOnce, Some(Duration::from_secs(30))));
        assert_eq!((plan.pipeline, plan.window), (20, 20));
    }

    #[test]
    fn single_is_a_window_of_one_and_publishes_need_no_duration() {
        let plan = plan(&["--single", "--publishes", "10"]).unwrap();
        assert_eq!((plan.pipeline, plan.window, plan.duration), (1, 1, None));
    }

    #[test]
    fn credentials_come_from_the_url() {
        let plan = plan(&["--target", "mqtt://me:p%40ss:word@localhost:1884"]).unwrap();
        let credentials = plan.credentials.unwrap();
        assert_eq!((credentials.user.as_str(), credentials.password.as_str()), ("me", "p@ss:word"));
        assert_eq!(plan.address.port(), 1884);
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        assert!(refusal(&["--target", "mqtt://192.0.2.1"]).contains("--allow-remote"));
        assert!(plan(&["--target", "mqtt://192.0.2.1", "--allow-remote"]).is_ok());
        assert!(refusal(&["--target", "http://127.0.0.1"]).contains("--target"));
        assert!(refusal(&["--rate", "0"]).contains("--rate"));
        assert!(refusal(&["--rate", "fast"]).contains("--rate"));
        assert!(refusal(&["--duration", "3d"]).contains("unknown unit"));
        assert!(refusal(&["--duration", "0s"]).contains("above 0"));
        assert!(refusal(&["--duplicates", "101"]).contains("--duplicates"));
        assert!(refusal(&["--duplicates", "60", "--garbage", "60"]).contains("together"));
        assert!(refusal(&["--devices", "0"]).contains("--devices"));
        assert!(refusal(&["--topic", "x"]).contains("{driver}"));
        assert!(refusal(&["--qos", "3"]).contains("3"));
        assert!(refusal(&["--single", "--pipeline", "3"]).contains("--single"));
        assert!(refusal(&["--drop-every", "3"]).contains("--reconnect"));
        assert!(refusal(&["--drop-every", "3", "--reconnect", "--mode", "faithful"]).contains("--drop-every"));
    }

    #[test]
    fn durations_read_as_typed() {
        let read = |text| parse_duration(text).map(|length| length.as_millis());
        assert_eq!(
            [read("500ms"), read("30s"), read("1.5m"), read("1h")],
            [Ok(500), Ok(30_000), Ok(90_000), Ok(3_600_000)]
        );
    }
}
