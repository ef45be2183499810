//! `POST /admin/backup` begins a backup on the engine's machine, `GET /admin/backup` tells how far the last one came.

use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::answer::json;
use super::error::Error;
use super::extract::{self, BodyBounds};
use crate::backup::{Backups, Refused};

/// A path and little else.
const BODY: BodyBounds = BodyBounds { bytes_max: 16 << 10, timeout: Duration::from_secs(10) };

pub(super) fn routes(backups: Backups) -> Router {
    Router::new().route("/admin/backup", get(progress).post(begin)).with_state(backups)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    directory: PathBuf,
}

async fn begin(State(backups): State<Backups>, request: Request<Body>) -> Result<Response, Error> {
    let (parts, body) = request.into_parts();
    let body = extract::body(&parts.headers, body, BODY).await?;
    let Wanted { directory } = serde_json::from_slice(&body).map_err(|error| Error::Body(error.to_string()))?;
    // It looks at the directory, which may be on a disk that does not answer.
    let begun = {
        let backups = backups.clone();
        tokio::task::spawn_blocking(move || backups.begin(directory)).await
    };
    let begun = begun.map_err(|error| Error::internal("a backup could not be begun", &error))?;
    begun.map_err(|refused| match refused {
        Refused::Running(_) => Error::Conflict(refused.to_string()),
        Refused::Relative(_) | Refused::Directory(_) => Error::parameter("directory", refused.to_string()),
        Refused::Thread(error) => Error::internal("a backup could not be begun", &error),
    })?;
    Ok(json(StatusCode::ACCEPTED, &backups.progress()))
}

async fn progress(State(backups): State<Backups>) -> Response {
    json(StatusCode::OK, &backups.progress())
}
