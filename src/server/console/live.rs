//! The events as they happen, for pages that show them without being asked: the stream of `/v1/events`, for a browser's cookie.
//! It is opened by reading alone, so no other site can do more with it than wake it up.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::super::AppState;
use super::super::auth::Watchers;
use super::super::routes::stream;
use super::operator::Operator;
use super::page::Answer;

/// Where it is.
pub(super) const PATH: &str = "/console/live";

/// The stream; it ends with the session or the role of who reads it.
pub(super) async fn events(operator: Operator<Watchers>, State(app): AppState, headers: HeaderMap) -> Answer<Response> {
    let from = stream::position(&headers)?;
    Ok(stream::answer(operator, app, None, from).await?)
}
