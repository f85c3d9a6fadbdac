//! *Properties*: the limits in force, where they come from, and changing them.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::super::AppState;
use super::super::auth::{Admins, Readers};
use super::super::extract::Params;
use super::super::problem::Problem;
use super::form::Form;
use super::operator::Operator;
use super::page::{Answer, Frame, rendered};
use super::shown;
use crate::cluster::Barrier;
use crate::store::Property;

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
            source: match &*property.source {
                "row" => "set here".to_owned(),
                source => shown::words(source),
            },
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

/// Which property.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    name: String,
}

#[derive(Template)]
#[template(path = "property.html")]
struct Page {
    frame: Frame,
    setting: Setting,
    /// What is in the field.
    typed: String,
    /// Why it was refused.
    problem: Option<String>,
}

/// The page of a property.
pub(super) async fn show(operator: Operator<Readers>, State(app): AppState, named: Result<Params<Named>, Problem>) -> Answer {
    let Params(named) = named?;
    let property = app.manager.property(&named.name).await?;
    let typed = property.value.clone().unwrap_or_default();
    rendered(&Page { frame: Frame::of(&operator, "properties"), setting: property.into(), typed, problem: None })
}

#[derive(Template)]
#[template(path = "property_receipt.html")]
struct Receipt {
    frame: Frame,
    setting: Setting,
    barrier: Barrier,
}

/// Sets a property, or restores its default; what the rules refuse is said where it was typed.
pub(super) async fn change(operator: Operator<Admins>, State(app): AppState, form: Form) -> Answer<Response> {
    let (name, typed, force) = (form.one("name"), form.one("value").trim(), form.one("force") == "yes");
    let changed = if form.one("act") == "unset" {
        app.manager.unset_property(name, force, operator.actor()).await
    } else {
        app.manager.set_property(name, typed, force, operator.actor()).await
    };
    let frame = Frame::of(&operator, "properties");
    let error = match changed {
        Ok(changed) => {
            let receipt = Receipt { frame, setting: changed.property.into(), barrier: changed.barrier };
            return Ok(rendered(&receipt)?.into_response());
        }
        Err(error) => error,
    };
    let Some(refusal) = error.refusal().filter(|refusal| refusal.status != 404) else { return Err(error.into()) };
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::UNPROCESSABLE_ENTITY);
    let problem = Some(format!("{} {}", refusal.message, refusal.advice).trim().to_owned());
    let setting = app.manager.property(name).await?.into();
    Ok((status, rendered(&Page { frame, setting, typed: typed.to_owned(), problem })?).into_response())
}
