//! Properties: the catalogue with effective values.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::super::AppState;
use super::super::auth::{Admins, Caller, Readers};
use super::super::extract::{Body, Name, Params};
use super::super::problem::Problem;
use crate::input;
use crate::manager::Changed;
use crate::store::Property;

/// The catalogue.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::server) struct PropertyPage {
    items: Vec<Property>,
    next: Option<String>,
}

/// Lists every property with its effective value.
#[utoipa::path(get, operation_id = "list_properties", path = "/v1/properties", responses((status = 200, body = PropertyPage)))]
pub(super) async fn list(_: Caller<Readers>, State(app): AppState) -> Result<Json<PropertyPage>, Problem> {
    Ok(Json(PropertyPage { items: app.manager.store().properties(None).await?, next: None }))
}

/// Shows a property.
#[utoipa::path(get, operation_id = "show_property", path = "/v1/properties/{name}", params(("name" = String, Path, description = "Property name")), responses(
    (status = 200, body = Property)))]
pub(super) async fn show(_: Caller<Readers>, State(app): AppState, Name(name): Name) -> Result<Json<Property>, Problem> {
    Ok(Json(app.manager.property(&name).await?))
}

/// A new value.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct PropertyInput {
    /// The value as text.
    value: String,
    /// Accept a life span not above its idle limit, and more than 10,000 endings.
    force: Option<bool>,
}

/// Sets a property: in force for every live session, on every node, when this answers.
#[utoipa::path(put, operation_id = "set_property", path = "/v1/properties/{name}", params(("name" = String, Path, description = "Property name")), request_body = PropertyInput, responses(
    (status = 200, body = Changed),
    (status = 409, description = "too_many_endings")))]
pub(super) async fn set(
    caller: Caller<Admins>,
    State(app): AppState,
    Name(name): Name,
    Body(input): Body<PropertyInput>,
) -> Result<Json<Changed>, Problem> {
    Ok(Json(app.manager.set_property(&name, &input.value, input.force.unwrap_or(false), caller.actor()).await?))
}

/// How to restore a default.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct UnsetQuery {
    /// Accept what would be refused for its size or relation.
    force: Option<String>,
}

/// Restores the default of a property.
#[utoipa::path(delete, operation_id = "unset_property", path = "/v1/properties/{name}", params(("name" = String, Path, description = "Property name"), UnsetQuery), responses(
    (status = 200, body = Changed),
    (status = 409, description = "too_many_endings")))]
pub(super) async fn unset(
    caller: Caller<Admins>,
    State(app): AppState,
    Name(name): Name,
    Params(query): Params<UnsetQuery>,
) -> Result<Json<Changed>, Problem> {
    let force = query.force.as_deref().map(|text| input::boolean("force", text)).transpose()?.unwrap_or(false);
    Ok(Json(app.manager.unset_property(&name, force, caller.actor()).await?))
}
