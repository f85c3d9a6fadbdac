//! Nodes and events of the whole cluster.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::super::AppState;
use super::super::auth::{Caller, Readers, Watchers};
use super::super::extract::Params;
use super::super::problem::Problem;
use super::sessions::{EventPage, EventQuery};
use crate::store::NodeRecord;

/// The nodes.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::server) struct NodePage {
    items: Vec<NodeRecord>,
    next: Option<String>,
}

/// Lists the nodes of the cluster.
#[utoipa::path(get, path = "/v1/nodes", responses((status = 200, body = NodePage), (status = 401, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn nodes(_: Caller<Readers>, State(app): AppState) -> Result<Json<NodePage>, Problem> {
    Ok(Json(NodePage { items: app.manager.store().nodes().await?, next: None }))
}

/// Lists events of sessions, users, properties and keys, newest first.
#[utoipa::path(get, path = "/v1/events", params(EventQuery), responses(
    (status = 200, body = EventPage), (status = 400, body = Problem), (status = 401, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn events(
    _: Caller<Watchers>,
    State(app): AppState,
    Params(query): Params<EventQuery>,
) -> Result<Json<EventPage>, Problem> {
    let page = app.manager.store().events(&query.filter(None)?).await?;
    Ok(Json(EventPage { items: page.items, next: page.next }))
}
