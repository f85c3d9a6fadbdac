//! What a page answers when it cannot be shown: a page that says why, or the way to the sign-in page.

use askama::Template;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};

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

/// Why a form did not do what it asks for.
#[derive(Debug)]
pub(super) enum Stopped {
    /// Its page is shown again.
    Refused(Refused),
    /// It is not the form's fault, or its page is gone.
    Failed(Failure),
}

impl Stopped {
    /// What is said on the form's page, if that is to be shown again.
    pub(super) fn refused(self) -> Result<Refused, Failure> {
        match self {
            Self::Refused(refused) => Ok(refused),
            Self::Failed(failure) => Err(failure),
        }
    }
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        let Some(refusal) = error.refusal().filter(|refusal| refusal.status != 404) else { return Self::Failed(error.into()) };
        let said = format!("{} {}", shown::refusal(&refusal.message), refusal.advice).trim().to_owned();
        Self::Refused(Refused { said, problem: error.into() })
    }
}

impl From<Problem> for Stopped {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem.into())
    }
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Why a form was refused.
#[derive(Debug)]
pub(super) struct Refused {
    said: String,
    problem: Problem,
}

impl Refused {
    /// What is said beside the form.
    pub(super) fn said(&self) -> &str {
        &self.said
    }

    /// Somebody else has changed what the form rests on.
    pub(super) fn is_stale(&self) -> bool {
        self.problem.status() == StatusCode::PRECONDITION_FAILED
    }

    /// The page, with the problem's status and its own headers, such as Retry-After.
    pub(super) fn on(self, page: Html<String>) -> Response {
        let mut response = self.problem.into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(HTML));
        *response.body_mut() = page.0.into();
        response
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self { said: problem.detail().to_owned(), problem }
    }
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
            Self::Said(problem) => match (Page { title: problem.title(), detail: shown::refusal(problem.detail()) }).render() {
                Ok(page) => Refused::from(problem).on(Html(page)),
                Err(_) => problem.into_response(),
            },
        }
    }
}
