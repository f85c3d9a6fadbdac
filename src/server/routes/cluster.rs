//! Nodes and events of the whole cluster.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::super::AppState;
use super::super::auth::{Caller, Readers, Watchers};
use super::super::extract::Params;
use super::super::problem::Problem;
use super::sessions::{EventPage, EventQuery};
use super::stream;
use crate::store::NodeRecord;

/// The nodes.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::server) struct NodePage {
    items: Vec<NodeRecord>,
    next: Option<String>,
}

/// Lists the nodes of the cluster.
#[utoipa::path(get, operation_id = "list_nodes", path = "/v1/nodes", responses((status = 200, body = NodePage)))]
pub(super) async fn nodes(_: Caller<Readers>, State(app): AppState) -> Result<Json<NodePage>, Problem> {
    Ok(Json(NodePage { items: app.manager.nodes().await?, next: None }))
}

/// Lists events of sessions, users, properties and keys, newest first, or follows them.
///
/// With `Accept: text/event-stream` events are told as they happen, as server-sent events whose data is EVENT. A stream goes on
/// from `Last-Event-ID`, else it begins now. Each event is told at least once, in no promised order: its `id` tells repetitions.
/// An event `reset` says that some may be missing. The stream ends when the client is too slow, its key is revoked or the node
/// stops: connect again with the last id.
#[utoipa::path(get, operation_id = "list_events", path = "/v1/events",
    params(EventQuery, ("Last-Event-ID" = Option<String>, Header, description = "Where a stream that broke off goes on")),
    responses((status = 200, content((EventPage = "application/json"), (String = "text/event-stream")))))]
pub(super) async fn events(
    caller: Caller<Watchers>,
    State(app): AppState,
    headers: HeaderMap,
    Params(query): Params<EventQuery>,
) -> Result<Response, Problem> {
    let from = stream::position(&headers)?;
    if stream::is_wanted(&headers) {
        return stream::answer(caller, app, query.followed()?, from).await;
    }
    let page = app.manager.store().events(&query.filter(None)?).await?;
    Ok(Json(EventPage { items: page.items, next: page.next }).into_response())
}
