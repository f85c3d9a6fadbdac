//! Sessions by id and in lists.

use std::ops::ControlFlow;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use super::super::AppState;
use super::super::auth::{Admins, Anybody, Apps, Caller, Watchers};
use super::super::extract::{Body, Params, SessionId};
use super::super::problem::Problem;
use super::check::answer;
use crate::cluster::Barrier;
use crate::input::{self, CreateSession, SessionFilter, TerminateInput};
use crate::manager::{BulkTerminated, Checked, CreatedView, Terminated};
use crate::session::{Explanation, SessionView};
use crate::store::{BulkForecast, Event, EventFilter, ListFilter};

type Answer<T> = Result<Json<T>, Problem>;

/// After this time an order to end many sessions begins no further transaction: its answer must come within the time of a request.
const TERMINATE_TIME: Duration = Duration::from_mins(1);

/// Starts a session.
///
/// With an `Idempotency-Key` a request whose answer was lost can be sent again, for 24 hours: it answers the same session with
/// a new token, and no token told before is good any more. Each API key has idempotency keys of its own.
#[utoipa::path(post, operation_id = "create_session", path = "/v1/sessions", request_body = CreateSession,
    params(("Idempotency-Key" = Option<String>, Header, description = "New for each sign-in, repeated with its repetitions")),
    responses(
        (status = 201, body = CreatedView, headers(("Idempotent-Replayed" = bool, description = "true for a repetition; absent otherwise"))),
        (status = 403, description = "user_locked_out, user_inactive or role_not_allowed"), (status = 404, description = "unknown_user or unknown_oauth_entity"),
        (status = 409, description = "session_ended: the session that this Idempotency-Key started is over; or session_limit_reached"),
        (status = 503, description = "maintenance, or unavailable")))]
pub(super) async fn create(
    caller: Caller<Apps>,
    State(app): AppState,
    headers: HeaderMap,
    Body(request): Body<CreateSession>,
) -> Result<Response, Problem> {
    let once = idempotency_key(&headers).map(|key| request.once(caller.key_id(), key)).transpose()?;
    let new = request.validate()?;
    app.limits.create(caller.key_id(), Instant::now())?;
    let (created, repeated) = match &once {
        Some(once) => app.manager.create_once(&new, once, caller.actor()).await?,
        None => (app.manager.create(&new, caller.actor()).await?, false),
    };
    let mut response = (StatusCode::CREATED, Json(CreatedView::from(created))).into_response();
    if repeated {
        response.headers_mut().insert(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// The key of a sign-in that may be repeated. Two of them are none: what stands for both is refused by its form.
fn idempotency_key(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all("idempotency-key").iter();
    let first = values.next()?;
    Some(if values.next().is_none() { first.as_bytes() } else { b"" })
}

/// What to list.
#[derive(Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct ListQuery {
    /// Of this user.
    pub(in crate::server) user: Option<String>,
    /// Of this kind.
    pub(in crate::server) kind: Option<String>,
    /// Last used on this node.
    pub(in crate::server) node: Option<String>,
    /// With a transaction open, or without.
    pub(in crate::server) active: Option<String>,
    /// From this client address.
    pub(in crate::server) address: Option<String>,
    /// Without activity for at least so many minutes.
    pub(in crate::server) idle_minutes_min: Option<String>,
    /// Created at or after.
    pub(in crate::server) created_from: Option<String>,
    /// Created before.
    pub(in crate::server) created_to: Option<String>,
    /// Last activity at or after.
    pub(in crate::server) last_activity_from: Option<String>,
    /// Last activity before.
    pub(in crate::server) last_activity_to: Option<String>,
    /// `live` (default), `ended` or `all`.
    pub(in crate::server) state: Option<String>,
    /// 1 to 500; 50 when left out.
    pub(in crate::server) limit: Option<String>,
    /// Cursor of the page before.
    pub(in crate::server) after: Option<String>,
}

impl ListQuery {
    /// The filter, once every part of it is judged.
    pub(in crate::server) fn filter(self) -> crate::Result<ListFilter> {
        let conditions = SessionFilter {
            user: self.user,
            kind: self.kind,
            node: self.node,
            address: self.address,
            created_from: self.created_from,
            created_to: self.created_to,
            last_activity_from: self.last_activity_from,
            last_activity_to: self.last_activity_to,
            ..SessionFilter::default()
        };
        Ok(ListFilter {
            state: input::state(self.state.as_deref())?,
            limit: input::limit(self.limit.as_deref())?,
            after: self.after.as_deref().map(input::cursor).transpose()?,
            ..conditions.with_text(self.active.as_deref(), self.idle_minutes_min.as_deref())?.validate()?
        })
    }
}

/// A page of sessions.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::server) struct SessionPage {
    items: Vec<SessionView>,
    next: Option<String>,
}

/// Lists sessions, newest first.
#[utoipa::path(get, operation_id = "list_sessions", path = "/v1/sessions", params(ListQuery), responses(
    (status = 200, body = SessionPage)))]
