//! RFC 9457 problems with a stable `code`. What failed inside is logged, never sent.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::error::Error;
use crate::session::{Action, EndReason, Over};

/// An error answer, `application/problem+json`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Problem {
    /// Always `about:blank`: `code` tells problems apart.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// HTTP status.
    status: u16,
    /// One sentence, and what to do.
    detail: String,
    /// Stable code.
    code: String,
    /// Why the session ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<EndReason>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<DateTime<Utc>>,
    /// What the client should do.
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<Action>,
}

impl Problem {
    pub(super) fn new(status: u16, code: impl Into<String>, message: &str, advice: &str) -> Self {
        let title = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error");
        let detail = if advice.is_empty() { message.to_owned() } else { format!("{message} {advice}") };
        Self { kind: "about:blank", title, status, detail, code: code.into(), reason: None, ended_at: None, action: None }
    }

    pub(super) fn internal() -> Self {
        Self::new(500, "internal", "The store failed.", "The log of the node says why.")
    }

    /// PostgreSQL is away or too slow: never to be taken for an ended session (E3).
    pub(super) fn unavailable() -> Self {
        Self::new(503, "unavailable", "The store cannot know now: PostgreSQL is unavailable.", "Ask again in a second.")
    }

    /// A token that this store does not know: one answer for every string (E3).
    pub(super) fn unknown_token() -> Self {
        Self::new(401, "unknown_token", "The token is not one of a live or retained session.", "Sign in again.")
    }

    /// An access token that expired while its session lives.
    pub(super) fn token_expired() -> Self {
        Self::new(401, "token_expired", "The access token has expired; the session lives.", "Redeem the refresh token.")
    }

    /// A bad or missing API key, told apart from an ended session (E3).
    pub(super) fn invalid_api_key() -> Self {
        Self::new(401, "invalid_api_key", "The request has no valid API key.", "Send one as Authorization: Bearer tnk_...")
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        if let Some(refusal) = error.refusal() {
            return Self::new(refusal.status, &*refusal.code, &refusal.message, &refusal.advice);
        }
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        if error.is_unavailable() {
            tracing::warn!(%source, "PostgreSQL is unavailable");
            return Self::unavailable();
        }
        tracing::error!(%source, "request failed");
        Self::internal()
    }
}

impl From<Box<Over>> for Problem {
    fn from(over: Box<Over>) -> Self {
        let mut problem = Self::new(401, "session_ended", &format!("The session ended ({}).", over.ending.reason), "");
        problem.reason = Some(over.ending.reason);
        problem.ended_at = Some(over.ending.at);
        problem.action = Some(over.action);
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let authenticate = (self.code == "invalid_api_key").then_some("Bearer");
        let mut response = (status, axum::Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(scheme) = authenticate {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
        }
        response
    }
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        problem.into_response()
    }
}
