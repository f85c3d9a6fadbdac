//! Nodes and events of the whole cluster.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::super::AppState;
use super::super::auth::{Admins, Caller, Readers, Watchers};
use super::super::extract::{Name, Params};
use super::super::problem::Problem;
use super::sessions::{EventPage, EventQuery};
use super::stream;
use crate::input;
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

/// How to order a node to drain.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct DrainQuery {
    /// Drain it though no other node is live.
    force: Option<String>,
}

/// Orders a node to drain, through any node: its `/readyz` answers 503, so that load balancers lead elsewhere, and its streams
/// end. It goes on answering what arrives until it is stopped or resumed; nobody is signed out.
///
/// Every process of the name is meant, and the answer shows them when they have heard it. A process that starts later is live.
#[utoipa::path(post, operation_id = "drain_node", path = "/v1/nodes/{name}/drain", params(("name" = String, Path, description = "Name of the node"), DrainQuery), responses(
    (status = 200, body = NodePage),
    (status = 409, description = "last_node: no other node is live")))]
pub(super) async fn drain(
    caller: Caller<Admins>,
    State(app): AppState,
    Name(name): Name,
    Params(query): Params<DrainQuery>,
) -> Result<Json<NodePage>, Problem> {
    let name = input::label("name", &name)?;
    let force = query.force.as_deref().map(|text| input::boolean("force", text)).transpose()?.unwrap_or(false);
    Ok(Json(NodePage { items: app.manager.drain_node(&name, force, caller.actor()).await?, next: None }))
}

/// Takes the order to drain back. A process that stops by itself drains on.
#[utoipa::path(delete, operation_id = "resume_node", path = "/v1/nodes/{name}/drain", params(("name" = String, Path, description = "Name of the node")), responses(
    (status = 200, body = NodePage)))]
pub(super) async fn resume(caller: Caller<Admins>, State(app): AppState, Name(name): Name) -> Result<Json<NodePage>, Problem> {
    let name = input::label("name", &name)?;
    Ok(Json(NodePage { items: app.manager.resume_node(&name, caller.actor()).await?, next: None }))
}

/// Lists events of sessions, users, properties and keys, newest first, or follows them.
///
/// With `Accept: text/event-stream` events are told as they happen, as server-sent events whose data is EVENT. A stream goes on
/// from `Last-Event-ID`, else it begins now. Each event is told at least once, in no promised order: its `id` tells repetitions.
/// An event `reset` says that some may be missing. The stream ends when the client is too slow, its key is revoked or the node
/// drains: connect again, to another node then, with the last id.
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
