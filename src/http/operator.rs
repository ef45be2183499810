//! The operator's port: `/health` says that the process answers, `/readyz` whether it can work, `/metrics` how it goes;
//! `/admin/...` steers it.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;

use super::answer::json;
use super::backup;
use crate::backup::Backups;
use crate::telemetry::prometheus::{self, Collect, Exposition};
use crate::telemetry::readiness::{Readiness, Unready};

/// What the operator's port tells.
#[derive(Default)]
pub struct Operator {
    /// What has to be fit for `/readyz` to be 200.
    pub readiness: Readiness,
    /// Who writes to `/metrics`, in this order.
    pub collect: Vec<Collect>,
    /// Who makes backups, if anybody does.
    pub backups: Option<Backups>,
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Operator").field("readiness", &self.readiness).finish_non_exhaustive()
    }
}

pub(super) fn routes(mut operator: Operator) -> Router {
    let admin = operator.backups.take().map_or_else(Router::new, backup::routes);
    Router::new()
        .route("/health", get(health))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(operator))
        .merge(admin)
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

async fn health() -> Response {
    json(StatusCode::OK, &Health { status: "ok" })
}

#[derive(Serialize)]
struct Ready {
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unready: Vec<Unready>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Unready>,
}

async fn readyz(State(operator): State<Arc<Operator>>) -> Response {
    let (unready, warnings) = (operator.readiness.unready(), operator.readiness.warnings());
    let (code, status) =
        if unready.is_empty() { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "unready") };
    json(code, &Ready { status, unready, warnings })
}

async fn metrics(State(operator): State<Arc<Operator>>) -> Response {
    let mut page = Exposition::default();
    for collect in &operator.collect {
        collect(&mut page);
    }
    ([(CONTENT_TYPE, prometheus::CONTENT_TYPE)], page.finish()).into_response()
}
