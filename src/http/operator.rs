//! The operator's port: `/health` says that the process answers, `/readyz` whether it can work, `/metrics` how it goes.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;

use super::answer::json;
use crate::counts::Counts;
use crate::fix::Reason;
use crate::ids::TenantId;
use crate::telemetry::prometheus::{self, Collect, Exposition, Kind};
use crate::telemetry::readiness::{Readiness, Unready};

/// What the operator's port tells.
#[derive(Default)]
pub struct Operator {
    /// What has to be fit for `/readyz` to be 200.
    pub readiness: Readiness,
    /// Who writes to `/metrics`, in this order.
    pub collect: Vec<Collect>,
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Operator").field("readiness", &self.readiness).finish_non_exhaustive()
    }
}

pub(super) fn routes(operator: Operator) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(operator))
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
}

async fn readyz(State(operator): State<Arc<Operator>>) -> Response {
    let unready = operator.readiness.unready();
    if unready.is_empty() {
        json(StatusCode::OK, &Ready { status: "ready", unready })
    } else {
        json(StatusCode::SERVICE_UNAVAILABLE, &Ready { status: "unready", unready })
    }
}

async fn metrics(State(operator): State<Arc<Operator>>) -> Response {
    let mut page = Exposition::default();
    for collect in &operator.collect {
        collect(&mut page);
    }
    ([(CONTENT_TYPE, prometheus::CONTENT_TYPE)], page.finish()).into_response()
}

/// Writes the books of all tenants: counts by verdict, and the fixes in flight. Each tenant's line is taken at one instant,
/// so that received = stored + duplicate + Σ rejected + in flight holds on every page.
pub fn collect_fixes(books: &[(TenantId, Counts, u64)], page: &mut Exposition) {
    let mut received = page.family("rhumb_fixes_received_total", "Fixes received, judged or in flight.", Kind::Counter);
    for (tenant, counts, in_flight) in books {
        received.sample(&[("tenant", tenant.as_str())], counts.received() + in_flight);
    }
    let mut stored =
        page.family("rhumb_fixes_stored_total", "Fixes durable in the journal, late ones too.", Kind::Counter);
    for (tenant, counts, _) in books {
        stored.sample(&[("tenant", tenant.as_str())], counts.stored);
    }
    let mut late = page.family(
        "rhumb_fixes_late_total",
        "Those of the stored that were older than their driver's newest.",
        Kind::Counter,
    );
    for (tenant, counts, _) in books {
        late.sample(&[("tenant", tenant.as_str())], counts.late);
    }
    let mut duplicate =
        page.family("rhumb_fixes_duplicate_total", "Fixes that had been stored before.", Kind::Counter);
    for (tenant, counts, _) in books {
        duplicate.sample(&[("tenant", tenant.as_str())], counts.duplicate);
    }
    let mut rejected = page.family("rhumb_fixes_rejected_total", "Fixes refused, by reason.", Kind::Counter);
    for (tenant, counts, _) in books {
        for reason in Reason::ALL {
            let labels = [("tenant", tenant.as_str()), ("reason", reason.as_str())];
            rejected.sample(&labels, counts.rejected[reason as usize]);
        }
    }
    let mut in_flight = page.family("rhumb_fixes_in_flight", "Fixes received and not yet judged and durable.", Kind::Gauge);
    for (tenant, _, count) in books {
        in_flight.sample(&[("tenant", tenant.as_str())], *count);
    }
}
