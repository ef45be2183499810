//! Real servers in temporary folders: mosquitto, Redis, PostgreSQL.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use super::process::{Process, free_address, wait_for_port};

/// A program that may be where only root's PATH looks.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into(), "/sbin".into()]);
    let found = places.map(|place| place.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is not installed: .ci/test installs what the tests need"))
}

/// The MQTT broker that others are compared with.
#[derive(Debug)]
pub(crate) struct Mosquitto {
    pub(crate) address: SocketAddr,
    _process: Process,
    _dir: tempfile::TempDir,
}

impl Mosquitto {
    /// Starts a broker that lets everybody in.
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = free_address();
        let config = dir.path().join("mosquitto.conf");
        let text = format!("listener {} {}\nallow_anonymous true\npersistence false\n", address.port(), address.ip());
        fs::write(&config, text).unwrap();
        let mut command = Command::new(program("mosquitto"));
        let mut process = Process::start(command.arg("-c").arg(&config), &dir.path().join("log"));
        wait_for_port(&mut process, address, "mosquitto");
        Self { address, _process: process, _dir: dir }
    }
}

/// A Redis that keeps nothing on disk.
#[derive(Debug)]
pub(crate) struct Redis {
    pub(crate) address: SocketAddr,
    _process: Process,
    _dir: tempfile::TempDir,
}

impl Redis {
    /// Starts a server.
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = free_address();
        let mut command = Command::new(program("redis-server"));
        command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(dir.path());
        let mut process = Process::start(&mut command, &dir.path().join("log"));
        wait_for_port(&mut process, address, "redis-server");
        Self { address, _process: process, _dir: dir }
    }
}

/// A PostgreSQL cluster made for one test. User and database are `postgres`, without a password.
#[derive(Debug)]
pub(crate) struct Postgres {
    pub(crate) address: SocketAddr,
    process: Process,
    _dir: tempfile::TempDir,
}

impl Postgres {
    /// Makes a cluster and starts it; as root under the user that Debian's package made, since it refuses root.
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cluster = dir.path().join("cluster");
        fs::create_dir(&cluster).unwrap();
        if rustix::process::geteuid().is_root() {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
            assert!(Command::new("chown").arg("postgres:").arg(&cluster).status().unwrap().success());
        }
        let bin = newest_bin();
        let mut initdb = unprivileged(&bin.join("initdb"));
        initdb.args(["--auth=trust", "--username=postgres", "--no-sync", "--encoding=UTF8", "--locale=C", "-D"]);
        let made = initdb.arg(&cluster).current_dir("/").output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));

        let address = free_address();
        let mut server = unprivileged(&bin.join("postgres"));
        server.current_dir("/").arg("-D").arg(&cluster).arg("-k").arg(&cluster);
        server.args(["-h", "127.0.0.1", "-p", &address.port().to_string(), "-c", "fsync=off"]);
        let mut process = Process::start(&mut server, &dir.path().join("log"));
        wait_for_port(&mut process, address, "postgres");
        Self { address, process, _dir: dir }
    }

    /// Runs SQL and returns what psql prints, one row a line.
    pub(crate) fn query(&self, sql: &str) -> String {
        let port = self.address.port().to_string();
        let mut psql = Command::new(newest_bin().join("psql"));
        psql.args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-AtX", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        let said = super::wait_for("postgres to let us in", || {
            let said = psql.output().unwrap();
            let is_starting = String::from_utf8_lossy(&said.stderr).contains("the database system is starting up");
            (!is_starting).then_some(said)
        });
        assert!(said.status.success(), "{sql}: {}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).unwrap().trim_end().to_owned()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Killed outright, its children would live on and hold its shared memory.
        self.process.stop(Signal::INT);
    }
}

/// The programs of the newest PostgreSQL that Debian's packages put here.
fn newest_bin() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").map(|entries| entries.filter_map(Result::ok).collect());
    let mut versions: Vec<fs::DirEntry> = versions.unwrap_or_default();
    versions.sort_by_key(|entry| entry.file_name().to_string_lossy().parse::<u32>().unwrap_or(0));
    let newest = versions.last().expect("postgresql is not installed: .ci/test installs what the tests need");
    newest.path().join("bin")
}

/// A program that is started without root's rights, with the process id that it is started under.
fn unprivileged(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program);
    command
}
