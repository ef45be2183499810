//! The generator against a real broker: mosquitto on a free port.

#![expect(
    clippy::disallowed_methods,
    reason = "a broker that is killed in the middle of a run takes some time until then"
)]

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use loadgen::faults::Shares;
use loadgen::plan::{Load, Mode, Plan, Qos, Version};
use loadgen::report::Report;
use loadgen::run::run;

/// Debian keeps it out of an ordinary user's path.
const PROGRAMS: [&str; 2] = ["mosquitto", "/usr/sbin/mosquitto"];

/// A mosquitto that dies with its test.
struct Broker {
    directory: tempfile::TempDir,
    address: SocketAddr,
    process: Child,
}

impl Broker {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("its address");
        drop(free);
        let config = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_inflight_messages 0\n\
             max_queued_messages 0\nlog_dest none\n",
            address.port()
        );
        fs::write(directory.path().join("mosquitto.conf"), config).expect("its configuration");
        let process = Self::spawn(&directory, address);
        Self { directory, address, process }
    }

    fn spawn(directory: &tempfile::TempDir, address: SocketAddr) -> Child {
        let config = directory.path().join("mosquitto.conf");
        let spawned = PROGRAMS
            .iter()
            .find_map(|program| Command::new(program).arg("-c").arg(&config).stderr(Stdio::null()).spawn().ok());
        let process = spawned.expect("mosquitto is not installed: apt-get install mosquitto");
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "mosquitto does not listen on {address}");
            thread::sleep(Duration::from_millis(20));
        }
        process
    }

    fn kill(&mut self) {
        self.process.kill().expect("it can be killed");
        self.process.wait().expect("it ends");
    }

    fn restart(&mut self) {
        self.process = Self::spawn(&self.directory, self.address);
    }

    /// A short run against it.
    fn plan(&self) -> Plan {
        Plan { address: self.address, devices: 20, publishes: Some(2_000), duration: None, ..Plan::default() }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have been killed already.
        let _killed = self.process.kill();
        let _ended = self.process.wait();
    }
}

fn report(plan: &Plan) -> Report {
    run(plan, false).expect("the run works")
}

fn lines(log: &std::path::Path) -> HashSet<String> {
    fs::read_to_string(log).expect("the log of acknowledged fixes").lines().map(str::to_owned).collect()
}

#[test]
fn every_publish_arrives_in_every_mode_version_and_quality_of_service() {
    let broker = Broker::start();
    for mode in [Mode::Raw, Mode::Faithful] {
        for version in [Version::V3, Version::V5] {
            for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
                let plan = Plan { mode, version, qos, subscribers: 3, ..broker.plan() };
                let report = report(&plan);
                assert!(report.complete(), "{plan:?}\n{report}");
                assert_eq!(report.counts.sent, 2_000, "{report}");
                assert_eq!(report.deliveries.unwrap().received, 3 * 2_000, "{report}");
                let acked = if qos == Qos::AtMostOnce { 20 } else { 2_000 };
                assert_eq!(report.counts.acked, acked, "{report}");
                assert_eq!(report.latency_us.is_some(), qos != Qos::AtMostOnce, "{report}");
            }
        }
    }
}

#[test]
fn connections_that_are_dropped_on_purpose_lose_no_publish() {
    let broker = Broker::start();
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let plan = Plan { qos, reconnect: true, drop_every: Some(25), ..broker.plan() };
        let report = report(&plan);
        assert!(report.complete() && report.counts.sent == 2_000, "{report}");
        assert_eq!((report.counts.acked, report.counts.lost), (2_000, 0), "{report}");
        // Twenty devices with a hundred publishes each, in writes of twenty.
        assert!((20..=80).contains(&report.counts.dropped), "{report}");
        assert!(report.counts.reconnected > 0 && report.counts.reconnected <= report.counts.dropped, "{report}");
    }
}

#[test]
fn an_open_loop_keeps_its_rate_and_measures_the_broker() {
    let mut broker = Broker::start();
    for mode in [Mode::Raw, Mode::Faithful] {
        let pace = Load::Open { per_second: 2_000.0 };
        let pid = Some(broker.process.id());
        let duration = Some(Duration::from_secs(1));
        let plan = Plan { mode, load: pace, duration, publishes: None, threads: 2, pid, ..broker.plan() };
        let report = report(&plan);
        assert!(report.complete() && report.counts.sent + report.counts.unsent == 2_000, "{report}");
        assert!((0.9..3.0).contains(&report.seconds), "{report}");
        let process = report.process.as_ref().expect("it still runs");
        assert!(process.cpu_us > 0 && process.resident_peak_kib > 1_000, "{report}");
    }
    broker.kill();
}

