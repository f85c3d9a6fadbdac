//! Whether the process lives, whether it should get traffic, what it measured, and its own description.

use std::sync::LazyLock;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde::Serialize;

use super::super::AppState;
use super::super::auth::{Caller, Readers};
use super::super::problem::Problem;

/// How the process is.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::server) struct Health {
    /// `ok`.
    status: &'static str,
}

/// The process answers; says nothing about PostgreSQL.
#[utoipa::path(get, operation_id = "healthz", path = "/healthz", security(()), responses((status = 200, body = Health)))]
pub(super) async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// The node should get traffic: PostgreSQL answers and it is not draining.
#[utoipa::path(get, operation_id = "readyz", path = "/readyz", security(()), responses(
    (status = 200, body = Health), (status = 503, description = "unavailable or draining")))]
pub(super) async fn readyz(State(app): AppState) -> Result<Json<Health>, Problem> {
    if app.is_draining() {
        return Err(Problem::draining());
    }
    app.manager.store().registered_nodes().await?;
    Ok(Json(Health { status: "ok" }))
}

/// Metrics in Prometheus' text format.
#[utoipa::path(get, operation_id = "metrics", path = "/metrics", responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn metrics(_: Caller<Readers>, State(app): AppState) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], app.metrics.render())
}

/// This document.
#[utoipa::path(get, operation_id = "openapi", path = "/openapi.json", security(()), responses((status = 200, body = Object)))]
pub(super) async fn document() -> Json<&'static serde_json::Value> {
    static DOCUMENT: LazyLock<serde_json::Value> = LazyLock::new(super::openapi);
    Json(&DOCUMENT)
}
