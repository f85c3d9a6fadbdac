//! RFC 9457 problems with a stable `code`. What failed inside is logged, never sent.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::error::Error;
use crate::session::{Action, EndReason, Over};

/// The reason and the action of an ended session once more, for proxies and scripts that see no body.
const REASON: HeaderName = HeaderName::from_static("x-tenure-reason");
const ACTION: HeaderName = HeaderName::from_static("x-tenure-action");

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
    #[schema(value_type = String)]
    code: Box<str>,
    /// Why the session ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<EndReason>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<DateTime<Utc>>,
    /// What the client should do.
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<Action>,
    /// How many sessions it is about: those a change would end.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<i64>,
    /// When to ask again, seconds; goes into `Retry-After`.
    #[serde(skip)]
    retry_after: Option<u64>,
}

impl Problem {
    pub(super) fn new(status: u16, code: impl Into<Box<str>>, message: &str, advice: &str) -> Self {
        let title = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Error");
        let detail = if advice.is_empty() { message.to_owned() } else { format!("{message} {advice}") };
        Self {
            kind: "about:blank",
            title,
            status,
            detail,
            code: code.into(),
            reason: None,
            ended_at: None,
            action: None,
            count: None,
            retry_after: (status == 503).then_some(1),
        }
    }

    pub(super) fn internal() -> Self {
        Self::new(500, "internal", "The store failed.", "The log of the node says why.")
    }

    /// PostgreSQL is away or too slow: never to be taken for an ended session (E3).
    pub(super) fn unavailable() -> Self {
        Self::new(503, "unavailable", "The store cannot know now: PostgreSQL is unavailable.", "Ask again in a second.")
    }

    /// The node is about to stop, or was ordered to drain.
    pub(super) fn draining() -> Self {
        Self::new(503, "draining", "The node is draining.", "Send requests to another node.")
    }

    /// HTTP status.
    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The status in words.
    #[cfg(feature = "console")]
    pub(super) fn title(&self) -> &'static str {
        self.title
    }

    /// Why the session ended, when it did.
    #[cfg(feature = "console")]
    pub(super) fn reason(&self) -> Option<&'static str> {
        self.reason.map(EndReason::as_str)
    }

    /// What happened, and what to do.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// A token that this store does not know: one answer for every string (E3).
    pub(super) fn unknown_token() -> Self {
        Self::new(401, "unknown_token", "The token is not one of a live or retained session.", "Sign in again.")
    }

    /// An access token that expired while its session lives.
    pub(super) fn token_expired() -> Self {
        Self::new(401, "token_expired", "The access token has expired; the session lives.", "Redeem the refresh token.")
    }

    /// A guest where only somebody signed in may go.
    pub(super) fn sign_in_required() -> Self {
        let problem = Self::new(401, "sign_in_required", "The session is a guest's, and guests do not pass here.", "Sign in.");
        Self { action: Some(Action::RedirectToLogin), ..problem }
    }

    /// More than one session token, so that nobody knows which one counts (8, 9).
    pub(super) fn ambiguous_token(message: &str) -> Self {
        Self::new(400, "ambiguous_token", message, "Send the session token once, as cookie or as bearer.")
    }

    /// A session token, or what could be one, in the URL (10).
    pub(super) fn token_in_url() -> Self {
        Self::new(
            400,
            "token_in_url",
            "A session token never belongs into a URL, which logs and histories keep; it was not looked at.",
            "Send it as the cookie __Host-tenure or as bearer, and nothing in the query string.",
        )
    }

    /// Whether it says that there is no live session, rather than that this is not known.
    pub(super) fn is_over(&self) -> bool {
        matches!(&*self.code, "session_ended" | "unknown_token")
    }

    /// More than a limit lets through.
    pub(super) fn too_many_requests(what: &str, wait: Duration) -> Self {
        let seconds = wait.as_secs() + 1;
        let mut problem =
            Self::new(429, "too_many_requests", &format!("Too many {what}."), &format!("Ask again in {seconds} s."));
        problem.retry_after = Some(seconds);
        problem
    }

    /// A bad or missing API key, told apart from an ended session (E3).
    pub(super) fn invalid_api_key() -> Self {
        Self::new(401, "invalid_api_key", "The request has no valid API key.", "Send one as Authorization: Bearer tnk_...")
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        if let Some(refusal) = error.refusal() {
            let problem = Self::new(refusal.status, &*refusal.code, &refusal.message, &refusal.advice);
            // Nobody knows how long maintenance takes; asking every second would not help.
            let retry_after = if refusal.code == "maintenance" { Some(60) } else { problem.retry_after };
            return Self { retry_after, count: refusal.count, ..problem };
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
        let status = self.status();
        let retry_after = self.retry_after;
        let authenticate = (&*self.code == "invalid_api_key").then_some("Bearer");
        let told = [(REASON, self.reason.map(EndReason::as_str)), (ACTION, self.action.map(Action::as_str))];
        let mut response = (status, axum::Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        for (name, word) in told {
            if let Some(word) = word {
                headers.insert(name, HeaderValue::from_static(word));
            }
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
