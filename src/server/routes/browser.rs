//! What a browser asks for itself, with its cookie and no key: how long its session lasts, more time, and the way out. No answer
//! shows the token. Asking counts nothing and needs nothing more; whatever counts or changes something wants a request that only
//! a page of the same origin can make.

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use axum::http::header::{SET_COOKIE, USER_AGENT};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::super::address::ClientAddress;
use super::super::extract::Body;
use super::super::presented::FromCookie;
use super::super::problem::Problem;
use super::super::same_origin::SameOrigin;
use super::super::{App, AppState, cookie};
use super::check::answer;
use super::passwords::{self, Admits};
use crate::input::{self, LogIn};
use crate::manager::{CheckOptions, Checked, Created};
use crate::session::{Activity, SessionView};
use crate::store::Actor;

/// Who signed out, and who ended a session that was found over.
const ACTOR: Actor<'_> = Actor("browser");

async fn check(app: &App, token: &str, activity: Activity) -> Result<Json<Checked>, Problem> {
    answer(app.manager.check(token, Some(activity), CheckOptions::default(), ACTOR).await?)
}

/// The browser's session and how long it lasts. Asking is no activity.
#[utoipa::path(get, operation_id = "browser_session", path = "/v1/browser/session", security(()), responses(
    (status = 200, body = Checked), (status = 400),
    (status = 401, description = "session_ended or unknown_token"), (status = 503)))]
pub(super) async fn session(FromCookie(token): FromCookie, State(app): AppState) -> Result<Json<Checked>, Problem> {
    check(&app, &token, Activity::Passive).await
}

/// What the browser did.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct Report {
    /// What it was (A1): `user`, `ajax`, `chat_poll`, `auto_refresh` or `passive`.
    activity: String,
}

/// Reports an activity of the browser, for pages that do something without asking their server.
#[utoipa::path(post, operation_id = "browser_check", path = "/v1/browser/check", security(()), request_body = Report, responses(
    (status = 200, body = Checked), (status = 400), (status = 401, description = "session_ended or unknown_token"),
    (status = 403, description = "cross_site_request"), (status = 422), (status = 503)))]
pub(super) async fn report(
    _: SameOrigin,
    FromCookie(token): FromCookie,
    State(app): AppState,
    Body(report): Body<Report>,
) -> Result<Json<Checked>, Problem> {
    check(&app, &token, input::activity(&report.activity)?).await
}

/// Extends the browser's session: the answer to "Extend your session".
#[utoipa::path(post, operation_id = "browser_extend", path = "/v1/browser/extend", security(()), responses(
    (status = 200, body = Checked), (status = 400), (status = 401, description = "session_ended or unknown_token"),
    (status = 403, description = "cross_site_request"), (status = 409, description = "cannot_extend"), (status = 503)))]
pub(super) async fn extend(_: SameOrigin, FromCookie(token): FromCookie, State(app): AppState) -> Result<Json<Checked>, Problem> {
    let id = check(&app, &token, Activity::Passive).await?.0.session.id;
    let extended = answer(app.manager.extend(id, ACTOR).await?)?.0;
    Ok(Json(Checked { session: extended.session.without_place(), ..extended }))
}

/// Who signs in.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct SignIn {
    /// User name.
    pub(in crate::server) user: String,
    /// The password as it was typed.
    pub(in crate::server) password: String,
    /// Remember Me; null takes the property's default.
    pub(in crate::server) remember_me: Option<bool>,
    /// `desktop`, `tablet` or `phone`; null is desktop.
    pub(in crate::server) device: Option<String>,
}

/// A session whose token is in the cookie.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::server) struct SignedIn {
    session: SessionView,
}

/// Signs the browser in by password. The token goes into the cookie, which Remember Me makes outlive the browser. What the
/// cookie held before is over: a guest session ends as signed in (K3), that of a user as signed out.
#[utoipa::path(post, operation_id = "browser_sign_in", path = "/v1/browser/sign-in", security(()), request_body = SignIn, responses(
    (status = 201, body = SignedIn), (status = 400, description = "ambiguous_token, token_in_url or malformed_body"),
    (status = 401, description = "invalid_credentials"), (status = 403, description = "cross_site_request, user_locked_out or user_inactive"),
    (status = 409, description = "session_limit_reached"),
    (status = 429, description = "too_many_requests"), (status = 503, description = "unavailable, or maintenance")))]
