//! OAuth entities: the client applications of mobile sessions.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::super::AppState;
use super::super::auth::{Admins, Caller, Readers};
use super::super::extract::{Body, Name, Params};
use super::super::problem::Problem;
use crate::input::{self, EntityInput};
use crate::manager::EntityView;
use crate::store::Entity;

/// Which page.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::server) struct EntityQuery {
    /// 1 to 500; 50 when left out.
    limit: Option<String>,
    /// Cursor of the page before.
    after: Option<String>,
}

/// A page of client applications.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::server) struct EntityPage {
    items: Vec<Entity>,
    next: Option<String>,
}

/// Lists client applications, newest first.
#[utoipa::path(get, operation_id = "list_oauth_entities", path = "/v1/oauth-entities", params(EntityQuery), responses(
    (status = 200, body = EntityPage)))]
pub(super) async fn list(
    _: Caller<Readers>,
    State(app): AppState,
    Params(query): Params<EntityQuery>,
) -> Result<Json<EntityPage>, Problem> {
    let after = query.after.as_deref().map(input::user_cursor).transpose()?;
    let page = app.manager.store().entities(input::limit(query.limit.as_deref())?, after).await?;
    Ok(Json(EntityPage { items: page.items, next: page.next }))
}

/// Shows a client application.
#[utoipa::path(get, operation_id = "show_oauth_entity", path = "/v1/oauth-entities/{name}", params(("name" = String, Path, description = "Name of the application")), responses(
    (status = 200, body = Entity)))]
pub(super) async fn show(_: Caller<Readers>, State(app): AppState, Name(name): Name) -> Result<Json<Entity>, Problem> {
    Ok(Json(app.manager.entity(&input::entity_name(&name)?).await?))
}

/// Creates or changes a client application. Its live sessions keep what was frozen when they signed in.
#[utoipa::path(put, operation_id = "put_oauth_entity", path = "/v1/oauth-entities/{name}", params(("name" = String, Path, description = "Name of the application")), request_body = EntityInput, responses(
    (status = 200, body = EntityView), (status = 201, body = EntityView),
    (status = 409, description = "client_id_taken")))]
pub(super) async fn put(
    caller: Caller<Admins>,
    State(app): AppState,
    Name(name): Name,
    Body(entity): Body<EntityInput>,
) -> Result<(StatusCode, Json<EntityView>), Problem> {
    let name = input::entity_name(&name)?;
    let put = entity.validate(&name)?;
    let changed = app.manager.put_entity(&name, &put, caller.actor()).await?;
    Ok((if changed.created { StatusCode::CREATED } else { StatusCode::OK }, Json(changed.into())))
}

/// Deletes a client application that has no live sessions.
#[utoipa::path(delete, operation_id = "delete_oauth_entity", path = "/v1/oauth-entities/{name}", params(("name" = String, Path, description = "Name of the application")), responses(
    (status = 200, body = Entity),
    (status = 409, description = "oauth_entity_has_sessions")))]
pub(super) async fn delete(caller: Caller<Admins>, State(app): AppState, Name(name): Name) -> Result<Json<Entity>, Problem> {
    Ok(Json(app.manager.delete_entity(&input::entity_name(&name)?, None, caller.actor()).await?))
}