pub(super) async fn list(_: Caller<Watchers>, State(app): AppState, Params(query): Params<ListQuery>) -> Answer<SessionPage> {
    let page = app.manager.store().list(&query.filter()?).await?;
    Ok(Json(SessionPage { items: page.items, next: page.next }))
}

/// Shows a session, live or retained.
#[utoipa::path(get, operation_id = "show_session", path = "/v1/sessions/{id}", params(("id" = Uuid, Path, description = "Session id")), responses(
    (status = 200, body = SessionView)))]
pub(super) async fn show(caller: Caller<Anybody>, State(app): AppState, SessionId(id): SessionId) -> Answer<SessionView> {
    Ok(Json(app.manager.session(id, caller.actor()).await?))
}

/// Explains every deadline of a session, or how it ended.
#[utoipa::path(get, operation_id = "explain_session", path = "/v1/sessions/{id}/explain", params(("id" = Uuid, Path, description = "Session id")), responses(
    (status = 200, body = Explanation)))]
pub(super) async fn explain(caller: Caller<Watchers>, State(app): AppState, SessionId(id): SessionId) -> Answer<Explanation> {
    Ok(Json(app.manager.explain(id, caller.actor()).await?))
}

/// Which events to list or follow.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct EventQuery {
    /// Only this type.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// 1 to 500; 50 when left out.
    limit: Option<String>,
    /// Cursor of the page before.
    after: Option<String>,
}

impl EventQuery {
    /// The type alone, for a stream: it has no pages.
    pub(super) fn followed(self) -> crate::Result<Option<String>> {
        if self.limit.is_some() || self.after.is_some() {
            return Err(input::parameter("limit", "a stream has no pages, and neither limit nor after."));
        }
        self.kind.map(|text| input::text("type", text)).transpose()
    }

    pub(super) fn filter(self, session_id: Option<Uuid>) -> crate::Result<EventFilter> {
        Ok(EventFilter {
            session_id,
            kind: self.kind.map(|text| input::text("type", text)).transpose()?,
            limit: input::limit(self.limit.as_deref())?,
            after: self.after.as_deref().map(input::cursor).transpose()?,
            ..EventFilter::default()
        })
    }
}

/// A page of events.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::server) struct EventPage {
    pub(super) items: Vec<Event>,
    pub(super) next: Option<String>,
}

/// Lists the events of a session, newest first.
#[utoipa::path(get, operation_id = "list_session_events", path = "/v1/sessions/{id}/events", params(("id" = Uuid, Path, description = "Session id"), EventQuery), responses(
    (status = 200, body = EventPage)))]
pub(super) async fn events(
    caller: Caller<Watchers>,
    State(app): AppState,
    SessionId(id): SessionId,
    Params(query): Params<EventQuery>,
) -> Answer<EventPage> {
    let filter = query.filter(Some(id))?;
    app.manager.session(id, caller.actor()).await?;
    let page = app.manager.store().events(&filter).await?;
    Ok(Json(EventPage { items: page.items, next: page.next }))
}

/// Extends a session: the answer to "Extend your session".
#[utoipa::path(post, operation_id = "extend_session", path = "/v1/sessions/{id}/extend", params(("id" = Uuid, Path, description = "Session id")), responses(
    (status = 200, body = Checked),
    (status = 409, description = "cannot_extend")))]
pub(super) async fn extend(caller: Caller<Apps>, State(app): AppState, SessionId(id): SessionId) -> Answer<Checked> {
    answer(app.manager.extend(id, caller.actor()).await?)
}

/// What a mobile app reports.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct StateReport {
    /// `foreground`, `task` or `background`.
    state: String,
}

/// Takes the state of a mobile app: on the screen, busy with a long task, or in the background.
#[utoipa::path(post, operation_id = "report_app_state", path = "/v1/sessions/{id}/app-state", params(("id" = Uuid, Path, description = "Session id")), request_body = StateReport, responses(
    (status = 200, body = Checked)))]
pub(super) async fn app_state(
    caller: Caller<Apps>,
    State(app): AppState,
    SessionId(id): SessionId,
    Body(report): Body<StateReport>,
) -> Answer<Checked> {
    answer(app.manager.report_state(id, input::app_state(&report.state)?, caller.actor()).await?)
}

/// A session under a new token.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::server) struct Rotated {
    session: SessionView,
    /// Shown once.
    token: String,
    barrier: Barrier,
}

/// Gives a session a new token; the old one is dead on every node when this answers.
#[utoipa::path(post, operation_id = "rotate_session", path = "/v1/sessions/{id}/rotate", params(("id" = Uuid, Path, description = "Session id")), responses(
    (status = 200, body = Rotated),
    (status = 409, description = "session_ended")))]
