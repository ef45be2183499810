//! `rhumb journal dump`: decisions, a line each.

use std::collections::BTreeMap;
use std::io::{self, Write};

use rhumb::counts::Counts;
use rhumb::fix::Fix;
use rhumb::ids::{DriverId, TenantId};
use rhumb::journal::inspect::{Event, Files, Walk};
use rhumb::journal::{APPENDER_OF_SEAL, Change, Frame, Record};
use rhumb::wire::native;
use rhumb::wire::time::write_rfc3339;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Error;
use super::stat::{rejected, time};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// First frame
    #[arg(long, value_name = "SEQUENCE", default_value_t = 1)]
    from: u64,
    /// Last frame [default: the newest]
    #[arg(long, value_name = "SEQUENCE")]
    to: Option<u64>,
    /// Only this tenant's
    #[arg(long, value_parser = TenantId::new)]
    tenant: Option<TenantId>,
    /// Only this driver's fixes
    #[arg(long, value_parser = DriverId::new)]
    driver: Option<DriverId>,
    /// Print a JSON object a line
    #[arg(long)]
    json: bool,
}

impl Args {
    fn has_tenant(&self, tenant: &str) -> bool {
        self.tenant.as_ref().is_none_or(|wanted| wanted.as_str() == tenant)
    }

    fn has_driver(&self, driver: &str) -> bool {
        self.driver.as_ref().is_none_or(|wanted| wanted.as_str() == driver)
    }
}

pub(super) fn run(files: &Files, args: &Args, out: &mut impl Write) -> Result<(), Error> {
    let mut walk = Walk::from(files, args.from)?;
    let mut line = Vec::new();
    let (mut damages, mut lost_frames) = (0, 0);
    while let Some(event) = walk.next()? {
        match event {
            Event::Frame => {
                let frame = walk.frame();
                if args.to.is_some_and(|to| frame.first_sequence() > to) {
                    break;
                }
                if frame.sequence >= args.from {
                    print(&frame, args, &mut line, out)?;
                }
            }
            Event::Damage(finding) if finding.lost.is_some_and(|lost| lost.last < args.from) => {}
            // In its place among the lines, and not one of them.
            Event::Damage(finding) => {
                out.flush()?;
                drop(writeln!(io::stderr(), "rhumb: {finding}"));
                damages += 1;
                lost_frames += finding.lost.map_or(0, |lost| lost.frames());
            }
            Event::Segment { .. } | Event::End(_) => {}
        }
    }
    if damages > 0 { Err(Error::Damaged { damages, lost_frames }) } else { Ok(()) }
}

