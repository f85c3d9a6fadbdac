//! Properties: the catalogue with effective values.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::super::AppState;
use super::super::auth::{Admins, Caller, Readers};
use super::super::extract::{Body, Name, Params};
use super::super::problem::Problem;
use crate::input::{self, PropertyInput, RehearsalInput};
use crate::manager::Changed;
use crate::store::{Property, PropertyForecast};

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

/// Sets a property: in force for every live session, on every node, when this answers.
#[utoipa::path(put, operation_id = "set_property", path = "/v1/properties/{name}", params(("name" = String, Path, description = "Property name")), request_body = PropertyInput, responses(
    (status = 200, body = Changed),
    (status = 409, description = "too_many_endings or preview_changed, both with count")))]
pub(super) async fn set(
    caller: Caller<Admins>,
    State(app): AppState,
    Name(name): Name,
    Body(input): Body<PropertyInput>,
) -> Result<Json<Changed>, Problem> {
    let (force, expect) = (input.force.unwrap_or(false), input.expect()?);
    Ok(Json(app.manager.change_property(&name, Some(&input.value), force, &expect, caller.actor()).await?))
}

/// How to restore a default.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::server) struct UnsetQuery {
    /// Accept what would be refused for its size or relation.
    force: Option<String>,
    /// How many live sessions end with it, as its preview said.
    expect: Option<String>,
    /// `expect_basis` of the preview.
    expect_basis: Option<String>,
}

/// Restores the default of a property.
#[utoipa::path(delete, operation_id = "unset_property", path = "/v1/properties/{name}", params(("name" = String, Path, description = "Property name"), UnsetQuery), responses(
    (status = 200, body = Changed),
    (status = 409, description = "too_many_endings or preview_changed, both with count")))]
pub(super) async fn unset(
    caller: Caller<Admins>,
    State(app): AppState,
    Name(name): Name,
    Params(query): Params<UnsetQuery>,
) -> Result<Json<Changed>, Problem> {
    let force = query.force.as_deref().map(|text| input::boolean("force", text)).transpose()?.unwrap_or(false);
    let expect = input::expect_parameters("expect", query.expect.as_deref(), "expect_basis", query.expect_basis)?;
    Ok(Json(app.manager.change_property(&name, None, force, &expect, caller.actor()).await?))
}

/// Says what a change of a property would do to the live sessions, and changes nothing (X2).
#[utoipa::path(post, operation_id = "what_if_property", path = "/v1/properties/{name}/what-if", params(("name" = String, Path, description = "Property name")), request_body = RehearsalInput, responses(
    (status = 200, body = PropertyForecast)))]
pub(super) async fn what_if(
    _: Caller<Readers>,
    State(app): AppState,
    Name(name): Name,
    Body(input): Body<RehearsalInput>,
) -> Result<Json<PropertyForecast>, Problem> {
    Ok(Json(app.manager.rehearse_property(&name, input.value.as_deref()).await?))
}
