//! One session: its facts, why it ends when it ends, and what happened to it.

mod picture;

use askama::Template;
use axum::extract::State;

use super::super::AppState;
use super::super::auth::Watchers;
use super::super::extract::SessionId;
use super::super::problem::Problem;
use super::operator::Operator;
use super::page::{Answer, Frame, rendered};
use super::shown::{self, instant};
use crate::session::{Candidate, Recorded, SessionView};
use crate::store::{Event, EventFilter};
use picture::Picture;

/// Events on the page; the audit trail has the rest.
const EVENTS: i64 = 100;

#[derive(Template)]
#[template(path = "session.html")]
struct Page {
    frame: Frame,
    id: String,
    heading: String,
    live: bool,
    own: bool,
    /// Name and value of what is known.
    facts: Vec<(&'static str, String)>,
    /// How it ended, in a sentence.
    ended: Option<String>,
    picture: Option<Picture>,
    limits: Vec<LimitLine>,
    events: Vec<EventLine>,
    /// There are more events than the page shows.
    more: bool,
}

/// A candidate deadline in words.
struct LimitLine {
    limit: String,
    binds: bool,
    at: Option<String>,
    why: String,
    inputs: Vec<String>,
    name: &'static str,
    source: String,
    value: Option<String>,
}

impl LimitLine {
    fn of(candidate: Candidate, binding: Option<&str>) -> Self {
        let unit = candidate.unit.map(|unit| format!(" {unit}")).unwrap_or_default();
        Self {
            limit: shown::words(candidate.limit),
            binds: binding == Some(candidate.limit),
            at: candidate.deadline_at.map(instant),
            why: candidate.why,
            inputs: candidate.inputs,
            name: candidate.name,
            source: shown::source(candidate.source),
            value: candidate.value.map(|value| format!("{value}{unit}")),
        }
    }
}

/// Something that happened.
struct EventLine {
    at: String,
    what: String,
    reason: Option<String>,
    by: String,
    node: Option<String>,
}

impl From<Event> for EventLine {
    fn from(event: Event) -> Self {
        Self {
            at: instant(event.at),
            what: shown::words(&event.kind),
            reason: event.reason.as_deref().map(shown::words),
            by: event.actor,
            node: event.node,
        }
    }
}

fn ended(recorded: &Recorded) -> String {
    let node = recorded.node.as_deref().map(|node| format!(" on {node}")).unwrap_or_default();
    let reason = shown::capital(&shown::words(recorded.reason.as_str()));
    format!("{reason}, by {}{node}, at {} UTC.", recorded.by, instant(recorded.at))
}

/// The page of a session, live or retained.
pub(super) async fn show(operator: Operator<Watchers>, State(app): AppState, id: Result<SessionId, Problem>) -> Answer {
    let SessionId(id) = id?;
    let session = app.manager.session(id, operator.actor()).await?;
    let explanation = app.manager.explain(id, operator.actor()).await?;
    let filter = EventFilter { session_id: Some(id), limit: EVENTS, ..EventFilter::default() };
    let events = app.manager.store().events(&filter).await?;
    let now = app.manager.time().await?;
    let whose = session.user.as_deref().map_or_else(|| "a guest".to_owned(), |user| format!("user {user}"));
    rendered(&Page {
        frame: Frame::of(&operator, "sessions"),
        id: id.to_string(),
        heading: format!("{} session of {whose}", shown::capital(session.kind.as_str())),
        live: session.state == "live",
        own: id == operator.session(),
        picture: Picture::of(&session, &explanation, now),
        facts: facts(&session),
        ended: explanation.ended.as_ref().map(ended),
        limits: explanation.candidates.into_iter().map(|limit| LimitLine::of(limit, explanation.binding)).collect(),
        events: events.items.into_iter().map(EventLine::from).collect(),
        more: events.next.is_some(),
    })
}

/// What is known of a session; what does not apply is left out.
fn facts(session: &SessionView) -> Vec<(&'static str, String)> {
    let place = session.place.clone();
    let (node, address, agent) = place.map(|place| (place.node, place.client_address, place.user_agent)).unwrap_or_default();
    let yes = |fact: bool| fact.then(|| "yes".to_owned());
    let minutes = |minutes: Option<i32>| minutes.map(|minutes| format!("{minutes} min"));
    let utc = |at: Option<_>| at.map(|at| format!("{} UTC", instant(at)));
    [
        ("State", Some(session.state.to_owned())),
        ("Active now", yes(session.active)),
        ("Node last on", node),
        ("Client address", address),
        ("Client", agent),
        ("Device", session.device.map(|device| device.to_string())),
        ("Remember Me", yes(session.remember_me)),
        ("Left by a sign-out", yes(session.residue)),
        ("Homepage refresh", minutes(session.homepage_refresh_minutes)),
        ("Own idle limit", minutes(session.idle_limit_minutes)),
        ("OAuth entity", session.oauth_entity.clone()),
        ("Window", session.window_seconds.map(|seconds| shown::span(seconds.into()))),
        ("App state", session.app_state.clone()),
        ("Created", utc(Some(session.created_at))),
        ("Last activity", utc(Some(session.last_activity_at))),
        ("Ends without activity", utc(session.expires_at)),
        ("Ended", utc(session.ended_at)),
        ("Reason", session.end_reason.map(|reason| shown::words(reason.as_str()))),
        ("Ended by", session.ended_by.clone()),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}
