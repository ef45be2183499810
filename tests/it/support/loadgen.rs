//! The load generator's own binary: a tenant's fleet that comes back after every crash, and the list of what it was promised.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::process::Process;

/// What a fleet does.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// Whose it is.
    pub(crate) tenant: &'static str,
    /// How many drivers, one connection each.
    pub(crate) devices: u32,
    /// Publishes a second of all of them.
    pub(crate) rate: u32,
    /// Routes and faults.
    pub(crate) seed: u64,
    /// How long.
    pub(crate) duration: Duration,
    /// How else, as on the command line.
    pub(crate) manner: &'static [&'static str],
}

/// A running load generator.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) tenant: &'static str,
    process: Process,
    acked_log: PathBuf,
    /// How far the log was read, to the end of a line.
    read_bytes: u64,
}

/// Times of acknowledged fixes in ms by driver, as they came: a fix that was sent twice may be there twice.
pub(crate) type Acked = BTreeMap<String, Vec<i64>>;

impl Fleet {
    /// Sends a fleet to a server, with its files in `dir`. What goes wrong on purpose: a tenth is sent twice, a tenth
    /// out of order, a twentieth is no fix.
    pub(crate) fn start(order: &Order, server: SocketAddr, dir: &Path) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_rhumb")).with_file_name("loadgen");
        assert!(program.exists(), "{} is missing: test with --workspace", program.display());
        let acked_log = dir.join(format!("{}.acked", order.tenant));
        // One of an earlier fleet would be read until this one empties it.
        drop(fs::remove_file(&acked_log));
        let log = dir.join(format!("{}.log", order.tenant));
        drop(fs::remove_file(&log));
        let mut command = Command::new(program);
        command.args(["--json", "--reconnect", "--duplicates", "10", "--reorder", "10", "--garbage", "5"]);
        command.args(["--target", &format!("mqtt://{server}"), "--tenant", order.tenant]);
        // A driver's name is its client id too, and of two clients with one id each would throw the other out.
        command.args(["--driver-prefix", &format!("{}-", order.tenant)]);
        command.args(["--devices", &order.devices.to_string(), "--rate", &order.rate.to_string()]);
        command.args(["--seed", &order.seed.to_string(), "--duration", &format!("{}ms", order.duration.as_millis())]);
        command.arg("--acked-log").arg(&acked_log).args(order.manner);
        Self { tenant: order.tenant, process: Process::start(&mut command, &log), acked_log, read_bytes: 0 }
    }

    /// Adds what was acknowledged since this was last asked; whether there was any.
    pub(crate) fn take_acked(&mut self, acked: &mut Acked) -> bool {
        let Ok(mut file) = File::open(&self.acked_log) else { return false };
        file.seek(SeekFrom::Start(self.read_bytes)).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        // The last line may be on its way.
        text.truncate(text.rfind('\n').map_or(0, |newline| newline + 1));
        self.read_bytes += text.len() as u64;
        for line in text.lines() {
            let (driver, time_ms) = line.split_once(' ').unwrap();
            match acked.get_mut(driver) {
                Some(times) => times.push(time_ms.parse().unwrap()),
                None => drop(acked.insert(driver.to_owned(), vec![time_ms.parse().unwrap()])),
            }
        }
        !text.is_empty()
    }

    /// Whether it has come to its end.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.ended().is_some()
    }

    /// Waits for its end, adds the last of what was acknowledged, and returns its report: everything was.
    pub(crate) fn finish(mut self, acked: &mut Acked) -> Value {
        self.process.wait();
        let said = self.process.log();
        let report: Value =
            serde_json::from_str(&said).unwrap_or_else(|error| panic!("{}: {error}\n{said}", self.tenant));
        self.take_acked(acked);
        assert_eq!((&report["unacked"], &report["refused"]), (&0.into(), &0.into()), "{}: {said}", self.tenant);
        assert_eq!(report["connected"], report["devices"], "{}: {said}", self.tenant);
        report
    }
}
