//! The command line: what is asked, with which configuration, and the exit code that says how it went.

mod backup;
mod decode;
mod device;
mod journal;
mod rejected;
mod token;

use std::io::{self, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use rhumb::auth::SecretError;
use rhumb::auth::devices::file::DevicesError;
use rhumb::codec::Codec;
use rhumb::config::{Config, Invalid, Origin, Sources};
use rhumb::engine::{self, Engine};
use rhumb::fix::Reason;
use rhumb::ids::{DriverId, TenantId};
use rhumb::rejected::{Filter, Unreadable};
use rhumb::replay::{self, BrokerUrl, Plan, Speed};
use rhumb::telemetry::{self, FILTER_VARIABLE};
use rhumb::units::TimestampMs;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// The file that is read when none is named and it is there.
const CONFIG_FILE: &str = "config.toml";

/// Whose rows a replay feeds in if nobody says.
const TENANT: &str = "default";

/// Rhumb: a GPS telemetry engine. Without a command it serves.
#[derive(Debug, Parser)]
#[command(name = "rhumb", version)]
struct Cli {
    #[command(flatten)]
    sources: SourceArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct SourceArgs {
    /// Configuration file, which has to exist [default: ./config.toml if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One key of the configuration, over file and environment; may be repeated
    #[arg(long = "set", global = true, value_name = "SECTION.KEY=VALUE")]
    sets: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or Ctrl-C (the default)
    Serve,
    /// Feed recorded traces into the data directory, or to an MQTT broker; or judge refusals again
    Replay(ReplayArgs),
    /// Show what a payload becomes, before it is judged
    Decode(decode::Args),
    /// Show what was refused, and why, also while an engine runs
    Rejected(rejected::Args),
    /// Look into the journal, also while an engine writes it
    Journal(journal::Args),
    /// Copy the data directory, also while an engine runs on it
    Backup(backup::BackupArgs),
    /// Make the data directory of a backup
    Restore(backup::RestoreArgs),
    /// Print a token for tenant and role, which MQTT takes as password and HTTP as bearer
    Token(token::Args),
    /// Say which devices may come in with a password
    Device(device::DeviceArgs),
    /// Check the configuration, as a start would
    CheckConfig {
        /// Print the configuration that is in effect
        #[arg(long)]
        print: bool,
    },
}

#[derive(Debug, Args)]
struct ReplayArgs {
    /// CSV, GPX, or .rec of the OwnTracks Recorder, plain or .gz
    #[arg(required_unless_present = "rejected", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Judge again, by the rules that are in force now, what was refused before
    #[arg(long, conflicts_with_all = ["files", "mqtt", "speed"])]
    rejected: bool,
    /// With --rejected, only what was received since: 90s, 30m, 1h, 7d, or an RFC 3339 time
    #[arg(long, value_name = "TIME", conflicts_with = "files", value_parser = rejected::since)]
    since: Option<TimestampMs>,
    /// With --rejected, only what was refused for this
    #[arg(long, conflicts_with = "files")]
    reason: Option<Reason>,
    /// With --rejected, only payloads of this codec
    #[arg(long, conflicts_with = "files")]
    codec: Option<Codec>,
    /// Whose fixes they are [default: default]; with --rejected, only this tenant's
    #[arg(long, value_parser = TenantId::new)]
    tenant: Option<TenantId>,
    /// Publish to this broker instead of writing to the data directory, such as mqtt://127.0.0.1:1883
    #[arg(long, value_name = "URL")]
    mqtt: Option<BrokerUrl>,
    /// How many times faster than recorded: 1, 10, max
    #[arg(long, default_value = "max")]
    speed: Speed,
    /// The driver of all rows, instead of what the recordings say; with --rejected, only this driver's
    #[arg(long, value_parser = DriverId::new)]
    driver: Option<DriverId>,
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
}

/// How the program ends, after BSD's sysexits. The only place where exit codes are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// The command line makes no sense.
    Usage = 64,
    /// An input cannot be read.
    Data = 65,
    /// The broker of a replay could not be reached, or was lost; or a listener's address is taken.
    Unavailable = 69,
    /// A fault of the program's.
    Software = 70,
    /// The data directory cannot be made or written.
    CannotCreate = 73,
    /// The journal could not be read, written or synced; or it is damaged.
    JournalIo = 74,
    /// Another process has the data directory.
    InUse = 75,
    /// The configuration is wrong, or a file of credentials.
    Config = 78,
    /// A second Ctrl-C: 128 and the signal's number, as shells have it.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command line that is well formed and makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Misused(String);

/// The code for what went wrong.
fn exit_of(error: &anyhow::Error) -> Exit {
    if error.downcast_ref::<Invalid>().is_some() {
        return Exit::Config;
    }
    if let Some(error) = error.downcast_ref::<replay::Error>() {
        return match error {
            replay::Error::BadSpeed(_) | replay::Error::BadUrl(_) | replay::Error::NoDriver { .. } => Exit::Usage,
            replay::Error::Unopened { .. } | replay::Error::Unreadable { .. } | replay::Error::Refusals(_) => {
                Exit::Data
            }
            replay::Error::Broker { .. } => Exit::Unavailable,
            replay::Error::Full | replay::Error::Stopped => Exit::JournalIo,
        };
    }
    if let Some(error) = error.downcast_ref::<decode::Error>() {
        return match error {
            decode::Error::Binary(_) => Exit::Usage,
            decode::Error::Input { .. } | decode::Error::TooLong { .. } => Exit::Data,
            decode::Error::Output(_) => Exit::Software,
        };
    }
    if error.is::<Unreadable>() {
        return Exit::Data;
    }
    if let Some(error) = error.downcast_ref::<journal::Error>() {
        return match error {
            journal::Error::Files(rhumb::journal::Error::NoJournal { .. }) => Exit::Data,
            journal::Error::Files(rhumb::journal::Error::NotEmpty { .. }) => Exit::CannotCreate,
            journal::Error::Files(rhumb::journal::Error::InUse { .. }) => Exit::InUse,
            journal::Error::Files(_) | journal::Error::Damaged { .. } => Exit::JournalIo,
            journal::Error::Output(_) => Exit::Software,
        };
    }
    if let Some(error) = error.downcast_ref::<rhumb::backup::Error>() {
        return match error {
            rhumb::backup::Error::Occupied(_) => Exit::CannotCreate,
            rhumb::backup::Error::Unfinished { .. }
            | rhumb::backup::Error::Changed { .. }
            | rhumb::backup::Error::Nothing(_) => Exit::Data,
            _ => Exit::JournalIo,
        };
    }
    if error.is::<Misused>() {
        return Exit::Usage;
    }
    if error.is::<SecretError>() {
        return Exit::Config;
    }
    if let Some(error) = error.downcast_ref::<DevicesError>() {
        return match error {
            DevicesError::Taken(_) | DevicesError::Unknown(_) | DevicesError::Ambiguous(_) => Exit::Usage,
            DevicesError::Line { .. } => Exit::Config,
            DevicesError::Io { .. } => Exit::CannotCreate,
        };
    }
    if error.is::<backup::Unreachable>() {
        return Exit::Unavailable;
    }
    if error.is::<backup::GivenUp>() {
        return Exit::JournalIo;
    }
    match error.downcast_ref::<engine::Failure>() {
        Some(engine::Failure::Journal(_) | engine::Failure::Mismatch(_)) => Exit::JournalIo,
        Some(engine::Failure::Certificate(_) | engine::Failure::Credentials(_)) => Exit::Config,
        Some(engine::Failure::Listen(_)) => Exit::Unavailable,
        Some(engine::Failure::DataDir(_)) => Exit::CannotCreate,
        Some(engine::Failure::InUse(_)) => Exit::InUse,
        Some(engine::Failure::Part) | None => Exit::Software,
    }
}

/// Reads the command line and does what it says.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(said) => {
            // Help and version come this way too; a closed pipe is no reason to fail.
            drop(said.print());
            return if said.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS };
        }
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(io::stderr(), "rhumb: {error:#}"));
            exit_of(&error).into()
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let sources = sources(cli.sources);
    let config = Config::load(&sources)?;
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => {
            start_log()?;
            serve(config, sources)
        }
        Command::Replay(args) if args.rejected => {
            start_log()?;
            let ReplayArgs { since, reason, codec, tenant, driver, json, .. } = args;
            engine::replay_rejected(&config, &Filter { since, reason, tenant, driver, codec }, json)
        }
        Command::Replay(args) => {
            start_log()?;
            let tenant = args.tenant.map_or_else(|| TenantId::new(TENANT), Ok);
            let plan = Plan {
                files: args.files,
                tenant: tenant.context("the default tenant has a name")?,
                driver: args.driver.map(|driver| driver.to_string()),
                speed: args.speed,
                shows_progress: !args.json,
            };
            engine::replay(&config, &plan, args.mqtt.as_ref(), args.json)
        }
        Command::Decode(args) => Ok(decode::run(&args)?),
        Command::Rejected(args) => rejected::run(&config, args),
        Command::Journal(args) => Ok(journal::run(&config, args)?),
        Command::Backup(args) => backup::back_up(&config, &args),
        Command::Restore(args) => backup::restore(&config, &args),
        Command::Token(args) => token::run(&config, args),
        Command::Device(args) => device::run(&config, args),
        Command::CheckConfig { print } => {
            engine::check_files(&config)?;
            let text = if print { config.to_toml() } else { "ok\n".to_owned() };
            io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")
        }
    }
}