pub(super) async fn rotate(caller: Caller<Apps>, State(app): AppState, SessionId(id): SessionId) -> Answer<Rotated> {
    let rotated = app.manager.rotate(id, caller.actor()).await?;
    Ok(Json(Rotated { session: rotated.session, token: rotated.token.reveal().to_owned(), barrier: rotated.barrier }))
}

/// A signed-out session and what it left.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::server) struct SignedOut {
    session: SessionView,
    /// The guest session in its place, for kind user.
    guest: Option<SessionView>,
    /// Its token, shown once.
    token: Option<String>,
    barrier: Barrier,
}

/// Signs a session out.
#[utoipa::path(post, operation_id = "sign_out_session", path = "/v1/sessions/{id}/sign-out", params(("id" = Uuid, Path, description = "Session id")), responses(
    (status = 200, body = SignedOut)))]
pub(super) async fn sign_out(caller: Caller<Apps>, State(app): AppState, SessionId(id): SessionId) -> Answer<SignedOut> {
    let left = app.manager.sign_out(id, caller.actor()).await?;
    let (guest, token) = left.guest.map(|(guest, token)| (guest, token.reveal().to_owned())).unzip();
    Ok(Json(SignedOut { session: left.session, guest, token, barrier: left.barrier }))
}

/// How to end a session.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct TerminateQuery {
    /// Whether to wait until no node accepts it any more; true when left out.
    barrier: Option<String>,
}

/// Ends a session. Its user is not locked out and keeps every other session.
#[utoipa::path(delete, operation_id = "terminate_session", path = "/v1/sessions/{id}", params(("id" = Uuid, Path, description = "Session id"), TerminateQuery), responses(
    (status = 200, body = Terminated)))]
pub(super) async fn terminate(
    caller: Caller<Admins>,
    State(app): AppState,
    SessionId(id): SessionId,
    Params(query): Params<TerminateQuery>,
) -> Answer<Terminated> {
    let barrier = query.barrier.as_deref().map(|text| input::boolean("barrier", text)).transpose()?.unwrap_or(true);
    Ok(Json(app.manager.terminate(id, barrier, caller.actor()).await?))
}

/// What an order did, or its preview.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub(in crate::server) enum TerminateAnswer {
    Preview(BulkForecast),
    Done(BulkTerminated),
}

/// Ends every live session that meets a filter, or that is named by id; with `preview` only says which (X3).
///
/// An order has to carry the number of sessions that its preview said, in `expect`, and `all` when no condition narrows it; otherwise
/// it is refused with the number in `count`. Sessions that begin while it is carried out are spared. More than 10,000 end in several
/// transactions: `remaining` says how many were left when the time of one request was used up; preview and order again.
#[utoipa::path(post, operation_id = "terminate_sessions", path = "/v1/sessions/terminate", request_body = TerminateInput, responses(
    (status = 200, body = TerminateAnswer),
    (status = 404, description = "unknown_session: one of the ids names none"),
    (status = 409, description = "not_confirmed or preview_changed, both with count")))]
pub(super) async fn terminate_many(
    caller: Caller<Admins>,
    State(app): AppState,
    Body(order): Body<TerminateInput>,
) -> Answer<TerminateAnswer> {
    let preview = order.preview.unwrap_or(false);
    let order = order.validate()?;
    if preview {
        return Ok(Json(TerminateAnswer::Preview(app.manager.rehearse_bulk(&order.bulk).await?)));
    }
    let end = Instant::now() + TERMINATE_TIME;
    let progress = |_, _| if Instant::now() < end { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
    Ok(Json(TerminateAnswer::Done(app.manager.terminate_many(order, progress, caller.actor()).await?)))
}

/// Whether a transaction was open.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::server) struct Closed {
    /// 1, or 0 when it had lapsed or was closed already.
    closed: u32,
}

/// Closes a transaction that a check opened.
#[utoipa::path(delete, operation_id = "close_transaction", path = "/v1/sessions/{id}/transactions/{tid}",
    params(("id" = Uuid, Path, description = "Session id"), ("tid" = Uuid, Path, description = "Transaction id")),
    responses((status = 200, body = Closed)))]
pub(super) async fn close_transaction(
    _: Caller<Apps>,
    State(app): AppState,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Answer<Closed> {
    let ids = path.ok().and_then(|Path((id, tid))| Uuid::try_parse(&id).ok().zip(Uuid::try_parse(&tid).ok()));
    let Some((id, tid)) = ids else {
        return Err(Problem::new(404, "unknown_transaction", "These are not ids of a session and a transaction.", ""));
    };
    Ok(Json(Closed { closed: app.manager.close_transaction(id, tid).await?.into() }))
}