/// Prints a frame's decisions as far as they are asked for.
fn print(frame: &Frame<'_>, args: &Args, line: &mut Vec<u8>, out: &mut impl Write) -> io::Result<()> {
    // Of no tenant, and what is asked for may be among the lost.
    if frame.is_gap() {
        return print_mark(frame, "gap", Some(frame.first_sequence()), args.json, out);
    }
    if frame.appender == APPENDER_OF_SEAL && args.tenant.is_none() && args.driver.is_none() {
        return print_mark(frame, "seal", None, args.json, out);
    }
    let mut whose = None;
    // Frames that a walk gives do read.
    for record in frame.records().map_while(Result::ok) {
        match record {
            Record::Driver { tenant, driver } => {
                whose = Some((tenant, driver)).filter(|_| args.has_tenant(tenant) && args.has_driver(driver));
            }
            Record::Fix { fix, late } => {
                let Some((tenant, driver)) = whose else { continue };
                line.clear();
                if args.json {
                    fix_as_json(frame.sequence, tenant, driver, &fix, late, line);
                } else {
                    fix_as_text(frame.sequence, tenant, driver, &fix, late, line)?;
                }
                line.push(b'\n');
                out.write_all(line)?;
            }
            Record::Counters { tenant, codec, counts } if args.driver.is_none() && args.has_tenant(tenant) => {
                if args.json {
                    let received_at = time(frame.received_at);
                    let counters = CountersShape::of(&counts);
                    let shape =
                        CountersLine { sequence: frame.sequence, received_at, tenant, codec: codec.as_str(), counters };
                    serde_json::to_writer(&mut *out, &shape)?;
                    writeln!(out)?;
                } else {
                    write!(out, "{} {} {tenant} {codec}", frame.sequence, time(frame.received_at))?;
                    let Counts { stored, late, duplicate, conflict, repaired, .. } = counts;
                    let names = ["stored", "late", "duplicate", "conflict", "repaired"];
                    let values = [stored, late, duplicate, conflict, repaired];
                    for (name, value) in names.into_iter().zip(values).filter(|(_, value)| *value > 0) {
                        write!(out, " {name}={value}")?;
                    }
                    for (reason, count) in rejected(&counts) {
                        write!(out, " {reason}={count}")?;
                    }
                    writeln!(out)?;
                }
            }
            Record::Change(change) if args.driver.is_none() && args.has_tenant(change.tenant) => {
                print_change(frame, &change, args.json, out)?;
            }
            Record::Counters { .. } | Record::Change(_) => {}
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct CountersLine<'a> {
    sequence: u64,
    received_at: String,
    tenant: &'a str,
    codec: &'a str,
    counters: CountersShape,
}

/// What a frame counts. Stored fixes are in it themselves; how many of them are not native is counted.
#[derive(Serialize)]
struct CountersShape {
    #[serde(skip_serializing_if = "is_zero")]
    stored: u64,
    #[serde(skip_serializing_if = "is_zero")]
    late: u64,
    duplicate: u64,
    #[serde(skip_serializing_if = "is_zero")]
    conflict: u64,
    #[serde(skip_serializing_if = "is_zero")]
    repaired: u64,
    rejected: BTreeMap<&'static str, u64>,
}

impl CountersShape {
    fn of(counts: &Counts) -> Self {
        let Counts { stored, late, duplicate, conflict, repaired, .. } = *counts;
        let rejected = rejected(counts).map(|(reason, count)| (reason.as_str(), count)).collect();
        Self { stored, late, duplicate, conflict, repaired, rejected }
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[derive(Serialize)]
struct ChangeLine<'a> {
    sequence: u64,
    received_at: String,
    tenant: &'a str,
    change: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a RawValue>,
}

/// What a tenant keeps otherwise from this frame on. Bodies are JSON.
fn print_change(frame: &Frame<'_>, change: &Change<'_>, is_json: bool, out: &mut impl Write) -> io::Result<()> {
    let Change { tenant, kind, id, body } = *change;
    let (sequence, received_at) = (frame.sequence, time(frame.received_at));
    if is_json {
        let body = serde_json::from_slice(body).ok();
        serde_json::to_writer(
            &mut *out,
            &ChangeLine { sequence, received_at, tenant, change: kind.as_str(), id, body },
        )?;
        return writeln!(out);
    }
    write!(out, "{sequence} {received_at} {tenant} {} {id}", kind.as_str())?;
    if !body.is_empty() {
        write!(out, " {}", String::from_utf8_lossy(body))?;
    }
    writeln!(out)
}

#[derive(Serialize)]
struct MarkLine<'a> {
    sequence: u64,
    received_at: String,
    mark: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_sequence: Option<u64>,
}

/// A frame without decisions.
fn print_mark(
    frame: &Frame<'_>,
    mark: &str,
    first_sequence: Option<u64>,
    is_json: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let (sequence, received_at) = (frame.sequence, time(frame.received_at));
    if is_json {
        serde_json::to_writer(&mut *out, &MarkLine { sequence, received_at, mark, first_sequence })?;
        return writeln!(out);
    }
    match first_sequence {
        Some(first) => writeln!(out, "{sequence} {received_at} {mark}: frames {first} to {sequence} are lost"),
        None => writeln!(out, "{sequence} {received_at} {mark}"),
    }
}

/// The `location` shape, with what the journal knows beside it in front.
fn fix_as_json(sequence: u64, tenant: &str, driver: &str, fix: &Fix, late: bool, line: &mut Vec<u8>) {
    // A tenant id has no character that JSON would escape.
    line.extend_from_slice(format!(r#"{{"sequence":{sequence},"tenant":"{tenant}","late":{late},"#).as_bytes());
    let object_at = line.len();
    native::encode(driver, fix, line);
    debug_assert_eq!(line[object_at], b'{');
    line.remove(object_at);
}

fn fix_as_text(sequence: u64, tenant: &str, driver: &str, fix: &Fix, late: bool, line: &mut Vec<u8>) -> io::Result<()> {
    write!(line, "{sequence} ")?;
    write_rfc3339(fix.received_at, line);
    write!(line, " {tenant}/{driver} ")?;
    write_rfc3339(fix.time, line);
    write!(line, " {},{}", fix.position.latitude(), fix.position.longitude())?;
    let fields = [
        ("speed", fix.speed_mps()),
        ("heading", fix.heading_deg()),
        ("altitude", fix.altitude_m()),
        ("accuracy", fix.accuracy_m()),
        ("hdop", fix.hdop()),
        ("battery", fix.battery_percent.map(f64::from)),
        ("satellites", fix.satellites.map(f64::from)),
        ("seq", fix.seq.map(f64::from)),
    ];
    for (name, value) in fields.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        write!(line, " {name}={value}")?;
    }
    if late {
        line.extend_from_slice(b" late");
    }
    Ok(())
}
