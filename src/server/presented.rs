//! The session token that a client's own request carries: in one place only, and never in the URL.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::problem::Problem;
use super::{App, cookie};
use crate::session;

/// The token from the cookie or from `Authorization: Bearer`; empty without one, which is a token of no session (E3).
pub(super) struct Presented(pub(super) String);

impl FromRequestParts<App> for Presented {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        if parts.uri.query().is_some_and(holds_token) {
            return Err(Problem::token_in_url());
        }
        Ok(Self(one(&parts.headers)?.unwrap_or_default().to_owned()))
    }
}

/// The token from the cookie alone, for a browser's own questions; these have no parameters (10).
pub(super) struct FromCookie(pub(super) String);

impl FromRequestParts<App> for FromCookie {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        if parts.uri.query().is_some_and(|query| !query.is_empty()) {
            return Err(Problem::token_in_url());
        }
        one(&parts.headers)?;
        Ok(Self(cookie::read(&parts.headers)?.unwrap_or_default().to_owned()))
    }
}

/// The one token. Two ways at once are refused (9), also where the `Authorization` header holds no token of ours: what is
/// behind the proxy might believe the one that was not checked.
fn one(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut authorization = headers.get_all(AUTHORIZATION).iter();
    match (cookie::read(headers)?, authorization.next(), authorization.next()) {
        (Some(_), Some(_), _) => {
            Err(Problem::ambiguous_token("The request has both the cookie __Host-tenure and an Authorization header."))
        }
        (_, _, Some(_)) => Err(Problem::ambiguous_token("The request has two Authorization headers.")),
        (Some(token), None, _) => Ok(Some(token)),
        (None, value, _) => Ok(value.and_then(|value| {
            let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token)
        })),
    }
}

/// Whether a query string holds what could be a token of a session: it would end up in logs and histories.
fn holds_token(query: &str) -> bool {
    query.split(['&', '=', ';']).any(|part| session::Presented::parse(part).is_some())
}