#[test]
fn one_publish_at_a_time_is_acknowledged_before_the_next() {
    let broker = Broker::start();
    let report = report(&Plan { pipeline: 1, window: 1, ..broker.plan() });
    assert!(report.complete(), "{report}");
    assert_eq!(report.latency_us.map(|found| found.count), Some(2_000));
}

#[test]
fn faults_are_counted_and_garbage_is_not_listed_as_acknowledged() {
    let broker = Broker::start();
    let log = broker.directory.path().join("acked");
    let faults = Shares { duplicates: 10.0, reorder: 10.0, garbage: 10.0 };
    let report = report(&Plan { faults, acked_log: Some(log.clone()), ..broker.plan() });
    assert!(report.complete(), "{report}");
    let counts = &report.counts;
    assert!(counts.duplicates > 100 && counts.overtaken > 100 && counts.garbage > 100, "{report}");
    assert_eq!(lines(&log).len() as u64, counts.sent - counts.garbage - counts.duplicates, "{report}");
}

#[test]
fn a_broker_that_dies_is_reported_with_what_it_had_acknowledged() {
    for mode in [Mode::Raw, Mode::Faithful] {
        let mut broker = Broker::start();
        let log = broker.directory.path().join("acked");
        let duration = Some(Duration::from_secs(20));
        let plan = Plan { mode, duration, publishes: None, acked_log: Some(log.clone()), ..broker.plan() };
        let running = thread::spawn(move || report(&plan));
        thread::sleep(Duration::from_millis(700));
        broker.kill();
        let report = running.join().expect("the run ends");
        assert!(!report.complete(), "{report}");
        assert_eq!(report.counts.lost, 20, "{report}");
        assert!(report.counts.unacked > 0 && report.seconds < 5.0, "{report}");
        assert_eq!(lines(&log).len() as u64, report.counts.acked, "{report}");
    }
}

#[test]
fn devices_come_back_and_send_what_was_not_acknowledged_again() {
    for mode in [Mode::Raw, Mode::Faithful] {
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let mut broker = Broker::start();
            let log = broker.directory.path().join("acked");
            let load = Load::Open { per_second: 2_000.0 };
            let (duration, acked_log) = (Some(Duration::from_secs(3)), Some(log.clone()));
            let reconnecting =
                Plan { mode, qos, load, duration, publishes: None, acked_log, reconnect: true, ..broker.plan() };
            let running = thread::spawn(move || report(&reconnecting));
            thread::sleep(Duration::from_millis(1_000));
            broker.kill();
            thread::sleep(Duration::from_millis(300));
            broker.restart();
            let report = running.join().expect("the run ends");
            assert!(report.complete(), "{report}");
            assert_eq!((report.counts.lost, report.counts.reconnected), (20, 20), "{report}");
            assert_eq!(lines(&log).len() as u64, report.counts.sent, "{report}");
        }
    }
}

/// Answers so many CONNECT with "server unavailable", as a broker does that is not ready yet.
fn refuse(address: SocketAddr, refusals: usize) {
    let listener = TcpListener::bind(address).expect("the broker's port is free");
    for _ in 0..refusals {
        let (mut stream, _) = listener.accept().expect("a device");
        let mut connect = [0; 256];
        let length = stream.read(&mut connect).expect("its CONNECT");
        // Behind the fixed header and the protocol's name stands its level.
        let is_v5 = connect[..length][8] == 5;
        let connack: &[u8] = if is_v5 { b"\x20\x03\x00\x88\x00" } else { b"\x20\x02\x00\x03" };
        stream.write_all(connack).expect("the device listens");
    }
}

#[test]
fn devices_that_may_come_back_wait_for_a_broker_that_starts_and_then_refuses() {
    for (mode, version) in [(Mode::Raw, Version::V3), (Mode::Raw, Version::V5), (Mode::Faithful, Version::V3)] {
        let mut broker = Broker::start();
        broker.kill();
        let patient = Plan { mode, version, reconnect: true, ..broker.plan() };
        let running = thread::spawn(move || report(&patient));
        thread::sleep(Duration::from_millis(300));
        refuse(broker.address, 40);
        broker.restart();
        let report = running.join().expect("the run ends");
        assert!(report.complete() && report.connected == 20, "{report}");
        assert!(report.counts.lost <= 20, "a device that has to ask again is told once: {report}");
    }
}

#[test]
fn devices_that_may_not_come_back_give_up_at_once() {
    let mut broker = Broker::start();
    broker.kill();
    let begun = Instant::now();
    let failure = run(&broker.plan(), false).expect_err("nobody listens").to_string();
    assert!(failure.contains("no device could connect"), "{failure}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
