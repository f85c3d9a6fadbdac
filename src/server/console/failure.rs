//! What a page answers when it cannot be shown: a page that says why, or the way to the sign-in page.

use askama::Template;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};

use super::super::problem::Problem;
use super::form::encoded;
use super::shown;
use crate::error::Error;

const HTML: &str = "text/html; charset=utf-8";

/// Why there is no page.
#[derive(Debug)]
pub(super) enum Failure {
    /// It is said on a page.
    Said(Problem),
    /// A script asked, and judges the answer itself.
    Told(Problem),
    /// Nobody is signed in any more.
    SignedOut {
        /// Why the session ended.
        reason: Option<&'static str>,
        /// Where to go after signing in again.
        next: Option<String>,
    },
}

impl Failure {
    /// Nobody is signed in: a person is sent to the sign-in page, a script is told.
    pub(super) fn signed_out(problem: Problem, by_script: bool, next: Option<String>) -> Self {
        if by_script { Self::Told(problem) } else { Self::SignedOut { reason: problem.reason(), next } }
    }
}

/// What is said beside a form that was refused, and the status of the page; what is not the form's fault is a failure.
pub(super) fn told(error: Error) -> Result<(StatusCode, String), Failure> {
    let Some(refusal) = error.refusal().filter(|refusal| refusal.status != 404) else { return Err(error.into()) };
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::UNPROCESSABLE_ENTITY);
    Ok((status, format!("{} {}", shown::refusal(&refusal.message), refusal.advice).trim().to_owned()))
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Said(problem)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Said(error.into())
    }
}

#[derive(Template)]
#[template(path = "failure.html")]
struct Page<'a> {
    title: &'a str,
    detail: String,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::Told(problem) => problem.into_response(),
            Self::SignedOut { reason, next } => {
                let fields = [("reason", reason.map(str::to_owned)), ("next", next)];
                let query: Vec<_> =
                    fields.iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_ref()?)))).collect();
                let mark = if query.is_empty() { "" } else { "?" };
                Redirect::to(&format!("/console/sign-in{mark}{}", query.join("&"))).into_response()
            }
            Self::Said(problem) => {
                let page = Page { title: problem.title(), detail: shown::refusal(problem.detail()) }.render();
                // With the problem's status and its own headers, such as Retry-After.
                let mut response = problem.into_response();
                if let Ok(page) = page {
                    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(HTML));
                    *response.body_mut() = page.into();
                }
                response
            }
        }
    }
}
