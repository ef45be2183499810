//! `rhumb backup` and `rhumb restore`: of the data directory itself where no engine runs on it, through the engine's
//! operator port where one does.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use clap::Args;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use indicatif::{ProgressBar, ProgressStyle};
use rhumb::auth::tokens::Claims;
use rhumb::auth::{self, Mode, Role, TENANT_DEFAULT};
use rhumb::backup::{Manifest, Progress};
use rhumb::clock::Clock;
use rhumb::config::Config;
use rhumb::engine::{self, Addresses, Failure};
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// How often a running engine is asked how far it is.
const LOOK: Duration = Duration::from_millis(200);

/// How long the token is good for that the engine is asked with.
const TOKEN_S: i64 = 24 * 3_600;

/// Longest answer of the operator's port that is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// Directory to write into: empty, or not there yet
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// Directory that `rhumb backup` wrote; `data_dir` has to be empty, or not there yet
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// The engine's operator port could not be reached, or stopped answering.
#[derive(Debug, thiserror::Error)]
#[error("the engine that runs on this data directory does not answer on its operator port: {0}")]
pub(super) struct Unreachable(String);

/// A backup that the engine gave up.
#[derive(Debug, thiserror::Error)]
#[error("the engine gave the backup up: {0}")]
pub(super) struct GivenUp(String);

/// Backs up, through the engine if one runs.
pub(super) fn back_up(config: &Config, args: &BackupArgs) -> anyhow::Result<()> {
    let manifest = match engine::back_up(config, &args.directory) {
        Ok(manifest) => manifest,
        Err(error) if matches!(error.downcast_ref(), Some(Failure::InUse(_))) => {
            let addresses = Addresses::of_running(config).ok_or(error)?;
            let directory = std::path::absolute(&args.directory).context("where is the backup to go")?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(ask_engine(addresses.admin, &directory, operators_token(config)?.as_deref()))?
        }
        Err(error) => return Err(error),
    };
    tell("backed up", &args.directory, &manifest)
}

/// Restores into the data directory.
pub(super) fn restore(config: &Config, args: &RestoreArgs) -> anyhow::Result<()> {
    let manifest = engine::restore(config, &args.directory)?;
    tell("restored", &config.data_dir, &manifest)
}

fn tell(done: &str, directory: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    let Manifest { first_sequence, last_sequence, store_sequence, .. } = manifest;
    let store = match store_sequence {
        Some(sequence) => format!("the store up to frame {sequence}"),
        None => "no store".to_owned(),
    };
    let directory = directory.display();
    writeln!(io::stdout(), "{done} into {directory}: frames {first_sequence} to {last_sequence}, {store}")
        .context("cannot write to standard output")
}

/// A token for the operator's port of the engine that runs on this data directory, whose secret whoever may read it can
/// sign with; `None` in open mode.
fn operators_token(config: &Config) -> anyhow::Result<Option<String>> {
    if config.auth.mode == Mode::Open {
        return Ok(None);
    }
    let tenant = Some(&config.auth.operator_tenant).filter(|tenant| !tenant.is_empty());
    let role = Role::OpsAdmin.as_str().to_owned();
    let claims = Claims {
        sub: "rhumb-backup".to_owned(),
        tenant: tenant.map_or(TENANT_DEFAULT, String::as_str).to_owned(),
        role,
        driver: None,
        exp: (Clock::System.now().0 / 1_000 + TOKEN_S) as f64,
        nbf: None,
    };
    Ok(Some(auth::sign(&config.data_dir, &claims)?.0))
}

/// Has the engine that listens here make a backup, and waits until it is done.
async fn ask_engine(operator: SocketAddr, directory: &Path, token: Option<&str>) -> anyhow::Result<Manifest> {
    let wanted = json!({ "directory": directory }).to_string();
    call(operator, token, Method::POST, Body::from(wanted)).await?;
    let bar =
        ProgressBar::no_length().with_style(ProgressStyle::with_template("{bytes} copied, {binary_bytes_per_sec}")?);
    loop {
        match call(operator, token, Method::GET, Body::empty()).await? {
            Progress::Running { bytes, .. } if io::stderr().is_terminal() => bar.set_position(bytes),
            Progress::Running { .. } => {}
            Progress::Done { manifest, .. } => return Ok(manifest),
            Progress::Failed { error, .. } => return Err(GivenUp(error).into()),
            Progress::None => bail!(Unreachable("it was started anew".to_owned())),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// One request to `/admin/backup`.
async fn call(operator: SocketAddr, token: Option<&str>, method: Method, body: Body) -> anyhow::Result<Progress> {
    let (status, answer) =
        exchange(operator, token, method, body).await.map_err(|error| Unreachable(format!("{operator}: {error:#}")))?;
    if status.is_success() {
        return Ok(serde_json::from_slice(&answer)?);
    }
    let problem: Value = serde_json::from_slice(&answer).unwrap_or_default();
    Err(GivenUp(problem["detail"].as_str().unwrap_or(status.as_str()).to_owned()).into())
}

async fn exchange(
    operator: SocketAddr,
    token: Option<&str>,
    method: Method,
    body: Body,
) -> anyhow::Result<(StatusCode, Vec<u8>)> {
    let stream = TcpStream::connect(operator).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .uri("/admin/backup")
        .header(header::HOST, operator.to_string())
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(body)?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let answer = to_bytes(Body::new(response.into_body()), ANSWER_BYTES_MAX).await?;
    connection.abort();
    Ok((status, answer.into()))
}
