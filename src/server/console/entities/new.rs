//! A new client application.

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
use super::{Fields, Receipt, TimeOuts};
use crate::input;
use crate::store::EntityPut;

#[derive(Template)]
#[template(path = "entity_new.html")]
struct Page {
    frame: Frame,
    name: String,
    fields: Fields,
    /// The spans that take part in a window besides.
    time_outs: TimeOuts,
    /// Why it was refused.
    problem: Option<String>,
}

/// The form, with the lifespans that an application gets by default.
pub(in crate::server::console) async fn show(operator: Operator<Admins>, State(app): AppState) -> Answer {
    rendered(&Page {
        frame: Frame::of(&operator, "entities"),
        name: String::new(),
        fields: Fields { client_id: String::new(), public: true, access: "1800".to_owned(), refresh: "8640000".to_owned() },
        time_outs: TimeOuts::of(&app).await?,
        problem: None,
    })
}

/// Makes the application, never changes one, and asks for the password of who does it, as for a key. A secret is on the answer and
/// nowhere else.
pub(in crate::server::console) async fn create(
    operator: Operator<Admins>,
    State(app): AppState,
    address: ClientAddress,
    form: Form,
) -> Answer<Response> {
    let made = async {
        let (name, put) = asked(&form)?;
        sure::prove(&app, &operator, address, &form).await?;
        Ok::<_, Stopped>(app.manager.create_entity(&name, &put, operator.actor()).await?)
    };
    let made = match made.await {
        Ok(made) => made,
        Err(stopped) => {
            let refused = stopped.refused()?;
            let page = Page {
                frame: Frame::of(&operator, "entities"),
                name: form.one("name").to_owned(),
                fields: Fields::of(&form),
                time_outs: TimeOuts::of(&app).await?,
                problem: Some(refused.said().to_owned()),
            };
            return Ok(refused.on(rendered(&page)?));
        }
    };
    let Some(secret) = made.secret else {
        return Ok(Redirect::to(&format!("/console/entity?name={}", encoded(&made.entity.name))).into_response());
    };
    let line = TimeOuts::of(&app).await?.line(made.entity);
    let frame = Frame::of(&operator, "entities");
    Ok(rendered(&Receipt { frame, line: &line, secret: secret.reveal() })?.into_response())
}

fn asked(form: &Form) -> crate::Result<(String, EntityPut)> {
    let name = input::entity_name(form.one("name").trim())?;
    let put = Fields::of(form).judged(&name)?;
    Ok((name, put))
}
