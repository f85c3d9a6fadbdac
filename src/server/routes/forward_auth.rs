//! Forward-auth: a proxy asks about the client's request before it passes it on. Only a 2xx is a pass, and only a live session
//! gets one; whatever fails is an error, and nothing is ever created.

use std::fmt::Write;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use chrono::SecondsFormat;
use serde::Deserialize;

use super::super::extract::Params;
use super::super::presented::Presented;
use super::super::problem::Problem;
use super::super::{App, AppState};
use super::check::answer;
use crate::input;
use crate::manager::{CheckOptions, Checked, Verdict};
use crate::session::{Activity, Kind};
use crate::store::Actor;

/// Who ended a session that this found over.
const ACTOR: Actor<'_> = Actor("forward-auth");

/// In: what the request is.
const ACTIVITY: HeaderName = HeaderName::from_static("x-tenure-activity");
/// Out, with every pass: the user's name, empty for a guest, so that a proxy has something to put in a client's place.
const USER: HeaderName = HeaderName::from_static("x-tenure-user");
/// Out: the session's id.
const SESSION: HeaderName = HeaderName::from_static("x-tenure-session");
/// Out: its kind.
const KIND: HeaderName = HeaderName::from_static("x-tenure-kind");
/// Out, while maintenance is announced: when it ends the session.
const MAINTENANCE: HeaderName = HeaderName::from_static("x-tenure-maintenance-at");

/// What the proxy's configuration says of the route it guards.
#[derive(Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::server) struct RouteQuery {
    /// The strongest activity a request to this route may count as; the header can only weaken it.
    activity: Option<String>,
    /// The kinds of session that pass, divided by commas; every kind when left out, guests included.
    kind: Option<String>,
}

/// Forward-auth for nginx, Traefik, Caddy and Envoy: whether the client's request may pass.
///
/// Any path below asks the same, with any method; there the query string is that of the client's request and is ignored. The
/// token comes from the cookie `__Host-tenure` or as bearer, never both. `X-Tenure-Activity` says what the request is. A pass
/// carries `X-Tenure-User` (percent-encoded UTF-8, empty for a guest), `X-Tenure-Session` and `X-Tenure-Kind`, and
/// `X-Tenure-Maintenance-At` while maintenance is announced that will end the session; an ended session's 401 carries `X-Tenure-Reason` and `X-Tenure-Action`.
#[utoipa::path(get, operation_id = "forward_auth", path = "/v1/auth", security(()), params(RouteQuery,
    ("x-tenure-activity" = Option<String>, Header, description = "What the request is (A1): user, ajax, chat_poll, auto_refresh, passive")),
    responses((status = 200, description = "The request may pass"),
    (status = 400, description = "invalid_parameter, ambiguous_token or token_in_url"),
    (status = 401, description = "session_ended, unknown_token or sign_in_required"),
    (status = 403, description = "kind_not_allowed"), (status = 422), (status = 503)))]
pub(super) async fn auth(
    Presented(token): Presented,
    State(app): AppState,
    Params(route): Params<RouteQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    pass(&app, &token, &route, &headers).await
}

/// The same for a proxy that puts the client's own path and query behind, as Envoy does: those are not for us.
pub(super) async fn auth_below(
    Presented(token): Presented,
    State(app): AppState,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    pass(&app, &token, &RouteQuery::default(), &headers).await
}

async fn pass(app: &App, token: &str, route: &RouteQuery, headers: &HeaderMap) -> Result<Response, Problem> {
    let kinds =
        route.kind.as_deref().map(|words| words.split(',').map(input::kind).collect::<crate::Result<Vec<_>>>()).transpose()?;
    let activity = activity(route.activity.as_deref(), headers)?;
    let check = async |activity| app.manager.check(token, activity, CheckOptions::default(), ACTOR).await;
    // Looked at first: who does not pass has done nothing that counts. What an ended session is told depends on the activity.
    if let Some(kinds) = kinds {
        match check(Some(Activity::Passive)).await? {
            Verdict::Live(checked) if !kinds.contains(&checked.session.kind) => return Err(not_here(checked.session.kind)),
            Verdict::Live(_) | Verdict::Over(_) => {}
            nobody @ (Verdict::TokenExpired | Verdict::Unknown) => return answer(nobody).map(IntoResponse::into_response),
        }
    }
    let Checked { session, maintenance_at, .. } = answer(check(activity).await?)?.0;
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| Problem::internal());
    let user = session.user.as_deref().map(encoded).unwrap_or_default();
    let mut response = [(USER, value(&user)?), (SESSION, value(&session.id.to_string())?), (KIND, value(session.kind.as_str())?)]
        .into_response();
    if let Some(at) = maintenance_at {
        response.headers_mut().insert(MAINTENANCE, value(&at.to_rfc3339_opts(SecondsFormat::AutoSi, true))?);
    }
    Ok(response)
}

fn not_here(kind: Kind) -> Problem {
    match kind {
        Kind::Guest => Problem::sign_in_required(),
        kind => Problem::new(
            403,
            "kind_not_allowed",
            &format!("A session of kind {kind} does not pass here."),
            "Use a session of a kind that the proxy's configuration names.",
        ),
    }
}

/// What the request counts as: the weaker of what the route allows and what the header says. Who sends the header, a proxy or
/// a client, can so keep a session from living longer, and never make it.
fn activity(strongest: Option<&str>, headers: &HeaderMap) -> Result<Option<Activity>, Problem> {
    let mut said = headers.get_all(ACTIVITY).iter();
    let said = match (said.next(), said.next()) {
        (_, Some(_)) => {
            return Err(Problem::new(400, "ambiguous_activity", "The request has two X-Tenure-Activity headers.", "Send one."));
        }
        (said, None) => said.map(|word| input::activity(word.to_str().unwrap_or_default())).transpose()?,
    };
    // What a mobile app is doing says the app itself, to the application: here it would be stronger than its own default.
    if let Some(state) = said.filter(|said| matches!(said, Activity::Foreground | Activity::Task | Activity::Background)) {
        return Err(Problem::new(
            422,
            "invalid_field",
            &format!("X-Tenure-Activity: {state} is not one of user, ajax, chat_poll, auto_refresh, passive."),
            "Mobile apps report their state with POST /v1/sessions/{id}/app-state.",
        ));
    }
    let strongest = strongest.map(input::activity).transpose()?;
    Ok(match (strongest, said) {
        (Some(strongest), Some(said)) => Some(strongest.weaker(said)),
        (one, other) => one.or(other),
    })
}

/// A user's name for a header: UTF-8, percent-encoded except for visible ASCII.
fn encoded(name: &str) -> String {
    name.bytes().fold(String::with_capacity(name.len()), |mut text, byte| {
        if byte.is_ascii_graphic() && byte != b'%' {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn names_survive_a_header() {
        assert_eq!(encoded("abel.tuter@example.com"), "abel.tuter@example.com");
        assert_eq!(encoded("Zoë 100%"), "Zo%C3%AB%20100%25");
    }
}
