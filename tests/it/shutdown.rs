//! SIGTERM and Ctrl-C drain: exit 0 within 5 s, and the next start has everything.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::mqtt::Version;
use crate::support::process::output_within;
use crate::support::publisher::Publisher;
use crate::support::rhumb::{self, Rhumb};
use crate::support::{PATIENCE, wait_for};

/// What a shutdown may take.
const SHUTDOWN: Duration = Duration::from_secs(5);

#[test]
fn a_signal_under_load_drains_and_the_next_start_has_everything() {
    let mut rhumb = Rhumb::start(&[]);
    let mut publishers = [Publisher::new("acme", "a", Version::V4), Publisher::new("acme", "b", Version::V5)];
    for signal in [Signal::TERM, Signal::INT] {
        let address = rhumb.mqtt();
        thread::scope(|scope| {
            for publisher in &mut publishers {
                scope.spawn(move || publisher.run(address));
            }
            thread::sleep(Duration::from_millis(300));
            let (status, took) = rhumb.stop(signal);
            assert_eq!(status.code(), Some(0), "{signal:?}: {}", rhumb.log());
            assert!(took < SHUTDOWN, "{signal:?}: {took:?}");
        });
        rhumb.restart();
        let mut stored = 0;
        for publisher in &publishers {
            let track = rhumb.track("acme", &publisher.driver);
            assert!(track.len() >= publisher.acked_ms.len(), "{}: {signal:?} lost fixes", publisher.driver);
            assert!(!publisher.acked_ms.is_empty(), "{}: no load", publisher.driver);
            stored += track.len() as u64;
        }
        assert_eq!(rhumb.books("acme").stored, stored);
    }
}

#[test]
fn a_second_ctrl_c_leaves_at_once() {
    let mut rhumb = Rhumb::start(&[]);
    // A request whose body does not come holds the drain up for as long as one may.
    let mut held = TcpStream::connect(rhumb.http()).unwrap();
    let head = "POST /v1/drivers/d1/location HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n";
    held.write_all(head.as_bytes()).unwrap();
    wait_for("the request to be read", || {
        (rhumb.get("default", "/v1/drivers/nearest?lat=1&lon=1").status == 200).then_some(())
    });
    rhumb.signal(Signal::INT);
    wait_for("the first Ctrl-C", || rhumb.log().contains("interrupted").then_some(()));
    let (status, took) = rhumb.stop(Signal::INT);
    assert_eq!(status.code(), Some(130), "{}", rhumb.log());
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_data_directory_has_one_owner() {
    let mut rhumb = Rhumb::start(&[]);
    let second = rhumb.run(&[
        "serve",
        "--set",
        "mqtt.listen=127.0.0.1:0",
        "--set",
        "http.listen=127.0.0.1:0",
        "--set",
        "admin.listen=127.0.0.1:0",
    ]);
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(75), "{said}");
    assert!(said.contains("in use"), "{said}");
    assert_eq!(rhumb.terminate().0.code(), Some(0), "{}", rhumb.log());
}

#[test]
fn a_port_that_is_taken_is_told() {
    let rhumb = Rhumb::start(&[]);
    let dir = tempfile::tempdir().unwrap();
    let taken = format!("mqtt.listen={}", rhumb.mqtt());
    let mut command = rhumb::command(dir.path());
    let said = output_within(command.args(["--set", &taken, "--set", "http.listen=127.0.0.1:0"]), PATIENCE);
    let stderr = String::from_utf8_lossy(&said.stderr);
    assert!(!said.status.success() && stderr.contains(&rhumb.mqtt().to_string()), "{stderr}");
    assert!(fs::exists(rhumb.data_dir()).unwrap());
}
