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
use crate::fix::Reason;
use crate::ids::TenantId;
use crate::pipeline::account::Page;
use crate::telemetry::prometheus::{self, Collect, Exposition, Kind};
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

/// Writes the books of all tenants: counts by verdict, and the fixes in flight. A tenant's page is of one instant, so that
/// received = stored + duplicate + Σ rejected + in flight holds at every scrape.
pub fn collect_fixes(books: &[(TenantId, Page)], page: &mut Exposition) {
    let mut counter = |name, help, count: fn(&Page) -> u64| {
        let mut family = page.family(name, help, Kind::Counter);
        for (tenant, page) in books {
            family.sample(&[("tenant", tenant.as_str())], count(page));
        }
    };
    counter("rhumb_fixes_received_total", "Fixes received, judged or in flight.", Page::received);
    counter("rhumb_fixes_stored_total", "Fixes durable in the journal, late ones too.", |page| page.judged.stored);
    counter("rhumb_fixes_late_total", "Stored fixes that were older than their driver's newest.", |page| {
        page.judged.late
    });
    counter("rhumb_fixes_duplicate_total", "Fixes that had been stored before.", |page| page.judged.duplicate);

    let mut rejected = page.family("rhumb_fixes_rejected_total", "Fixes refused, by reason.", Kind::Counter);
    for (tenant, page) in books {
        for reason in Reason::ALL {
            let labels = [("tenant", tenant.as_str()), ("reason", reason.as_str())];
            rejected.sample(&labels, page.judged.rejected[reason as usize]);
        }
    }
    let mut in_flight =
        page.family("rhumb_fixes_in_flight", "Fixes received whose verdict is not durable yet.", Kind::Gauge);
    for (tenant, page) in books {
        in_flight.sample(&[("tenant", tenant.as_str())], page.in_flight);
    }
}
