//! *Keys*: the programs that call the API. A key is shown once, when it is made.

use askama::Template;
use axum::extract::State;

use super::super::AppState;
use super::super::address::ClientAddress;
use super::super::auth::Admins;
use super::super::problem::Problem;
use super::form::Form;
use super::operator::Operator;
use super::page::{Answer, Frame, rendered};
use super::{shown, sure};
use crate::input;
use crate::session::Role;
use crate::store::KeyRecord;

#[derive(Template)]
#[template(path = "keys.html")]
struct List {
    frame: Frame,
    keys: Vec<Line>,
    roles: &'static [Role],
}

/// A key in words.
struct Line {
    name: String,
    role: Role,
    created: String,
    expires: Option<String>,
    /// It is good no more.
    expired: bool,
    used: Option<String>,
}

/// The list.
pub(super) async fn list(operator: Operator<Admins>, State(app): AppState) -> Answer {
    let now = app.manager.time().await?;
    let line = |key: KeyRecord| Line {
        expired: key.expires_at.is_some_and(|at| at <= now),
        name: key.name,
        role: key.role,
        created: shown::instant(key.created_at),
        expires: key.expires_at.map(shown::instant),
        used: key.last_used_at.map(shown::instant),
    };
    let keys = app.manager.store().keys().await?.into_iter().map(line).collect();
    rendered(&List { frame: Frame::of(&operator, "keys"), keys, roles: Role::ALL })
}

#[derive(Template)]
#[template(path = "key_receipt.html")]
struct Made<'a> {
    frame: Frame,
    name: &'a str,
    role: Role,
    key: &'a str,
}

#[derive(Template)]
#[template(path = "key_sure.html")]
struct Sure<'a> {
    frame: Frame,
    name: &'a str,
    /// It is revoked already.
    done: bool,
}

/// Makes a key, or revokes one; both ask for the password.
pub(super) async fn change(operator: Operator<Admins>, State(app): AppState, address: ClientAddress, form: Form) -> Answer {
    let frame = Frame::of(&operator, "keys");
    let name = input::label("name", form.one("name"))?;
    match form.one("act") {
        "make" => {
            let role = form.one("role").parse::<Role>().map_err(|_| input::parameter("role", "this is not a role."))?;
            let days = match form.one("days") {
                "" => None,
                days => Some(days.parse().map_err(|_| input::parameter("days", "this is not a whole number."))?),
            };
            let days = days.map(input::key_days).transpose()?;
            sure::prove(&app, &operator, address, &form).await?;
            let (record, key) = app.manager.store().create_key_for(&name, role, days, operator.actor()).await?;
            rendered(&Made { frame, name: &record.name, role: record.role, key: key.reveal() })
        }
        "revoke" if form.one("sure") != "yes" => rendered(&Sure { frame, name: &name, done: false }),
        "revoke" => {
            sure::prove(&app, &operator, address, &form).await?;
            if !app.manager.revoke_key(&name, operator.actor()).await? {
                let advice = "Go back to the keys.";
                return Err(Problem::new(404, "unknown_key", "There is no key of this name any more.", advice).into());
            }
            rendered(&Sure { frame, name: &name, done: true })
        }
        _ => Err(Problem::new(400, "invalid_parameter", "There is nothing of this name to do.", "Go back to the keys.").into()),
    }
}
