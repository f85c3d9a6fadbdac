//! Locking out and unlocking, and making users inactive and active: first what will happen, then the receipt.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};

use super::super::super::auth::UserAdmins;
use super::super::super::problem::Problem;
use super::super::super::{App, AppState};
use super::super::failure::Failure;
use super::super::form::{Form, encoded};
use super::super::operator::Operator;
use super::super::page::{Answer, Frame, rendered};
use super::{Account, LIVE};
use crate::cluster::Barrier;
use crate::input;
use crate::store::{ListFilter, User, UserPatch};

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
    if act.asks() && form.one("sure") != "yes" {
        let happens = consequences(&app, &user, act).await?;
        let frame = Frame::of(&operator, "users");
        let page = Sure { frame, account: user.into(), label: act.label(), word: act.word(), happens };
        return Ok(rendered(&page)?.into_response());
    }
    let changed = app.manager.patch_user(&user.name, &act.patch(), operator.actor()).await?;
    if !act.asks() {
        return Ok(Redirect::to(&format!("/console/user?name={}", encoded(&user.name))).into_response());
    }
    let frame = Frame::of(&operator, "users");
    let ended = changed.ended.unwrap_or(0);
    let receipt = Receipt { frame, account: changed.user.into(), label: act.label(), ended, barrier: changed.barrier };
    Ok(rendered(&receipt)?.into_response())
}

/// Whoever locks themselves out cannot take it back (51).
fn oneself() -> Failure {
    let advice = "Another administrator can do it.";
    Problem::new(409, "own_user", "This is the user you are signed in as, and you could not take it back.", advice).into()
}

/// What a lock-out or inactivation does to this user now.
async fn consequences(app: &App, user: &User, act: Act) -> Answer<Vec<String>> {
    let filter = ListFilter { user: Some(user.name.clone()), limit: LIVE, ..ListFilter::default() };
    let sessions = app.manager.store().list(&filter).await?;
    let nodes: BTreeSet<_> =
        sessions.items.iter().filter_map(|session| session.place.as_ref().and_then(|place| place.node.as_deref())).collect();
    let many = if sessions.next.is_some() { "More than " } else { "" };
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let end = match sessions.items.len() {
        0 => "No session will end, because there is none.".to_owned(),
        count => format!("{many}{} on {} will end.", plural(count, "session"), plural(nodes.len(), "node")),
    };
    let locked = "Nobody will be able to sign in as this user, nor to cause anything by e-mail, until somebody unlocks it.";
    if act == Act::LockOut {
        return Ok(vec![end, locked.to_owned()]);
    }
    let inactive = "The user will be in no list of active users.".to_owned();
    if is_on(app, "tenure.lock_out_inactive_users").await? {
        return Ok(vec![
            end,
            inactive,
            "The user will be locked out too (tenure.lock_out_inactive_users).".to_owned(),
            locked.to_owned(),
        ]);
    }
    if is_on(app, "glide.authenticate.only.allow.active.user.login").await? {
        let refused = "Nobody will be able to sign in as this user (glide.authenticate.only.allow.active.user.login).";
        return Ok(vec![end, inactive, refused.to_owned()]);
    }
    let stays = "Sessions will go on, and signing in too: both properties that forbid it are false.";
    Ok(vec![inactive, stays.to_owned()])
}

async fn is_on(app: &App, name: &str) -> Answer<bool> {
    Ok(app.manager.property(name).await?.value.as_deref() == Some("true"))
}
