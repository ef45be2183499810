//! The binary under test, on ports of its own choosing and a data directory that outlives it.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

use rhumb::wire::time::parse_rfc3339;
use rustix::process::Signal;
use serde_json::Value;

use super::http::{self, Response};
use super::process::{Process, output_within};
use super::{PATIENCE, wait_for};

/// Variables beside those of the tests.
type Environment = Vec<(String, PathBuf)>;

/// An engine in a temporary folder.
#[derive(Debug)]
pub(crate) struct Rhumb {
    sets: Vec<String>,
    environment: Environment,
    process: Process,
    addresses: Addresses,
    // Last, so that the folder goes after the process.
    dir: tempfile::TempDir,
}

/// What the engine bound.
#[derive(Clone, Copy, Debug)]
struct Addresses {
    mqtt: SocketAddr,
    mqtt_tls: Option<SocketAddr>,
    mqtt_websocket: Option<SocketAddr>,
    mqtt_websocket_tls: Option<SocketAddr>,
    http: SocketAddr,
    admin: SocketAddr,
}

/// The binary with none of the caller's configuration.
pub(crate) fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rhumb"));
    command.current_dir(dir);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RHUMB_") && name != "RHUMB_LOG" {
            command.env_remove(name);
        }
    }
    command
}

impl Rhumb {
    /// Starts an engine with these `section.key=value` and waits until it is ready.
    pub(crate) fn start(sets: &[&str]) -> Self {
        Self::start_with(sets, &[])
    }

    /// As [`Rhumb::start`], with these variables in its environment.
    pub(crate) fn start_with(sets: &[&str], environment: &[(&str, &Path)]) -> Self {
        let environment = environment.iter().map(|(name, path)| (name.to_string(), path.to_path_buf())).collect();
        Self::start_in(tempfile::tempdir().unwrap(), sets, environment)
    }

    /// Starts an engine on a copy of a data directory, without what of it is left out.
    pub(crate) fn start_on_copy(data_dir: &Path, left_out: &[&str], sets: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        copy_dir(data_dir, &self::data_dir(dir.path()), left_out);
        Self::start_in(dir, sets, Environment::new())
    }

    /// Starts an engine whose data directory was made by `prepare`.
    pub(crate) fn start_prepared(prepare: impl FnOnce(&Path), sets: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        prepare(&data_dir(dir.path()));
        Self::start_in(dir, sets, Environment::new())
    }

    fn start_in(dir: tempfile::TempDir, sets: &[&str], environment: Environment) -> Self {
        let sets: Vec<String> = sets.iter().map(|text| text.to_string()).collect();
        let (process, addresses) = launch(dir.path(), &sets, &environment);
        let mut rhumb = Self { sets, environment, process, addresses, dir };
        rhumb.wait_until_ready();
        rhumb
    }

    /// Restores a backup into a new temporary folder and starts an engine there.
    pub(crate) fn restored(backup: &Path, sets: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = format!("data_dir={}", data_dir(dir.path()).display());
        let backup = backup.to_str().unwrap();
        let output = output_within(command(dir.path()).args(["--set", &data_dir, "restore", backup]), PATIENCE);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self::start_in(dir, sets, Environment::new())
    }

    /// Starts it again on the same data directory. It has to be stopped or killed before.
    pub(crate) fn restart(&mut self) {
        self.restart_unready();
        self.wait_until_ready();
    }

    /// As [`Rhumb::restart`], but only until it listens.
    pub(crate) fn restart_unready(&mut self) {
        (self.process, self.addresses) = launch(self.dir.path(), &self.sets, &self.environment);
    }

    /// Starts it again on the same ports, which its settings name, and does not wait. It has to be stopped or killed before.
    pub(crate) fn respawn(&mut self) {
        self.process = spawn(self.dir.path(), &self.sets, &self.environment);
    }

