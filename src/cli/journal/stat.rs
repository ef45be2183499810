//! `rhumb journal stat`: the numbers, for people and for programs.

use std::collections::BTreeMap;
use std::io::Write;

use rhumb::codec::Codec;
use rhumb::counts::Counts;
use rhumb::fix::Reason;
use rhumb::journal::inspect::{self, Files, SegmentStat, SnapshotStat, Stat};
use rhumb::units::TimestampMs;
use rhumb::wire::time::write_rfc3339;
use serde::Serialize;

use super::Error;

pub(super) fn run(files: &Files, is_json: bool, out: &mut impl Write) -> Result<(), Error> {
    let stat = inspect::stat(files)?;
    let is_in_use = files.is_in_use()?;
    if is_json {
        serde_json::to_writer(&mut *out, &Shape::of(&stat, is_in_use)).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        print(&stat, is_in_use, out)?;
    }
    if stat.damages > 0 {
        return Err(Error::Damaged { damages: stat.damages, lost_frames: stat.lost_frames });
    }
    Ok(())
}

fn print(stat: &Stat, is_in_use: bool, out: &mut impl Write) -> std::io::Result<()> {
    let total = stat.total();
    let mut line = |name: &str, value: String| writeln!(out, "{name:<24}{value}");
    line("journal", stat.journal.map_or_else(|| "unknown".to_owned(), |journal| journal.to_string()))?;
    line("format version", stat.format_version.to_string())?;
    line("frames", format!("{} ({} to {})", total.frames, stat.first, stat.last))?;
    if stat.gaps > 0 {
        line("  of these gaps", stat.gaps.to_string())?;
    }
    if stat.changes > 0 {
        line("  of these changes", stat.changes.to_string())?;
    }
    line("fixes", total.fixes.to_string())?;
    line("bytes", total.bytes.to_string())?;
    if let Some(bytes) = bytes_per_fix(&total) {
        line("bytes per fix", format!("{bytes:.1}"))?;
    }
    if let Some((first, last)) = stat.received_at {
        line("received", format!("{} to {}", time(first), time(last)))?;
    }
    let end = match (is_in_use, stat.end.is_sealed, stat.end.torn_bytes) {
        (true, ..) => "an engine has it open".to_owned(),
        (false, true, _) => "sealed: the engine was stopped".to_owned(),
        (false, false, 0) => "not sealed: the engine was killed".to_owned(),
        (false, false, torn) => format!("torn: a start cuts {torn} bytes"),
    };
    line("end", end)?;
    writeln!(out, "\n{:<28}{:>13}{:>11}{:>12}  received", "segment", "bytes", "frames", "fixes")?;
    for segment in &stat.segments {
        let SegmentStat { name, bytes, frames, fixes, received_at, .. } = segment;
        write!(out, "{name:<28}{bytes:>13}{frames:>11}{fixes:>12}")?;
        match received_at {
            Some((first, last)) => writeln!(out, "  {} to {}", time(*first), time(*last))?,
            None => writeln!(out)?,
        }
    }
    for SnapshotStat { name, bytes, .. } in &stat.snapshots {
        writeln!(out, "{name:<30}{bytes:>11}")?;
    }
    writeln!(out, "\n{:<32}{:>12}{:>12}{:>12}  rejected", "tenant", "stored", "late", "duplicate")?;
    for (tenant, codecs) in &stat.tenants {
        print_counts(tenant, &inspect::sum(codecs.values()), out)?;
        for (codec, counts) in codecs {
            print_counts(&format!("  {codec}"), counts, out)?;
        }
    }
    print_counts("", &stat.counts(), out)
}

fn print_counts(whose: &str, counts: &Counts, out: &mut impl Write) -> std::io::Result<()> {
    write!(out, "{whose:<32}{:>12}{:>12}{:>12} ", counts.stored, counts.late, counts.duplicate)?;
    for (reason, count) in rejected(counts) {
        write!(out, " {reason} {count}")?;
    }
    writeln!(out)
}

/// The fields in the order in which they are printed.
#[derive(Serialize)]
struct Shape<'a> {
    journal: Option<String>,
    format_version: u32,
    first: u64,
    last: u64,
    frames: u64,
    gaps: u64,
    changes: u64,
    fixes: u64,
    bytes: u64,
    frame_bytes: u64,
    bytes_per_fix: Option<f64>,
    received_first: Option<String>,
    received_last: Option<String>,
    in_use: bool,
    sealed: bool,
    torn_bytes: u64,
    damages: u64,
    lost_frames: u64,
    segments: Vec<SegmentShape<'a>>,
    snapshots: Vec<SnapshotShape<'a>>,
    tenants: BTreeMap<&'a str, TenantShape>,
    total: CountsShape,
}

