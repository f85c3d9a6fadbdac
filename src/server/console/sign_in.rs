//! In and out.

use askama::Template;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::super::address::ClientAddress;
use super::super::extract::Params;
use super::super::problem::Problem;
use super::super::routes::browser::{self, SignIn};
use super::super::{AppState, cookie};
use super::failure::Refused;
use super::form::Form;
use super::operator::{SIGN_IN, is_welcome};
use super::page::{Answer, rendered};
use super::shown;
use crate::error::Error;
use crate::session::EndReason;
use crate::store::User;

/// What a browser forgets when somebody signs out: what it kept of pages, for the way back too. Not cookies and not storage: they
/// are of everything on this host, of the application's as well.
const FORGET: (HeaderName, &str) = (HeaderName::from_static("clear-site-data"), "\"cache\"");

/// Where one begins.
const HOME: &str = "/console";

/// How one came here.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arrival {
    /// Why the session before ended, as `/client.js` says it too.
    reason: Option<String>,
    /// Where to go afterwards.
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct Page<'a> {
    /// What ended the session before.
    told: Option<&'static str>,
    /// Why the attempt failed.
    problem: Option<&'a str>,
    user: &'a str,
    next: &'a str,
}

/// A page of the console, and nothing else: a link to the sign-in page must not lead elsewhere afterwards.
fn inside(next: &str) -> &str {
    let path = next.split(['?', '#']).next().unwrap_or_default();
    // A browser reads %2e as a dot, so nothing may be written in another way.
    let plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') && !path.contains('%');
    let below = path == HOME || path.strip_prefix(HOME).is_some_and(|rest| rest.starts_with('/'));
    if plain && below && !path.contains("//") && !path.contains("/.") { next } else { HOME }
}

/// The sign-in page.
pub(super) async fn show(arrival: Result<Params<Arrival>, Problem>) -> Answer {
    let Params(arrival) = arrival?;
    let reason = arrival.reason.as_deref().and_then(|word| word.parse::<EndReason>().ok());
    let next = inside(arrival.next.as_deref().unwrap_or(HOME));
    rendered(&Page { told: reason.map(shown::ended_because), problem: None, user: "", next })
}

/// Refuses whoever has no role for the console.
fn admits(user: &User) -> crate::Result<()> {
    if is_welcome(user) {
        return Ok(());
    }
    let advice = "An administrator can give you one.";
    Err(Error::refused(
        403,
        "role_not_allowed",
        "Your name and password are right, but you have no role for the console.",
        advice,
    ))
}

/// Signs in. Whoever has no role for the console gets no session either, and keeps the one they had.
pub(super) async fn enter(
    ClientAddress(address): ClientAddress,
    State(app): AppState,
    headers: HeaderMap,
    form: Form,
) -> Answer<Response> {
    let (user, next) = (form.one("user"), inside(form.one("next")));
    let who = SignIn {
        user: user.to_owned(),
        password: form.one("password").to_owned(),
        // Nobody wants a console that stays open for weeks.
        remember_me: Some(false),
        device: None,
    };
    let created = match browser::proved(&app, who, admits, address, &headers, None, SIGN_IN).await {
        Ok(created) => created,
        Err(problem) => {
            let refused = Refused::from(problem);
            let page = rendered(&Page { told: None, problem: Some(refused.said()), user, next })?;
            return Ok(refused.on(page));
        }
    };
    if let Ok(Some(before)) = cookie::read(&headers) {
        browser::try_to_end_before(&app, before).await;
    }
    let set = cookie::issue(&created.session, &created.token);
    Ok(([(SET_COOKIE, set)], Redirect::to(next)).into_response())
}

/// Signs out: the cookie goes, and the guest session that a sign-out leaves (K4) with it, because the console has no guests.
pub(super) async fn leave(State(app): AppState, headers: HeaderMap, _: Form) -> Answer<Response> {
    if let Some(token) = cookie::read(&headers)? {
        browser::end_before(&app, token).await?;
    }
    let headers = [(SET_COOKIE, cookie::clear()), (FORGET.0, HeaderValue::from_static(FORGET.1))];
    Ok((headers, Redirect::to("/console/sign-in?reason=signed_out")).into_response())
}

#[cfg(test)]
mod tests {
    use super::inside;

    #[test]
    fn a_sign_in_leads_to_a_page_of_the_console_and_nowhere_else() {
        for next in [
            "/console",
            "/console/sessions",
            "/console/sessions?user=abel.tuter&after=x",
            "/console/user?name=%C3%A4",
            "/console?x#y",
        ] {
            assert_eq!(inside(next), next);
        }
        for next in [
            "",
            "https://evil.example/console",
            "//evil.example/console",
            "/\\evil.example",
            "/consolex",
            "/console//evil.example",
            "/console/../v1/events",
            "/console/%2e%2e/v1/browser/session",
            "/console/.%2E/v1/events",
            "/console/\r\nSet-Cookie: x",
            "console/sessions",
            "javascript:alert(1)",
        ] {
            assert_eq!(inside(next), "/console", "{next}");
        }
    }
}
