//! `rhumb device`: who may come in with a name and a password. A running engine hears of every change within a second.

use std::io::{self, Read, Write};

use anyhow::Context;
use clap::{Args, Subcommand};
use rhumb::auth::Role;
use rhumb::auth::devices::file::{self, DevicesError, Entry, qualified};
use rhumb::auth::passwords::{self, DeviceToken, PASSWORD_BYTES_MAX};
use rhumb::clock::Clock;
use rhumb::config::Config;
use rhumb::ids::{DriverId, TenantId, is_driver_id};
use rhumb::wire::time::write_rfc3339;
use serde_json::json;

use super::Misused;

/// Fewest bytes of a password that somebody chose.
const PASSWORD_BYTES_MIN: usize = 8;

#[derive(Debug, Args)]
pub(super) struct DeviceArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Let a device in; prints its password, which is not kept and cannot be shown again
    Add(AddArgs),
    /// Show who may come in
    List {
        /// Print a JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Let a device in no longer, and end its connections
    Revoke {
        /// TENANT/NAME, or NAME if only one tenant has it
        name: String,
    },
}

#[derive(Debug, Args)]
struct AddArgs {
    /// Whose data it brings and sees
    #[arg(long, value_parser = TenantId::new)]
    tenant: TenantId,
    /// The driver that it is; needed for the roles driver and device
    #[arg(long, value_parser = DriverId::new)]
    driver: Option<DriverId>,
    /// Its name within the tenant [default: the driver]
    #[arg(long, value_parser = name)]
    name: Option<String>,
    /// What it may do: ops_admin, dispatcher, driver or device
    #[arg(long, default_value = "device")]
    role: Role,
    /// Take its password from standard input, up to the first line's end, instead of making one up
    #[arg(long)]
    password_stdin: bool,
}

/// Does what is asked.
pub(super) fn run(config: &Config, args: DeviceArgs) -> anyhow::Result<()> {
    match args.command {
        Command::Add(args) => add(config, args),
        Command::List { json } => list(config, json),
        Command::Revoke { name } => Ok(file::remove(&config.data_dir, &name).map(drop)?),
    }
}

fn add(config: &Config, args: AddArgs) -> anyhow::Result<()> {
    let AddArgs { tenant, driver, name, role, password_stdin } = args;
    if role.is_driver() && driver.is_none() {
        return Err(Misused(format!("the role {} is that of one driver: name it by --driver", role.as_str())).into());
    }
    let named = name.or_else(|| driver.as_ref().map(|driver| driver.as_str().to_owned()));
    let name = named.ok_or_else(|| Misused("whoever is no driver needs a name: give it by --name".to_owned()))?;
    let is_taken = |entry: &Entry| entry.tenant == tenant && *entry.name == *name;
    if let Some(entry) = file::read(&config.data_dir)?.iter().find(|entry| is_taken(entry)) {
        // Before anybody types a password for nothing.
        return Err(DevicesError::Taken(qualified(entry)).into());
    }
    let made_up = if password_stdin { None } else { Some(DeviceToken::new()?) };
    let password = match &made_up {
        Some(token) => token.text.clone().into_bytes(),
        None => password_from(&mut io::stdin().lock())?,
    };
    let mut created = Vec::new();
    write_rfc3339(Clock::System.now(), &mut created);
    let entry = Entry {
        tenant,
        name: name.into(),
        role,
        driver,
        created: String::from_utf8(created).context("a time is text")?,
        token_id: made_up.as_ref().map(|token| token.id.clone()),
        hash: passwords::hash(&password).map_err(|error| anyhow::anyhow!("cannot hash the password: {error}"))?,
    };
    file::add(&config.data_dir, entry)?;
    match made_up {
        Some(token) => writeln!(io::stdout(), "{}", token.text).context("cannot write to standard output"),
        None => Ok(()),
    }
}

fn password_from(input: &mut impl Read) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    input.take(PASSWORD_BYTES_MAX as u64 + 2).read_to_end(&mut text).context("cannot read standard input")?;
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let password = line.strip_suffix(b"\r").unwrap_or(line);
    if !(PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX).contains(&password.len()) {
        return Err(Misused(format!("a password has {PASSWORD_BYTES_MIN} to {PASSWORD_BYTES_MAX} bytes")).into());
    }
    Ok(password.to_vec())
}

fn list(config: &Config, json: bool) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    for entry in file::read(&config.data_dir)? {
        let Entry { tenant, name, role, driver, created, .. } = &entry;
        let driver = driver.as_ref().map(DriverId::as_str);
        let line = if json {
            json!({"tenant": tenant.as_str(), "name": name, "role": role, "driver": driver, "created": created})
                .to_string()
        } else {
            format!("{}  {}  {}  {created}", qualified(&entry), role.as_str(), driver.unwrap_or("-"))
        };
        match writeln!(out, "{line}") {
            // Whoever reads may stop reading.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.context("cannot write to standard output")?,
        }
    }
    Ok(())
}

fn name(text: &str) -> Result<String, &'static str> {
    if is_driver_id(text.as_bytes()) { Ok(text.to_owned()) } else { Err("a name is 1 to 64 of A-Z a-z 0-9 . _ : -") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_first_line_without_its_end() {
        let long = "x".repeat(PASSWORD_BYTES_MAX + 1);
        let cases: &[(&str, Option<&str>)] = &[
            ("a secret!", Some("a secret!")),
            ("a secret!\n", Some("a secret!")),
            ("a secret!\r\nmore", Some("a secret!")),
            (" a secret ", Some(" a secret ")),
            ("short\n", None),
            ("", None),
            (&long, None),
        ];
        for (input, expected) in cases {
            let found = password_from(&mut input.as_bytes()).ok();
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{input:?}");
        }
    }
}
