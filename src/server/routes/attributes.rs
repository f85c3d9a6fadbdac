//! The app's payload of a session.

use axum::Json;
use axum::extract::State;
use axum::http::header::{ETAG, IF_MATCH};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::super::auth::{Apps, Caller};
use super::super::extract::{Body, SessionId};
use super::super::problem::Problem;
use super::super::{App, AppState};
use crate::input;
use crate::store::{Actor, AttributeChange, Attributes};

/// Shows the payload; `ETag` carries its version.
#[utoipa::path(get, operation_id = "read_attributes", path = "/v1/sessions/{id}/attributes", params(("id" = Uuid, Path, description = "Session id")), responses(
    (status = 200, body = Object, headers(("ETag" = String, description = "Version of the payload"))), (status = 409, description = "session_ended")))]
pub(super) async fn read(caller: Caller<Apps>, State(app): AppState, SessionId(id): SessionId) -> Result<Response, Problem> {
    alive(&app, id, caller.actor()).await?;
    let attributes = app.manager.store().attributes(id).await?.ok_or_else(ended)?;
    Ok(answer(attributes))
}

/// Replaces the payload; with `If-Match` only while it has that version.
#[utoipa::path(put, operation_id = "replace_attributes", path = "/v1/sessions/{id}/attributes",
    params(("id" = Uuid, Path, description = "Session id"), ("If-Match" = Option<String>, Header, description = "ETags, or *")),
    request_body = Object, responses(
    (status = 200, body = Object, headers(("ETag" = String, description = "Version of the payload"))),
    (status = 409, description = "session_ended"), (status = 412, description = "version_mismatch")))]
pub(super) async fn replace(
    caller: Caller<Apps>,
    State(app): AppState,
    SessionId(id): SessionId,
    headers: HeaderMap,
    Body(map): Body<Map<String, Value>>,
) -> Result<Response, Problem> {
    change(&app, id, &headers, AttributeChange::Replace(map), caller.actor()).await
}

/// Sets the keys given and removes those that are null (RFC 7396, one level); with `If-Match` only while it has that version.
#[utoipa::path(patch, operation_id = "merge_attributes", path = "/v1/sessions/{id}/attributes",
    params(("id" = Uuid, Path, description = "Session id"), ("If-Match" = Option<String>, Header, description = "ETags, or *")),
    request_body = Object, responses(
    (status = 200, body = Object, headers(("ETag" = String, description = "Version of the payload"))),
    (status = 409, description = "session_ended"), (status = 412, description = "version_mismatch")))]
pub(super) async fn merge(
    caller: Caller<Apps>,
    State(app): AppState,
    SessionId(id): SessionId,
    headers: HeaderMap,
    Body(map): Body<Map<String, Value>>,
) -> Result<Response, Problem> {
    change(&app, id, &headers, AttributeChange::Merge(map), caller.actor()).await
}

async fn change(
    app: &App,
    id: Uuid,
    headers: &HeaderMap,
    change: AttributeChange,
    actor: Actor<'_>,
) -> Result<Response, Problem> {
    let (AttributeChange::Replace(map) | AttributeChange::Merge(map)) = &change;
    input::attributes(map)?;
    alive(app, id, actor).await?;
    let versions = if_match(headers);
    let attributes = app.manager.store().change_attributes(id, &change, versions.as_deref()).await?.ok_or_else(ended)?;
    Ok(answer(attributes))
}

/// The versions that `If-Match` admits (RFC 9110): tags in one or several headers; `None` is any. A weak tag, and whatever is not
/// a tag of ours, matches no version.
fn if_match(headers: &HeaderMap) -> Option<Vec<i64>> {
    let mut values = headers.get_all(IF_MATCH).iter().peekable();
    values.peek()?;
    let tags: Vec<_> = values.flat_map(|value| value.to_str().unwrap_or_default().split(',')).map(str::trim).collect();
    if tags == ["*"] {
        return None;
    }
    let version = |tag: &&str| tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok();
    Some(tags.iter().filter_map(version).collect())
}

async fn alive(app: &App, id: Uuid, actor: Actor<'_>) -> Result<(), Problem> {
    let session = app.manager.session(id, actor).await?;
    if session.state == "live" { Ok(()) } else { Err(ended()) }
}

fn ended() -> Problem {
    Problem::new(409, "session_ended", "The session is over; its attributes ended with it.", "Sign in again.")
}

fn answer(attributes: Attributes) -> Response {
    let mut response = Json(attributes.attributes).into_response();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", attributes.version)) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}
