//! `rhumb token`: a token that the engine of this data directory takes, alone on standard output.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::Context;
use rhumb::auth::tokens::{Claims, is_subject};
use rhumb::auth::{self, Role, SECRET_FILE};
use rhumb::clock::Clock;
use rhumb::config::Config;
use rhumb::ids::{DriverId, TenantId};

use super::Misused;

/// Longest that a token may be good for: ten years.
const TTL_MAX: Duration = Duration::from_secs(3_660 * 86_400);

/// What the number before each unit is multiplied by.
const UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Whose data it is for
    #[arg(long, value_parser = TenantId::new)]
    tenant: TenantId,
    /// What it allows: ops_admin, dispatcher, driver or device
    #[arg(long)]
    role: Role,
    /// The driver that it is for; needed for the roles driver and device
    #[arg(long, value_parser = DriverId::new)]
    driver: Option<DriverId>,
    /// Whose token it is [default: the driver, or the role]
    #[arg(long, value_name = "NAME", value_parser = subject)]
    sub: Option<String>,
    /// How long it is good for: 90s, 30m, 1h, 7d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = ttl)]
    ttl: Duration,
}

/// Prints a token.
pub(super) fn run(config: &Config, args: Args) -> anyhow::Result<()> {
    let Args { tenant, role, driver, sub, ttl } = args;
    if role.is_driver() && driver.is_none() {
        return Err(
            Misused(format!("a token of the role {} is for one driver: name it by --driver", role.as_str())).into()
        );
    }
    let named = sub.or_else(|| driver.as_ref().map(|driver| driver.as_str().to_owned()));
    let claims = Claims {
        sub: named.unwrap_or_else(|| role.as_str().to_owned()),
        tenant: tenant.as_str().to_owned(),
        role: role.as_str().to_owned(),
        driver: driver.map(|driver| driver.as_str().to_owned()),
        exp: (Clock::System.now().0 as f64 / 1_000.0).ceil() + ttl.as_secs_f64(),
        nbf: None,
    };
    let (token, is_exposed) = auth::sign(&config.data_dir, &claims)?;
    if is_exposed {
        let file = config.data_dir.join(SECRET_FILE);
        let warning = "others than its owner may read it, and make themselves any token: chmod 600 it";
        drop(writeln!(io::stderr(), "rhumb: {}: {warning}", file.display()));
    }
    writeln!(io::stdout(), "{token}").context("cannot write to standard output")
}

fn subject(text: &str) -> Result<String, &'static str> {
    if is_subject(text) { Ok(text.to_owned()) } else { Err("wants 1 to 128 bytes without control characters") }
}

fn ttl(text: &str) -> Result<Duration, &'static str> {
    let read = || {
        let (unit, unit_s) = UNITS.into_iter().find(|(unit, _)| text.ends_with(*unit))?;
        let digits = text.strip_suffix(unit).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        Some(Duration::from_secs(digits.parse::<u64>().ok()?.checked_mul(unit_s)?))
    };
    read()
        .filter(|ttl| !ttl.is_zero() && *ttl <= TTL_MAX)
        .ok_or("wants a duration of at most ten years, such as 90s, 30m, 1h or 7d")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_some_time_and_not_for_ever() {
        for (text, seconds) in [("90s", 90), ("30m", 1_800), ("1h", 3_600), ("365d", 31_536_000)] {
            assert_eq!(ttl(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "s", "0s", "1", "1w", "-1h", "1.5h", "99999d", "99999999999999999999d"] {
            assert!(ttl(text).is_err(), "{text}");
        }
    }
}