#[derive(Serialize)]
struct SegmentShape<'a> {
    name: &'a str,
    bytes: u64,
    frame_bytes: u64,
    frames: u64,
    fixes: u64,
    received_first: Option<String>,
    received_last: Option<String>,
}

#[derive(Serialize)]
struct SnapshotShape<'a> {
    name: &'a str,
    sequence: u64,
    bytes: u64,
}

/// All of a tenant's, and by codec.
#[derive(Serialize)]
struct TenantShape {
    #[serde(flatten)]
    counts: CountsShape,
    codecs: BTreeMap<&'static str, CountsShape>,
}

impl TenantShape {
    fn of(codecs: &BTreeMap<Codec, Counts>) -> Self {
        Self {
            counts: CountsShape::of(&inspect::sum(codecs.values())),
            codecs: codecs.iter().map(|(codec, counts)| (codec.as_str(), CountsShape::of(counts))).collect(),
        }
    }
}

/// What was counted, as `rhumb journal dump` names it too.
#[derive(Serialize)]
struct CountsShape {
    stored: u64,
    late: u64,
    duplicate: u64,
    conflict: u64,
    repaired: u64,
    rejected: BTreeMap<&'static str, u64>,
}

impl CountsShape {
    fn of(counts: &Counts) -> Self {
        let Counts { stored, late, duplicate, conflict, repaired, .. } = *counts;
        let rejected = rejected(counts).map(|(reason, count)| (reason.as_str(), count)).collect();
        Self { stored, late, duplicate, conflict, repaired, rejected }
    }
}

impl<'a> Shape<'a> {
    fn of(stat: &'a Stat, is_in_use: bool) -> Self {
        let total = stat.total();
        Self {
            journal: stat.journal.map(|journal| journal.to_string()),
            format_version: stat.format_version,
            first: stat.first,
            last: stat.last,
            frames: total.frames,
            gaps: stat.gaps,
            changes: stat.changes,
            fixes: total.fixes,
            bytes: total.bytes,
            frame_bytes: total.frame_bytes,
            bytes_per_fix: bytes_per_fix(&total).map(|bytes| (bytes * 100.0).round() / 100.0),
            received_first: stat.received_at.map(|(first, _)| time(first)),
            received_last: stat.received_at.map(|(_, last)| time(last)),
            in_use: is_in_use,
            sealed: stat.end.is_sealed,
            torn_bytes: stat.end.torn_bytes,
            damages: stat.damages,
            lost_frames: stat.lost_frames,
            segments: stat.segments.iter().map(SegmentShape::of).collect(),
            snapshots: stat.snapshots.iter().map(SnapshotShape::of).collect(),
            tenants: stat.tenants.iter().map(|(tenant, codecs)| (tenant.as_str(), TenantShape::of(codecs))).collect(),
            total: CountsShape::of(&stat.counts()),
        }
    }
}

impl<'a> SegmentShape<'a> {
    fn of(segment: &'a SegmentStat) -> Self {
        let SegmentStat { name, bytes, frame_bytes, frames, fixes, received_at } = segment;
        Self {
            name,
            bytes: *bytes,
            frame_bytes: *frame_bytes,
            frames: *frames,
            fixes: *fixes,
            received_first: received_at.map(|(first, _)| time(first)),
            received_last: received_at.map(|(_, last)| time(last)),
        }
    }
}

impl<'a> SnapshotShape<'a> {
    fn of(snapshot: &'a SnapshotStat) -> Self {
        Self { name: &snapshot.name, sequence: snapshot.sequence, bytes: snapshot.bytes }
    }
}

/// The refusals that there were.
pub(super) fn rejected(counts: &Counts) -> impl Iterator<Item = (Reason, u64)> {
    let of = |reason: Reason| (reason, counts.rejected[reason as usize]);
    Reason::ALL.into_iter().map(of).filter(|(_, count)| *count > 0)
}

fn bytes_per_fix(total: &SegmentStat) -> Option<f64> {
    (total.fixes > 0).then(|| total.frame_bytes as f64 / total.fixes as f64)
}

/// RFC 3339.
pub(super) fn time(time: TimestampMs) -> String {
    let mut text = Vec::new();
    write_rfc3339(time, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}
