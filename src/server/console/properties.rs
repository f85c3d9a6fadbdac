//! *Properties*: the limits in force, where they come from, and changing them.

mod preview;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::super::address::ClientAddress;
use super::super::auth::{Admins, Readers};
use super::super::extract::Params;
use super::super::problem::Problem;
use super::super::{App, AppState};
use super::failure::{Refused, Stopped};
use super::form::Form;
use super::operator::Operator;
use super::page::{Answer, Frame, rendered};
use super::{shown, sure};
use crate::cluster::Barrier;
use crate::input;
use crate::store::Property;
use preview::Preview;

/// When it is reached, every session that began before it ends, whatever a preview counts now.
const MAINTENANCE: &str = "tenure.maintenance_at";

/// A property as pages show it.
struct Setting {
    name: String,
    description: String,
    kind: String,
    unit: String,
    value: Option<String>,
    default: Option<String>,
    source: String,
    /// Somebody set it.
    set: bool,
    warnings: Vec<String>,
}

impl From<Property> for Setting {
    fn from(property: Property) -> Self {
        Self {
            name: property.name,
            description: property.description,
            kind: property.kind,
            unit: property.unit.unwrap_or_default(),
            value: property.value,
            default: property.default,
            set: property.source == "row",
            source: shown::source(&property.source),
            warnings: property.warnings,
        }
    }
}

#[derive(Template)]
#[template(path = "properties.html")]
struct List {
    frame: Frame,
    settings: Vec<Setting>,
}

/// The catalogue.
pub(super) async fn list(operator: Operator<Readers>, State(app): AppState) -> Answer {
    let properties = app.manager.store().properties(None).await?;
    let settings = properties.into_iter().map(Setting::from).collect();
    rendered(&List { frame: Frame::of(&operator, "properties"), settings })
}

/// Which property, and what to try with it; without a name the list.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Query {
    name: String,
    /// A value to see the effect of.
    value: Option<String>,
    /// Whether to see the effect of its default instead.
    unset: Option<String>,
}

#[derive(Template)]
#[template(path = "property.html")]
struct Page {
    frame: Frame,
    setting: Setting,
    /// What is in the field.
    typed: String,
    /// Why it was refused, now or when it was tried.
    problem: Option<String>,
    preview: Option<Preview>,
    /// Setting it asks for the password.
    strong: bool,
}

impl Page {
    /// The page with the effect of a value, or without one of the default; what the rules refuse is said where it was typed.
    async fn trying<C>(app: &App, operator: &Operator<C>, name: &str, value: Option<&str>) -> Answer<Self> {
        let property = app.manager.property(name).await?;
        let typed = value.or(property.value.as_deref()).unwrap_or_default().to_owned();
        let (preview, problem) = match app.manager.rehearse_property(name, value).await {
            Ok(forecast) => (Some(Preview::of(forecast, value)), None),
            Err(error) => (None, Some(Stopped::from(error).refused()?.said().to_owned())),
        };
        let strong = match &preview {
            Some(preview) => is_strong(app, operator, name, preview.needs_force, preview.expect).await?,
            None => false,
        };
        let frame = Frame::of(operator, "properties");
        Ok(Self { frame, setting: property.into(), typed, problem, preview, strong })
    }
}

/// Whether a change asks for the password: it ends every session, now or later, or very many, or goes against the rules.
async fn is_strong<C>(app: &App, operator: &Operator<C>, name: &str, force: bool, ends: i64) -> Answer<bool> {
    Ok(force || name == MAINTENANCE || sure::is_needed(app, operator, ends).await?)
}

/// The page of a property; with a value also what that would do (X2). Nothing is changed by looking.
pub(super) async fn show(
    operator: Operator<Readers>,
    State(app): AppState,
    query: Result<Params<Query>, Problem>,
) -> Answer<Response> {
    let Params(query) = query?;
    if query.name.is_empty() {
        return Ok(Redirect::to("/console/properties").into_response());
    }
    let value = query.value.as_deref().map(str::trim);
    if operator.may_change() && (value.is_some() || query.unset.is_some()) {
        let page = Page::trying(&app, &operator, &query.name, value.filter(|_| query.unset.is_none())).await?;
        return Ok(rendered(&page)?.into_response());
    }
    let property = app.manager.property(&query.name).await?;
    let typed = property.value.clone().unwrap_or_default();
    let frame = Frame::of(&operator, "properties");
    let page = Page { frame, setting: property.into(), typed, problem: None, preview: None, strong: false };
    Ok(rendered(&page)?.into_response())
}

#[derive(Template)]
#[template(path = "property_receipt.html")]
struct Receipt {
    frame: Frame,
    setting: Setting,
    /// How many sessions it ended.
    ended: i64,
    /// The session of who did it is among them.
    own: bool,
    barrier: Barrier,
}

/// Sets a property, or restores its default, once it was shown what that does: just this, or nothing (X2).
pub(super) async fn change(
    operator: Operator<Admins>,
    State(app): AppState,
    address: ClientAddress,
    form: Form,
) -> Answer<Response> {
    let (name, force) = (form.one("name"), form.one("force") == "yes");
    let value = if form.one("act") == "unset" { None } else { Some(form.one("value").trim()) };
    if form.one("expect").is_empty() {
        let page = Page::trying(&app, &operator, name, value).await?;
        let status = if page.problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
        return Ok((status, rendered(&page)?).into_response());
    }
    // What it would do now, beside why it was not done.
    let refused = async |refused: Refused| -> Answer<Response> {
        let page = Page { problem: Some(refused.said().to_owned()), ..Page::trying(&app, &operator, name, value).await? };
        Ok(refused.on(rendered(&page)?))
    };
    // The number and the state do not say of which value they are.
    if form.all("previewed").next() != value {
        let problem = "What was previewed is another value than this one, so nothing was done. Below is what this one does.";
        return refused(Problem::new(409, "preview_changed", problem, "").into()).await;
    }
    let basis = Some(form.one("expect_basis").to_owned());
    let expect = input::expect_parameters("expect", Some(form.one("expect")), "expect_basis", basis)?;
    let ends = expect.expect.unwrap_or_default();
    if is_strong(&app, &operator, name, force, ends).await?
        && let Err(problem) = sure::prove(&app, &operator, address, &form).await
    {
        return refused(problem.into()).await;
    }
    let error = match app.manager.change_property(name, value, force, &expect, operator.actor()).await {
        Ok(changed) => {
            let frame = Frame::of(&operator, "properties");
            let own = ends > 0
                && match app.manager.session(operator.session(), operator.actor()).await {
                    Ok(session) => session.state != "live",
                    Err(error) => error.is_not_found(),
                };
            // The guard lets just so many end.
            let receipt = Receipt { frame, setting: changed.property.into(), ended: ends, own, barrier: changed.barrier };
            return Ok(rendered(&receipt)?.into_response());
        }
        Err(error) => error,
    };
    refused(Stopped::from(error).refused()?).await
}
