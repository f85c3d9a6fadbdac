//! *Audit*: every transition, with who did it, why and where (X4).

use askama::Template;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::super::AppState;
use super::super::auth::Watchers;
use super::super::extract::Params;
use super::super::problem::Problem;
use super::form::encoded;
use super::operator::Operator;
use super::page::{Answer, Frame, rendered};
use super::shown;
use crate::input;
use crate::store::{Event, EventFilter};

/// Events on a page.
const MOST: i64 = 50;

/// Types of events that can be asked for by name.
const TYPES: &[&str] = &[
    "session_created",
    "session_ended",
    "user_created",
    "user_changed",
    "user_locked_out",
    "user_unlocked",
    "user_activated",
    "user_deactivated",
    "user_deleted",
    "property_set",
    "property_removed",
    "oauth_entity_created",
    "oauth_entity_changed",
    "oauth_entity_deleted",
    "access_token_revoked",
    "token_rotated",
    "session_imported",
    "api_key_created",
    "api_key_changed",
    "api_key_revoked",
    "history_dropped",
    "node_drain_ordered",
    "node_drain_lifted",
];

/// Which events; empty is any.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Query {
    #[serde(rename = "type")]
    kind: String,
    session: String,
    user: String,
    actor: String,
    after: String,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Page {
    frame: Frame,
    query: Query,
    types: &'static [&'static str],
    lines: Vec<Line>,
    /// The query string of the next page.
    next: Option<String>,
}

/// An event in words.
struct Line {
    id: String,
    at: String,
    what: String,
    user: Option<String>,
    session: Option<String>,
    actor: String,
    reason: Option<String>,
    node: Option<String>,
    details: Option<String>,
}

/// The fields of details as words.
fn told(details: &Value) -> String {
    let Value::Object(fields) = details else { return details.to_string() };
    let field = |(name, value): (&String, &Value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{} {value}", shown::words(name))
    };
    fields.iter().filter(|(_, value)| !value.is_null()).map(field).collect::<Vec<_>>().join(", ")
}

impl From<Event> for Line {
    fn from(event: Event) -> Self {
        Self {
            id: event.id.to_string(),
            at: shown::instant(event.at),
            what: shown::words(&event.kind),
            user: event.user,
            session: event.session_id.map(|id| id.to_string()),
            actor: event.actor,
            reason: event.reason.as_deref().map(shown::words),
            node: event.node,
            details: event.details.as_ref().map(told),
        }
    }
}

/// The trail, newest first.
pub(super) async fn list(operator: Operator<Watchers>, State(app): AppState, query: Result<Params<Query>, Problem>) -> Answer {
    let Params(query) = query?;
    let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let session_id = given(&query.session)
        .map(|text| Uuid::try_parse(&text).map_err(|_| input::parameter("session", "this is no session id.")))
        .transpose()?;
    let filter = EventFilter {
        session_id,
        kind: given(&query.kind).map(|text| input::text("type", text)).transpose()?,
        user: given(&query.user).map(|text| input::text("user", text)).transpose()?,
        actor: given(&query.actor).map(|text| input::text("actor", text)).transpose()?,
        limit: MOST,
        after: given(&query.after).map(|text| input::cursor(&text)).transpose()?,
    };
    let page = app.manager.store().events(&filter).await?;
    let next = page.next.map(|after| {
        let fields = [
            ("type", &query.kind),
            ("session", &query.session),
            ("user", &query.user),
            ("actor", &query.actor),
            ("after", &after),
        ];
        fields.map(|(name, text)| format!("{name}={}", encoded(text))).join("&")
    });
    let lines = page.items.into_iter().map(Line::from).collect();
    rendered(&Page { frame: Frame::of(&operator, "audit"), query, types: TYPES, lines, next })
}