    /// Gives a key another value from the next start on.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.sets.retain(|set| set.split('=').next() != Some(key));
        self.sets.push(format!("{key}={value}"));
    }

    /// Leaves the folder behind, for whoever looks into a failure.
    pub(crate) fn keep_dir(&mut self) -> &Path {
        self.dir.disable_cleanup(true);
        self.dir.path()
    }

    /// Whether it has ended, and how.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.ended()
    }

    /// Waits for `/readyz`.
    pub(crate) fn wait_until_ready(&mut self) {
        wait_for("/readyz", || {
            self.process.assert_running("rhumb");
            let response = http::try_request(self.admin(), "GET", "/readyz", &[], b"").ok()?;
            (response.status == 200).then_some(())
        });
    }

    /// How it ended by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.process.wait()
    }

    /// `kill -9`.
    pub(crate) fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Sends a signal and tells how it ended and after how long.
    pub(crate) fn stop(&mut self, signal: Signal) -> (ExitStatus, Duration) {
        self.process.stop(signal)
    }

    /// SIGTERM, and how it ended and after how long.
    pub(crate) fn terminate(&mut self) -> (ExitStatus, Duration) {
        self.stop(Signal::TERM)
    }

    /// Where MQTT clients connect.
    pub(crate) fn mqtt(&self) -> SocketAddr {
        self.addresses.mqtt
    }

    /// Where MQTT clients connect over TLS, which has to be on.
    pub(crate) fn mqtt_tls(&self) -> SocketAddr {
        self.addresses.mqtt_tls.unwrap()
    }

    /// Where MQTT clients connect over WebSocket, which has to be on.
    pub(crate) fn mqtt_websocket(&self) -> SocketAddr {
        self.addresses.mqtt_websocket.unwrap()
    }

    /// Where MQTT clients connect over WebSocket over TLS, which has to be on.
    pub(crate) fn mqtt_websocket_tls(&self) -> SocketAddr {
        self.addresses.mqtt_websocket_tls.unwrap()
    }

    /// Where the public API is.
    pub(crate) fn http(&self) -> SocketAddr {
        self.addresses.http
    }

    /// Where the operator's port is.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.addresses.admin
    }

    /// The data directory.
    pub(crate) fn data_dir(&self) -> PathBuf {
        data_dir(self.dir.path())
    }

    /// Takes its snapshots away, so that the next start reads the journal from its first frame on.
    pub(crate) fn remove_snapshots(&self) {
        for path in std::fs::read_dir(self.data_dir().join("journal")).unwrap().map(|entry| entry.unwrap().path()) {
            if path.extension().is_some_and(|extension| extension == "snapshot") {
                std::fs::remove_file(path).unwrap();
            }
        }
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// What it logged since this was last asked.
    pub(crate) fn take_log(&mut self) -> String {
        self.process.take_log()
    }

    /// Runs another command of the binary on this data directory.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        let data_dir = format!("data_dir={}", self.data_dir().display());
        output_within(command(self.dir.path()).args(args).args(["--set", &data_dir]), PATIENCE)
    }

    /// GET of the public API for a tenant.
    pub(crate) fn get(&self, tenant: &str, path: &str) -> Response {
        http::request(self.http(), "GET", path, &[("X-Tenant", tenant)], b"")
    }

    /// POST of JSON to the public API for a tenant.
    pub(crate) fn post(&self, tenant: &str, path: &str, body: &str) -> Response {
        let headers = [("X-Tenant", tenant), ("Content-Type", "application/json")];
        http::request(self.http(), "POST", path, &headers, body.as_bytes())
    }

    /// Every fix of a driver, page by page.
    pub(crate) fn track(&self, tenant: &str, driver: &str) -> Vec<Value> {
        let mut fixes = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.get(tenant, &format!("/v1/drivers/{driver}/track?from=0&limit=1000{cursor}"));
            // A driver that nothing was stored of is not known.
            if page.status == 404 {
                return fixes;
            }
            let page = page.json(200);
            fixes.extend(page["fixes"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return fixes,
            }
        }
    }

    /// A driver's fixes from a time on, all that is known of each, a line of CSV for each.
    pub(crate) fn track_lines(&self, tenant: &str, driver: &str, from_ms: i64) -> Vec<String> {
        let mut lines = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/drivers/{driver}/track?format=csv&from={from_ms}{cursor}");
            let page = self.get(tenant, &path);
            // A driver that nothing was stored of is not known.
            if page.status == 404 {
                return lines;
            }
            assert_eq!(page.status, 200, "{path}: {}", page.text());
            lines.extend(page.text().lines().skip(1).map(str::to_owned));
            match page.header("rhumb-next-cursor") {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return lines,
            }
        }
    }

    /// The times of a driver's fixes from a time on in ms, after holding that they rise: nothing is there twice.
    pub(crate) fn track_times_ms(&self, tenant: &str, driver: &str, from_ms: i64) -> Vec<i64> {
        let lines = self.track_lines(tenant, driver, from_ms);
        let times: Vec<i64> = lines.iter().map(|line| rfc3339_ms(line.split(',').nth(1).unwrap())).collect();
        let rise = times.is_sorted_by(|earlier, later| earlier < later);
        assert!(rise, "{tenant}/{driver}: a fix is there twice, or out of order\n{}", self.log());
        times
    }

    /// Waits until the embedded store has all that is durable.
    pub(crate) fn await_store(&self) {
        wait_for("the store to have everything", || {
            (self.metrics()[r#"rhumb_sink_lag_frames{sink="embedded"}"#] == 0.0).then_some(())
        });
    }

    /// The samples of `/metrics` whose name begins with `rhumb_`, by name and labels.
    pub(crate) fn metrics(&self) -> BTreeMap<String, f64> {
        let response = http::request(self.admin(), "GET", "/metrics", &[], b"");
        assert_eq!(response.status, 200);
        let text = response.text();
        let samples = text.lines().filter(|line| line.starts_with("rhumb_")).map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        });
        samples.collect()
    }

    /// A tenant's books, after holding that they balance, and those of its codecs.
    pub(crate) fn books(&self, tenant: &str) -> Books {
        self.books_by_codec(tenant).0
    }

    /// A tenant's books and those of its codecs, after holding that all balance and the codecs come to the tenant.
    pub(crate) fn books_by_codec(&self, tenant: &str) -> (Books, BTreeMap<String, Books>) {
        let metrics = self.metrics();
        let tenant = format!("tenant=\"{tenant}\"");
        let all = Books::read(&metrics, "rhumb_fixes", &[&tenant]);
        let codecs = metrics.keys().filter(|sample| sample.starts_with("rhumb_codec_fixes_received_total{"));
        let codecs = codecs.filter(|sample| sample.contains(&tenant)).map(|sample| {
            let codec = sample.split_once("codec=\"").unwrap().1.split_once('"').unwrap().0;
            let label = format!("codec=\"{codec}\"");
            (codec.to_owned(), Books::read(&metrics, "rhumb_codec_fixes", &[&tenant, &label]))
        });
        let codecs: BTreeMap<String, Books> = codecs.collect();
        let mut sum = Books::default();
        for books in codecs.values() {
            sum.received += books.received;
            sum.stored += books.stored;
            sum.duplicate += books.duplicate;
            sum.rejected += books.rejected;
            sum.in_flight += books.in_flight;
        }
        assert_eq!(sum, all, "the codecs do not come to their tenant: {codecs:?}");
        (all, codecs)
    }
}

