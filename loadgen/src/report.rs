//! What a run found out, as a table for people and as JSON for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::latency::Percentiles;
use crate::plan::{Load, Mode, Plan, Version};
use crate::process::Usage;
use crate::tally::{Counts, Tally};

/// The result of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Broker.
    pub target: String,
    /// `raw` or `faithful`.
    pub mode: &'static str,
    /// 3 or 5.
    pub mqtt_version: u8,
    /// 0, 1 or 2.
    pub qos: u8,
    /// Devices of the run.
    pub devices: u32,
    /// Devices that were let in before it started.
    pub connected: usize,
    /// Threads of the generator.
    pub threads: u32,
    /// Publishes a write, at most.
    pub pipeline: usize,
    /// Unacknowledged publishes a connection, at most.
    pub window: u16,
    /// Publishes a second that were asked for; `null` in a closed loop.
    pub rate_target: Option<f64>,
    /// What happened.
    #[serde(flatten)]
    pub counts: Counts,
    /// From the start to the last acknowledgement.
    pub seconds: f64,
    /// Publishes sent over `seconds`.
    pub rate: f64,
    /// From the intended moment (open loop) or the write (closed loop) to PUBACK or PUBREC, microseconds.
    pub latency_us: Option<Percentiles>,
    /// Closed loop only: with the measurements that stalls prevented, one per mean latency.
    pub latency_corrected_us: Option<Percentiles>,
    /// Why connections failed, and how often.
    pub errors: BTreeMap<String, u64>,
    /// What the subscribers got.
    pub deliveries: Option<Deliveries>,
    /// The process that was asked about; `null` if it ended before the run did.
    pub process: Option<Usage>,
    /// The generator itself.
    pub generator: Option<Usage>,
}

/// What all subscribers got together.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Deliveries {
    /// Messages.
    pub received: u64,
    /// From the start of the run to the last of them.
    pub seconds: f64,
    /// Messages over `seconds`.
    pub rate: f64,
}

impl Deliveries {
    /// So many, the last so long after the start.
    pub fn new(received: u64, lasted: Duration) -> Self {
        let seconds = lasted.as_secs_f64();
        let rate = if received == 0 { 0.0 } else { received as f64 / seconds.max(1e-9) };
        Self { received, seconds: (seconds * 1e6).round() / 1e6, rate: rate.round() }
    }
}

/// What a report is made of besides the plan and the tally.
#[derive(Debug)]
pub struct Measured {
    /// Devices that were let in before the start.
    pub connected: usize,
    /// What the subscribers got.
    pub deliveries: Option<Deliveries>,
    /// The broker's process.
    pub process: Option<Usage>,
    /// The generator's.
    pub generator: Option<Usage>,
}

impl Report {
    /// The report of a run of `plan`.
    pub fn new(plan: &Plan, tally: Tally, measured: Measured) -> Self {
        let seconds = (tally.ended_ns as f64 / 1e9).max(1e-9);
        let latency_us = tally.latency.percentiles();
        let interval_us = latency_us.map_or(0.0, |found| found.mean).ceil() as u64;
        let closed = plan.load == Load::Closed && interval_us > 0;
        let latency_corrected_us = closed.then(|| tally.latency.corrected(interval_us).percentiles()).flatten();
        Self {
            target: plan.address.to_string(),
            mode: match plan.mode {
                Mode::Raw => "raw",
                Mode::Faithful => "faithful",
            },
            mqtt_version: match plan.version {
                Version::V3 => 3,
                Version::V5 => 5,
            },
            qos: plan.qos as u8,
            devices: plan.devices,
            connected: measured.connected,
            threads: plan.threads,
            pipeline: plan.pipeline,
            window: plan.window,
            rate_target: match plan.load {
                Load::Open { per_second } => Some(per_second),
                Load::Closed => None,
            },
            rate: (tally.counts.sent as f64 / seconds * 10.0).round() / 10.0,
            seconds: (seconds * 1e6).round() / 1e6,
            counts: tally.counts,
            latency_us,
            latency_corrected_us,
            errors: tally.errors,
            deliveries: measured.deliveries,
            process: measured.process,
            generator: measured.generator,
        }
    }

    /// Whether every device was in and nothing was lost.
    pub fn complete(&self) -> bool {
        let acknowledgements = match self.qos {
            0 => u64::from(self.devices),
            _ => self.counts.sent,
        };
        let answered = self.counts.acked + self.counts.refused;
        self.connected == self.devices as usize && self.counts.unacked == 0 && answered >= acknowledgements
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.counts;
        let pace = self.rate_target.map_or("max".to_owned(), |rate| format!("{rate}/s"));
        writeln!(out, "target       {} MQTT {} QoS {}, {} mode", self.target, self.mqtt_version, self.qos, self.mode)?;
        writeln!(
            out,
            "load         {} devices, {} connected, rate {pace}, {} a write, window {}, {} thread(s)",
            self.devices, self.connected, self.pipeline, self.window, self.threads
        )?;
        writeln!(
            out,
            "sent         {} in {:.3} s: {:.0}/s, {} bytes",
            counts.sent, self.seconds, self.rate, counts.bytes
        )?;
        writeln!(
            out,
            "acked        {}, refused {}, unacked {}, unsent {}",
            counts.acked, counts.refused, counts.unacked, counts.unsent
        )?;
        writeln!(
            out,
            "faults       {} duplicates, {} overtaken, {} garbage",
            counts.duplicates, counts.overtaken, counts.garbage
        )?;
        writeln!(
            out,
            "connections  {} lost, {} dropped, {} made again, {} packets resent",
            counts.lost, counts.dropped, counts.reconnected, counts.resent
        )?;
        for (reason, times) in &self.errors {
            writeln!(out, "error        {times} × {reason}")?;
        }
        if let Some(Deliveries { received, seconds, rate }) = self.deliveries {
            writeln!(out, "subscribers  {received} received in {seconds:.3} s: {rate:.0}/s")?;
        }
        let mut latency = |title, found: &Option<Percentiles>| match found {
            None => Ok(()),
            Some(found) => writeln!(
                out,
                "{title} p50 {} p90 {} p99 {} p999 {} max {} µs",
                found.p50, found.p90, found.p99, found.p999, found.max
            ),
        };
        latency("latency     ", &self.latency_us)?;
        latency("  corrected ", &self.latency_corrected_us)?;
        for (title, usage) in [("process", &self.process), ("generator", &self.generator)] {
            if let Some(usage) = usage {
                writeln!(
                    out,
                    "{title:12} {:.3} µs CPU a publish, resident {} to {} KiB, peak {} KiB (pid {}, {})",
                    usage.cpu_us_per_publish,
                    usage.resident_min_kib,
                    usage.resident_max_kib,
                    usage.resident_peak_kib,
                    usage.pid,
                    usage.cpu_source
                )?;
            }
        }
        Ok(())
    }
}
