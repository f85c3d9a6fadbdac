//! What a browser asks for itself, with its cookie and no key: how long its session lasts, more time, and the way out. No answer
//! shows the token. Asking counts nothing and needs nothing more; whatever counts or changes something wants a request that only
//! a page of the same origin can make.

use axum::Json;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::super::extract::Body;
use super::super::presented::FromCookie;
use super::super::problem::Problem;
use super::super::same_origin::SameOrigin;
use super::super::{App, AppState, cookie};
use super::check::answer;
use crate::input;
use crate::manager::{CheckOptions, Checked};
use crate::session::{Activity, SessionView};
use crate::store::Actor;

/// Who signed out, and who ended a session that was found over.
const ACTOR: Actor<'_> = Actor("browser");

async fn check(app: &App, token: &str, activity: Activity) -> Result<Json<Checked>, Problem> {
    answer(app.manager.check(token, Some(activity), CheckOptions::default(), ACTOR).await?)
}

/// The browser's session and how long it lasts. Asking is no activity.
#[utoipa::path(get, path = "/v1/browser/session", security(()), responses(
    (status = 200, body = Checked), (status = 400, body = Problem),
    (status = 401, description = "session_ended or unknown_token", body = Problem), (status = 503, body = Problem)))]
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
#[utoipa::path(post, path = "/v1/browser/check", security(()), request_body = Report, responses(
    (status = 200, body = Checked), (status = 400, body = Problem), (status = 401, description = "session_ended or unknown_token", body = Problem),
    (status = 403, description = "cross_site_request", body = Problem), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn report(
    _: SameOrigin,
    FromCookie(token): FromCookie,
    State(app): AppState,
    Body(report): Body<Report>,
) -> Result<Json<Checked>, Problem> {
    check(&app, &token, input::activity(&report.activity)?).await
}

/// Extends the browser's session: the answer to "Extend your session".
#[utoipa::path(post, path = "/v1/browser/extend", security(()), responses(
    (status = 200, body = Checked), (status = 400, body = Problem), (status = 401, description = "session_ended or unknown_token", body = Problem),
    (status = 403, description = "cross_site_request", body = Problem), (status = 409, description = "cannot_extend", body = Problem), (status = 503, body = Problem)))]
pub(super) async fn extend(_: SameOrigin, FromCookie(token): FromCookie, State(app): AppState) -> Result<Json<Checked>, Problem> {
    let id = check(&app, &token, Activity::Passive).await?.0.session.id;
    let extended = answer(app.manager.extend(id, ACTOR).await?)?.0;
    Ok(Json(Checked { session: extended.session.without_place(), ..extended }))
}

/// A session that was signed out and the guest session in its place; its token is in the cookie.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::server) struct Left {
    session: SessionView,
    /// For kind user.
    guest: Option<SessionView>,
}

/// Signs the browser out. A session of kind user leaves a guest session in the cookie (K4); otherwise the cookie goes.
#[utoipa::path(post, path = "/v1/browser/sign-out", security(()), responses(
    (status = 200, body = Left), (status = 400, body = Problem),
    (status = 401, description = "session_ended or unknown_token; the cookie goes all the same", body = Problem),
    (status = 403, description = "cross_site_request", body = Problem), (status = 503, body = Problem)))]
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