pub(super) async fn sign_in(
    _: SameOrigin,
    FromCookie(before): FromCookie,
    ClientAddress(address): ClientAddress,
    State(app): AppState,
    headers: HeaderMap,
    Body(request): Body<SignIn>,
) -> Result<Response, Problem> {
    let created = proved(&app, request, |_| Ok(()), address, &headers, Some(before.clone()), ACTOR).await?;
    try_to_end_before(&app, &before).await;
    let set = cookie::issue(&created.session, &created.token);
    let body = Json(SignedIn { session: created.session.without_place() });
    Ok((StatusCode::CREATED, [(SET_COOKIE, set)], body).into_response())
}

/// A new session for whoever proves to be its user; it replaces a guest's.
pub(in crate::server) async fn proved(
    app: &App,
    who: SignIn,
    admits: Admits,
    address: Option<IpAddr>,
    headers: &HeaderMap,
    guest_token: Option<String>,
    actor: Actor<'_>,
) -> Result<Created, Problem> {
    let agent = headers.get(USER_AGENT).map(|agent| String::from_utf8_lossy(agent.as_bytes()).into_owned());
    let log_in = LogIn {
        user: who.user,
        password: who.password,
        remember_me: who.remember_me,
        device: who.device,
        client_address: address.map(|address| address.to_string()),
        user_agent: agent,
        homepage_refresh_minutes: None,
        idle_limit_minutes: None,
        guest_token,
        carry_attributes: None,
        attributes: None,
    };
    passwords::proved(app, log_in, admits, actor).await
}

/// Ends what the cookie held, and leaves no guest behind.
pub(in crate::server) async fn end_before(app: &App, token: &str) -> Result<(), Problem> {
    let id = match check(app, token, Activity::Passive).await {
        Ok(Json(checked)) => checked.session.id,
        Err(problem) if problem.is_over() => return Ok(()),
        Err(problem) => return Err(problem),
    };
    if let Some((guest, _)) = app.manager.sign_out(id, ACTOR).await?.guest {
        app.manager.terminate(guest.id, false, ACTOR).await?;
    }
    Ok(())
}

/// The same for who has signed in since: the new session is there, and its cookie has to reach the browser.
pub(in crate::server) async fn try_to_end_before(app: &App, token: &str) {
    if let Err(problem) = end_before(app, token).await {
        tracing::warn!(reason = problem.detail(), "the session before a sign-in could not be ended; it runs out by itself");
    }
}

/// A session that was signed out and the guest session in its place; its token is in the cookie.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::server) struct Left {
    session: SessionView,
    /// For kind user.
    guest: Option<SessionView>,
}

/// Signs the browser out. A session of kind user leaves a guest session in the cookie (K4); otherwise the cookie goes.
#[utoipa::path(post, operation_id = "browser_sign_out", path = "/v1/browser/sign-out", security(()), responses(
    (status = 200, body = Left), (status = 400),
    (status = 401, description = "session_ended or unknown_token; the cookie goes all the same"),
    (status = 403, description = "cross_site_request"), (status = 503)))]
pub(super) async fn sign_out(_: SameOrigin, FromCookie(token): FromCookie, State(app): AppState) -> Result<Response, Problem> {
    let id = match check(&app, &token, Activity::Passive).await {
        Ok(Json(checked)) => checked.session.id,
        Err(problem) if problem.is_over() => return Ok(([(SET_COOKIE, cookie::clear())], problem).into_response()),
        Err(problem) => return Err(problem),
    };
    let left = app.manager.sign_out(id, ACTOR).await?;
    let (guest, set) = match left.guest {
        Some((guest, token)) => {
            let set = cookie::issue(&guest, &token);
            (Some(guest.without_place()), set)
        }
        None => (None, cookie::clear()),
    };
    Ok(([(SET_COOKIE, set)], Json(Left { session: left.session.without_place(), guest })).into_response())
}
