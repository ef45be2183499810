//! CPU time and memory of a process, from `/proc`.

use std::fs;
use std::io;

use serde::Serialize;

/// Seconds of memory samples kept; a longer run keeps its first ones, and minimum, maximum and last of all.
const SAMPLES_MAX: usize = 7_200;
/// What Linux reports process times in (USER_HZ), on every architecture that it runs this on.
const TICKS_PER_SECOND: u64 = 100;

/// CPU time since the process began.
#[derive(Clone, Copy, Debug, Default)]
struct CpuTime {
    /// Exact, of the threads that live: nanoseconds.
    living_ns: u64,
    /// Of all threads, those that ended too, but only to 10 ms: nanoseconds.
    all_ns: u64,
}

/// Watches one process from the start of a run to its end.
#[derive(Debug)]
pub struct Watch {
    pid: u32,
    begun: CpuTime,
    memory: Vec<u64>,
    memory_min_kib: u64,
    memory_max_kib: u64,
}

/// What a process used.
#[derive(Clone, Debug, Serialize)]
pub struct Usage {
    /// The process.
    pub pid: u32,
    /// User and system time during the run, microseconds.
    pub cpu_us: u64,
    /// The same over the publishes sent.
    pub cpu_us_per_publish: f64,
    /// `schedstat` (exact) or `stat` (10 ms ticks; where threads ended during the run).
    pub cpu_source: &'static str,
    /// Resident memory each second from the run's start, KiB.
    pub resident_kib: Vec<u64>,
    /// The smallest of the samples.
    pub resident_min_kib: u64,
    /// The largest of the samples.
    pub resident_max_kib: u64,
    /// The most since the process began (VmHWM).
    pub resident_peak_kib: u64,
}

impl Watch {
    /// Begins; an error if there is no such process or it belongs to somebody else.
    pub fn begin(pid: u32) -> io::Result<Self> {
        let begun = cpu_time(pid)?;
        let mut watch = Self { pid, begun, memory: Vec::new(), memory_min_kib: u64::MAX, memory_max_kib: 0 };
        watch.sample();
        Ok(watch)
    }

    /// Begins to measure CPU time anew.
    pub fn restart(&mut self) -> io::Result<()> {
        self.begun = cpu_time(self.pid)?;
        Ok(())
    }

    /// Notes the resident memory; a process that is gone leaves no sample.
    pub fn sample(&mut self) {
        if let Some(resident_kib) = status_kib(self.pid, "VmRSS:") {
            self.memory_min_kib = self.memory_min_kib.min(resident_kib);
            self.memory_max_kib = self.memory_max_kib.max(resident_kib);
            if self.memory.len() < SAMPLES_MAX {
                self.memory.push(resident_kib);
            }
        }
    }

    /// Ends; `None` if the process ended before.
    pub fn end(mut self, publishes: u64) -> Option<Usage> {
        let ended = cpu_time(self.pid).ok()?;
        self.sample();
        let living_ns = ended.living_ns.saturating_sub(self.begun.living_ns);
        let all_ns = ended.all_ns.saturating_sub(self.begun.all_ns);
        // Both ends of the coarse clock are off by a tick of user and one of system time at most.
        let coarse = all_ns > living_ns + 4 * 1_000_000_000 / TICKS_PER_SECOND;
        let cpu_us = if coarse { all_ns } else { living_ns } / 1_000;
        Some(Usage {
            pid: self.pid,
            cpu_us,
            cpu_us_per_publish: (cpu_us as f64 * 1_000.0 / publishes.max(1) as f64).round() / 1_000.0,
            cpu_source: if coarse { "stat" } else { "schedstat" },
            resident_kib: self.memory,
            resident_min_kib: self.memory_min_kib,
            resident_max_kib: self.memory_max_kib,
            resident_peak_kib: status_kib(self.pid, "VmHWM:").unwrap_or(self.memory_max_kib),
        })
    }
}

fn cpu_time(pid: u32) -> io::Result<CpuTime> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let mut living_ns = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between its listing and its reading.
        let running = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        living_ns += running.split_ascii_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
    }
    let ticks = user_and_system_ticks(&stat).ok_or(io::ErrorKind::InvalidData)?;
    Ok(CpuTime { living_ns, all_ns: ticks * (1_000_000_000 / TICKS_PER_SECOND) })
}

/// Fields 14 and 15 of `/proc/PID/stat` (proc_pid_stat(5)); the name in field 2 may hold anything, brackets and blanks too.
fn user_and_system_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn status_kib(pid: u32, key: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(key))?.split_ascii_whitespace().next()?.parse().ok()
}

/// How many files this process may have open, from `/proc/self/limits`.
pub fn open_files_max() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn a_name_with_brackets_does_not_move_the_fields() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 100 0 0 0 31 11 0 0 20 0 1 0 100 1 1";
        assert_eq!(user_and_system_ticks(stat), Some(42));
    }

    #[test]
    fn work_is_measured_though_the_thread_that_did_it_has_ended() {
        let watch = Watch::begin(std::process::id()).unwrap();
        let busy = std::thread::spawn(|| {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(300) {
                std::hint::spin_loop();
            }
        });
        busy.join().unwrap();
        let usage = watch.end(1_000).unwrap();
        assert!(usage.cpu_us > 50_000, "{usage:?}");
        assert!(usage.resident_kib.len() >= 2 && usage.resident_peak_kib >= usage.resident_max_kib, "{usage:?}");
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(Watch::begin(u32::MAX).is_err());
        assert!(open_files_max().is_some());
    }
}
