//! `rhumb rejected`: what was refused, and why, from the files of an engine that runs or stands.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufWriter, Write};

use clap::builder::RangedU64ValueParser;
use rhumb::clock::Clock;
use rhumb::codec::Codec;
use rhumb::config::Config;
use rhumb::fix::Reason;
use rhumb::ids::{DriverId, TenantId};
use rhumb::rejected::{self, Filter, Reader, Refusal, Unreadable};
use rhumb::units::TimestampMs;
use rhumb::wire::time;

/// Output that is gathered before it is written.
const OUTPUT_BYTES: usize = 64 << 10;

/// Units of `--since`, and their seconds.
const UNITS: [(char, i64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only what was received since: 90s, 30m, 1h, 7d, or an RFC 3339 time
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<TimestampMs>,
    /// Only this reason
    #[arg(long)]
    reason: Option<Reason>,
    /// Only this tenant's
    #[arg(long, value_parser = TenantId::new)]
    tenant: Option<TenantId>,
    /// Only this driver's
    #[arg(long, value_parser = DriverId::new)]
    driver: Option<DriverId>,
    /// Only payloads of this codec
    #[arg(long)]
    codec: Option<Codec>,
    /// Only the newest so many
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    limit: Option<usize>,
    /// Print a JSON object a line
    #[arg(long)]
    json: bool,
}

/// Why not everything was printed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Files(#[from] Unreadable),
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

/// Reads an instant: so long ago, or a time.
pub(super) fn since(text: &str) -> Result<TimestampMs, &'static str> {
    let ago = || {
        let (unit, unit_s) = UNITS.into_iter().find(|(unit, _)| text.ends_with(*unit))?;
        let digits = text.strip_suffix(unit).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        let ago_ms = digits.parse::<i64>().ok()?.checked_mul(unit_s)?.checked_mul(1_000)?;
        Some(Clock::System.now().saturating_add_ms(-ago_ms))
    };
    ago()
        .or_else(|| time::parse(text.as_bytes()))
        .ok_or("wants a duration such as 90s, 30m, 1h or 7d, or a time such as 2024-02-16T14:17:04Z")
}

/// Prints what is asked for, newest last. Whoever reads may stop reading.
pub(super) fn run(config: &Config, args: Args) -> anyhow::Result<()> {
    let mut out = BufWriter::with_capacity(OUTPUT_BYTES, io::stdout().lock());
    let ran = print(config, args, &mut out);
    match ran.and(out.flush().map_err(Error::Output)) {
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        // With its own type, which tells the exit code.
        Err(Error::Files(error)) => Err(error.into()),
        ended => Ok(ended?),
    }
}

fn print(config: &Config, args: Args, out: &mut impl Write) -> Result<(), Error> {
    let Args { since, reason, tenant, driver, codec, limit, json } = args;
    let filter = Filter { since, reason, tenant, driver, codec };
    let mut refusals = Reader::open(&config.data_dir.join(rejected::DIRECTORY))?;
    if !json {
        writeln!(out, "{:<24} {:<32} {:<9} {:<14} payload", "received", "tenant/driver", "codec", "reason")?;
    }
    let mut line = Vec::new();
    let mut newest = VecDeque::new();
    for refusal in refusals.by_ref() {
        let refusal = refusal?;
        if !filter.has(&refusal) {
            continue;
        }
        match limit {
            None => print_line(&refusal, json, &mut line, out)?,
            Some(limit) => {
                if newest.len() >= limit {
                    newest.pop_front();
                }
                newest.push_back(refusal);
            }
        }
    }
    newest.iter().try_for_each(|refusal| print_line(refusal, json, &mut line, out))?;
    if refusals.unreadable_lines() > 0 {
        out.flush()?;
        drop(writeln!(io::stderr(), "rhumb: {} lines do not read and were passed over", refusals.unreadable_lines()));
    }
    Ok(())
}

fn print_line(refusal: &Refusal, is_json: bool, line: &mut Vec<u8>, out: &mut impl Write) -> io::Result<()> {
    line.clear();
    if is_json {
        refusal.write_json(line);
    } else {
        time::write_rfc3339(refusal.received_at, line);
        // Not by a format's width, which counts bytes of nobody's here.
        line.resize(line.len().max(24), b' ');
        let whose = format!("{}/{}", refusal.driver.tenant(), refusal.driver.driver());
        let (codec, reason) = (refusal.codec.as_str(), refusal.reason.as_str());
        write!(line, " {whose:<32} {codec:<9} {reason:<14} {}", OnOneLine(refusal))?;
    }
    line.push(b'\n');
    out.write_all(line)
}

/// A payload as a terminal may have it: on one line, and without what steers a terminal.
struct OnOneLine<'a>(&'a Refusal);

impl fmt::Display for OnOneLine<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal { payload, fixes, .. } = self.0;
        match payload.text() {
            Some(text) => {
                for character in text.chars() {
                    if character.is_control() {
                        write!(formatter, "{}", character.escape_default())?;
                    } else {
                        write!(formatter, "{character}")?;
                    }
                }
            }
            None => write!(formatter, "0x{}", payload.hex())?,
        }
        if payload.is_cut() {
            formatter.write_str(" ...")?;
        }
        if *fixes > 1 {
            write!(formatter, " ({fixes} fixes)")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rhumb::ids::DriverKey;
    use rhumb::rejected::Payload;

    use super::*;

    #[test]
    fn since_is_a_duration_or_a_time() {
        let now = Clock::System.now().0;
        for (text, ago_s) in [("0s", 0), ("90s", 90), ("30m", 1_800), ("1h", 3_600), ("7d", 604_800)] {
            let found = since(text).unwrap().0;
            assert!((now - ago_s * 1_000..now - ago_s * 1_000 + 60_000).contains(&found), "{text}");
        }
        assert_eq!(since("2024-02-16T14:17:04Z"), Ok(TimestampMs(1_708_093_024_000)));
        for text in ["", "h", "1w", "1.5h", "-1h", "yesterday", "99999999999999999d"] {
            assert!(since(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_payload_cannot_steer_the_terminal() {
        let shown = |payload: &[u8], bytes_max, fixes| {
            let (tenant, driver) = (TenantId::new("acme").unwrap(), DriverId::new("d1").unwrap());
            let refusal = Refusal {
                received_at: TimestampMs(0),
                driver: Arc::new(DriverKey::new(tenant, driver)),
                codec: Codec::Native,
                reason: Reason::Malformed,
                fixes,
                payload: Payload::cut(payload, bytes_max),
            };
            let mut out = Vec::new();
            print_line(&refusal, false, &mut Vec::new(), &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let head = "1970-01-01T00:00:00Z     acme/d1                          native    malformed      ";
        assert_eq!(shown("a\n\u{1b}[2Jö".as_bytes(), 99, 1), format!("{head}a\\n\\u{{1b}}[2Jö\n"));
        assert_eq!(shown(b"\xff\x00\x01", 2, 3), format!("{head}0xff00 ... (3 fixes)\n"));
    }
}
