//! Who works in the console: somebody signed in whose roles allow the page (U6).

use std::marker::PhantomData;

use axum::extract::{FromRequestParts, OriginalUri};
use axum::http::request::Parts;
use uuid::Uuid;

use super::super::auth::{Admins, Callers, Lasting, Readers, Watchers};
use super::super::problem::Problem;
use super::super::same_origin::{CLIENT, single};
use super::super::{App, cookie};
use super::failure::Failure;
use super::live;
use crate::manager::{CheckOptions, Verdict};
use crate::session::{Activity, Kind, Role};
use crate::store::{Actor, User};

/// Who ends a session that is found over.
const ACTOR: Actor<'_> = Actor("console");

/// Who signs people in at the console, by their password. No API key has a name with a space in it.
pub(super) const SIGN_IN: Actor<'_> = Actor("console sign-in");

/// A user of the console whose roles allow what the handler does.
pub(super) struct Operator<C = Admins> {
    user: User,
    roles: Vec<Role>,
    session: Uuid,
    token: String,
    callers: PhantomData<C>,
}

/// Roles that the console knows; `app` is for keys alone.
fn roles(user: &User) -> Vec<Role> {
    let known = user.roles.iter().filter_map(|role| role.parse().ok());
    known.filter(|role| *role != Role::App).collect()
}

impl<C> Operator<C> {
    /// The user as the actor of what they do.
    pub(super) fn actor(&self) -> Actor<'_> {
        Actor(&self.user.name)
    }

    /// Name of the user.
    pub(super) fn name(&self) -> &str {
        &self.user.name
    }

    /// The session that this very browser is signed in with.
    pub(super) fn session(&self) -> Uuid {
        self.session
    }

    /// Whether their roles allow what `D` stands for.
    pub(super) fn may<D: Callers>(&self) -> bool {
        self.roles.iter().any(|role| D::ROLES.contains(role))
    }

    /// Whether they may end sessions and change properties and users.
    pub(super) fn may_change(&self) -> bool {
        self.may::<Admins>()
    }

    /// Whether they may see properties, client applications and nodes.
    pub(super) fn may_read(&self) -> bool {
        self.may::<Readers>()
    }

    /// Whether they may see users, sessions and events.
    pub(super) fn may_watch(&self) -> bool {
        self.may::<Watchers>()
    }
}

impl<C: Callers> FromRequestParts<App> for Operator<C> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        // What a page asks by itself is no activity: a page left open does not keep anybody signed in. The stream is always asked
        // for by a script, again whenever it breaks off, and an EventSource cannot say so.
        let by_script = parts.uri.path() == live::PATH || single(&parts.headers, &CLIENT).is_ok_and(|value| value == Some("1"));
        let activity = if by_script { Activity::Passive } else { Activity::User };
        let token = cookie::read(&parts.headers)?.unwrap_or_default().to_owned();
        let next = OriginalUri::from_request_parts(parts, app).await.ok();
        let next = next.filter(|_| parts.method.is_safe()).and_then(|uri| uri.path_and_query().map(ToString::to_string));
        let signed_out = |problem: Problem| Failure::signed_out(problem, by_script, next.clone());

        let options = CheckOptions::default();
        let checked = match app.manager.check(&token, Some(activity), options, ACTOR).await {
            Ok(Verdict::Live(checked)) => checked,
            Ok(Verdict::Over(over)) => return Err(signed_out(over.into())),
            // A kind that has no such activity is not that of a person at a page.
            Err(error) if error.code() == "activity_not_for_kind" => return Err(signed_out(Problem::sign_in_required())),
            Err(error) => return Err(error.into()),
            Ok(Verdict::TokenExpired | Verdict::Unknown) => return Err(signed_out(Problem::unknown_token())),
        };
        let (Kind::User, Some(name)) = (checked.session.kind, checked.session.user) else {
            return Err(signed_out(Problem::sign_in_required()));
        };
        // An application may sign anybody in, and hand out their tokens: that makes nobody an administrator here.
        if !app.manager.has_tokens_of(checked.session.id, SIGN_IN).await? {
            return Err(signed_out(Problem::sign_in_required()));
        }
        let user = app.manager.user(&name).await?;
        let roles = roles(&user);
        let operator = Self { user, roles, session: checked.session.id, token, callers: PhantomData };
        if operator.may::<C>() {
            return Ok(operator);
        }
        let needed = C::ROLES.iter().filter(|role| **role != Role::App).map(|role| role.as_str()).collect::<Vec<_>>();
        let advice = format!("It needs the role {}.", needed.join(" or "));
        Err(Problem::new(403, "role_not_allowed", &format!("Your roles, {name}, do not allow this."), &advice).into())
    }
}

/// A page that goes on ends with the session or the role of who looks at it.
impl<C: Callers + 'static> Lasting for Operator<C> {
    async fn is_still_allowed(&self, app: &App) -> bool {
        let check = app.manager.check(&self.token, Some(Activity::Passive), CheckOptions::default(), ACTOR);
        if !matches!(check.await, Ok(Verdict::Live(checked)) if checked.session.id == self.session) {
            return false;
        }
        if !matches!(app.manager.has_tokens_of(self.session, SIGN_IN).await, Ok(true)) {
            return false;
        }
        let allowed = |user: User| roles(&user).iter().any(|role| C::ROLES.contains(role));
        app.manager.user(&self.user.name).await.is_ok_and(allowed)
    }
}

/// Whether a user may work in the console at all.
pub(super) fn is_welcome(user: &User) -> bool {
    !roles(user).is_empty()
}
