//! Locking out and unlocking, and making users inactive and active: first what will happen, then just that and the receipt.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};

use super::super::super::address::ClientAddress;
use super::super::super::auth::{Admins, UserAdmins};
use super::super::super::problem::Problem;
use super::super::super::{App, AppState};
use super::super::failure::Failure;
use super::super::form::{Form, encoded};
use super::super::operator::Operator;
use super::super::page::{Answer, Frame, rendered};
use super::super::sure;
use super::Account;
use crate::cluster::Barrier;
use crate::input::{self, UserInput};
use crate::store::{Expect, User, UserForecast, UserPatch};

/// What can be done to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    LockOut,
    Unlock,
    Deactivate,
    Activate,
}

impl Act {
    fn named(word: &str) -> Result<Self, Problem> {
        match word {
            "lock_out" => Ok(Self::LockOut),
            "unlock" => Ok(Self::Unlock),
            "deactivate" => Ok(Self::Deactivate),
            "activate" => Ok(Self::Activate),
            _ => Err(Problem::new(400, "invalid_parameter", "There is nothing of this name to do.", "Go back to the user.")),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::LockOut => "lock_out",
            Self::Unlock => "unlock",
            Self::Deactivate => "deactivate",
            Self::Activate => "activate",
        }
    }

    /// On a button and in a heading.
    fn label(self) -> &'static str {
        match self {
            Self::LockOut => "Lock out",
            Self::Unlock => "Unlock",
            Self::Deactivate => "Make inactive",
            Self::Activate => "Make active",
        }
    }

    fn patch(self) -> UserPatch {
        match self {
            Self::LockOut | Self::Unlock => UserPatch { locked_out: Some(self == Self::LockOut), ..UserPatch::default() },
            Self::Deactivate | Self::Activate => UserPatch { active: Some(self == Self::Activate), ..UserPatch::default() },
        }
    }

    /// What ends sessions is asked about first.
    fn asks(self) -> bool {
        matches!(self, Self::LockOut | Self::Deactivate)
    }
}

#[derive(Template)]
#[template(path = "user_sure.html")]
struct Sure {
    frame: Frame,
    account: Account,
    label: &'static str,
    word: &'static str,
    /// What will happen, sentence by sentence.
    happens: Vec<String>,
    /// How many sessions will end: so many, or none.
    expect: i64,
}

#[derive(Template)]
#[template(path = "user_receipt.html")]
struct Receipt {
    frame: Frame,
    account: Account,
    label: &'static str,
    ended: i64,
    /// `None` when nothing ended.
    barrier: Option<Barrier>,
}

/// Changes a user. Locking is a user administrator's, the rest an administrator's alone (U6).
pub(in crate::server::console) async fn change(
    operator: Operator<UserAdmins>,
    State(app): AppState,
    form: Form,
) -> Answer<Response> {
    let act = Act::named(form.one("act"))?;
    if matches!(act, Act::Deactivate | Act::Activate) && !operator.may_change() {
        let advice = "It needs the role admin.";
        return Err(Problem::new(403, "role_not_allowed", "Your roles do not allow this.", advice).into());
    }
    let user = app.manager.user(&input::user_name(form.one("name"))?).await?;
    if act.asks() && user.name == operator.name() {
        return Err(oneself());
    }
    let patch = act.patch();
    if act.asks() && form.one("sure") != "yes" {
        let forecast = app.manager.rehearse_user(&user.name, patch.active, patch.locked_out).await?;
        let happens = consequences(&app, &user, act, &forecast).await?;
        let frame = Frame::of(&operator, "users");
        let expect = forecast.ends_now;
        let page = Sure { frame, account: user.into(), label: act.label(), word: act.word(), happens, expect };
        return Ok(rendered(&page)?.into_response());
    }
    let expect = Some(form.one("expect")).filter(|_| act.asks());
    let expect = input::expect_parameters("expect", expect, "expect_basis", None)?;
    let changed = app.manager.change_user_and_keep_an_admin(&user.name, &patch, &expect, operator.actor()).await?;
    if !act.asks() {
        return Ok(Redirect::to(&format!("/console/user?name={}", encoded(&user.name))).into_response());
    }
    let frame = Frame::of(&operator, "users");
    let ended = changed.ended.unwrap_or(0);
    let receipt = Receipt { frame, account: changed.user.into(), label: act.label(), ended, barrier: changed.barrier };
    Ok(rendered(&receipt)?.into_response())
}

/// Gives a user just these roles, and asks for the password of who does it.
pub(in crate::server::console) async fn roles(
    operator: Operator<Admins>,
    State(app): AppState,
    address: ClientAddress,
    form: Form,
) -> Answer<Response> {
    let user = app.manager.user(&input::user_name(form.one("name"))?).await?;
    let roles: Vec<_> = form.all("role").map(str::to_owned).collect();
    let change = UserInput { roles: Some(roles), ..UserInput::default() };
    let patch = change.validate(&user.name)?;
    sure::prove(&app, &operator, address, &form).await?;
    let keeps = |roles: &Vec<String>| roles.iter().any(|role| role == "admin");
    if user.name == operator.name() && !patch.roles.as_ref().is_some_and(keeps) {
        return Err(oneself());
    }
    app.manager.change_user_and_keep_an_admin(&user.name, &patch, &Expect::default(), operator.actor()).await?;
    Ok(Redirect::to(&format!("/console/user?name={}", encoded(&user.name))).into_response())
}

/// Whoever locks themselves out cannot take it back (51).
fn oneself() -> Failure {
    let advice = "Another administrator can do it.";
    Problem::new(409, "own_user", "This is the user you are signed in as, and you could not take it back.", advice).into()
}

/// What a lock-out or inactivation does to this user now, sentence by sentence.
async fn consequences(app: &App, user: &User, act: Act, forecast: &UserForecast) -> Answer<Vec<String>> {
    let nodes: BTreeSet<_> = forecast.sessions.iter().filter_map(|place| place.node.as_deref()).collect();
    let plural = |count: i64, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let on = match nodes.len() {
        0 => String::new(),
        count => format!(" on {}", plural(i64::try_from(count).unwrap_or_default(), "node")),
    };
    let ends = match forecast.ends_now {
        0 => "No session will end.".to_owned(),
        count => format!("{}{on} will end.", plural(count, "session")),
    };
    let locked = "Nobody will be able to sign in as this user, nor to cause anything by e-mail, until somebody unlocks it.";
    if act == Act::LockOut {
        return Ok(vec![ends, locked.to_owned()]);
    }
    let mut happens = vec![ends, "The user will be in no list of active users.".to_owned()];
    if forecast.user.locked_out && !user.locked_out {
        happens.push("The user will be locked out too (tenure.lock_out_inactive_users).".to_owned());
        happens.push(locked.to_owned());
    } else if is_on(app, "glide.authenticate.only.allow.active.user.login").await? {
        happens.push("Nobody will be able to sign in as this user (glide.authenticate.only.allow.active.user.login).".to_owned());
    } else {
        happens.push("Sessions will go on, and signing in too: both properties that forbid it are false.".to_owned());
    }
    Ok(happens)
}

async fn is_on(app: &App, name: &str) -> Answer<bool> {
    Ok(app.manager.property(name).await?.value.as_deref() == Some("true"))
}
