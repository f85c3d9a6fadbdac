//! *OAuth entities*: the client applications of mobile sessions, and how long a session of theirs may stay in the background.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::super::auth::{Admins, Readers};
use super::super::extract::Params;
use super::super::problem::Problem;
use super::super::{App, AppState};
use super::form::{Form, encoded};
use super::operator::Operator;
use super::page::{Answer, Frame, rendered};
use super::shown;
use crate::input::{self, EntityInput};
use crate::session::Window;
use crate::store::Entity;

/// Applications on a page.
const MOST: i64 = 50;

/// Which page; empty is the first.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Query {
    after: String,
}

#[derive(Template)]
#[template(path = "entities.html")]
struct List {
    frame: Frame,
    lines: Vec<Line>,
    next: Option<String>,
}

/// An application, and the window that a sign-in through it would freeze now.
struct Line {
    entity: Entity,
    /// The name as part of an address.
    encoded: String,
    window: String,
    source: &'static str,
}

/// The properties that take part in a window, seconds.
struct TimeOuts {
    ui: i32,
    integration: i32,
}

impl TimeOuts {
    async fn of(app: &App) -> Answer<Self> {
        let seconds = async |name: &str| -> Answer<i32> {
            let minutes = app.manager.property(name).await?.value.and_then(|value| value.parse::<i32>().ok());
            Ok(minutes.unwrap_or(0).saturating_mul(60))
        };
        let (ui, integration) = (seconds("glide.ui.session_timeout").await?, seconds("glide.integration.session_timeout").await?);
        Ok(Self { ui, integration })
    }

    fn line(&self, entity: Entity) -> Line {
        let window = Window::of(entity.refresh_token_lifespan, entity.access_token_lifespan, self.ui, self.integration);
        Line { encoded: encoded(&entity.name), entity, window: shown::span(window.seconds.into()), source: window.source }
    }
}

/// The list.
pub(super) async fn list(operator: Operator<Readers>, State(app): AppState, query: Result<Params<Query>, Problem>) -> Answer {
    let Params(query) = query?;
    let after = Some(&*query.after).filter(|after| !after.is_empty()).map(input::user_cursor).transpose()?;
    let page = app.manager.store().entities(MOST, after).await?;
    let time_outs = TimeOuts::of(&app).await?;
    let lines = page.items.into_iter().map(|entity| time_outs.line(entity)).collect();
    rendered(&List { frame: Frame::of(&operator, "entities"), lines, next: page.next })
}

/// Which application.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    name: String,
}

#[derive(Template)]
#[template(path = "entity.html")]
struct Page {
    frame: Frame,
    line: Line,
    time_outs: TimeOuts,
    /// What is in the fields.
    access: String,
    refresh: String,
    /// Why it was refused.
    problem: Option<String>,
}

/// The page of an application.
pub(super) async fn show(operator: Operator<Readers>, State(app): AppState, named: Result<Params<Named>, Problem>) -> Answer {
    let Params(named) = named?;
    let entity = app.manager.entity(&input::entity_name(&named.name)?).await?;
    let time_outs = TimeOuts::of(&app).await?;
    let (access, refresh) = (entity.access_token_lifespan.to_string(), entity.refresh_token_lifespan.to_string());
    let line = time_outs.line(entity);
    rendered(&Page { frame: Frame::of(&operator, "entities"), line, time_outs, access, refresh, problem: None })
}

/// Changes the lifespans, for who signs in afterwards: live sessions keep the window of their sign-in (P5), so nothing ends.
pub(super) async fn change(operator: Operator<Admins>, State(app): AppState, form: Form) -> Answer<Response> {
    let entity = app.manager.entity(&input::entity_name(form.one("name"))?).await?;
    let (access, refresh) = (form.one("access").trim(), form.one("refresh").trim());
    let seconds =
        |text: &str| text.parse::<i64>().map_err(|_| input::parameter("lifespan", "this is not a whole number of seconds."));
    let put = || {
        let (access_token_lifespan, refresh_token_lifespan) = (Some(seconds(access)?), Some(seconds(refresh)?));
        EntityInput { access_token_lifespan, refresh_token_lifespan, ..EntityInput::default() }.validate(&entity.name)
    };
    let error = match put() {
        Ok(put) => {
            app.manager.put_entity(&entity.name, &put, operator.actor()).await?;
            return Ok(Redirect::to(&format!("/console/entity?name={}", encoded(&entity.name))).into_response());
        }
        Err(error) => error,
    };
    let time_outs = TimeOuts::of(&app).await?;
    let (access, refresh) = (access.to_owned(), refresh.to_owned());
    let frame = Frame::of(&operator, "entities");
    let line = time_outs.line(entity);
    let page = Page { frame, line, time_outs, access, refresh, problem: Some(error.to_string()) };
    Ok((StatusCode::UNPROCESSABLE_ENTITY, rendered(&page)?).into_response())
}