/// The three sources of the configuration, as this process was started.
fn sources(args: SourceArgs) -> Sources {
    let default_file = PathBuf::from(CONFIG_FILE);
    Sources {
        file: args.config.or_else(|| default_file.exists().then_some(default_file)),
        // What is not Unicode cannot be one of ours, whose names are ASCII; a value that is not is refused by its kind.
        environment: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
            .collect(),
        sets: args.sets,
    }
}

/// Logs to standard error, so that standard output is the command's own.
fn start_log() -> anyhow::Result<()> {
    let wanted = std::env::var_os(FILTER_VARIABLE).map(|value| value.to_string_lossy().into_owned());
    telemetry::log_to_stderr(wanted.as_deref()).map_err(|error| match error {
        telemetry::Error::Filter(_) => Invalid {
            origin: Origin::Variable(FILTER_VARIABLE.to_owned()),
            key: None,
            found: format!("\"{}\"", wanted.unwrap_or_default()),
            wants: "a log filter, such as info,rhumb::mqtt=debug".to_owned(),
        }
        .into(),
        installed @ telemetry::Error::Installed(_) => installed.into(),
    })
}

/// Serves until told to stop, then drains.
fn serve(config: Config, sources: Sources) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("rhumb-async")
        .enable_all()
        .build()
        .context("cannot start the threads that serve HTTP")?;
    let served = runtime.block_on(async {
        let mut stop = pin!(stop_signal().context("cannot listen for signals")?);
        let engine = tokio::select! {
            engine = Engine::start(config, sources) => engine?,
            // Recovery only reads, and whatever it mends it mends again.
            () = &mut stop => return Ok(()),
        };
        engine.serve_until(stop).await
    });
    // A recovery that was told to stop is not waited for.
    runtime.shutdown_background();
    served
}

