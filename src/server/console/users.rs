//! *Users*: who there is, and who may get in.

mod change;
mod new;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::super::auth::{UserAdmins, Watchers};
use super::super::extract::Params;
use super::super::problem::Problem;
use super::super::{App, AppState};
use super::form::encoded;
use super::operator::Operator;
use super::page::{Answer, Frame, rendered};
use super::shown::{self, Line};
use crate::input;
use crate::session::SessionView;
use crate::store::{Bulk, ListFilter, Revision, StateFilter, User};

pub(super) use change::{change, roles};
pub(super) use new::{create, show as show_new};

/// Roles of users, as the form of a user names them.
const ROLES: [&str; 3] = ["admin", "user_admin", "reporter"];
/// Users on a page.
const MOST: i64 = 50;
/// Sessions of a user that were, on the user's page.
const PAST: i64 = 20;
/// Sessions of a user that are, on the user's page.
const LIVE: i64 = 500;
/// More of them than this are not counted.
const COUNTED: i64 = 10_000;

/// The roles, and whether each is among these.
fn ticked(given: &[String]) -> Vec<(&'static str, bool)> {
    ROLES.into_iter().map(|role| (role, given.iter().any(|has| has == role))).collect()
}

/// Which users to list; empty is any.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Query {
    /// Part of a name.
    name: String,
    active: String,
    locked_out: String,
    after: String,
}

#[derive(Template)]
#[template(path = "users.html")]
struct List {
    frame: Frame,
    query: Query,
    users: Vec<Account>,
    /// Cursor of the next page.
    next: Option<String>,
}

/// A user as pages show it.
pub(super) struct Account {
    user: User,
    /// The name as part of an address.
    encoded: String,
}

impl From<User> for Account {
    fn from(user: User) -> Self {
        Self { encoded: encoded(&user.name), user }
    }
}

/// The list.
pub(super) async fn list(operator: Operator<Watchers>, State(app): AppState, query: Result<Params<Query>, Problem>) -> Answer {
    let Params(query) = query?;
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let flag = |name: &str, text: &str| given(text).map(|text| input::boolean(name, &text)).transpose();
    let (active, locked_out) = (flag("active", &query.active)?, flag("locked_out", &query.locked_out)?);
    let after = given(&query.after).map(|text| input::user_cursor(&text)).transpose()?;
    let page = match query.name.trim() {
        "" => app.manager.store().users(active, locked_out, MOST, after).await?,
        part => app.manager.store().users_named(&input::text("name", part.to_owned())?, active, locked_out, MOST).await?,
    };
    let users = page.items.into_iter().map(Account::from).collect();
    rendered(&List { frame: Frame::of(&operator, "users"), query, users, next: page.next })
}

/// Whose page it is, without a name the list; and of which part of the sessions that were.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Named {
    name: String,
    /// Cursor of the part before.
    after: String,
}

#[derive(Template)]
#[template(path = "user.html")]
struct Page {
    frame: Frame,
    account: Account,
    /// What the form of the roles rests on.
    revision: Revision,
    /// Whether who looks may lock out and unlock.
    locks: bool,
    /// It is the user who looks.
    own: bool,
    /// Roles there are, and whether each is ticked.
    roles: Vec<(&'static str, bool)>,
    /// Why other roles were refused.
    problem: Option<String>,
    lines: Vec<Line>,
    /// How many are live, in words, when that is more than the lines are.
    all: Option<String>,
    past: Vec<Past>,
    /// Whether these are older than the last ones.
    older: bool,
    /// Cursor of the older ones.
    next: Option<String>,
}

/// A session that was.
struct Past {
    id: String,
    kind: String,
    created: String,
    ended: String,
    reason: String,
    by: String,
}

impl From<SessionView> for Past {
    fn from(session: SessionView) -> Self {
        Self {
            id: session.id.to_string(),
            kind: session.kind.to_string(),
            created: shown::instant(session.created_at),
            ended: session.ended_at.map(shown::instant).unwrap_or_default(),
            reason: session.end_reason.map(|reason| shown::words(reason.as_str())).unwrap_or_default(),
            by: session.ended_by.unwrap_or_default(),
        }
    }
}

impl Page {
    async fn of<C>(app: &App, operator: &Operator<C>, named: &Named) -> Answer<Self> {
        let store = app.manager.store();
        let name = input::user_name(&named.name)?;
        // Before the user, so that it is never newer than what the page shows.
        let revision = store.user_revision(&name).await?.unwrap_or_default();
        let user = app.manager.user(&name).await?;
        let after = Some(&*named.after).filter(|after| !after.is_empty()).map(input::cursor).transpose()?;
        let of_user = ListFilter { user: Some(user.name.clone()), ..ListFilter::default() };
        let live = store.list(&ListFilter { limit: LIVE, ..of_user.clone() }).await?;
        let past = ListFilter { state: StateFilter::Ended, limit: PAST, after, ..of_user.clone() };
        let past = store.list(&past).await?;
        let all = match live.next {
            Some(_) => {
                let count = store.bulk_count(&Bulk { filter: of_user, ..Bulk::default() }, COUNTED + 1).await?;
                Some(if count > COUNTED { format!("more than {COUNTED}") } else { count.to_string() })
            }
            None => None,
        };
        let now = app.manager.time().await?;
        Ok(Self {
            frame: Frame::of(operator, "users"),
            revision,
            locks: operator.may::<UserAdmins>(),
            own: operator.name() == user.name,
            roles: ticked(&user.roles),
            problem: None,
            lines: live.items.into_iter().map(|session| Line::of(session, now, operator.session())).collect(),
            all,
            past: past.items.into_iter().map(Past::from).collect(),
            older: after.is_some(),
            next: past.next,
            account: user.into(),
        })
    }
}

/// The page of a user.
pub(super) async fn show(
    operator: Operator<Watchers>,
    State(app): AppState,
    named: Result<Params<Named>, Problem>,
) -> Answer<Response> {
    let Params(named) = named?;
    if named.name.is_empty() {
        return Ok(Redirect::to("/console/users").into_response());
    }
    Ok(rendered(&Page::of(&app, &operator, &named).await?)?.into_response())
}
