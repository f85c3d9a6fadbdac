//! Locking out and unlocking, making users inactive and active, and deleting them: first what will happen, then just that and the
//! receipt.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};

use super::super::super::address::ClientAddress;
use super::super::super::auth::{Admins, UserAdmins};
use super::super::super::problem::Problem;
use super::super::super::{App, AppState};
use super::super::failure::{Failure, Stopped};
use super::super::form::{Form, encoded};
use super::super::operator::Operator;
use super::super::page::{Answer, Frame, rendered};
use super::super::sure;
use super::{Account, Named, Page, ticked};
use crate::cluster::Barrier;
use crate::input::{self, UserInput};
use crate::store::{Expect, Revision, User, UserForecast, UserPatch};

/// What can be done to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    LockOut,
    Unlock,
    Deactivate,
    Activate,
    Delete,
}

impl Act {
    fn named(word: &str) -> Result<Self, Problem> {
        match word {
            "lock_out" => Ok(Self::LockOut),
            "unlock" => Ok(Self::Unlock),
            "deactivate" => Ok(Self::Deactivate),
            "activate" => Ok(Self::Activate),
            "delete" => Ok(Self::Delete),
            _ => Err(Problem::new(400, "invalid_parameter", "There is nothing of this name to do.", "Go back to the user.")),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::LockOut => "lock_out",
            Self::Unlock => "unlock",
            Self::Deactivate => "deactivate",
            Self::Activate => "activate",
            Self::Delete => "delete",
        }
    }

    /// On a button and in a heading.
    fn label(self) -> &'static str {
        match self {
            Self::LockOut => "Lock out",
            Self::Unlock => "Unlock",
            Self::Deactivate => "Make inactive",
            Self::Activate => "Make active",
            Self::Delete => "Delete",
        }
    }

    /// What it changes of the user; deleting locks out before.
    fn patch(self) -> UserPatch {
        match self {
            Self::LockOut | Self::Unlock | Self::Delete => {
                UserPatch { locked_out: Some(self != Self::Unlock), ..UserPatch::default() }
            }
            Self::Deactivate | Self::Activate => UserPatch { active: Some(self == Self::Activate), ..UserPatch::default() },
        }
    }

    /// What ends sessions is asked about first.
    fn asks(self) -> bool {
        matches!(self, Self::LockOut | Self::Deactivate | Self::Delete)
    }

    /// What cannot be taken back asks for the password too.
    fn is_strong(self) -> bool {
        self == Self::Delete
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
    /// What the answer rests on.
    revision: Revision,
    /// It asks for the password.
    strong: bool,
    /// Why it was not done.
    problem: Option<String>,
}

impl Sure {
    async fn of<C>(app: &App, operator: &Operator<C>, user: User, act: Act, problem: Option<String>) -> Answer<Self> {
        let UserPatch { active, locked_out, .. } = act.patch();
        let revision = app.manager.store().user_revision(&user.name).await?.unwrap_or_default();
        let forecast = app.manager.rehearse_user(&user.name, active, locked_out).await?;
        Ok(Self {
            frame: Frame::of(operator, "users"),
            happens: consequences(app, &user, act, &forecast).await?,
            account: user.into(),
            label: act.label(),
            word: act.word(),
            expect: forecast.ends_now,
            revision,
            strong: act.is_strong(),
            problem,
        })
    }
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
    /// The user is no more.
    deleted: bool,
}

