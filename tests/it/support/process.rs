//! Child processes that end with the test, and ports for those that cannot choose their own.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{PATIENCE, wait_for};

/// A running process, killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it with standard output and error in a log file.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let file = fs::File::options().create(true).append(true).open(log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self { child, log: log.to_owned() }
    }

    /// Sends a signal to this process alone.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Kills it and waits until it is gone.
    pub(crate) fn kill9(&mut self) {
        drop(self.child.kill());
        self.child.wait().unwrap();
    }

    /// Sends a signal, and how it ended and after how long.
    pub(crate) fn stop(&mut self, signal: Signal) -> (ExitStatus, Duration) {
        let begin = Instant::now();
        self.signal(signal);
        (self.wait(), begin.elapsed())
    }

    /// How it ended by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "did not end\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Panics with the log if it ended.
    pub(crate) fn assert_running(&mut self, what: &str) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("{what} ended with {status}:\n{}", self.log());
        }
    }

    /// What it wrote since this was last asked. It appends, so that its file may be emptied under it.
    pub(crate) fn take_log(&mut self) -> String {
        let said = self.log();
        fs::File::create(&self.log).unwrap();
        said
    }

    /// Whether it has ended, and how.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// What it wrote.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// Runs a program to its end and returns what it said; kills it when it takes longer.
pub(crate) fn output_within(command: &mut Command, limit: Duration) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let pid = Pid::from_raw(child.id().cast_signed()).unwrap();
    let (ended, watched) = sync_channel::<()>(1);
    let watchdog = thread::spawn(move || {
        let is_late = watched.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        if is_late {
            // It may have ended this instant.
            let _ = kill_process(pid, Signal::KILL);
        }
        is_late
    });
    let output = child.wait_with_output().unwrap();
    drop(ended);
    let is_late = watchdog.join().unwrap();
    assert!(!is_late, "{command:?} took longer than {limit:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// A port of this machine that was free a moment ago.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}

/// Ports that were free a moment ago and are none of those that the system gives to clients: while a server is away, no
/// client that looks for it can be given its port.
pub(crate) fn lasting_addresses<const N: usize>() -> [SocketAddr; N] {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let end: u16 = range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(32_768);
    let begin = end / 2;
    // Tests run side by side, each in a process of its own.
    let place = std::process::id().wrapping_mul(7_919);
    let ports = (0..u32::from(end - begin)).map(|n| begin + (place.wrapping_add(n) % u32::from(end - begin)) as u16);
    let mut free = ports.filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()?.local_addr().ok());
    std::array::from_fn(|_| free.next().expect("a free port"))
}

/// Waits until a server accepts connections.
pub(crate) fn wait_for_port(process: &mut Process, address: SocketAddr, what: &str) {
    wait_for(what, || {
        process.assert_running(what);
        TcpStream::connect(address).ok()
    });
}