/// Resolves on the first SIGTERM or Ctrl-C; a second Ctrl-C ends the process at once.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
            _ = interrupt.recv() => tracing::info!("interrupted: draining, once more to leave at once"),
        }
        drop(stop);
        interrupt.recv().await;
        #[expect(clippy::disallowed_methods, reason = "whoever asks twice does not want to wait for the drain")]
        std::process::exit(Exit::Interrupted as i32);
    });
    Ok(async move {
        // The sender is dropped, never used: an error is the signal.
        drop(stopped.await);
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn overrides_are_taken_before_and_after_the_command() {
        let cli = Cli::try_parse_from(["rhumb", "--set", "a.b=1", "check-config", "--set", "c.d=2"]).unwrap();
        assert!(matches!(cli.command, Some(Command::CheckConfig { print: false })));
        let cli =
            Cli::try_parse_from(["rhumb", "replay", "a.csv", "b.gpx", "--speed", "10", "--tenant", "acme"]).unwrap();
        let Some(Command::Replay(args)) = cli.command else { panic!("not a replay") };
        assert_eq!(args.files.len(), 2);
        assert!(Cli::try_parse_from(["rhumb", "replay", "a.csv", "--tenant", "a/b"]).is_err());
        assert!(Cli::try_parse_from(["rhumb", "replay"]).is_err());
        assert!(Cli::try_parse_from(["rhumb", "replay", "--rejected", "--since", "1h", "--reason", "future"]).is_ok());
        assert!(Cli::try_parse_from(["rhumb", "replay", "--rejected", "a.csv"]).is_err());
        assert!(Cli::try_parse_from(["rhumb", "replay", "a.csv", "--reason", "future"]).is_err());
        assert!(Cli::try_parse_from(["rhumb", "rejected", "--codec", "native", "--limit", "5", "--json"]).is_ok());
        assert!(Cli::try_parse_from(["rhumb", "rejected", "--limit", "0"]).is_err());
        assert!(Cli::try_parse_from(["rhumb", "journal", "stat", "--json", "--dir", "j", "--set", "a.b=1"]).is_ok());
        assert!(Cli::try_parse_from(["rhumb", "journal", "verify", "--salvage", "new", "--through", "7"]).is_ok());
        assert!(Cli::try_parse_from(["rhumb", "journal", "verify", "--through", "7"]).is_err());
    }

    #[test]
    fn a_bad_configuration_exits_78_however_deep_it_is_wrapped() {
        let invalid = Config::load(&Sources { sets: vec!["x".to_owned()], ..Sources::default() }).unwrap_err();
        assert_eq!(exit_of(&anyhow::Error::from(invalid).context("while starting")), Exit::Config);
        assert_eq!(exit_of(&anyhow::anyhow!("something else")), Exit::Software);
    }
}
