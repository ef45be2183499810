//! Disks that fail under the real binary: nothing is acknowledged on a guess, the exit code says what it was, and the next
//! start has everything that was acknowledged.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use crate::support::http;
use crate::support::mqtt::{self, Client, PUBACK, Version};
use crate::support::process::output_within;
use crate::support::publisher::Publisher;
use crate::support::rhumb::{self, Rhumb};
use crate::support::{PATIENCE, native_fix, topic, wait_for};

/// An engine whose disk fails on command.
struct Faulty {
    rhumb: Rhumb,
    faults: tempfile::TempDir,
}

impl Faulty {
    fn start() -> Self {
        let faults = tempfile::tempdir().unwrap();
        let library = library(faults.path());
        let environment = [("LD_PRELOAD", library.as_path()), ("FAULTS", faults.path())];
        Self { rhumb: Rhumb::start_with(&[], &environment), faults }
    }

    fn set(&self, fault: &str, is_on: bool) {
        let switch = self.faults.path().join(fault);
        if is_on { fs::write(switch, b"") } else { fs::remove_file(switch) }.unwrap();
    }
}

/// Builds what stands between the binary and the C library.
fn library(folder: &Path) -> PathBuf {
    let library = folder.join("faults.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults.c");
    let mut command = Command::new("cc");
    command.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl");
    let said = output_within(&mut command, PATIENCE);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    library
}

/// How often the fix with this number is in a driver's track.
fn times_stored(rhumb: &Rhumb, driver: &str, n: u64) -> usize {
    let latitude = 52.0 + n as f64 * 1e-5;
    let is_it = |fix: &&serde_json::Value| (fix["latitude"].as_f64().unwrap() - latitude).abs() < 1e-6;
    rhumb.track("default", driver).iter().filter(is_it).count()
}

#[test]
fn a_disk_that_fails_ends_the_engine_with_74_and_nothing_is_acknowledged_any_more() {
    let cases = [
        ("fdatasync-eio", "Input/output error"),
        ("pwrite-eio", "Input/output error"),
        ("pwrite-enospc", "No space left on device"),
    ];
    for (fault, expected) in cases {
        let mut faulty = Faulty::start();
        let mut tracker = Client::connect(faulty.rhumb.mqtt(), Version::V5, "tracker");
        for n in 1..=5 {
            tracker.publish_acked(&topic("default", "d1"), &native_fix(n), n as u16);
        }
        faulty.set(fault, true);
        let http = faulty.rhumb.http();
        let posted = thread::spawn(move || {
            let headers = [("Content-Type", "application/json")];
            http::try_request(http, "POST", "/v1/drivers/d2/location", &headers, native_fix(6).as_bytes())
        });
        // The failure is under way, or about to be.
        tracker.send(&mqtt::publish(Version::V5, &topic("default", "d1"), native_fix(6).as_bytes(), 1, 6)).ok();
        while let Some(packet) = tracker.receive() {
            assert_ne!(packet.kind(), PUBACK, "{fault}");
        }
        assert_eq!(faulty.rhumb.wait().code(), Some(74), "{fault}: {}", faulty.rhumb.log());
        // Whoever comes too late finds nobody; whoever was heard is told.
        if let Ok(answer) = posted.join().unwrap() {
            answer.problem(503);
        }
        let log = faulty.rhumb.log();
        assert!(log.contains(expected) && log.contains("00000000000000000001.journal"), "{fault}: {log}");

        faulty.set(fault, false);
        faulty.rhumb.restart();
        for n in 1..=5 {
            assert_eq!(times_stored(&faulty.rhumb, "d1", n), 1, "{fault}: fix {n}");
        }
        // As a tracker does that heard nothing: the same again, and then it is there once.
        let mut tracker = Client::connect(faulty.rhumb.mqtt(), Version::V4, "tracker");
        tracker.publish_acked(&topic("default", "d1"), &native_fix(6), 6);
        assert_eq!(times_stored(&faulty.rhumb, "d1", 6), 1, "{fault}");
        let books = faulty.rhumb.books("default");
        assert_eq!(books.in_flight, 0, "{fault}: {books:?}");
    }
}

#[test]
fn a_request_that_meets_a_failing_disk_is_answered_503() {
    for fault in ["fdatasync-eio", "pwrite-enospc"] {
        let mut faulty = Faulty::start();
        faulty.set(fault, true);
        let answer = faulty.rhumb.post("default", "/v1/drivers/d1/location", &native_fix(1));
        answer.problem(503);
        assert!(answer.header("retry-after").is_some());
        assert_eq!(faulty.rhumb.wait().code(), Some(74), "{fault}: {}", faulty.rhumb.log());
    }
}

#[test]
fn short_writes_are_gone_on_with() {
    let mut faulty = Faulty::start();
    faulty.set("pwrite-short", true);
    let mut publisher = Publisher::new("default", "d1", Version::V4);
    let address = faulty.rhumb.mqtt();
    let publishing = thread::spawn(move || {
        publisher.run(address);
        publisher
    });
    wait_for("some load", || (faulty.rhumb.books("default").stored > 500).then_some(()));
    faulty.rhumb.kill9();
    let publisher = publishing.join().unwrap();
    faulty.rhumb.restart();
    let stored = faulty.rhumb.track("default", "d1").len();
    assert!((publisher.acked_ms.len()..=publisher.fixes_sent() as usize).contains(&stored), "{stored}");
}

/// Runs the server on a data directory, with `read_only` mounted so; `None` where mounting is not permitted.
#[expect(clippy::print_stderr, reason = "whoever reads the test's output has to learn what it did not try")]
fn serve_with_read_only(folder: &Path, data_dir: &Path, read_only: &Path) -> Option<Output> {
    const MOUNT: &str = r#"mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" || exit 125; shift; exec "$@""#;
    let mut probe = Command::new("unshare");
    let mut server = rhumb::command(folder);
    server.args(["--set", &format!("data_dir={}", data_dir.display())]);
    for listener in ["mqtt", "http", "admin"] {
        server.args(["--set", &format!("{listener}.listen=127.0.0.1:0")]);
    }
    probe.args(["--mount", "sh", "-c", MOUNT, "sh"]).arg(read_only).arg(server.get_program()).args(server.get_args());
    let said = output_within(probe.current_dir(folder), PATIENCE);
    // `unshare` itself fails with 1.
    let is_permitted = !matches!(said.status.code(), Some(1 | 125));
    if !is_permitted {
        eprintln!("not tried, for mounting is not permitted: {}", String::from_utf8_lossy(&said.stderr));
    }
    is_permitted.then_some(said)
}

#[test]
fn a_data_directory_that_cannot_be_written_exits_73_and_a_journal_74() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    fs::create_dir_all(data_dir.join("journal")).unwrap();
    for (read_only, code, named) in [(data_dir.clone(), 73, "data_dir"), (data_dir.join("journal"), 74, "journal")] {
        let Some(said) = serve_with_read_only(dir.path(), &data_dir, &read_only) else { return };
        let stderr = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains("Read-only file system") && stderr.contains(named), "{stderr}");
    }
}

#[test]
fn a_data_directory_that_cannot_be_made_exits_73() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), b"").unwrap();
    let mut command = rhumb::command(dir.path());
    command.args(["--set", "data_dir=file/data"]);
    for listener in ["mqtt", "http", "admin"] {
        command.args(["--set", &format!("{listener}.listen=127.0.0.1:0")]);
    }
    let said = output_within(&mut command, PATIENCE);
    let stderr = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(73), "{stderr}");
    assert!(stderr.contains("data_dir") && stderr.contains("file/data"), "{stderr}");
}
