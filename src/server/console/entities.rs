//! *OAuth entities*: the client applications of mobile sessions, and how long a session of theirs may stay in the background.

use askama::Template;
use axum::extract::State;
use serde::Deserialize;

use super::super::auth::Readers;
use super::super::extract::Params;
use super::super::problem::Problem;
use super::super::{App, AppState};
use super::operator::Operator;
use super::page::{Answer, Frame, rendered};
use super::shown;
use crate::input;
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
struct Page {
    frame: Frame,
    lines: Vec<Line>,
    next: Option<String>,
}

/// An application, and the window that a sign-in through it would freeze now.
struct Line {
    entity: Entity,
    window: String,
    source: &'static str,
}

impl Line {
    fn of(entity: Entity, ui_timeout: i32, integration_timeout: i32) -> Self {
        let window = Window::of(entity.refresh_token_lifespan, entity.access_token_lifespan, ui_timeout, integration_timeout);
        Self { entity, window: shown::span(window.seconds.into()), source: window.source }
    }
}

/// The list.
pub(super) async fn list(operator: Operator<Readers>, State(app): AppState, query: Result<Params<Query>, Problem>) -> Answer {
    let Params(query) = query?;
    let after = Some(&*query.after).filter(|after| !after.is_empty()).map(input::user_cursor).transpose()?;
    let page = app.manager.store().entities(MOST, after).await?;
    let ui = timeout(&app, "glide.ui.session_timeout").await?;
    let integration = timeout(&app, "glide.integration.session_timeout").await?;
    let lines = page.items.into_iter().map(|entity| Line::of(entity, ui, integration)).collect();
    rendered(&Page { frame: Frame::of(&operator, "entities"), lines, next: page.next })
}

/// A time-out in force, seconds.
async fn timeout(app: &App, name: &str) -> Answer<i32> {
    let minutes = app.manager.property(name).await?.value.and_then(|value| value.parse::<i32>().ok());
    Ok(minutes.unwrap_or(0).saturating_mul(60))
}