impl Books {
    /// The samples with these labels of the families that begin so, after holding that they balance.
    fn read(metrics: &BTreeMap<String, f64>, families: &str, labels: &[&str]) -> Self {
        let sum = |family: &str| {
            let name = format!("{families}_{family}");
            let of_family = metrics.iter().filter(|(sample, _)| sample.split('{').next() == Some(&name));
            let labelled = of_family.filter(|(sample, _)| labels.iter().all(|label| sample.contains(label)));
            labelled.map(|(_, value)| *value as u64).sum()
        };
        let books = Self {
            received: sum("received_total"),
            stored: sum("stored_total"),
            duplicate: sum("duplicate_total"),
            rejected: sum("rejected_total"),
            in_flight: sum("in_flight"),
        };
        assert_eq!(
            books.received,
            books.stored + books.duplicate + books.rejected + books.in_flight,
            "the books do not balance: {books:?} of {labels:?}"
        );
        books
    }
}

/// What became of fixes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Books {
    pub(crate) received: u64,
    pub(crate) stored: u64,
    pub(crate) duplicate: u64,
    pub(crate) rejected: u64,
    pub(crate) in_flight: u64,
}

/// Copies a directory and everything in it but what is left out by name.
pub(crate) fn copy_dir(from: &Path, to: &Path, left_out: &[&str]) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if left_out.iter().any(|name| entry.file_name() == **name) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&path, &target, &[]);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn data_dir(dir: &Path) -> PathBuf {
    dir.join("data")
}

/// A time of an answer in ms since the epoch.
pub(crate) fn rfc3339_ms(text: &str) -> i64 {
    parse_rfc3339(text.as_bytes()).unwrap_or_else(|| panic!("{text} is no time")).0
}

/// Starts the binary, on ports of its own choosing unless the settings name them.
fn spawn(dir: &Path, sets: &[String], environment: &[(String, PathBuf)]) -> Process {
    // What a killed engine left behind would send us to its ports.
    drop(fs::remove_file(addresses_file(dir)));
    let mut command = command(dir);
    command.envs(environment.iter().map(|(name, path)| (name, path)));
    for listener in ["mqtt", "http", "admin"] {
        command.args(["--set", &format!("{listener}.listen=127.0.0.1:0")]);
    }
    for set in sets {
        command.args(["--set", set]);
    }
    Process::start(&mut command, &dir.join("log"))
}

fn addresses_file(dir: &Path) -> PathBuf {
    data_dir(dir).join("addresses.json")
}

/// Starts the binary and waits until it tells where it listens.
fn launch(dir: &Path, sets: &[String], environment: &[(String, PathBuf)]) -> (Process, Addresses) {
    let mut process = spawn(dir, sets, environment);
    let addresses = wait_for("addresses.json", || {
        process.assert_running("rhumb");
        let told: Value = serde_json::from_slice(&fs::read(addresses_file(dir)).ok()?).unwrap();
        let if_on = |name: &str| Some(told.get(name)?.as_str().unwrap().parse().unwrap());
        let address = |name: &str| if_on(name).unwrap();
        Some(Addresses {
            mqtt: address("mqtt"),
            mqtt_tls: if_on("mqtt_tls"),
            mqtt_websocket: if_on("mqtt_websocket"),
            mqtt_websocket_tls: if_on("mqtt_websocket_tls"),
            http: address("http"),
            admin: address("admin"),
        })
    });
    (process, addresses)
}