/// Changes a user. Locking is a user administrator's, the rest an administrator's alone (U6).
pub(in crate::server::console) async fn change(
    operator: Operator<UserAdmins>,
    State(app): AppState,
    address: ClientAddress,
    form: Form,
) -> Answer<Response> {
    let act = Act::named(form.one("act"))?;
    if !matches!(act, Act::LockOut | Act::Unlock) && !operator.may_change() {
        let advice = "It needs the role admin.";
        return Err(Problem::new(403, "role_not_allowed", "Your roles do not allow this.", advice).into());
    }
    let user = app.manager.user(&input::user_name(form.one("name"))?).await?;
    if act.asks() && user.name == operator.name() {
        return Err(oneself());
    }
    if !act.asks() {
        let (patch, expect) = (act.patch(), Expect::default());
        let changed = app.manager.change_user_and_keep_an_admin(&user.name, &patch, &expect, operator.actor()).await?;
        return Ok(Redirect::to(&format!("/console/user?name={}", encoded(&changed.user.name))).into_response());
    }
    if form.one("sure") != "yes" {
        return Ok(rendered(&Sure::of(&app, &operator, user, act, None).await?)?.into_response());
    }
    let expect = input::expect_parameters("expect", Some(form.one("expect")), "expect_basis", None)?;
    let done = async {
        if act.is_strong() {
            sure::prove(&app, &operator, address, &form).await?;
        }
        if act == Act::Delete {
            let seen = Revision::read(form.one("revision"));
            return Ok::<_, Stopped>(app.manager.delete_user(&user.name, &expect, seen, operator.actor()).await?);
        }
        let patch = act.patch();
        let changed = app.manager.change_user_and_keep_an_admin(&user.name, &patch, &expect, operator.actor()).await?;
        Ok((changed.ended.unwrap_or(0), changed.barrier))
    };
    let (ended, barrier) = match done.await {
        Ok(done) => done,
        Err(stopped) => {
            let refused = stopped.refused()?;
            // Beside why it was not done stands what it would do now.
            let page = Sure::of(&app, &operator, user, act, Some(refused.said().to_owned())).await?;
            return Ok(refused.on(rendered(&page)?));
        }
    };
    let (frame, deleted) = (Frame::of(&operator, "users"), act == Act::Delete);
    Ok(rendered(&Receipt { frame, account: user.into(), label: act.label(), ended, barrier, deleted })?.into_response())
}

/// Gives a user just these roles, and asks for the password of who does it. A form of a page from before somebody else's change
/// overwrites nothing: the page is shown anew.
pub(in crate::server::console) async fn roles(
    operator: Operator<Admins>,
    State(app): AppState,
    address: ClientAddress,
    form: Form,
) -> Answer<Response> {
    let user = app.manager.user(&input::user_name(form.one("name"))?).await?;
    let roles: Vec<_> = form.all("role").map(str::to_owned).collect();
    let seen = Revision::read(form.one("revision"));
    let changed = async {
        let patch = UserInput { roles: Some(roles.clone()), ..UserInput::default() }.validate(&user.name)?;
        sure::prove(&app, &operator, address, &form).await?;
        if user.name == operator.name() && !roles.iter().any(|role| role == "admin") {
            return Err(oneself().into());
        }
        Ok::<_, Stopped>(app.manager.change_user_as_seen(&user.name, &patch, seen, operator.actor()).await?)
    };
    let refused = match changed.await {
        Ok(changed) => return Ok(Redirect::to(&format!("/console/user?name={}", encoded(&changed.user.name))).into_response()),
        Err(stopped) => stopped.refused()?,
    };
    let named = Named { name: user.name, ..Named::default() };
    let mut page = Page { problem: Some(refused.said().to_owned()), ..Page::of(&app, &operator, &named).await? };
    // Of a stale form nothing is kept: what is ticked anew is decided by what is so now.
    // What is kept goes on resting on what was seen when it was ticked.
    if !refused.is_stale() {
        page.roles = ticked(&roles);
        page.revision = seen;
    }
    Ok(refused.on(rendered(&page)?))
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
    match act {
        Act::LockOut => return Ok(vec![ends, locked.to_owned()]),
        Act::Delete => return Ok(deletion(ends)),
        _ => {}
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

/// What follows when a user is deleted.
fn deletion(ends: String) -> Vec<String> {
    let rest = [
        "Nobody will be able to sign in as this user. Roles and password are gone with it.",
        "Ended sessions and events keep the name, for as long as they are retained: the audit leads to them, no list of a user does.",
        "It cannot be taken back. A new user of the same name is another one, and gets none of these sessions.",
    ];
    [ends].into_iter().chain(rest.map(str::to_owned)).collect()
}

async fn is_on(app: &App, name: &str) -> Answer<bool> {
    Ok(app.manager.property(name).await?.value.as_deref() == Some("true"))
}
