//! *Users*: who there is, and who may get in.

mod change;

use askama::Template;
use axum::extract::State;
use serde::Deserialize;

use super::super::AppState;
use super::super::auth::{UserAdmins, Watchers};
use super::super::extract::Params;
use super::super::problem::Problem;
use super::form::encoded;
use super::operator::Operator;
use super::page::{Answer, Frame, rendered};
use super::shown::{self, Line};
use crate::input;
use crate::session::SessionView;
use crate::store::{ListFilter, StateFilter, User};

pub(super) use change::{change, roles};

/// Roles of users, as the form of a user names them.
const ROLES: [&str; 3] = ["admin", "user_admin", "reporter"];
/// Users on a page.
const MOST: i64 = 50;
/// Sessions of a user that were, on the user's page.
const PAST: i64 = 20;
/// Sessions of a user that are, on the user's page.
const LIVE: i64 = 500;

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

/// Whose page it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    name: String,
}

#[derive(Template)]
#[template(path = "user.html")]
struct Page {
    frame: Frame,
    account: Account,
    /// Whether who looks may lock out and unlock.
    locks: bool,
    /// It is the user who looks.
    own: bool,
    /// Roles there are, and whether the user has each.
    roles: Vec<(&'static str, bool)>,
    lines: Vec<Line>,
    past: Vec<Past>,
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

/// The page of a user.
pub(super) async fn show(operator: Operator<Watchers>, State(app): AppState, named: Result<Params<Named>, Problem>) -> Answer {
    let Params(named) = named?;
    let user = app.manager.user(&input::user_name(&named.name)?).await?;
    let filter = |state, limit| ListFilter { user: Some(user.name.clone()), state, limit, ..ListFilter::default() };
    let live = app.manager.store().list(&filter(StateFilter::Live, LIVE)).await?;
    let past = app.manager.store().list(&filter(StateFilter::Ended, PAST)).await?;
    let now = app.manager.time().await?;
    rendered(&Page {
        frame: Frame::of(&operator, "users"),
        locks: operator.may::<UserAdmins>(),
        own: operator.name() == user.name,
        roles: ROLES.into_iter().map(|role| (role, user.roles.iter().any(|has| has == role))).collect(),
        lines: live.items.into_iter().map(|session| Line::of(session, now, operator.session())).collect(),
        past: past.items.into_iter().map(Past::from).collect(),
        account: user.into(),
    })
}
