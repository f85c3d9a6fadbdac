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
#[utoipa::path(get, path = "/v1/sessions/{id}/attributes", params(("id" = Uuid, Path, description = "Session id")), responses(
    (status = 200, body = Object), (status = 401, body = Problem), (status = 404, body = Problem), (status = 409, description = "session_ended", body = Problem), (status = 503, body = Problem)))]
pub(super) async fn read(caller: Caller<Apps>, State(app): AppState, SessionId(id): SessionId) -> Result<Response, Problem> {
    alive(&app, id, caller.actor()).await?;
    let attributes = app.manager.store().attributes(id).await?.ok_or_else(ended)?;
    Ok(answer(attributes))
}

/// Replaces the payload; with `If-Match` only while it has that version.
#[utoipa::path(put, path = "/v1/sessions/{id}/attributes", params(("id" = Uuid, Path, description = "Session id")), request_body = Object, responses(
    (status = 200, body = Object), (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem),
    (status = 409, description = "session_ended", body = Problem), (status = 412, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
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
#[utoipa::path(patch, path = "/v1/sessions/{id}/attributes", params(("id" = Uuid, Path, description = "Session id")), request_body = Object, responses(
    (status = 200, body = Object), (status = 400, body = Problem), (status = 401, body = Problem), (status = 404, body = Problem),
    (status = 409, description = "session_ended", body = Problem), (status = 412, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
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
    let if_version = match headers.get(IF_MATCH).map(|value| value.to_str().unwrap_or_default().trim()) {
        None | Some("*") => None,
        Some(tag) => Some(
            tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).and_then(|tag| tag.parse().ok()).ok_or_else(|| {
                Problem::new(
                    412,
                    "version_mismatch",
                    "If-Match is not an ETag of these attributes.",
                    "Read them again and use their ETag.",
                )
            })?,
        ),
    };
    alive(app, id, actor).await?;
    let attributes = app.manager.store().change_attributes(id, &change, if_version).await?.ok_or_else(ended)?;
    Ok(answer(attributes))
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
