//! What this process takes from its machine, in the names that Prometheus' own clients use.

use std::fs;

use super::prometheus::{Exposition, Kind};

/// Writes resident memory and open files as far as the system tells them (Linux' `/proc`), and the version built.
pub fn collect(page: &mut Exposition) {
    page.family("rhumb_build_info", "Always 1; the version is in the label.", Kind::Gauge)
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    if let Some(bytes) = resident_bytes() {
        page.family("process_resident_memory_bytes", "Resident memory size in bytes.", Kind::Gauge).sample(&[], bytes);
    }
    if let Some(count) = open_files() {
        page.family("process_open_fds", "Number of open file descriptors.", Kind::Gauge).sample(&[], count);
    }
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim_end().parse().ok()?;
    kibibytes.checked_mul(1_024)
}

fn open_files() -> Option<u64> {
    // One of them is the directory that is being read.
    u64::try_from(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1)).ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn tells_memory_and_files() {
        assert!(resident_bytes().unwrap() > 100_000);
        assert!(open_files().unwrap() >= 3);
        let mut page = Exposition::default();
        collect(&mut page);
        assert!(page.finish().contains("rhumb_build_info{version=\""));
    }
}
