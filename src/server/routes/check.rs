//! The check: what an application asks on every request.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tokio::time::Instant;

use super::super::AppState;
use super::super::auth::{Apps, Caller};
use super::super::extract::Body;
use super::super::problem::Problem;
use crate::input;
use crate::manager::{CheckOptions, Checked, Verdict};

/// What is checked.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct CheckRequest {
    /// The token the client presented: a session token, an access token, or the token of another store that its session was imported
    /// with.
    token: String,
    /// What the request is (A1); null counts as a browser action or API call, and for mobile as the app on the screen unless it
    /// last said that it is in the background.
    activity: Option<String>,
    /// Ask PostgreSQL even where memory could answer.
    strict: Option<bool>,
    /// Open a transaction: the session shows as active until it is closed.
    transaction: Option<bool>,
}

/// Checks a session token and counts the activity.
#[utoipa::path(post, operation_id = "check_session", path = "/v1/sessions/check", request_body = CheckRequest, responses(
    (status = 200, body = Checked), (status = 401, description = "session_ended, unknown_token, token_expired or invalid_api_key")))]
pub(super) async fn check(
    caller: Caller<Apps>,
    State(app): AppState,
    Body(request): Body<CheckRequest>,
) -> Result<Json<Checked>, Problem> {
    let activity = request.activity.as_deref().map(input::activity).transpose()?;
    let options = CheckOptions {
        strict: request.strict.unwrap_or(false),
        open_transaction: request.transaction.unwrap_or(false),
        foreign: true,
    };
    // Whoever is remembered is answered whatever happens; a flood of tokens that nobody knows must not keep PostgreSQL busy.
    let strange = app.manager.is_strange(&request.token);
    if strange {
        app.limits.may_miss(caller.key_id(), Instant::now())?;
    }
    let verdict = app.manager.check(&request.token, activity, options, caller.actor()).await?;
    if strange && matches!(verdict, Verdict::Unknown) {
        app.limits.missed(caller.key_id(), Instant::now());
    }
    answer(verdict)
}

/// A verdict as an answer.
pub(super) fn answer(verdict: Verdict) -> Result<Json<Checked>, Problem> {
    match verdict {
        Verdict::Live(checked) => Ok(Json(*checked)),
        Verdict::Over(over) => Err(over.into()),
        Verdict::TokenExpired => Err(Problem::token_expired()),
        Verdict::Unknown => Err(Problem::unknown_token()),
    }
}
