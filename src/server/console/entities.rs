//! *OAuth entities*: the client applications of mobile sessions, and how long a session of theirs may stay in the background.

mod change;
mod new;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::super::auth::Readers;
use super::super::extract::Params;
use super::super::problem::Problem;
use super::super::{App, AppState};
use super::form::{Form, encoded};
use super::operator::Operator;
use super::page::{Answer, Frame, rendered};
use super::shown;
use crate::input::{self, EntityInput};
use crate::session::Window;
use crate::store::{Entity, EntityPut, Revision};

pub(super) use change::change;
pub(super) use new::{create, show as show_new};

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

/// The fields of a form as they were typed, or as the application is.
struct Fields {
    client_id: String,
    public: bool,
    access: String,
    refresh: String,
}

impl Fields {
    fn of(form: &Form) -> Self {
        let field = |name| form.one(name).trim().to_owned();
        Self {
            client_id: field("client_id"),
            public: form.one("secret") != "yes",
            access: field("access"),
            refresh: field("refresh"),
        }
    }

    /// What they ask for, once each is judged.
    fn judged(&self, name: &str) -> crate::Result<EntityPut> {
        let seconds = |field, text: &str| {
            text.parse::<i64>().map_err(|_| input::parameter(field, "this is not a whole number of seconds."))
        };
        EntityInput {
            client_id: Some(self.client_id.clone()).filter(|id| !id.is_empty()),
            public: Some(self.public),
            access_token_lifespan: Some(seconds("access_token_lifespan", &self.access)?),
            refresh_token_lifespan: Some(seconds("refresh_token_lifespan", &self.refresh)?),
            ..EntityInput::default()
        }
        .validate(name)
    }
}

impl From<&Entity> for Fields {
    fn from(entity: &Entity) -> Self {
        Self {
            client_id: entity.client_id.clone(),
            public: entity.public,
            access: entity.access_token_lifespan.to_string(),
            refresh: entity.refresh_token_lifespan.to_string(),
        }
    }
}

/// Which application; without a name the list.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Named {
    name: String,
}

#[derive(Template)]
#[template(path = "entity.html")]
struct Page {
    frame: Frame,
    line: Line,
    time_outs: TimeOuts,
    /// What its forms rest on.
    revision: Revision,
    /// What is in the fields.
    fields: Fields,
    /// Why it was refused.
    problem: Option<String>,
}

impl Page {
    async fn of<C>(app: &App, operator: &Operator<C>, name: &str) -> Answer<Self> {
        // Before the application, so that it is never newer than what the page shows.
        let revision = app.manager.store().entity_revision(name).await?.unwrap_or_default();
        let entity = app.manager.entity(name).await?;
        let time_outs = TimeOuts::of(app).await?;
        let fields = Fields::from(&entity);
        let line = time_outs.line(entity);
        Ok(Self { frame: Frame::of(operator, "entities"), line, time_outs, revision, fields, problem: None })
    }
}

/// The page of an application.
pub(super) async fn show(
    operator: Operator<Readers>,
    State(app): AppState,
    named: Result<Params<Named>, Problem>,
) -> Answer<Response> {
    let Params(named) = named?;
    if named.name.is_empty() {
        return Ok(Redirect::to("/console/entities").into_response());
    }
    let page = Page::of(&app, &operator, &input::entity_name(&named.name)?).await?;
    Ok(rendered(&page)?.into_response())
}

/// The secret that an application got; it is shown nowhere else.
#[derive(Template)]
#[template(path = "entity_receipt.html")]
struct Receipt<'a> {
    frame: Frame,
    line: &'a Line,
    secret: &'a str,
}
