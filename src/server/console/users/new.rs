//! A new user, with roles and a password if they are to have them.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};

use super::super::super::AppState;
use super::super::super::address::ClientAddress;
use super::super::super::auth::Admins;
use super::super::failure::Stopped;
use super::super::form::{Form, encoded};
use super::super::operator::Operator;
use super::super::page::{Answer, Frame, rendered};
use super::super::sure;
use super::ticked;
use crate::input::{self, UserInput};
use crate::session::Password;
use crate::store::UserPatch;

#[derive(Template)]
#[template(path = "user_new.html")]
struct Page {
    frame: Frame,
    name: String,
    display_name: String,
    active: bool,
    roles: Vec<(&'static str, bool)>,
    /// Minutes, as they were typed.
    refresh: String,
    /// Why it was refused.
    problem: Option<String>,
}

/// The empty form.
pub(in crate::server::console) async fn show(operator: Operator<Admins>) -> Answer {
    rendered(&Page {
        frame: Frame::of(&operator, "users"),
        name: String::new(),
        display_name: String::new(),
        active: true,
        roles: ticked(&[]),
        refresh: String::new(),
        problem: None,
    })
}

/// Makes the user, never changes one, and asks for the password of who does it: whoever makes a user may make an administrator.
pub(in crate::server::console) async fn create(
    operator: Operator<Admins>,
    State(app): AppState,
    address: ClientAddress,
    form: Form,
) -> Answer<Response> {
    let made = async {
        let (name, patch, password) = asked(&form)?;
        sure::prove(&app, &operator, address, &form).await?;
        Ok::<_, Stopped>(app.manager.create_user(name, patch, password, operator.actor()).await?)
    };
    let refused = match made.await {
        Ok(user) => return Ok(Redirect::to(&format!("/console/user?name={}", encoded(&user.name))).into_response()),
        Err(stopped) => stopped.refused()?,
    };
    let given: Vec<_> = form.all("role").map(str::to_owned).collect();
    let page = Page {
        frame: Frame::of(&operator, "users"),
        name: form.one("name").to_owned(),
        display_name: form.one("display_name").to_owned(),
        active: form.one("active") == "yes",
        roles: ticked(&given),
        refresh: form.one("refresh").to_owned(),
        problem: Some(refused.said().to_owned()),
    };
    Ok(refused.on(rendered(&page)?))
}

/// What the form asks for, once every field of it is judged. Of text the space around it is left out, as phones add some.
fn asked(form: &Form) -> crate::Result<(String, UserPatch, Option<Password>)> {
    let name = input::user_name(form.one("name").trim())?;
    let text = |field| Some(form.one(field).trim()).filter(|text| !text.is_empty());
    let minutes =
        |text: &str| text.parse::<i64>().map_err(|_| input::parameter("homepage_refresh", "this is not a whole number."));
    let user = UserInput {
        display_name: text("display_name").map(|text| Some(text.to_owned())),
        active: Some(form.one("active") == "yes"),
        roles: Some(form.all("role").map(str::to_owned).collect()),
        homepage_refresh_minutes: text("refresh").map(minutes).transpose()?.map(Some),
        ..UserInput::default()
    };
    let password = Some(form.one("new_password")).filter(|text| !text.is_empty()).map(input::new_password).transpose()?;
    let patch = user.validate(&name)?;
    Ok((name, patch, password))
}
