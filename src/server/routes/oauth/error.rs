//! Errors as RFC 6749, section 5.2, has them.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::super::super::problem::Problem;

/// An error answer of the OAuth endpoints.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::server) struct OauthError {
    /// Stable code: `invalid_request`, `invalid_client`, `invalid_grant`, `unsupported_grant_type`, `invalid_scope`,
    /// `temporarily_unavailable` or `server_error`.
    error: &'static str,
    /// One sentence, and what to do.
    error_description: String,
    #[serde(skip)]
    status: StatusCode,
}

impl OauthError {
    pub(super) fn bad_request(error: &'static str, description: &str) -> Self {
        Self { error, error_description: description.to_owned(), status: StatusCode::BAD_REQUEST }
    }

    pub(super) fn invalid_request(description: &str) -> Self {
        Self::bad_request("invalid_request", description)
    }

    /// One answer for an unknown client and a wrong secret.
    pub(super) fn invalid_client() -> Self {
        Self {
            error: "invalid_client",
            error_description: "The client is not known, or did not prove who it is.".to_owned(),
            status: StatusCode::UNAUTHORIZED,
        }
    }
}

/// A body that was too slow or too large.
impl From<Problem> for OauthError {
    fn from(problem: Problem) -> Self {
        let status = problem.status();
        Self { status, ..Self::invalid_request(problem.detail()) }
    }
}

impl From<crate::Error> for OauthError {
    fn from(error: crate::Error) -> Self {
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        let (error, description, status) = if let Some(refusal) = error.refusal() {
            return Self::invalid_request(&refusal.message);
        } else if error.is_unavailable() {
            tracing::warn!(%source, "PostgreSQL is unavailable");
            ("temporarily_unavailable", "PostgreSQL is unavailable. Ask again in a second.", StatusCode::SERVICE_UNAVAILABLE)
        } else {
            tracing::error!(%source, "request failed");
            ("server_error", "The store failed. The log of the node says why.", StatusCode::INTERNAL_SERVER_ERROR)
        };
        Self { error, error_description: description.to_owned(), status }
    }
}

impl IntoResponse for OauthError {
    fn into_response(self) -> Response {
        let status = self.status;
        let mut response = (status, axum::Json(self)).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"tenure\""));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
